"""The tool with which an agent of ours asks one elsewhere."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

import anyio
import msgspec
from msgspec import Struct

from holdfast.adapters.tools.web.outside import cleaned, framed, removed
from holdfast.core.error import HoldfastError, NotAllowed, Unavailable
from holdfast.core.ids import TaskId
from holdfast.core.message import Change, EffectClass, Failed, Outcome, Returned, Unknown
from holdfast.ports.blobs import Blobs
from holdfast.ports.egress import Egress
from holdfast.ports.model import ToolSpec
from holdfast.ports.tools import Job, Traits

from .saying import Json, Message, Part, Peer, Refusal, Sent, Task, Tasks
from .spec import PeerCard, PeerSpec

_OVER = ("TASK_STATE_COMPLETED", "TASK_STATE_FAILED", "TASK_STATE_CANCELED", "TASK_STATE_REJECTED")
_ASKS = ("TASK_STATE_INPUT_REQUIRED", "TASK_STATE_AUTH_REQUIRED")
_FIRST, _LAST, _SLOWER = 0.2, 5.0, 1.5
_MOST_TEXT = 1_000_000
_NOT_THERE = (-32601, -32004)
_SCHEMA: Json = {
    "type": "object",
    "properties": {
        "message": {"type": "string", "description": "What you want of it, complete in itself."},
        "context": {
            "type": "string",
            "description": "To go on with a conversation: the context it named before.",
        },
        "task": {
            "type": "string",
            "description": "To answer a question of it, or to look again: the task it named.",
        },
    },
    "required": ["message"],
    "additionalProperties": False,
}


class Means(Struct, frozen=True, kw_only=True):
    """What the tools work with. `sources`: what from outside a task of ours has heard."""

    egress: Egress
    reach: Callable[[Job, str], Any]
    sources: Callable[[TaskId], Awaitable[Sequence[str]]]
    blobs: Blobs
    pace: float = _FIRST


class AskPeer:
    """A `Tool`. A message has the id of its call, so that it is found again, not sent again."""

    def __init__(self, spec: PeerSpec, means: Means) -> None:
        self._peer, self._means = spec, means
        about = f" {spec.description.strip()}" if spec.description.strip() else ""
        host = urlsplit(spec.url).netloc
        self._spec = ToolSpec(
            name=tool_name(spec),
            description=f"Ask the agent {spec.name} at {host}, and wait for its answer.{about}",
            schema=_SCHEMA,
        )
        self._traits = Traits(
            effect=EffectClass.WRITES,
            checkable=True,
            source=f"peer:{spec.name}",
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
        strange = set(arguments) - set(_SCHEMA["properties"])
        if strange:
            return f"{self._spec.name} takes message, context and task, not {min(strange)}"
        if not all(isinstance(one, str) for one in arguments.values()):
            return f"{self._spec.name}: message, context and task are texts"
        if not (str(arguments.get("message", "")).strip() or arguments.get("task")):
            return f"{self._spec.name}: the message is empty"
        return ""

    async def before(self, arguments: Mapping[str, Any], job: Job) -> Sequence[Change]:
        return ()

    async def run(self, arguments: Mapping[str, Any], job: Job) -> Outcome:
        if problem := self.problem(arguments):
            return Failed(text=problem, code="bad_arguments")
        if not any(fnmatchcase(job.agent, pattern) for pattern in self._peer.agents):
            text = f"{self._spec.name} is not for the agent {job.agent}"
            return Failed(text=text, code="not_allowed")
        peer = self._reached(job)
        try:
            card = await peer.card()
            return await self._said(peer, card, arguments, job)
        except Refusal as refusal:
            text = framed(cleaned(str(refusal))[0], job.task)
            return Failed(text=f"{self._peer.name} refused: {text}", code="peer_refused")
        except (NotAllowed, Unavailable) as error:
            return Failed(text=f"{error}. {error.hint}".strip(" ."), code=error.code)

    async def check(
        self, arguments: Mapping[str, Any], before: Sequence[Change], job: Job
    ) -> Outcome | None:
        """A message that was cut off: looked for there, by its id, and waited for if it came."""
        peer = self._reached(job)
        try:
            card = await peer.card()
            found = await self._found(peer, card, arguments, job)
            return None if found is None else await self._waited(peer, card, found, job)
        except (HoldfastError, Refusal) as error:
            what = f"whether {self._peer.name} has the message could not be found out: {error}"
            return Unknown(reason=what)

    def _reached(self, job: Job) -> Peer:
        reach = self._means.reach(job, f"peer:{self._peer.name}")
        return Peer(self._peer, self._means.egress, reach)

    async def _said(
        self, peer: Peer, card: PeerCard, arguments: Mapping[str, Any], job: Job
    ) -> Outcome:
        if not str(arguments["message"]).strip():
            task = await peer.ask(card, "GetTask", {"id": arguments["task"]}, Task)
            return await self._waited(peer, card, task, job)
        params = await self._params(arguments, job)
        try:
            sent: Sent = await peer.ask(card, "SendMessage", params, Sent)
        except Unavailable as cut:
            found = await self._again(peer, card, arguments, job, cut)
            if isinstance(found, Unknown):
                return found
            sent = Sent(task=found)
        if sent.message is not None:
            return await self._outcome(Task(), sent.message.parts, job)
        return await self._waited(peer, card, sent.task or Task(), job)

    async def _again(
        self,
        peer: Peer,
        card: PeerCard,
        arguments: Mapping[str, Any],
        job: Job,
        cut: Unavailable,
    ) -> Task | Unknown:
        """The line broke while it was told: it may have heard."""
        try:
            found = await self._found(peer, card, arguments, job)
        except (HoldfastError, Refusal):
            found = None
        if found is None:
            return Unknown(reason=f"{cut}; {self._peer.name} may or may not have the message")
        return found

    async def _params(self, arguments: Mapping[str, Any], job: Job) -> Json:
        message: Json = {
            "role": "ROLE_USER",
            "messageId": message_id(job),
            "parts": [{"text": arguments["message"]}],
        }
        if task := arguments.get("task"):
            message["taskId"] = task
        else:
            message["contextId"] = arguments.get("context") or message_id(job)
        if sources := await self._means.sources(job.task):
            message["metadata"] = {"holdfast": {"sources": list(sources)}}
        return {"message": message, "configuration": {"returnImmediately": True}}

    async def _found(
        self, peer: Peer, card: PeerCard, arguments: Mapping[str, Any], job: Job
    ) -> Task | None:
        """The task that the message of this call has begun there; None if it never came.

        Raises `Refusal` where that cannot be found out.
        """
        name = message_id(job)
        if task := arguments.get("task"):
            there: Task = await peer.ask(card, "GetTask", {"id": task}, Task)
            if any(said.message_id == name for said in there.history):
                return there
            raise Refusal(0, "it does not say which messages a task has")
        if card.once:
            # There the same message is one message: sending it again is asking for its task.
            sent = await peer.ask(card, "SendMessage", await self._params(arguments, job), Sent)
            return sent.task
        context = arguments.get("context") or name
        wanted = {"contextId": context, "historyLength": 100, "pageSize": 100}
        found: Tasks = await peer.ask(card, "ListTasks", wanted, Tasks)
        for task in found.tasks:
            if context == name or any(said.message_id == name for said in task.history):
                return task
        return None

    async def _waited(self, peer: Peer, card: PeerCard, task: Task, job: Job) -> Outcome:
        until, pause = time.monotonic() + self._peer.seconds, self._means.pace
        while task.status.state not in (*_OVER, *_ASKS):
            if time.monotonic() >= until:
                note = f"[the task {task.id[:200]} is still at work: look again with `task`]"
                text = framed(cleaned(note)[0], job.task)
                return Failed(text=text, code="peer_timeout")
            await anyio.sleep(pause)
            pause = min(_LAST, pause * _SLOWER)
            try:
                task = await peer.ask(card, "GetTask", {"id": task.id}, Task)
            except Unavailable:
                continue  # It is asked again: nothing is lost by that.
        said = task.status.message.parts if task.status.message else ()
        made = [part for artifact in task.artifacts for part in artifact.parts]
        return await self._outcome(task, [*said, *made], job)

    async def _outcome(self, task: Task, parts: Sequence[Part], job: Job) -> Outcome:
        state = task.status.state.removeprefix("TASK_STATE_").lower().replace("_", " ")
        named = f"[task {task.id[:200]}, context {task.context_id[:200]}: {state}]"
        told = [named] if task.id else []
        for part in parts[:1_000]:
            told.append(await self._told(part))  # noqa: PERF401 - each is kept in its turn
        text, odd = cleaned("\n\n".join(told)[:_MOST_TEXT])
        shown = framed(text or "[it said nothing]", job.task)
        shown += f"\n[{removed(odd)}]" if odd else ""
        if task.status.state in _OVER[1:]:
            return Failed(text=shown, code="peer_failed")
        return Returned(text=shown)

    async def _told(self, part: Part) -> str:
        if part.text is not None:
            return part.text
        if part.raw is not None:
            name = await self._means.blobs.put(part.raw)
            what = f"{part.filename[:200]} {part.media_type[:80]}".strip()
            return f"[a file: {what}, {len(part.raw):,} bytes, kept as blob {name}]"
        if part.url is not None:
            return f"[a file: {part.filename[:200]} at {part.url[:2_000]}]"
        return msgspec.json.encode(part.data).decode()


def tool_name(spec: PeerSpec) -> str:
    return f"ask_{spec.name.replace('-', '_')}"


def message_id(job: Job) -> str:
    """The same for every try of one call, and no other call's."""
    return f"{job.task}.{job.call}"


__all__ = ["AskPeer", "Means", "Message", "message_id", "tool_name"]
