"""Running the daemon: here, in the background, and not any more."""

from __future__ import annotations

import json
import os
import time
from collections import deque
from functools import partial
from pathlib import Path

from .listing import describe
from .out import line
from .reading import count_of, text_of, texts_of
from .starting import start
from .stop import FAILED, INTERRUPTED, OK, UNAVAILABLE, Stop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from .desk import Desk, Given
    from .wire import Json

_RUNNING = "a daemon is already running"
_PATIENCE = 30
_PAUSE = 0.02
_LOG, _OUTPUT = "holdfast.log", "daemon.log"
_FOLLOW_PAUSE = 0.2
_BLOCK = 1 << 16


def serve(desk: Desk, given: Given) -> int:
    if given.has("detach"):
        return _started(desk, given)
    if desk.daemon.awake():
        raise Stop(_RUNNING, hint="holdfast serve stop", name="already_running")
    command = [*desk.serve, "--foreground"]
    return os.execv(command[0], command)  # noqa: S606  our own interpreter becomes the daemon


def stop(desk: Desk, given: Given) -> int:
    running = desk.daemon.status()
    if running is None:
        desk.screen.note("no daemon is running")
    else:
        desk.daemon.post("/api/v1/stop")
        _gone(desk, count_of(running, "pid"), given.count("seconds") or _PATIENCE)
        desk.screen.note("stopped", mark="good")
    if given.has("json"):
        desk.screen.json({"running": False, "stopped": running is not None})
    return OK


def restart(desk: Desk, given: Given) -> int:
    running = desk.daemon.status()
    if running is not None:
        desk.daemon.post("/api/v1/stop")
        _gone(desk, count_of(running, "pid"), given.count("seconds") or _PATIENCE)
    return _started(desk, given)


def serve_status(desk: Desk, given: Given) -> int:
    found = desk.daemon.status()
    if given.has("json"):
        desk.screen.json({"running": found is not None, **(found or {})})
    elif found is None:
        desk.screen.tell(f"{'daemon':<12}not running")
    else:
        for name, value in describe(found):
            desk.screen.tell(f"{name:<12}{value}")
    return OK if found is not None else FAILED


def certificate(desk: Desk, given: Given) -> int:
    found = desk.daemon.post("/api/v1/certificate", {"renew": given.has("renew")})
    if given.has("json"):
        desk.screen.json(found)
        return OK
    until = time.strftime("%Y-%m-%d", time.gmtime(count_of(found, "expires_at") / 1000))
    for name, value in (
        ("path", text_of(found, "path")),
        ("sha-256", text_of(found, "fingerprint")),
        ("names", " ".join(texts_of(found, "names"))),
        ("until", until),
    ):
        desk.screen.tell(f"{name:<12}{line(value)}")
    if not found.get("tls"):
        desk.screen.note('it is not in use: server.tls = "own" in config.toml, then a restart')
    return OK


def logs(desk: Desk, given: Given) -> int:
    folder = Path(desk.home, "logs")
    path = next((p for p in (folder / _LOG, folder / _OUTPUT) if p.exists()), folder / _LOG)
    count = given.count("lines")
    write = desk.screen.answer if given.has("json") else partial(_readable, desk)
    try:
        with path.open("rb") as file:
            for one in _last(file, 50 if count is None else count):
                write(one)
            if given.has("follow"):
                _follow(file, path, write)
    except FileNotFoundError as error:
        raise Stop(f"there is no log yet at {path}", hint="holdfast serve --detach") from error
    except KeyboardInterrupt:
        return INTERRUPTED
    return OK


def _readable(desk: Desk, entry: str) -> None:
    """One entry for people: when, how bad, what. What is no entry is shown as it is."""
    try:
        row: Json = json.loads(entry)
        when, level = str(row.pop("at"))[:19].replace("T", " "), str(row.pop("level"))
        said = str(row.pop("message"))
    except (ValueError, KeyError, TypeError, AttributeError):
        desk.screen.answer(entry)
    else:
        row.pop("component", None)
        more = "".join(f" {name}={line(str(value))}" for name, value in row.items())
        desk.screen.answer(f"{when} {level:<7} {line(said)}{more}")
    desk.screen.give("")


def _started(desk: Desk, given: Given) -> int:
    fresh = not desk.daemon.awake()
    if fresh:
        start(desk.home, desk.serve)
    found = desk.daemon.status() or {}
    if given.has("json"):
        desk.screen.json({"running": True, "started": fresh, **found})
    else:
        said = "started" if fresh else "already running"
        desk.screen.tell(f"{said}, process {found.get('pid', '?')}")
    return OK


def _gone(desk: Desk, process: int, seconds: int) -> None:
    """Wait until nobody listens and the process has ended, so that a new one may start."""
    deadline = time.monotonic() + seconds
    while desk.daemon.awake() or (process and _alive(process)):
        if time.monotonic() > deadline:
            raise Stop(
                f"the daemon (process {process or '?'}) still runs after {seconds} s",
                hint="it finishes what cannot be cut short; try again, or --seconds",
                code=UNAVAILABLE,
            )
        time.sleep(_PAUSE)


def _alive(process: int) -> bool:
    """True while the process runs; one that only waits to be collected does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        pass
    if Path("/proc/self/stat").exists():
        return False
    try:
        os.kill(process, 0)
    except OSError:
        return False
    return True


def _last(file: BinaryIO, count: int) -> list[str]:
    """The last lines, read from the end: logs may be large."""
    end = file.seek(0, os.SEEK_END)
    data, place = b"", end
    while place > 0 and data.count(b"\n") <= count:
        step = min(_BLOCK, place)
        place -= step
        file.seek(place)
        data = file.read(step) + data
    file.seek(end)
    return list(deque(data.decode("utf-8", "replace").splitlines(), maxlen=count))


def _follow(file: BinaryIO, path: Path, write: Callable[[str], None]) -> None:
    """What is written from now on; begins anew when the log is replaced or cut."""
    rest = b""
    while True:
        piece = file.read(_BLOCK)
        if not piece:
            if path.exists() and path.stat().st_size < file.tell():
                file.seek(0)
            time.sleep(_FOLLOW_PAUSE)
            continue
        *whole, rest = (rest + piece).split(b"\n")
        for one in whole:
            write(one.decode("utf-8", "replace"))
