"""The model that is always there: fixed rules over real tools, and honest that they are rules.

What it does next depends on the prompt alone: the latest words of a person are understood again at
every turn and carried out over the outcomes that are already in the transcript.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Sequence

import anyio.lowlevel
from msgspec import Struct

from holdfast.core.budget import Reservation
from holdfast.core.context import Prompt
from holdfast.core.ids import CallId, canonical
from holdfast.core.message import (
    Entry,
    HouseSaid,
    ModelSaid,
    Outcome,
    PersonSaid,
    Reply,
    ToolAnswered,
    ToolCall,
    Usage,
)
from holdfast.ports.model import Delta, Model, ModelFailure, ToolSpec

from .offline_abilities import ABILITIES, Begin
from .offline_attached import parted
from .offline_requests import Unclear, directives, understand
from .offline_steps import Call, CannotGoOn, Step
from .reading import shaped
from .scripted import tell

OFFLINE = "offline/rules"
NO_MODEL = "[Answered by Holdfast's offline rules, not by a language model.]"
CONNECT = (
    "To connect a language model, set ANTHROPIC_API_KEY, OPENAI_API_KEY or GEMINI_API_KEY, start a "
    "local server such as Ollama, or name one in the configuration: `[models.providers.NAME]`."
)
_SHOWN = ("list", "read", "count", "search", "summarise")
_HELP = re.compile(
    r"\s*(?:(?:hello|hi|hey)(?:\s+(?:there|you|holdfast))?|/?help|\?|abilities|commands|what\s+can\s+(?:you|i)\s+(?:do|ask)(?:\s+here)?)"
    r"(?:\s+me)?(?:,?\s*please)?[\s?!.]*",
    re.IGNORECASE,
)
_FREE = Usage(cost=0)
_WORD = re.compile(r"say (\S+) when the task is done")


class OfflineModel:
    """Carries out `/tool name {json}` and a documented set of plain requests. Costs nothing."""

    name = OFFLINE
    window = 0

    def reserve(self, prompt: Prompt, tools: tuple[ToolSpec, ...]) -> Reservation:
        return Reservation()

    async def ask(
        self, prompt: Prompt, tools: tuple[ToolSpec, ...], hear: Callable[[Delta], None]
    ) -> Reply:
        await anyio.lowlevel.checkpoint()
        reply = await shaped(answer(prompt, can_call=bool(tools) and prompt.tools), prompt)
        tell(reply, hear)
        return reply


class Direct:
    """Any model, save that a message of `/tool name {json}` lines goes straight to the tools."""

    def __init__(self, model: Model) -> None:
        self._model = model

    @property
    def name(self) -> str:
        return self._model.name

    @property
    def window(self) -> int:
        return self._model.window

    def reserve(self, prompt: Prompt, tools: tuple[ToolSpec, ...]) -> Reservation:
        if directives(parted(_latest(prompt)[0])[0]):
            return Reservation()
        return self._model.reserve(prompt, tools)

    async def ask(
        self, prompt: Prompt, tools: tuple[ToolSpec, ...], hear: Callable[[Delta], None]
    ) -> Reply:
        text, after = _latest(prompt)
        if not (begins := directives(parted(text)[0])):
            return await self._model.ask(prompt, tools, hear)
        await anyio.lowlevel.checkpoint()
        work = _carry_out(begins, _outcomes(after))
        reply = (
            _proposed(work, prompt)
            if work.calls
            else Reply(text=work.text, usage=_FREE, model=OFFLINE)
        )
        reply = await shaped(reply, prompt)
        tell(reply, hear)
        return reply


def answer(prompt: Prompt, *, can_call: bool = True) -> Reply:
    """What the offline model says to `prompt`: the next calls, or its answer. Pure.

    Raises `ModelFailure` for what it does not understand (needs_model) and for what it could not
    do (not_done): a task that was not done must not look done.
    """
    if any(isinstance(entry, PersonSaid) and entry.files for entry in prompt.entries):
        text = f"the offline rules cannot look at what is attached; nothing was done. {CONNECT}"
        raise ModelFailure("needs_model", text, retryable=False, paid=False)
    said, after = _latest(prompt)
    text, attached = parted(said)
    if _HELP.fullmatch(text):
        return _said(abilities(), after)
    begins = understand(text, attached)
    if isinstance(begins, Unclear):
        raise ModelFailure("needs_model", _not_understood(begins), retryable=False, paid=False)
    work = _carry_out(begins, _outcomes(after))
    if not work.calls:
        return _said(work.text, after)
    if not can_call:
        return _said("\n\n".join(filter(None, [work.text, "Tools are off now."])), after)
    return _proposed(work, prompt)


def abilities() -> str:
    """All that the offline model can do, with examples."""
    lines = [
        f"- {ability.name}: {' · '.join(ability.examples)}"
        for ability in ABILITIES
        if ability.examples
    ]
    return "\n".join(
        [
            "I work by fixed rules. I can:",
            *lines,
            '- several in a row: count the words in a.txt and then write the result to "b.txt"',
            '- call a tool as you write it: /tool read {"path": "README.md"}',
            "- with text piped in or attached: count the words · summarise this · search for TODO",
            "",
            CONNECT,
        ]
    )


class _Work(Struct, frozen=True, kw_only=True):
    """Where the work stands: what has been said so far, and the calls that it needs next."""

    text: str
    calls: tuple[Call, ...] = ()


def _latest(prompt: Prompt) -> tuple[str, tuple[Entry, ...]]:
    """The latest words of a person, and what came after. Older words ask for nothing any more."""
    for index in range(len(prompt.entries) - 1, -1, -1):
        entry = prompt.entries[index]
        if isinstance(entry, PersonSaid):
            return entry.text, prompt.entries[index + 1 :]
    return "", prompt.entries


def _outcomes(after: Sequence[Entry]) -> dict[str, deque[Outcome]]:
    """The outcomes of the calls made since, by what was called, in order."""
    calls = {
        call.id: call for entry in after if isinstance(entry, ModelSaid) for call in entry.calls
    }
    found: dict[str, deque[Outcome]] = {}
    for entry in after:
        if isinstance(entry, ToolAnswered) and (call := calls.get(entry.call_id)):
            found.setdefault(_key(call.tool, call.arguments), deque()).append(entry.outcome)
    return found


def _carry_out(begins: Sequence[Begin], known: dict[str, deque[Outcome]]) -> _Work:
    """Replay every step over the known outcomes; stop at the first that needs calls.

    Raises `ModelFailure` (not_done) at the first that fails, with all that was said up to there.
    """
    said: list[str] = []
    for number, begin in enumerate(begins, start=1):
        try:
            if calls := _replayed(begin(said[-1] if said else ""), known, said):
                return _Work(text="\n\n".join(said), calls=calls)
        except CannotGoOn as problem:
            said.append(_sentence(str(problem)))
            if left := len(begins) - number:
                said.append(
                    f"I did not go on: {left} more {'part' if left == 1 else 'parts'} left."
                )
            told = "\n\n".join(said)
            raise ModelFailure("not_done", told, retryable=False, paid=False) from problem
    return _Work(text="\n\n".join(said))


def _replayed(step: Step, known: dict[str, deque[Outcome]], said: list[str]) -> tuple[Call, ...]:
    """The calls that the step lacks; none if it came to its end and added what there is to say."""
    try:
        wanted = next(step)
        while True:
            queues = [known.get(_key(call.tool, call.arguments)) for call in wanted]
            if not all(queues):
                return wanted
            wanted = step.send([queue.popleft() for queue in queues if queue])
    except StopIteration as end:
        said.append(str(end.value))
        return ()


def _proposed(work: _Work, prompt: Prompt) -> Reply:
    turn = len(prompt.entries)
    calls = tuple(
        ToolCall(id=CallId(f"offline{turn}_{index}"), tool=call.tool, arguments=call.arguments)
        for index, call in enumerate(work.calls, start=1)
    )
    return Reply(calls=calls, usage=_FREE, model=OFFLINE, finish="calls")


def _said(text: str, after: Sequence[Entry]) -> Reply:
    """The answer, with the one honest line, and the closing word if the house wants one."""
    notes = [entry.text for entry in after if isinstance(entry, HouseSaid)]
    word = next((found[1] for note in reversed(notes) if (found := _WORD.search(note))), "")
    lines = [text, "", NO_MODEL]
    return Reply(text="\n".join([*lines, word] if word else lines), usage=_FREE, model=OFFLINE)


def _not_understood(unclear: Unclear) -> str:
    asked = [f'"{_short(part)}"' for part in unclear.parts]
    shown = {ability.name: ability.examples[0] for ability in ABILITIES if ability.examples}
    asked_for = f"did not understand {' and '.join(asked)}" if asked else "were asked for nothing"
    head = f"the offline rules {asked_for}"
    return "\n".join(
        [
            f"{head}; nothing was done. It may need a language model. They can, for example:",
            *(f"- {shown[name]}" for name in _SHOWN),
            "`holdfast run help` lists everything.",
            CONNECT,
        ]
    )


def _short(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= 80 else f"{plain[:77]}…"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] if text[:1].islower() and " did not work" in text else text


def _key(tool: str, arguments: object) -> str:
    return f"{tool} {canonical(arguments)}"
