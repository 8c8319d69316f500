"""A home, a daemon and a command line for the end-to-end tests."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "PYTHONPATH": os.pathsep.join(sys.path),
    "HOLDFAST_SERVER_PORT": "0",
    "HOLDFAST_MODELS_DETECT_LOCAL": "false",
}
PATIENCE = 30.0


def files(home: Path) -> Path:
    """The folder that the user works in."""
    folder = home.parent / "files"
    folder.mkdir(exist_ok=True)
    return folder


def holdfast(
    home: Path, *words: str, stdin: Any = subprocess.DEVNULL, **more: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "holdfast.doors.cli", *words],
        cwd=files(home),
        env={**ENVIRONMENT, "HOLDFAST_HOME": str(home), "HOME": str(home.parent), **more},
        stdin=stdin,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


@contextmanager
def daemon(home: Path, *before: str, **more: str) -> Generator[subprocess.Popen[str]]:
    """A daemon in the foreground; killed at the end."""
    running = subprocess.Popen(
        [*before, sys.executable, "-m", "holdfast.assembly", "serve", "--foreground"],
        env={**ENVIRONMENT, "HOLDFAST_HOME": str(home), "HOME": str(home.parent), **more},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield running
    finally:
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)  # what runs it may not be what was started
        running.wait(10)
        assert running.stderr
        running.stderr.close()


def nothing_below(place: Path) -> None:
    """No daemon has its home below a folder that is about to go. One that had is ended first."""
    deadline = time.monotonic() + PATIENCE
    while (left := _daemons_below(place)) and time.monotonic() < deadline:
        time.sleep(0.05)  # one that was killed just now may still be on its way out
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert not left, f"daemons with a home below {place} were left running: {left}"


def _daemons_below(place: Path) -> dict[int, str]:
    """What they are, by their number."""
    return {pid: told for pid in _processes() if (told := _daemon_below(pid, place))}


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]


def _daemon_below(pid: int, place: Path) -> str:
    """Its words, home and state if it is one."""
    below = f"{place}/".encode()
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
        homes = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        state = Path(f"/proc/{pid}/status").read_text().split("State:")[1].split("\n")[0].strip()
    except (OSError, IndexError):  # it has ended, or is somebody else's
        return ""
    named = [one for one in homes if one.startswith((b"HOLDFAST_HOME=", b"HOME="))]
    if b"holdfast.assembly" not in words:
        return ""
    if below not in words and not any(below in one + b"/" for one in named):
        return ""
    return f"{words!r}, {named!r}, {state}"


def served(home: Path, *words: str, **more: str) -> tuple[int, str]:
    """How a daemon that cannot start ends, and what it says."""
    with daemon(home, *words, **more) as running:
        _, said = running.communicate(timeout=PATIENCE)
        return running.returncode, said


def until(true: Callable[[], bool], patience: float = PATIENCE) -> None:
    deadline = time.monotonic() + patience
    while not true():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def ask(socket_path: Path, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
    with socket.socket(socket.AF_UNIX) as wire:
        wire.settimeout(PATIENCE)
        wire.connect(str(socket_path))
        data = json.dumps(body).encode() if body is not None else b""
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        wire.sendall(head.encode() + data)
        received = b""
        while chunk := wire.recv(65536):
            received += chunk
    return json.loads(received.partition(b"\r\n\r\n")[2])


def answers(socket_path: Path) -> bool:
    try:
        return bool(ask(socket_path, "GET", "/healthz")["ok"])
    except (OSError, ValueError):
        return False
