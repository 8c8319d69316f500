"""The tool with which an agent asks another one, `ask_NAME`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
from msgspec import Raw, Struct

from holdfast.adapters.tools.beneath import Denied
from holdfast.adapters.tools.mcp.lines import Lines
from holdfast.adapters.tools.mcp.messages import shaped
from holdfast.adapters.tools.mcp.opening import World
from holdfast.adapters.tools.mcp.trouble import Odd, Said, Trouble
from holdfast.adapters.tools.web.outside import cleaned, framed, removed
from holdfast.core.error import HoldfastError
from holdfast.core.ids import TaskId
from holdfast.core.mcp import ServerSpec
from holdfast.core.message import Change, EffectClass, Failed, Outcome, Returned, Unknown
from holdfast.core.reach import SECRET
from holdfast.ports.model import ToolSpec
from holdfast.ports.tools import Job, Traits

from .heard import Heard
from .talk import Talk

VERSION = 1
_LOGIN = -32000
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "prompt": {"type": "string", "description": "What it should do; it knows nothing else."},
        "allow": {
            "type": "array",
            "items": {"type": "string"},
            "description": "What it may do that it asks leave for, as it was listed as refused: "
            "`execute npm test`, `execute npm *`.",
        },
    },
    "required": ["prompt"],
    "additionalProperties": False,
}

Told = Callable[[TaskId, str], None]
"""A word about a call that is under way, for whoever watches the task."""


class _Hello(Struct, frozen=True, rename="camel"):
    protocol_version: int


class _Session(Struct, frozen=True, rename="camel"):
    session_id: str


class _Stopped(Struct, frozen=True, rename="camel"):
    stop_reason: str


class AskAgent:
    """A `Tool`. The agent works in the task's folder, in a box of its own, for one question.

    What it asks leave for is refused unless the call says so beforehand, and so whoever approves
    the call approves exactly that.
    """

    def __init__(self, spec: ServerSpec, world: World, progress: Told) -> None:
        self._agent, self._world, self._progress = spec, world, progress
        name = f"ask_{spec.name.replace('-', '_')}"
        about = spec.description.strip() or f"another agent, {spec.name}"
        words = (
            f"Ask {about}. It works by itself in this folder, in a box, and returns what it says. "
            "What it asks leave for is refused and listed; ask again with `allow` if it needs that."
        )
        self._spec = ToolSpec(name=name, description=words, schema=_SCHEMA)
        self._traits = Traits(
            effect=EffectClass.WRITES,
            target="prompt",
            source=f"acp:{spec.name}",
            aims=("*",),
            agents=spec.agents,
        )

    @property
    def spec(self) -> ToolSpec:
        return self._spec

    @property
    def traits(self) -> Traits:
        return self._traits

    def problem(self, arguments: Mapping[str, Any]) -> str:
        prompt = arguments.get("prompt")
        if not isinstance(prompt, str) or not prompt.strip():
            return f"{self._spec.name}: prompt must be a text"
        try:
            msgspec.convert(arguments.get("allow", ()), tuple[str, ...])
        except msgspec.ValidationError:
            return f"{self._spec.name}: allow must be a list of texts"
        if strange := sorted(arguments.keys() - {"prompt", "allow"}):
            return f"{self._spec.name}: it has no {strange[0]} (it takes prompt, allow)"
        return ""

    async def before(self, arguments: Mapping[str, Any], job: Job) -> Sequence[Change]:
        return ()

    async def run(self, arguments: Mapping[str, Any], job: Job) -> Outcome:
        if problem := self.problem(arguments):
            return Failed(text=problem, code="bad_arguments")
        heard = Heard(tuple(arguments.get("allow", ())))
        asked = anyio.Event()
        failed: list[BaseException] = []
        try:
            async with self._talking(heard, job) as talk:
                stopped = await self._answered(talk, str(arguments["prompt"]), job, asked)
                return self._outcome(heard, stopped, job)
        except* (HoldfastError, Denied, Trouble, OSError) as group:
            failed.append(_first(group))
        return self._cut_off(failed[0], heard, job, asked=asked.is_set())

    async def check(
        self, arguments: Mapping[str, Any], before: Sequence[Change], job: Job
    ) -> Outcome | None:
        return None

    async def _answered(self, talk: Talk, prompt: str, job: Job, asked: anyio.Event) -> str:
        """Why it stopped. `asked` is set once it may have begun to do something."""
        spec = self._agent
        capabilities = {"fs": {"readTextFile": False, "writeTextFile": False}, "terminal": False}
        hello = {"protocolVersion": VERSION, "clientCapabilities": capabilities}
        found = await talk.ask("initialize", hello, spec.start_seconds)
        if (version := shaped(found, _Hello, "its greeting").protocol_version) != VERSION:
            raise Odd(f"it speaks version {version} of the protocol, not {VERSION}")
        try:
            begin: dict[str, Any] = {"cwd": str(job.workspace), "mcpServers": []}
            begun = await talk.ask("session/new", begin, spec.start_seconds)
        except Said as said:
            if said.number == _LOGIN:
                hint = "give it its key: reveal and environment in its table"
                raise Denied("acp_login_needed", f"it wants a login ({said}); {hint}") from None
            raise
        session = shaped(begun, _Session, "its session").session_id
        asked.set()
        words = {"sessionId": session, "prompt": [{"type": "text", "text": prompt}]}
        try:
            answer = await talk.ask("session/prompt", words, spec.seconds, spec.idle_seconds)
        except Trouble:
            await talk.tell("session/cancel", {"sessionId": session})
            raise
        return shaped(answer, _Stopped, "its answer").stop_reason

    def _outcome(self, heard: Heard, stopped: str, job: Job) -> Outcome:
        shown = _shown(heard, job)
        if heard.refused:
            wanted = "\n".join(f"- {cleaned(one)[0]}" for one in heard.refused)
            shown += f"\nIt was refused (`allow` lets it, if that is approved):\n{wanted}"
        if stopped == "end_turn":
            return Returned(text=shown)
        why = {"refusal": "it refuses to do that", "cancelled": "it says that it was stopped"}
        reason = why.get(stopped, f"it stopped early: {cleaned(stopped)[0][:40]}")
        return Failed(text=f"{reason}\n{shown}", code="acp_stopped")

    def _cut_off(self, error: BaseException, heard: Heard, job: Job, *, asked: bool) -> Outcome:
        """What it was asked to do it may have done, whatever became of its answer."""
        hint = error.hint if isinstance(error, HoldfastError) else ""
        words = cleaned(str(error))[0][:1_000]
        text = f"the agent {self._agent.name}: {words}. {hint}".strip(" .")
        if asked and not isinstance(error, Said):
            return Unknown(reason=f"{text}; what it did until then may stand")
        named = isinstance(error, HoldfastError | Denied)
        return Failed(text=text, code=error.code if named else "acp_failed")

    @asynccontextmanager
    async def _talking(self, heard: Heard, job: Job) -> AsyncGenerator[Talk]:
        def hear(params: Raw) -> None:
            if step := heard.hear(params):
                self._progress(job.task, f"{self._spec.name}: {cleaned(step)[0]}")

        async with self._started(job) as lines, anyio.create_task_group() as group:
            talk = Talk(lines, heard.permit, hear)
            group.start_soon(talk.listen)
            yield talk
            group.cancel_scope.cancel()

    @asynccontextmanager
    async def _started(self, job: Job) -> AsyncGenerator[Lines]:
        spec, world = self._agent, self._world
        owner = f"{job.task} acp {spec.name} {job.call}"
        values = {name: await world.reveal(name, job, f"acp:{spec.name}") for name in spec.reveal}
        variables = {
            key: SECRET.sub(lambda found: values.get(found[1], found[0]), text)
            for key, text in spec.environment.items()
        }
        box_spec = world.box(spec, job)
        try:
            async with (
                world.kept(box_spec.workspace),
                world.boxes.lend(owner, box_spec) as box,
                box.start(spec.command, environment=variables) as running,
            ):
                yield Lines(running)
        finally:
            with anyio.CancelScope(shield=True):
                await world.boxes.release(owner)


def _shown(heard: Heard, job: Job) -> str:
    text, odd = cleaned(heard.text())
    note = f"\n[{removed(odd)}]" if odd else ""
    return framed(text, job.task) + note


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while inside := getattr(error, "exceptions", ()):
        error = inside[0]
    return error
