"""`holdfast model`: ask one, straight."""

from __future__ import annotations

from .asking import task_text
from .out import dollars
from .reading import count_of, part_of, rows_of, text_of
from .stop import FAILED, INTERRUPTED, OK, UNAVAILABLE, Stop
from .wire import CutOff

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .desk import Desk, Given
    from .wire import Json

_ASK = "/v1/models/ask"


def ask(desk: Desk, given: Given) -> int:
    """The answer on stdout as it comes; who gave it, and what it took, on stderr."""
    body: Json = {"text": task_text(desk.screen, given), "stream": True}
    for name in ("model", "role", "system"):
        if given.one(name):
            body[name] = given.one(name)
    quiet = given.has("json")
    try:
        reply = _heard(desk, body, quiet=quiet)
    except KeyboardInterrupt:
        if not quiet:
            desk.screen.tell("")
        return INTERRUPTED
    if quiet:
        desk.screen.json(reply)
    _tell_what_it_took(desk, reply)
    return FAILED if reply.get("problem") else OK


def _heard(desk: Desk, body: Json, *, quiet: bool) -> Json:
    """The whole reply. Its text is shown on the way, unless `quiet`."""
    shown = ""
    try:
        for item in desk.daemon.hear(_ASK, body):
            match item.kind:
                case "delta" if "reset" in item.data and not quiet:
                    desk.screen.tell("")
                    desk.screen.note(f"again, with {item.data['reset']}", mark="point")
                    shown = ""
                case "delta" if not quiet:
                    piece = text_of(item.data, "text")
                    shown += piece
                    desk.screen.give(piece)
                case "reply":
                    if not quiet:
                        desk.screen.tell(text_of(item.data, "text").removeprefix(shown))
                    return item.data
                case "error":
                    if shown:
                        desk.screen.tell("")
                    said = part_of(item.data, "error")
                    raise Stop(
                        text_of(said, "message"),
                        hint=text_of(said, "hint"),
                        name=text_of(said, "code"),
                        code=UNAVAILABLE,
                    )
                case _:
                    pass
    except CutOff as error:
        raise Stop(str(error), hint="holdfast doctor", code=UNAVAILABLE) from error
    raise Stop("the daemon ended the answer before its end", code=UNAVAILABLE)


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
