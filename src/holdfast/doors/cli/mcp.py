"""The commands about servers whose tools agents may use."""

from __future__ import annotations

import sys
import time

from .client import quote
from .out import ago, line, plain
from .reading import count_of, rows_of, text_of, texts_of
from .stop import OK, Stop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .desk import Desk, Given
    from .wire import Json

_HEAD = ("NAME", "STATE", "TOOLS", "AGENTS", "RUNNING", "FROM", "WHERE")
_TOOLS = ("TOOL", "EFFECT", "OFFERED", "WHAT IT SAYS")


def mcp_list(desk: Desk, given: Given) -> int:
    found = desk.daemon.get("/api/v1/mcp")
    if given.has("json"):
        desk.screen.json(found)
        return OK
    servers = rows_of(found, "servers")
    if not servers:
        desk.screen.note("there is no server: holdfast mcp add --help")
        return OK
    desk.screen.table(_HEAD, [_row(one) for one in servers])
    for one in servers:
        if problem := text_of(one, "problem"):
            desk.screen.note(f"{text_of(one, 'name')}: {line(problem)}", mark="bad")
            _show_changes(desk, one)
    return OK


def mcp_add(desk: Desk, given: Given) -> int:
    name, command = given.word(), given.words[1:]
    if bool(command) == given.has("url"):
        what = "give either --url or, after --, a command"
        raise Stop(what, hint="holdfast mcp add --help", name="usage")
    body: Json = {
        "command": command,
        "url": given.one("url"),
        "headers": _pairs(given, "header"),
        "environment": _pairs(given, "env"),
        "reveal": given.many("reveal"),
        "agents": given.many("agent") or ["*"],
        "tools": given.many("tool") or ["*"],
        "effects": {
            **dict.fromkeys(given.many("reads"), "reads"),
            **dict.fromkeys(given.many("repeatable"), "repeatable"),
        },
        "read_only": given.many("read-only"),
        "shared": given.has("shared"),
        "private": given.has("private"),
        "handshake": given.has("handshake"),
    }
    for option, key in (("timeout", "timeout_seconds"), ("ask-seconds", "ask_seconds")):
        if (seconds := given.number(option)) is not None:
            body[key] = seconds
    if sampling := given.one("sampling"):
        body["sampling"] = sampling
    if login := _login(given):
        body["login"] = login
    desk.daemon.post(_place(name), body)
    desk.screen.note(f"{name} was added; looking at what it offers")
    return _agree(desk, given, name)


def _login(given: Given) -> Json:
    """Who we are to those who issue its logins, as far as it was said."""
    login: Json = {}
    if client := given.one("client-id"):
        login["client_id"] = client
    if secret := given.one("client-secret"):
        login["client_secret"] = f"$SECRET{{{secret}}}"
    if given.has("own-login"):
        login["grant"] = "own"
    return login


def mcp_test(desk: Desk, given: Given) -> int:
    seen = desk.daemon.post(f"{_place(given.word())}/inspect")
    if given.has("json"):
        desk.screen.json(seen)
        return OK
    _show(desk, seen)
    if not seen.get("trusted"):
        hint = f"to agree: holdfast mcp trust {given.word()}"
        desk.screen.note(f"it is not trusted, so nothing of it is offered; {hint}", mark="bad")
    return OK


def mcp_tools(desk: Desk, given: Given) -> int:
    found = desk.daemon.get(f"{_place(given.word())}/tools")
    if given.has("json"):
        desk.screen.json(found)
        return OK
    rows = rows_of(found, "tools")
    if rows:
        desk.screen.table(_TOOLS, [_tool(one) for one in rows])
    else:
        hint = f"holdfast mcp trust {given.word()}"
        desk.screen.note(f"nobody has agreed to its tools yet: {hint}")
    return OK


def mcp_log(desk: Desk, given: Given) -> int:
    found = desk.daemon.get(f"{_place(given.word())}/remarks")
    if given.has("json"):
        desk.screen.json(found)
        return OK
    rows = rows_of(found, "remarks")
    if not rows:
        desk.screen.note(f"{given.word()} has said nothing without being asked")
    now = time.time()
    for one in rows:
        words = (ago(count_of(one, "at"), now), text_of(one, "level"), line(text_of(one, "text")))
        desk.screen.tell("  ".join(words))
    return OK


def mcp_trust(desk: Desk, given: Given) -> int:
    return _agree(desk, given, given.word())


def mcp_remove(desk: Desk, given: Given) -> int:
    gone = desk.daemon.post(f"{_place(given.word())}/remove")
    if given.has("json"):
        desk.screen.json(gone)
    else:
        desk.screen.note(f"{given.word()} is forgotten", mark="good")
    return OK


def _agree(desk: Desk, given: Given, name: str) -> int:
    """Show what it is, ask, and agree to exactly that."""
    seen = desk.daemon.post(f"{_place(name)}/inspect")
    if not given.has("json"):
        _show(desk, seen, whole=True)
    if not (given.has("yes") or _asked(desk, name, seen)):
        state = _state(desk, name)
        hint = f"holdfast mcp trust {name}"
        if given.has("json"):
            desk.screen.json(state)
        desk.screen.note(f"{name} is {text_of(state, 'state')}; to agree: {hint}", mark="point")
        return OK
    state = desk.daemon.post(f"{_place(name)}/trust", {"digest": text_of(seen, "digest")})
    if given.has("json"):
        desk.screen.json(state)
    else:
        count = count_of(state, "tools")
        desk.screen.note(f"{name} is trusted: {count} tools, as they are now", mark="good")
    return OK


def _asked(desk: Desk, name: str, seen: Json) -> bool:
    """Somebody says yes. Where nobody sits, nobody does."""
    if seen.get("trusted") and not texts_of(seen, "changes"):
        return True
    if not desk.screen.attended:
        return False
    desk.screen.ask(f"May agents use these tools of {name}? [y/N] ")
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _state(desk: Desk, name: str) -> Json:
    servers = rows_of(desk.daemon.get("/api/v1/mcp"), "servers")
    return next(one for one in servers if text_of(one, "name") == name)


def _show(desk: Desk, seen: Json, *, whole: bool = False) -> None:
    """What a server offers; `whole`: every word of it, for somebody who is to agree."""
    title, version = line(text_of(seen, "title")), line(text_of(seen, "version"))
    rows = rows_of(seen, "tools")
    took = count_of(seen, "milliseconds")
    desk.screen.note(
        f"{title or 'it'} {version} speaks {text_of(seen, 'protocol')}: {len(rows)} tools,"
        f" up in {took} ms"
    )
    if rows and not whole:
        desk.screen.table(_TOOLS, [_tool(one) for one in rows])
    for one in rows if whole else ():
        tool, effect, offered, _ = _tool(one)
        desk.screen.tell(f"{tool}  {effect}{'' if offered == 'yes' else ', not offered'}")
        for text in plain(_words(one)).splitlines():
            desk.screen.tell(f"    {text}")
    if texts_of(seen, "changes"):
        desk.screen.note("it is not what was agreed to:", mark="bad")
        _show_changes(desk, seen)


def _show_changes(desk: Desk, told: Json) -> None:
    for text in texts_of(told, "changes"):
        indent = " " * (len(text) - len(text.lstrip()))
        desk.screen.note(f"  {indent}{line(text)}")


def _row(server: Json) -> tuple[str, ...]:
    return (
        text_of(server, "name"),
        text_of(server, "state"),
        str(count_of(server, "tools")),
        ", ".join(texts_of(server, "agents")),
        str(count_of(server, "running")),
        text_of(server, "source"),
        line(text_of(server, "where")),
    )


def _tool(tool: Json) -> tuple[str, ...]:
    return (
        line(text_of(tool, "tool")),
        text_of(tool, "effect"),
        "yes" if tool.get("offered") else "no",
        line(_words(tool)),
    )


def _words(tool: Json) -> str:
    """Its own, which come after the line that says whose they are."""
    return text_of(tool, "description").partition("\n\n")[2]


def _pairs(given: Given, option: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in given.many(option):
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise Stop(f"--{option} {pair!r} is not NAME=VALUE", name="usage")
        found[name.strip()] = value
    return found


def _place(name: str) -> str:
    return f"/api/v1/mcp/{quote(name)}"
