"""What was tried for one model call, in a line for each try."""

from __future__ import annotations

from .out import line
from .reading import count_of, rows_of, text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .wire import Json

_THEN = {"retry": "asked again", "failover": "went on to the next", "give up": "gave up"}


def told(data: Json) -> list[str]:
    """The tries of an event, or of a reply; nothing where the first one was good."""
    tried = rows_of(data, "tried")
    return [_one(one) for one in tried] if any(one.get("code") for one in tried) else []


def _one(one: Json) -> str:
    model, code, reason = (text_of(one, name) for name in ("model", "code", "reason"))
    if code == "skipped":
        return line(f"{model} was not asked: {reason}")
    took = f"after {_seconds(one, 'took')}"
    if not code:
        first = f", first piece after {_seconds(one, 'first')}" if one.get("first") else ""
        return line(f"{model} answered {took}{first}")
    then = _THEN.get(text_of(one, "next"), "")
    return line(f"{model} {code} {took}{f'; {then}' if then else ''}: {reason or code}")


def _seconds(one: Json, name: str) -> str:
    return f"{count_of(one, name) / 1000:.1f} s"
