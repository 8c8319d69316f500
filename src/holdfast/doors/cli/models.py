"""`holdfast model`: ask one, straight, for words or vectors; and how they are."""

from __future__ import annotations

import json

from .asking import task_text, texts
from .choosing import pick_model
from .out import dollars, span
from .reading import count_of, number_of, part_of, rows_of, text_of
from .stop import FAILED, INTERRUPTED, OK, UNAVAILABLE, Stop
from .wire import CutOff

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .desk import Desk, Given
    from .wire import Json

_ASK = "/api/v1/models/ask"
_EMBED = "/api/v1/models/embed"
_HEAD = ("MODEL", "STATE", "ANSWERED", "FAILED", "LAST", "BECAUSE")


def ask(desk: Desk, given: Given) -> int:
    """The answer on stdout as it comes; who gave it, and what it took, on stderr."""
    pick_model(desk, given)
    body: Json = {"text": task_text(desk.screen, given), "stream": True}
    for name in ("model", "role", "system"):
        if given.one(name):
            body[name] = given.one(name)
    quiet = given.has("json")
    try:
        reply = _heard(desk, _ASK, body, quiet=quiet)
    except KeyboardInterrupt:
        if not quiet:
            desk.screen.tell("")
        return INTERRUPTED
    if quiet:
        desk.screen.json(reply)
    _tell_what_it_took(desk, reply)
    return FAILED if reply.get("problem") else OK


def embed(desk: Desk, given: Given) -> int:
    """A line of numbers for each text on stdout; who made them, and what it took, on stderr."""
    body: Json = {"texts": texts(desk.screen, given), "stream": True}
    if given.one("model"):
        body["model"] = given.one("model")
    if given.has("query"):
        body["purpose"] = "query"
    made = _heard(desk, _EMBED, body, quiet=True)
    if given.has("json"):
        desk.screen.json(made)
    else:
        vectors: list[list[float]] = made["vectors"]
        for vector in vectors:
            desk.screen.tell(json.dumps(vector))
    _tell_what_it_took(desk, made)
    return OK


def health(desk: Desk, given: Given) -> int:
    found = desk.daemon.get("/api/v1/models/health")
    rows = rows_of(found, "models")
    if given.has("json"):
        desk.screen.json(found)
    elif rows:
        desk.screen.table(_HEAD, [_health(row) for row in rows])
    else:
        desk.screen.note("no model has been asked yet")
    return OK


def _health(row: Json) -> tuple[str, ...]:
    left = number_of(row, "cooldown_remaining")
    state = "well" if row.get("available") else f"left alone for {span(left)}"
    return (
        text_of(row, "model"),
        state if row.get("available") or left else "on trial",
        f"{count_of(row, 'success_count'):,}",
        f"{count_of(row, 'failure_count'):,}",
        text_of(row, "last_code") or "-",
        text_of(row, "last_error") or "-",
    )


def _heard(desk: Desk, target: str, body: Json, *, quiet: bool) -> Json:
    """The whole reply. A terminal shows its text on the way, unless `quiet`.

    A program that reads gets the answer only, and once: what was heard may turn out to be void.
    """
    shown, aloud = "", desk.screen.out_is_terminal and not quiet
    try:
        for item in desk.daemon.hear(target, body):
            match item.kind:
                case "delta" if "reset" in item.data:
                    _begin_again(desk, shown, text_of(item.data, "reset"))
                    shown = ""
                case "delta" if aloud:
                    piece = text_of(item.data, "text")
                    shown += piece
                    desk.screen.give(piece)
                case "reply":
                    if not quiet:
                        desk.screen.tell(text_of(item.data, "text").removeprefix(shown))
                    return item.data
                case "error":
                    _begin_again(desk, shown, "")
                    raise _failure(item.data)
                case _:
                    pass
    except CutOff as error:
        raise Stop(str(error), hint="holdfast doctor", code=UNAVAILABLE) from error
    raise Stop("the daemon ended the answer before its end", code=UNAVAILABLE)


def _begin_again(desk: Desk, shown: str, model: str) -> None:
    """What was shown is void; `model` begins anew, or nobody."""
    if shown:
        desk.screen.tell("")
    if model:
        desk.screen.note(f"again, with {model}", mark="point")


def _failure(said: Json) -> Stop:
    return Stop(
        text_of(said, "detail"),
        hint=text_of(said, "hint"),
        name=text_of(said, "code"),
        code=UNAVAILABLE,
    )


def _tell_what_it_took(desk: Desk, reply: Json) -> None:
    for one in rows_of(reply, "tried"):
        if text_of(one, "code"):
            reason = text_of(one, "reason") or text_of(one, "code")
            desk.screen.note(f"{text_of(one, 'model')}: {reason}", mark="bad")
    for call in rows_of(reply, "calls"):
        desk.screen.note(f"it would call {text_of(call, 'tool')}", mark="point")
    if reply.get("problem"):
        desk.screen.note(text_of(reply, "problem"), mark="bad")
    usage = part_of(reply, "usage")
    tokens = count_of(usage, "input") + count_of(usage, "output")
    cost = reply.get("cost_usd")
    price = "no price is known" if cost is None else dollars(float(cost))
    desk.screen.note(f"{text_of(reply, 'model')}, {tokens:,} tokens, {price}", mark="good")
