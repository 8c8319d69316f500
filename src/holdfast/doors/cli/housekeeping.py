"""Setting up, checking, copying, restoring, deleting; and the two shows."""

from __future__ import annotations

import os
import secrets
import sys
import time
from pathlib import Path

from .apart import told
from .dispatch import load
from .reading import rows_of
from .stop import FAILED, OK, UNAVAILABLE, Stop
from .surroundings import python

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .desk import Desk, Given
    from .wire import Json

_FOLDERS = ("", "run", "logs", "workspace", "backups")


def init(desk: Desk, given: Given) -> int:
    """Make what is missing, touch nothing that is there."""
    home = Path(desk.home)
    made = [str(home / name) for name in _FOLDERS if _make_folder(home / name)]
    if _make_file(home / "token", lambda: secrets.token_urlsafe(32) + "\n"):
        made.append(str(home / "token"))
    if _make_file(home / "config.toml", lambda: str(load("commented").config_text())):
        made.append(str(home / "config.toml"))
    if given.has("json"):
        desk.screen.json({"home": str(home), "made": made})
        return OK
    for path in made:
        desk.screen.tell(f"made {path}")
    if not made:
        desk.screen.tell(f"everything is there already in {home}")
    desk.screen.note('next: holdfast doctor, then holdfast run "what is in this folder?"')
    return OK


def doctor(desk: Desk, given: Given) -> int:
    fix = ["--fix"] if given.has("fix") else []
    found = rows_of(told("--home", desk.home, "doctor", *fix), "findings")
    found += _servers(desk, any(str(row.get("name")).startswith("mcp") for row in found))
    failed = any(row.get("level") == "fail" for row in found)
    if given.has("json"):
        desk.screen.json({"ok": not failed, "findings": found})
        return FAILED if failed else OK
    for row in found:
        level = str(row.get("level"))
        desk.screen.tell(f"{level:<5} {row.get('name')}: {row.get('detail')}")
        if row.get("hint"):
            desk.screen.tell(f"      {row['hint']}")
    return FAILED if failed else OK


def _servers(desk: Desk, there: bool) -> list[Json]:
    """How each server of tools comes up: the daemon has its box, its way out and its keys."""
    if not there:
        return []
    if not desk.daemon.awake():
        detail = "not tried: the daemon has what they need, and does not run"
        hint = "holdfast serve --detach && holdfast doctor"
        return [{"name": "servers of tools", "level": "ok", "detail": detail, "hint": hint}]
    return [_server(one) for one in rows_of(desk.daemon.post("/api/v1/mcp-checks"), "servers")]


def _server(one: Json) -> Json:
    name, problem = f"mcp {one['name']}", str(one.get("problem") or "")
    if problem:
        return {"name": name, "level": "warn", "detail": problem, "hint": one.get("hint") or ""}
    detail = f"came up in {one.get('milliseconds')} ms, {one.get('tools')} tools"
    return {"name": name, "level": "ok", "detail": detail, "hint": ""}


def backup(desk: Desk, given: Given) -> int:
    if given.word():
        to = Path(given.word()).expanduser().absolute()
        if to.is_dir():
            to /= _stamp()
    else:
        to = Path(desk.home, "backups", _stamp())
        to.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    done = desk.daemon.post("/api/v1/backup", {"to": str(to)})
    if given.has("json"):
        desk.screen.json(done)
    else:
        desk.screen.tell(f"{done.get('path')}")
        desk.screen.note(f"{int(done.get('bytes') or 0):,} bytes", mark="good")
    return OK


def restore(desk: Desk, given: Given) -> int:
    source = Path(given.word()).expanduser().absolute()
    if not source.is_file():
        raise Stop(f"there is no backup {source}")
    if desk.daemon.awake():
        raise Stop(
            "the daemon runs, and nothing but it may touch its database",
            hint=f"holdfast serve stop && holdfast restore {source}",
            name="daemon_running",
        )
    words = ["restore", str(source), *(["--json"] if given.has("json") else [])]
    _become(["holdfast.assembly", "--home", desk.home, *words])
    return OK


def purge(desk: Desk, given: Given) -> int:
    task, session = given.word(), given.one("session")
    if bool(task) == bool(session):
        raise Stop("name one task, or one session with --session", name="usage")
    if not given.one("reason"):
        raise Stop("say why with --reason: it is kept for the record", name="usage")
    what = f"task {task}" if task else f"everything of session {session}"
    if not given.has("yes"):
        desk.need_person("deleting without --yes")
        desk.screen.ask(f"make {what} unreadable for good? [y/N] ")
        if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
            raise Stop("nothing was deleted", code=FAILED)
    body: Json = {"task": task} if task else {"session": session}
    done = desk.daemon.post("/api/v1/purge", {**body, "reason": given.one("reason")})
    if given.has("json"):
        desk.screen.json(done)
    else:
        desk.screen.tell(f"{done.get('purged')} tasks made unreadable")
    return OK


def demo(desk: Desk, given: Given) -> int:
    _become(["holdfast.testing.demo", *given.words])
    return OK


def crashtest(desk: Desk, given: Given) -> int:
    _become(["holdfast.testing.crashtest", *given.words])
    return OK


def box_test(desk: Desk, given: Given) -> int:
    words = [f"--{name}" for name in ("control", "list", "json") if given.has(name)]
    words += [
        word for name in ("box", "only") for one in given.many(name) for word in (f"--{name}", one)
    ]
    _become(["holdfast.assembly.escape", "--home", desk.home, *words])
    return OK


def gate_bench(desk: Desk, given: Given) -> int:
    words = ["--json"] if given.has("json") else []
    words += [
        word
        for name in ("suite", "arm", "attacks", "python", "out")
        for one in given.many(name)
        for word in (f"--{name}", one)
    ]
    _become(["holdfast.testing.dojo.command", *words])
    return OK


def _become(module: list[str]) -> None:
    command = [*python(), "-m", *module]
    sys.stdout.flush()
    os.execv(command[0], command)  # noqa: S606  our own interpreter, our own module


def _make_folder(path: Path) -> bool:
    if path.is_dir():
        return False
    try:
        path.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise _unusable(path, error) from error
    return True


def _make_file(path: Path, content: Callable[[], str]) -> bool:
    """Write a private file that is not there yet; its content is made only then."""
    if path.exists() or path.is_symlink():
        return False
    text = content()
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise _unusable(path, error) from error
    return True


def _unusable(path: Path, error: OSError) -> Stop:
    hint = "choose another home with --home or HOLDFAST_HOME"
    return Stop(f"{path} cannot be made: {error.strerror}", hint=hint, code=UNAVAILABLE)


def _stamp() -> str:
    return time.strftime("holdfast-%Y%m%d-%H%M%S.db")
