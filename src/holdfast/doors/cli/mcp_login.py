"""Logging in to servers of tools: in a browser here, or anywhere with the address brought back."""

from __future__ import annotations

import time
from contextlib import closing

from .client import quote
from .landing import Landing
from .out import line
from .reading import count_of, rows_of, text_of, texts_of
from .stop import OK, REFUSED, Stop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .desk import Desk, Given
    from .wire import Json

_HEAD = ("SERVER", "LOGIN", "ISSUER", "SCOPES", "UNTIL", "NOTE")


def mcp_login(desk: Desk, given: Given) -> int:
    name = given.word()
    with closing(Landing(given.count("port") or 0)) as landing:
        body: Json = {"redirect": landing.address}
        begun = desk.daemon.post(f"/api/v1/mcp/{quote(name)}/login", body)
        if text_of(begun, "state") == "in":
            return _made(desk, given, begun)
        _introduce(desk, begun)
        landing.only_for(text_of(begun, "redirect"))
        landing.invite(desk, given, begun, "url")
        if not (answer := landing.answer(desk, given)):
            hint = f"holdfast mcp login {name}"
            raise Stop("nobody finished the login", hint=hint, code=REFUSED)
    attempt = quote(text_of(begun, "attempt"))
    made = desk.daemon.post(f"/api/v1/mcp-logins/{attempt}", {"answer": answer})
    return _made(desk, given, made)


def mcp_logout(desk: Desk, given: Given) -> int:
    body: Json = {"local_only": given.has("local-only")}
    gone = desk.daemon.post(f"/api/v1/mcp/{quote(given.word())}/logout", body, repeatable=True)
    if given.has("json"):
        desk.screen.json(gone)
        return OK
    taken = ", and its issuer took it back" if gone.get("revoked") else ""
    desk.screen.note(f"logged out of {given.word()}{taken}", mark="good")
    return OK


def mcp_status(desk: Desk, given: Given) -> int:
    found = desk.daemon.get("/api/v1/mcp-logins")
    rows = rows_of(found, "logins")
    if name := given.word():
        rows = [one for one in rows if text_of(one, "server") == name]
    if given.has("json"):
        desk.screen.json({"logins": rows})
    elif rows:
        desk.screen.table(_HEAD, [_row(one) for one in rows])
    else:
        desk.screen.note("no server has a login or wants one: holdfast mcp login --help")
    return OK


def _introduce(desk: Desk, begun: Json) -> None:
    """Who will ask the person, and for what."""
    scopes = texts_of(begun, "scopes")
    wanted = f", for {line(' '.join(scopes))}" if scopes else ""
    desk.screen.note(f"its logins are issued by {line(text_of(begun, 'issuer'))}{wanted}")


def _made(desk: Desk, given: Given, made: Json) -> int:
    if given.has("json"):
        desk.screen.json(made)
        return OK
    name = text_of(made, "server")
    desk.screen.note(f"logged in to {name}", mark="good")
    if note := text_of(made, "note"):
        desk.screen.note(line(note))
    desk.screen.note(f"to look at its tools and agree to them: holdfast mcp trust {name}")
    return OK


def _row(login: Json) -> tuple[str, ...]:
    until, state = count_of(login, "expires_at"), text_of(login, "state")
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(until / 1000)) if until else "-"
    return (
        text_of(login, "server"),
        {"in": "logged in", "over": "over"}.get(state, "none"),
        line(text_of(login, "issuer")) or "-",
        line(" ".join(texts_of(login, "scopes"))) or "-",
        "renewed by itself" if login.get("lasts") and state == "in" else when,
        line(text_of(login, "note")),
    )
