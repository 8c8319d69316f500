"""What an agent says and wants while it answers one prompt: bounded, and as strangers' words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import msgspec
from msgspec import Raw, Struct

from holdfast.adapters.tools.mcp.messages import shaped

_LONGEST = 1 << 20
_MOST = 200
_LINE = 300


class _Content(Struct, frozen=True):
    text: str = ""


class _Step(Struct, frozen=True, rename="camel"):
    tool_call_id: str = ""
    title: str | None = None
    kind: str | None = None
    status: str | None = None


class _Update(Struct, frozen=True, rename="camel"):
    session_update: str = ""
    content: Any = None
    tool_call_id: str = ""
    title: str | None = None
    kind: str | None = None
    status: str | None = None


class _Said(Struct, frozen=True):
    update: _Update = _Update()


class _Option(Struct, frozen=True, rename="camel"):
    option_id: str
    kind: str = ""


class _Wish(Struct, frozen=True, rename="camel"):
    tool_call: _Step = _Step()
    options: tuple[_Option, ...] = ()


class Heard:
    """One answer as it comes. `allow` are patterns of what the agent may do that it asks leave for.

    Leave is given in its own words and for its own words: what holds it is its box.
    """

    def __init__(self, allow: Sequence[str]) -> None:
        self._allow = allow
        self._pieces: list[str] = []
        self._size = 0
        self._steps: dict[str, _Step] = {}
        self.refused: list[str] = []
        self.allowed: list[str] = []

    def hear(self, params: Raw) -> str:
        """Takes one update in; a few words if it is a new step. Raises `Odd`."""
        update = shaped(params, _Said, "an update").update
        match update.session_update:
            case "agent_message_chunk":
                self._add(update.content)
            case "tool_call" | "tool_call_update":
                return self._step(update)
            case _:
                pass
        return ""

    def permit(self, params: Raw) -> Mapping[str, Any]:
        """The answer to a question for leave. Raises `Odd`."""
        wish = shaped(params, _Wish, "a question for leave")
        wanted = self._words(wish.tool_call)
        good = any(fnmatchcase(wanted, pattern) for pattern in self._allow)
        told = self.allowed if good else self.refused
        if wanted not in told and len(told) < _MOST:
            told.append(wanted)
        kinds = ("allow_once", "allow_always") if good else ("reject_once", "reject_always")
        for kind in kinds:
            for option in wish.options:
                if option.kind == kind:
                    return {"outcome": {"outcome": "selected", "optionId": option.option_id}}
        return {"outcome": {"outcome": "cancelled"}}

    def text(self) -> str:
        """What it said, what it did, and what it was not allowed."""
        parts = ["".join(self._pieces).strip() or "[it said nothing]"]
        if self._size > _LONGEST:
            parts.append(f"[{self._size - _LONGEST:,} more characters]")
        if self._steps:
            parts.append("What it says that it did:")
            parts += [f"- {self._words(one)} ({one.status})" for one in self._steps.values()]
        return "\n".join(parts)

    def _add(self, content: Any) -> None:
        try:
            text = msgspec.convert(content, _Content).text
        except msgspec.ValidationError:
            return
        room = max(0, _LONGEST - self._size)
        self._size += len(text)
        if room:
            self._pieces.append(text[:room])

    def _step(self, update: _Update) -> str:
        known = self._steps.get(update.tool_call_id)
        if known is None and len(self._steps) >= _MOST:
            return ""
        step = _Step(
            tool_call_id=update.tool_call_id,
            title=update.title or (known.title if known else None),
            kind=update.kind or (known.kind if known else None),
            status=update.status or (known.status if known else None) or "pending",
        )
        self._steps[update.tool_call_id] = step
        return "" if known else self._words(step)

    def _words(self, step: _Step) -> str:
        """A step in a few words, as it is asked about and allowed: `execute npm test`."""
        known = self._steps.get(step.tool_call_id, step)
        title = " ".join((step.title or known.title or "something").split())[:_LINE]
        return f"{step.kind or known.kind or 'other'} {title}"
