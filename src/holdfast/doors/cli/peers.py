"""The commands about agents elsewhere that ours may ask."""

from __future__ import annotations

from .client import quote
from .out import line
from .reading import count_of, rows_of, text_of, texts_of
from .stop import OK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .desk import Desk, Given
    from .wire import Json

_HEAD = ("NAME", "TOOL", "AGENTS", "SECRET", "FROM", "URL")


def peer_list(desk: Desk, given: Given) -> int:
    found = desk.daemon.get("/api/v1/peers")
    if given.has("json"):
        desk.screen.json(found)
    elif rows := rows_of(found, "peers"):
        desk.screen.table(_HEAD, [_row(one) for one in rows])
    else:
        desk.screen.note("there is no agent elsewhere: holdfast peer add --help")
    return OK


def peer_add(desk: Desk, given: Given) -> int:
    name, url = given.words
    body: Json = {
        "url": url,
        "secret": given.one("secret"),
        "agents": given.many("agent") or ["*"],
        "description": given.one("about"),
        "private": given.has("private"),
    }
    if (seconds := given.number("timeout")) is not None:
        body["timeout_seconds"] = seconds
    made = desk.daemon.post(_place(name), body)
    if given.has("json"):
        desk.screen.json(made)
    else:
        tool = text_of(made, "tool")
        desk.screen.note(f"{name} was added: your agents ask it with {tool}", mark="good")
        desk.screen.note(f"is it there? holdfast peer test {name}")
    return OK


def peer_test(desk: Desk, given: Given) -> int:
    seen = desk.daemon.post(f"{_place(given.word())}/test")
    if given.has("json"):
        desk.screen.json(seen)
        return OK
    title, took = line(text_of(seen, "title")), count_of(seen, "milliseconds")
    version, endpoint = text_of(seen, "version"), line(text_of(seen, "endpoint"))
    desk.screen.note(f"{title} speaks A2A {version} at {endpoint}, in {took} ms", mark="good")
    for skill in texts_of(seen, "skills"):
        desk.screen.tell(line(skill))
    if not seen.get("once"):
        desk.screen.note("it does not promise to take a message that comes twice as one")
    return OK


def peer_remove(desk: Desk, given: Given) -> int:
    gone = desk.daemon.post(f"{_place(given.word())}/remove")
    if given.has("json"):
        desk.screen.json(gone)
    else:
        desk.screen.note(f"{given.word()} is forgotten", mark="good")
    return OK


def _row(peer: Json) -> tuple[str, ...]:
    return (
        text_of(peer, "name"),
        text_of(peer, "tool"),
        ", ".join(texts_of(peer, "agents")),
        text_of(peer, "secret") or "-",
        "added" if peer.get("added") else "configuration",
        line(text_of(peer, "url")),
    )


def _place(name: str) -> str:
    return f"/api/v1/peers/{quote(name)}"
