"""Connecting providers: the key is asked for without echo, and never shown again."""

from __future__ import annotations

import getpass
import sys
import time

from .client import quote
from .out import line
from .reading import count_of, part_of, rows_of, text_of, texts_of
from .stop import OK, REFUSED, Stop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .desk import Desk, Given
    from .wire import Json

_HEAD = ("PROVIDER", "CREDENTIAL FROM", "AT", "MODELS", "NOTE")
_LONGEST = 1 << 16


def connect(desk: Desk, given: Given) -> int:
    name = given.word()
    if given.word(1):  # it may be a key: it is not repeated
        hint = f"holdfast connect {name} asks for it, or reads it with --stdin"
        raise Stop("a key is never an argument, where others see it", hint=hint, name="usage")
    if not name:
        return _list(desk, given)
    if given.one("url") or given.has("stdin") or _how(desk, name) == "key":
        return _with_key(desk, given, name)
    return _with_login(desk, given, name)


def disconnect(desk: Desk, given: Given) -> int:
    body: Json = {"local_only": given.has("local-only")}
    gone = desk.daemon.post(_target(given.word(), "/disconnect"), body, repeatable=True)
    if given.has("json"):
        desk.screen.json(gone)
        return OK
    what = [word for word in ("key", "login", "server") if gone.get(word)]
    said = f"forgot its {' and '.join(what)}" if what else "nothing of it was saved"
    if gone.get("revoked"):
        said += ", and the provider took the login back"
    desk.screen.tell(f"{line(text_of(gone, 'name'))}: {said}")
    if gone.get("note"):
        desk.screen.note(line(text_of(gone, "note")), color="warn")
    return OK


def _list(desk: Desk, given: Given) -> int:
    if given.one("url") or given.has("stdin"):
        raise Stop("name the provider", hint="holdfast connect NAME", name="usage")
    found = desk.daemon.get("/api/v1/connections")
    if given.has("json"):
        desk.screen.json(found)
        return OK
    rows = rows_of(found, "connections")
    if rows:
        desk.screen.table(_HEAD, [_row(row) for row in rows])
    else:
        desk.screen.note("nothing is connected; the offline rules answer")
    if offers := [text_of(row, "name") for row in rows_of(found, "offers")]:
        desk.screen.note(f"can be connected: {', '.join(offers)}")
    return OK


def _row(row: Json) -> tuple[str, ...]:
    models = texts_of(row, "models")
    more = f" and {len(models) - 1} more" if len(models) > 1 else ""
    return (
        text_of(row, "name"),
        text_of(row, "source"),
        text_of(row, "host"),
        f"{models[0]}{more}" if models else "-",
        text_of(row, "note"),
    )


def _how(desk: Desk, name: str) -> str:
    """Whether it is connected by a key, or by a login that a person finishes elsewhere."""
    for row in rows_of(desk.daemon.get("/api/v1/connections"), "offers"):
        if row.get("name") == name:
            return text_of(row, "how")
    return "key"


def _with_key(desk: Desk, given: Given, name: str) -> int:
    url = given.one("url")
    if given.many("model") and not url:
        raise Stop("--model is for a server of your own: give its --url", name="usage")
    body: Json = {"api_key": _key(desk, given, name, optional=bool(url))}
    body["check"] = not given.has("no-check")
    if url:
        body.update(url=url, models=given.many("model"))
    made = desk.daemon.post(_target(name), body)
    return _made(desk, given, made)


def _key(desk: Desk, given: Given, name: str, *, optional: bool) -> str:
    if given.has("stdin"):
        return sys.stdin.read(_LONGEST).strip()
    if not desk.screen.attended:
        if optional:
            return ""
        hint = f"pipe it in: holdfast connect {name} --stdin"
        raise Stop("a key can only be typed at a terminal", hint=hint, name="usage")
    empty = " (none: just Enter)" if optional else ""
    return getpass.getpass(f"Key of {name}{empty}, not shown: ", sys.stderr).strip()


def _with_login(desk: Desk, given: Given, name: str) -> int:
    invited = desk.daemon.post(_target(name, "/login"))
    if text_of(invited, "note"):
        desk.screen.note(line(text_of(invited, "note")), color="warn")
    attempt = f"/api/v1/logins/{quote(text_of(invited, 'attempt'))}"
    if not text_of(invited, "code"):
        return _made(desk, given, _brought_back(desk, invited, attempt))
    desk.screen.note(f"open {line(text_of(invited, 'url'))}")
    desk.screen.note(f"and type the code {line(text_of(invited, 'code'))}", color="strong")
    until = time.monotonic() + count_of(invited, "seconds")
    while time.monotonic() < until:
        time.sleep(max(0.05, min(count_of(invited, "interval"), 30)))
        if made := part_of(desk.daemon.post(attempt), "connection"):
            return _made(desk, given, made)
    raise Stop("nobody typed the code in time", hint=f"holdfast connect {name}", code=REFUSED)


def _brought_back(desk: Desk, invited: Json, attempt: str) -> Json:
    """What the browser ends at is pasted here: the address, or the code that it shows."""
    desk.screen.note("open this in a browser on any machine, and log in:")
    desk.screen.note(line(text_of(invited, "url")))
    if desk.screen.attended:
        desk.screen.ask("then paste the address that it ends at, or the code that it shows: ")
    answer = sys.stdin.readline(_LONGEST).strip()
    if not answer:
        raise Stop("nothing was pasted: the login was not finished", code=REFUSED)
    return part_of(desk.daemon.post(attempt, {"answer": answer}), "connection")


def _made(desk: Desk, given: Given, made: Json) -> int:
    if given.has("json"):
        desk.screen.json(made)
        return OK
    name, models = line(text_of(made, "name")), texts_of(made, "models")
    use = f"; use it as {name}/{line(models[0])}" if models else f"; name a model: {name}/MODEL"
    desk.screen.tell(f"{name}: connected, from {line(text_of(made, 'source'))}{use}")
    if text_of(made, "note"):
        desk.screen.note(line(text_of(made, "note")), color="warn")
    return OK


def _target(name: str, end: str = "") -> str:
    return f"/api/v1/connections/{quote(name)}{end}"
