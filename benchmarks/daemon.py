"""A real daemon in a home of its own, and the few words that the benchmarks exchange with it."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from benchmarks.measure import environment

_PATIENCE = 60.0


class _Local(http.client.HTTPConnection):
    """HTTP through a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_PATIENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))


class Daemon:
    """Started on entering, ready when that returns, stopped on leaving. `ready_s` is how long."""

    def __init__(self, home: Path, around: Sequence[str] = ()) -> None:
        """`around` are words before the command, for example of `taskset`."""
        home.mkdir(exist_ok=True)
        self.home, self._socket = home, home / "run" / "holdfast.sock"
        self.ready_s = 0.0
        self._around = around

    def __enter__(self) -> Self:
        began = time.perf_counter()
        # No search for model servers: that would measure the neighbourhood.
        settings = {"HOLDFAST_HOME": str(self.home), "HOLDFAST_MODELS_DETECT_LOCAL": "false"}
        with (self.home / "output.log").open("wb") as output:
            self._process = subprocess.Popen(
                [
                    *self._around,
                    sys.executable,
                    "-P",
                    "-m",
                    "holdfast.assembly",
                    "serve",
                    "--foreground",
                ],
                env=environment(**settings),
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        while not self._answers():
            if self._process.poll() is not None or time.perf_counter() - began > _PATIENCE:
                raise RuntimeError((self.home / "output.log").read_text()[-3000:])
            time.sleep(0.002)
        self.ready_s = time.perf_counter() - began
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, method: str, path: str, body: object = None) -> Any:
        connection = _Local(self._socket)
        try:
            headers = {"Content-Type": "application/json"}
            connection.request(method, path, json.dumps(body) if body else None, headers)
            response = connection.getresponse()
            told = json.loads(response.read())
        finally:
            connection.close()
        if response.status >= 400:
            raise RuntimeError(f"{method} {path}: {response.status} {told}")
        return told

    def _answers(self) -> bool:
        try:
            return bool(self.ask("GET", "/healthz"))
        except (OSError, http.client.HTTPException):
            return False
