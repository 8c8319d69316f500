"""What a server may ask of us in one conversation: a sign of life, folders, a person, a model."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
from msgspec import Raw, Struct

from holdfast.adapters.tools.web.outside import cleaned
from holdfast.core.error import HoldfastError, NotAllowed
from holdfast.core.mcp import ServerSpec
from holdfast.ports.tools import Job

from . import messages
from .heard import Heard
from .messages import Message, shaped
from .questions import Questions
from .trouble import Odd

_POSTS, _AT_ONCE = 64, 8
_LONGEST = 200_000
_REFUSED, _BUSY = -1, -32_000
_ABILITIES = {"elicitation/create": "elicitation", "sampling/createMessage": "sampling"}


class Said(Struct, frozen=True, kw_only=True):
    """One message of what a model is to read: by `user` or by `assistant`."""

    by: str
    text: str


class Sampling(Struct, frozen=True, kw_only=True):
    """What a server wants one of our models to be asked."""

    system: str
    said: Sequence[Said]
    most: int


Sample = Callable[[ServerSpec, Job, Sampling], Awaitable[tuple[str, str]]]
"""Asks a model, at the task's expense: what it says, and which one it was."""


class Host(Struct, frozen=True, kw_only=True):
    """For whom a server works in a conversation, and what it may ask of them. `root` is a folder
    that it can see; what it says unasked is `heard`."""

    spec: ServerSpec
    job: Job
    questions: Questions
    sample: Sample
    heard: Heard
    root: Path | None = None

    @property
    def abilities(self) -> dict[str, Any]:
        """What the server is told that it may ask for."""
        able: dict[str, Any] = {"roots": {}} if self.root else {}
        if self.spec.ask_seconds and not self.spec.shared:
            able["elicitation"] = {"form": {}, "url": {}}
        sampling = self.spec.sampling
        asks = sampling == "ask" and self.spec.ask_seconds > 0
        if (sampling == "always" or asks) and not self.spec.shared:
            able["sampling"] = {}
        return able

    def known(self, method: str) -> dict[str, Any] | None:
        """The answer to what needs nobody."""
        if method == "ping":
            return {}
        if method == "roots/list" and self.root:
            return {"roots": [{"uri": self.root.as_uri(), "name": self.root.name}]}
        return None

    def may(self, method: str) -> bool:
        """Whether somebody is asked for the server."""
        return _ABILITIES.get(method) in self.abilities

    async def asked(self, method: str, params: Raw) -> dict[str, Any]:
        """What a person says, or a model if a person lets it be asked.

        Raises `Odd` for a question that makes no sense, `HoldfastError` for none that is answered.
        """
        if method == "elicitation/create":
            return await self._elicited(params)
        return await self._sampled(params)

    async def _elicited(self, params: Raw) -> dict[str, Any]:
        asked = shaped(params, _Elicit, "what it asks of a person")
        text = f"{asked.message}\n{asked.url}" if asked.url else asked.message
        answer = await self.questions.ask(self.spec, self.job, text, asked.requested_schema)
        told: dict[str, Any] = {"action": answer.action}
        if answer.action == "accept" and not asked.url:
            told["content"] = dict(answer.content)
        return told

    async def _sampled(self, params: Raw) -> dict[str, Any]:
        asked = shaped(params, _Sample, "what it asks of a model")
        said = [Said(by=one.role, text=_text(one.content)) for one in asked.messages]
        if not said or said[0].by != "user" or sum(len(one.text) for one in said) > _LONGEST:
            raise Odd("what it asks of a model is empty, too long, or begins with an answer")
        if self.spec.sampling == "ask":
            last = cleaned(said[-1].text[:1_000])[0]
            answer = await self.questions.ask(
                self.spec, self.job, f"May it ask your model this, at your expense?\n{last}", {}
            )
            if answer.action != "accept":
                raise NotAllowed("the person said no", code="mcp_refused")
        most = max(1, min(asked.max_tokens, 8_192))
        wanted = Sampling(system=asked.system_prompt or "", said=said, most=most)
        text, model = await self.sample(self.spec, self.job, wanted)
        content = {"type": "text", "text": text}
        return {"role": "assistant", "content": content, "model": model, "stopReason": "endTurn"}


class Requests:
    """What a server asks, answered in turn; bounded, so that asking without end ends the talk."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._posts, self._posted = anyio.create_memory_object_stream[bytes | Message](_POSTS)
        self._busy = 0

    def take(self, message: Message) -> None:
        """Raises `Odd` when it asks for more than can be answered."""
        answer: bytes | Message
        if (known := self.host.known(message.method)) is not None:
            answer = messages.result(message.id, known)
        elif not self.host.may(message.method):
            answer = messages.reply(message)
        elif self._busy >= _AT_ONCE:
            answer = messages.failure(message.id, _BUSY, "it asks for too much at once")
        else:
            self._busy += 1
            answer = message
        try:
            self._posts.send_nowait(answer)
        except (anyio.WouldBlock, anyio.ClosedResourceError, anyio.BrokenResourceError):
            raise Odd("it asks for more than can be answered") from None

    async def run(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        """For as long as the conversation lasts."""
        async with anyio.create_task_group() as group:
            async for one in self._posted:
                if isinstance(one, bytes):
                    await send(one)
                else:
                    group.start_soon(self._later, one, send)

    def close(self) -> None:
        self._posts.close()
        self._posted.close()

    async def _later(self, message: Message, send: Callable[[bytes], Awaitable[None]]) -> None:
        try:
            await send(await self._answer(message))
        finally:
            self._busy -= 1

    async def _answer(self, message: Message) -> bytes:
        try:
            told = await self.host.asked(message.method, message.params)
        except Odd as odd:
            return messages.failure(message.id, -32_602, str(odd))
        except HoldfastError as error:
            return messages.failure(message.id, _REFUSED, str(error))
        return messages.result(message.id, told)


class _Elicit(Struct, frozen=True, rename="camel"):
    message: str = ""
    requested_schema: dict[str, Any] = {}
    url: str = ""


class _Spoken(Struct, frozen=True):
    role: str
    content: dict[str, Any] | list[dict[str, Any]]


class _Sample(Struct, frozen=True, rename="camel"):
    messages: list[_Spoken] = []
    max_tokens: int = 1_024
    system_prompt: str | None = None


def _text(content: dict[str, Any] | list[dict[str, Any]]) -> str:
    parts = content if isinstance(content, list) else [content]
    if any(part.get("type") != "text" for part in parts):
        raise Odd("only text can be shown to a model")
    return "\n".join(str(part.get("text") or "") for part in parts)
