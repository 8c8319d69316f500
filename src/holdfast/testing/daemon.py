"""A real daemon in a process of its own: start it, ask it, kill it; every wait is bounded."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import msgspec

_ANSWER = 20.0
_STEP = 0.002
_LONGEST = 60


class Gone(Exception):
    """Nobody answers: the daemon is not there (any more)."""


class Answered(Exception):
    """The daemon said no; `status` is the HTTP status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status


class Daemon:
    """The daemon of one home. Only the process that `start` made is ever signalled, by its number.

    As a context manager it leaves nothing running.
    """

    def __init__(self, home: Path, environment: Mapping[str, str] | None = None) -> None:
        self.home = home
        self.lives = 0
        self._environment = _surroundings(home) | dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, patience: float = 30.0) -> float:
        """A new life; returns once it answers, with the seconds that took."""
        began = time.monotonic()
        self.begin()
        while not self._ready():
            if not self.alive:
                raise Gone(f"the daemon ended by itself: {self.said()}")
            if time.monotonic() - began > patience:
                raise TimeoutError(f"the daemon was not ready in {patience:g} s: {self.said()}")
            time.sleep(_STEP)
        return time.monotonic() - began

    def begin(self) -> None:
        """A new life, without waiting for it."""
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.home / "said.log").open("ab") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "holdfast.assembly", "serve", "--foreground"],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env=self._environment,
                start_new_session=True,
            )
        self.lives += 1

    def kill(self) -> None:
        """SIGKILL: no word, no second. The process is gone when this returns."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self, patience: float = 20.0) -> float:
        """SIGTERM: it may finish what is in flight. Returns the seconds until it was gone."""
        assert self._process is not None
        began = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(patience)
        return time.monotonic() - began

    def get(self, target: str) -> Any:
        return self._ask("GET", target, None)

    def post(self, target: str, body: Any) -> Any:
        return self._ask("POST", target, body)

    def call_out(self, target: str, body: Any) -> None:
        """Post and do not wait for the answer, as a client does that dies at that moment."""
        content = msgspec.json.encode(body)
        head = f"POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(self.home / "run" / "holdfast.sock"))
            line.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)

    def submit(self, prompt: str, workspace: Path, **more: Any) -> str:
        """A task that may do anything in its workspace; acknowledged when this returns its id."""
        body = {"prompt": prompt, "workspace": str(workspace), "preset": "open", **more}
        return str(self.post("/api/v1/tasks", body)["id"])

    def said(self) -> str:
        """The last words in its log."""
        try:
            words = (self.home / "said.log").read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return "nothing"
        return "\n".join(words.splitlines()[-12:])

    def _ask(self, method: str, target: str, body: Any) -> Any:
        connection = _UnixConnection(self.home / "run" / "holdfast.sock")
        content = None if body is None else msgspec.json.encode(body)
        headers = {"Content-Type": "application/json"} if content else {}
        try:
            connection.request(method, target, content, headers)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Gone(f"{method} {target}: {error!r}; {self._state()}") from error
        finally:
            connection.close()
        if answer.status >= http.HTTPStatus.BAD_REQUEST:
            raise Answered(answer.status, text.decode(errors="replace"))
        return msgspec.json.decode(text)

    def _state(self) -> str:
        """What became of the process, and its last words, once it has ended."""
        if self._process is None or (code := self._process.poll()) is None:
            return "the daemon lives"
        return f"the daemon has ended with {code}: {self.said()}"

    def _ready(self) -> bool:
        """An answer, not a connection: a child that the killed daemon was just starting keeps its
        socket open for a moment."""
        try:
            self._ask("GET", "/api/v1/status", None)
        except Gone:
            return False
        return True


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over the socket in the home: who may open it is whom the daemon trusts."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_ANSWER)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_ANSWER)
        self.sock.connect(str(self._path))


def _surroundings(home: Path) -> dict[str, str]:
    """The least a daemon needs: no keys, no configuration of whoever runs the test."""
    kept = {name: os.getenv(name, "") for name in ("PATH", "PYTHONPATH", "HOME", "TMPDIR")}
    return {
        **{name: value for name, value in kept.items() if value},
        "HOLDFAST_HOME": str(home),
        "HOLDFAST_SERVER_HTTP": "false",
        "HOLDFAST_MODELS_DETECT_LOCAL": "false",
        "PYTHONDONTWRITEBYTECODE": "",
    }


@contextmanager
def stage(kind: str, *, keep: bool = False) -> Generator[Path]:
    """A folder to play in, its path short enough for the socket of a home inside."""
    long = len(tempfile.gettempdir()) > _LONGEST
    path = Path(tempfile.mkdtemp(prefix=f"holdfast-{kind}-", dir="/tmp" if long else None))  # noqa: S108
    try:
        yield path
    finally:
        if not keep:
            shutil.rmtree(path, ignore_errors=True)


def use_model(home: Path, url: str) -> None:
    """Configure `home` to ask the model server at `url`, and nobody else."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    (home / "config.toml").write_text(
        f"""
[models]
default = "scripted/scripted"

[models.providers.scripted]
kind = "openai"
base_url = "{url}/v1"
api_key = "not-a-secret"
models = ["scripted"]
""",
        encoding="utf-8",
    )
    (home / "config.toml").chmod(0o600)
