"""The commands about webhooks."""

from __future__ import annotations

import time

from .client import quote
from .out import ago, line
from .reading import count_of, rows_of, text_of, texts_of
from .stop import OK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .desk import Desk, Given
    from .wire import Json

_HEAD = ("WEBHOOK", "EVENTS", "ARRIVED", "LAST", "WAITING", "SET ASIDE", "WHERE")
_MESSAGES = ("MESSAGE", "EVENT", "TRIES", "STATE", "WHY")


def webhook_list(desk: Desk, given: Given) -> int:
    found = desk.daemon.get("/api/v1/webhooks")
    if given.has("json"):
        desk.screen.json(found)
        return OK
    rows = rows_of(found, "webhooks")
    if not rows:
        desk.screen.note("nobody is told anything: holdfast webhook add NAME URL")
        return OK
    now = time.time()
    desk.screen.table(_HEAD, [_row(one, now) for one in rows])
    for one in rows:
        if problem := text_of(one, "problem"):
            desk.screen.note(f"{text_of(one, 'name')}: {line(problem)}", mark="bad")
    return OK


def webhook_add(desk: Desk, given: Given) -> int:
    body: Json = {
        "name": given.word(),
        "url": given.word(1),
        "private": given.has("private"),
    }
    if given.many("on"):
        body["events"] = given.many("on")
    made = desk.daemon.post("/api/v1/webhooks", body)
    if given.has("json"):
        desk.screen.json(made)
        return OK
    desk.screen.note(f"{given.word()} was added; its secret is shown this once", mark="good")
    desk.screen.answer(text_of(made, "secret"))
    return OK


def webhook_test(desk: Desk, given: Given) -> int:
    return _done(desk, given, "test", "has taken a message")


def webhook_messages(desk: Desk, given: Given) -> int:
    found = desk.daemon.get(f"/api/v1/webhooks/{quote(given.word())}/messages")
    if given.has("json"):
        desk.screen.json(found)
        return OK
    rows = [_message(one, "waits") for one in rows_of(found, "waiting")]
    rows += [_message(one, "set aside") for one in rows_of(found, "dead")]
    if rows:
        desk.screen.table(_MESSAGES, rows)
    else:
        desk.screen.note("everything has arrived", mark="good")
    return OK


def webhook_retry(desk: Desk, given: Given) -> int:
    return _done(desk, given, "retry", "is told once more what was set aside")


def webhook_remove(desk: Desk, given: Given) -> int:
    return _done(desk, given, "remove", "is told nothing any more")


def _done(desk: Desk, given: Given, act: str, said: str) -> int:
    found = desk.daemon.post(f"/api/v1/webhooks/{quote(given.word())}/{act}")
    if given.has("json"):
        desk.screen.json(found)
    else:
        desk.screen.note(f"{line(given.word())} {said}", mark="good")
    return OK


def _row(one: Json, now: float) -> list[str]:
    return [
        line(text_of(one, "name")),
        " ".join(texts_of(one, "events")),
        str(count_of(one, "sent")),
        ago(count_of(one, "sent_at"), now),
        str(count_of(one, "waiting")),
        str(count_of(one, "dead")),
        line(text_of(one, "url")),
    ]


def _message(one: Json, state: str) -> list[str]:
    return [
        line(text_of(one, "id")),
        text_of(one, "event"),
        str(count_of(one, "tries")),
        state,
        line(text_of(one, "problem")),
    ]
