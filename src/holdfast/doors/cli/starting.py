"""Starting a daemon and waiting until it listens."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from .stop import UNAVAILABLE, Stop
from .wire import listening

PATIENCE = 20.0
_PAUSE = 0.01
_TAIL = 12
_ALREADY = "already running"
_started: list[subprocess.Popen[bytes]] = []


def start(home: str, command: list[str]) -> None:
    """One daemon listens for `home` when this returns, whoever started it. Raises `Stop`."""
    socket, log = f"{home}/run/holdfast.sock", Path(home, "logs", "daemon.log")
    offset, child = _launch(home, command, log)
    _started.append(child)
    deadline = time.monotonic() + PATIENCE
    while not listening(socket):
        code = child.poll()
        if code is not None and not _lost_the_race(code, log, offset):
            raise _did_not_start(code, log, offset)
        if time.monotonic() > deadline:
            raise Stop(
                f"the daemon does not listen at {socket} after {PATIENCE:.0f} s",
                hint=f"look into {log}",
                code=UNAVAILABLE,
            )
        time.sleep(_PAUSE)


def _launch(home: str, command: list[str], log: Path) -> tuple[int, subprocess.Popen[bytes]]:
    """Detached: a session of its own, nothing of this terminal. Runs in the home, so that the
    folder the user stands in supplies no modules."""
    try:
        for folder in (Path(home), log.parent, Path(home, "run")):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Stop(
            f"Holdfast cannot write to its home {home}: {error.strerror}",
            hint="give another one with --home or HOLDFAST_HOME",
            code=UNAVAILABLE,
        ) from error
    offset = os.lseek(descriptor, 0, os.SEEK_END)
    try:
        child = subprocess.Popen(  # noqa: S603  our own interpreter, our own module
            command,
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
        )
        return offset, child
    finally:
        os.close(descriptor)


def _lost_the_race(code: int, log: Path, offset: int) -> bool:
    return code == 2 and _ALREADY in _written(log, offset)


def _did_not_start(code: int, log: Path, offset: int) -> Stop:
    said = _written(log, offset).strip().splitlines()[-_TAIL:]
    message = "\n".join(["the daemon did not start:", *(f"  {line}" for line in said)])
    exit_code = code if 0 < code < 126 else UNAVAILABLE
    return Stop(message, hint=f"the whole log is {log}", code=exit_code)


def _written(log: Path, offset: int) -> str:
    with log.open("rb") as file:
        file.seek(offset)
        return file.read(1 << 16).decode("utf-8", "replace")
