"""One agent elsewhere, spoken with in A2A 1.0 over JSON-RPC: bounded, and believed in nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from holdfast.core.error import NotAllowed, Unavailable
from holdfast.core.foreign import NotJson, decoded
from holdfast.core.reach import Allowed, Reach
from holdfast.ports.egress import Egress, Request

from .spec import PeerCard, PeerSpec

ONCE = "urn:holdfast:a2a:once"
_CARD = "/.well-known/agent-card.json"
_LARGEST = 8 << 20
_SECONDS = 30.0
_LONGEST = 300

Json = dict[str, Any]


class Refusal(Exception):
    """It answered with an error; `code` is its JSON-RPC code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class _Interface(Struct, frozen=True, rename="camel"):
    url: str = ""
    protocol_binding: str = ""
    protocol_version: str = ""


class _Extension(Struct, frozen=True, rename="camel"):
    uri: str = ""


class _Capabilities(Struct, frozen=True, rename="camel"):
    extensions: tuple[_Extension, ...] = ()


class _Skill(Struct, frozen=True, rename="camel"):
    name: str = ""
    description: str = ""


class _Card(Struct, frozen=True, rename="camel"):
    name: str = ""
    description: str = ""
    supported_interfaces: tuple[_Interface, ...] = ()
    capabilities: _Capabilities = _Capabilities()
    skills: tuple[_Skill, ...] = ()


class _Fault(Struct, frozen=True, rename="camel"):
    code: int = 0
    message: str = ""


class _Answer(Struct, frozen=True, rename="camel"):
    result: msgspec.Raw = msgspec.Raw(b"{}")
    error: _Fault | None = None


class Part(Struct, frozen=True, rename="camel"):
    """Text, bytes, an address or values."""

    text: str | None = None
    raw: bytes | None = None
    url: str | None = None
    data: Any = None
    filename: str = ""
    media_type: str = ""


class Message(Struct, frozen=True, rename="camel"):
    """One turn."""

    message_id: str = ""
    role: str = ""
    parts: tuple[Part, ...] = ()


class Status(Struct, frozen=True, rename="camel"):
    """How its task is."""

    state: str = ""
    message: Message | None = None


class Artifact(Struct, frozen=True, rename="camel"):
    """What it has made."""

    name: str = ""
    parts: tuple[Part, ...] = ()


class Task(Struct, frozen=True, rename="camel"):
    """A task there."""

    id: str = ""
    context_id: str = ""
    status: Status = Status()
    artifacts: tuple[Artifact, ...] = ()
    history: tuple[Message, ...] = ()


class Sent(Struct, frozen=True, rename="camel"):
    """What came of a message: a task, or an answer at once."""

    task: Task | None = None
    message: Message | None = None


class Tasks(Struct, frozen=True, rename="camel"):
    """A list of tasks there."""

    tasks: tuple[Task, ...] = ()


class Peer:
    """One agent elsewhere, as somebody's `reach` lets it be reached."""

    def __init__(self, spec: PeerSpec, egress: Egress, usual: Reach) -> None:
        self.spec, self._egress = spec, egress
        self._reach = reach_of(spec, usual)

    async def card(self) -> PeerCard:
        """Raises `Unavailable` for what is none, `NotAllowed` for one that leads elsewhere."""
        began, url = time.monotonic(), card_url(self.spec)
        request = Request(url=url, seconds=_SECONDS, most=1 << 20, hops=0)
        answer = await self._egress.fetch(request, self._reach)
        if answer.status != 200:
            raise self._odd(f"{url} answered with {answer.status}")
        try:
            card = decoded(answer.body, _Card)
        except NotJson as error:
            raise self._odd(f"{url} is no agent card: {error}") from None
        return PeerCard(
            name=self.spec.name,
            title=card.name[:_LONGEST],
            description=card.description[:_LONGEST],
            version="1.0",
            endpoint=self._endpoint(card),
            skills=tuple(f"{one.name}: {one.description}"[:_LONGEST] for one in card.skills[:32]),
            once=any(one.uri == ONCE for one in card.capabilities.extensions),
            milliseconds=round((time.monotonic() - began) * 1000),
        )

    def _endpoint(self, card: _Card) -> str:
        for one in card.supported_interfaces:
            if one.protocol_binding == "JSONRPC" and one.protocol_version.startswith("1."):
                if origin_of(one.url) != origin_of(self.spec.url):
                    what = f"{self.spec.name}: its card leads to another place, {one.url[:200]}"
                    hint = "add the agent with the address of that place"
                    raise NotAllowed(what, code="peer_elsewhere", hint=hint)
                return one.url
        raise self._odd("its card names no JSON-RPC of version 1.0, and nothing else is spoken")

    async def ask(self, card: PeerCard, method: str, params: Json, kind: type[Any]) -> Any:
        """The result of one method. Raises `Refusal`, `Unavailable`, `NotAllowed`."""
        body = {"jsonrpc": "2.0", "id": method, "method": method, "params": params}
        headers: Mapping[str, str] = {"content-type": "application/json", "a2a-version": "1.0"}
        request = Request(
            url=card.endpoint,
            method="POST",
            headers={**headers, **({"a2a-extensions": ONCE} if card.once else {})},
            body=msgspec.json.encode(body),
            seconds=_SECONDS,
            most=_LARGEST,
            hops=0,
        )
        answer = await self._egress.fetch(request, self._reach)
        if answer.status in (401, 403):
            raise Refusal(answer.status, f"it wants another token (HTTP {answer.status})")
        if answer.status != 200 or answer.cut:
            what = "more than is read" if answer.cut else f"HTTP {answer.status}"
            raise self._odd(f"it answered with {what}")
        try:
            told = decoded(answer.body, _Answer)
            if told.error is not None:
                raise Refusal(told.error.code, told.error.message[:1_000])
            return decoded(told.result, kind)
        except NotJson as error:
            raise self._odd(f"what it answered is not the protocol: {error}") from None

    def _odd(self, what: str) -> Unavailable:
        return Unavailable(f"the agent {self.spec.name}: {what}", code="peer_odd")


def card_url(spec: PeerSpec) -> str:
    return spec.url if spec.url.endswith(".json") else spec.url.rstrip("/") + _CARD


def reach_of(spec: PeerSpec, usual: Reach) -> Reach:
    """The one place where it is, with its token put in on the way out."""
    _, host, port = origin_of(spec.url)
    headers = {"authorization": f"Bearer $SECRET{{{spec.secret}}}"} if spec.secret else {}
    own = Allowed(host=host, port=port, headers=headers)
    near = (host,) if spec.private else ()
    return replace(usual, allowed=(own,), web=False, private=near)


def origin_of(url: str) -> tuple[str, str, int]:
    """Scheme, host and port; nothing of what is no address, whoever wrote it."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return "", "", 0
    return parts.scheme, parts.hostname or "", port
