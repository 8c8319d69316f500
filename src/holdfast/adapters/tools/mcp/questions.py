"""What servers ask of people, while a call of theirs is under way: shown, answered, or too late."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import anyio
from msgspec import Struct

from holdfast.adapters.tools.web.outside import cleaned
from holdfast.core.error import Invalid, NotFound
from holdfast.core.ids import TaskId
from holdfast.core.mcp import ServerSpec
from holdfast.ports.clock import Clock
from holdfast.ports.mcp import ServerQuestion
from holdfast.ports.tools import Job

_MOST, _FIELDS, _LONGEST = 32, 50, 4_000
_NOTE = 200
_KINDS: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
}


class Answered(Struct, frozen=True, kw_only=True):
    """What became of a question: `accept`, `decline`, or `cancel` when nobody was there in time."""

    action: str
    content: Mapping[str, Any] = {}


class _Open:
    """A question that waits."""

    def __init__(self, question: ServerQuestion) -> None:
        self.question = question
        self.answered = anyio.Event()
        self.answer = Answered(action="cancel")


class Questions:
    """All that wait. None of them outlives the call that it belongs to.

    `told` gives a word to whoever watches the task.
    """

    def __init__(self, clock: Clock, told: Callable[[TaskId, str], None]) -> None:
        self._clock, self._told = clock, told
        self._open: dict[str, _Open] = {}

    def all(self) -> Sequence[ServerQuestion]:
        return [one.question for one in self._open.values()]

    async def ask(
        self, spec: ServerSpec, job: Job, text: str, fields: Mapping[str, Any]
    ) -> Answered:
        """Wait for a person, for as long as the owner gives them. A server that may not ask, or
        works for a task that nobody attends, is declined at once."""
        if job.unattended or not spec.ask_seconds or len(self._open) >= _MOST:
            return Answered(action="decline")
        name = self._clock.new_id("ask")
        shown = cleaned(text[:_LONGEST])[0]
        one = _Open(
            ServerQuestion(
                id=name, server=spec.name, task=job.task, text=shown, fields=_shown(fields)
            )
        )
        self._open[name] = one
        self._told(job.task, f"{spec.name} asks: {shown[:_NOTE]} (holdfast mcp answer {name})")
        try:
            with anyio.move_on_after(spec.ask_seconds):
                await one.answered.wait()
        finally:
            del self._open[name]
        return one.answer

    def answer(self, name: str, *, accept: bool, content: Mapping[str, Any]) -> ServerQuestion:
        """Raises `NotFound` when it is too late, `Invalid` for what was not asked for."""
        one = self._open.get(name)
        if one is None:
            hint = "holdfast mcp questions"
            raise NotFound(f"nobody asks {name} any more", code="no_question", hint=hint)
        told = filled(one.question.fields, content) if accept else {}
        one.answer = Answered(action="accept" if accept else "decline", content=told)
        one.answered.set()
        return one.question


def filled(fields: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    """The answer with what was left to defaults. Raises `Invalid`, saying which field."""
    told: dict[str, Any] = {}
    for strange in content.keys() - fields.keys():
        raise Invalid(f"it does not ask for {strange[:60]!r}", code="bad_answer")
    for name, field in fields.items():
        value = content.get(name, field.get("default"))
        if value is None:
            if field.get("required"):
                raise Invalid(f"it needs {name}", code="bad_answer")
            continue
        kinds = _KINDS.get(str(field.get("type")), (str, int, float, bool, list))
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise Invalid(f"{name} must be of type {field.get('type')}", code="bad_answer")
        allowed = field.get("enum")
        if isinstance(allowed, list) and value not in allowed:
            choices = ", ".join(map(str, cast("list[object]", allowed)))
            raise Invalid(f"{name} must be one of {choices}", code="bad_answer")
        told[name] = value
    return told


def _shown(fields: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The fields of a form, plain: what a person reads is a stranger's word."""
    properties = fields.get("properties")
    required = fields.get("required")
    needed = cast("list[object]", required) if isinstance(required, list) else []
    found: dict[str, dict[str, Any]] = {}
    table = cast("dict[str, object]", properties) if isinstance(properties, dict) else {}
    for name, field in list(table.items())[:_FIELDS]:
        told = cast("dict[str, Any]", field) if isinstance(field, dict) else {}
        kept = {key: told[key] for key in ("type", "default", "enum") if key in told}
        words = " ".join(str(told.get(key) or "") for key in ("title", "description"))
        about = {"description": cleaned(words[:500])[0].strip(), "required": name in needed}
        found[name[:100]] = {**kept, **about}
    return found
