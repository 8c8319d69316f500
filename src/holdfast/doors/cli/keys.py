"""The commands about keys of the HTTP door."""

from __future__ import annotations

import time

from .client import quote
from .out import ago, line
from .reading import count_of, rows_of, text_of, texts_of
from .stop import OK, Stop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .desk import Desk, Given
    from .wire import Json

_HEAD = ("KEY", "STATE", "SCOPES", "AGENTS", "A MINUTE", "MADE", "BEGINS WITH")
_SCOPES = ("SCOPE", "WHAT IT IS FOR")


def key_list(desk: Desk, given: Given) -> int:
    found = desk.daemon.get("/api/v1/keys")
    if given.has("json"):
        desk.screen.json(found)
        return OK
    if rows := rows_of(found, "keys"):
        now = time.time()
        desk.screen.table(_HEAD, [_row(one, now) for one in rows])
    else:
        desk.screen.note("there are no keys: holdfast key create NAME --scope SCOPE")
        scopes: Json = found.get("scopes") or {}
        desk.screen.table(_SCOPES, [[name, str(text)] for name, text in scopes.items()])
    return OK


def key_create(desk: Desk, given: Given) -> int:
    if not given.many("scope"):
        hint = "--scope says what it is for: holdfast key list"
        raise Stop("a key without a scope opens nothing", hint=hint, name="usage")
    body: Json = {"name": given.word(), "scopes": given.many("scope")}
    if given.many("agent"):
        body["agents"] = given.many("agent")
    for option, name in (("rate", "per_minute"), ("burst", "burst")):
        if given.has(option):
            body[name] = given.count(option)
    if given.has("expires"):
        body["days"] = given.number("expires")
    made = desk.daemon.post("/api/v1/keys", body)
    if given.has("json"):
        desk.screen.json(made)
        return OK
    desk.screen.note(
        f"{given.word()} was made; this is the only time that it is shown", mark="good"
    )
    desk.screen.answer(text_of(made, "key"))
    return OK


def key_revoke(desk: Desk, given: Given) -> int:
    gone = desk.daemon.post(f"/api/v1/keys/{quote(given.word())}/revoke")
    if given.has("json"):
        desk.screen.json(gone)
    else:
        desk.screen.note(f"{given.word()} opens nothing any more", mark="good")
    return OK


def _row(one: Json, now: float) -> list[str]:
    return [
        line(text_of(one, "name")),
        text_of(one, "state"),
        " ".join(texts_of(one, "scopes")),
        line(" ".join(texts_of(one, "agents"))),
        str(count_of(one, "per_minute") or "any"),
        ago(count_of(one, "made_at"), now),
        f"hfk_{text_of(one, 'ident')}_",
    ]
