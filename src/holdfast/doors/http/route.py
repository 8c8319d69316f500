"""What one way in is made of: its place in the table, and what its function is given."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import anyio
import msgspec
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from holdfast.core.error import Invalid
from holdfast.core.ids import Instant, TaskId
from holdfast.ports.model import ModelHealth
from holdfast.runtime import tasks
from holdfast.runtime.house import House
from holdfast.runtime.webhooks import PostOffice

from .access import Access, Grant, grant
from .auth import BY, Locks, peer
from .bodies import Body, NoQuery, Nothing, Question
from .cookies import Sessions
from .once import Once
from .scopes import PUBLIC, needed

_BLANK = b" \t\r\n"
_SEVERAL = "status"
_WRITING = frozenset({"POST", "PATCH"})

Q = TypeVar("Q", bound=Question)
B = TypeVar("B", bound=Body)


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What others see of us over TLS. `fingerprint` is SHA-256 of it."""

    path: str
    fingerprint: str
    names: tuple[str, ...]
    expires_at: Instant


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What only the assembly knows and the door tells.

    `model` is a line about what was found and is used. `certificate` tells the one there is, made
    anew if told so; it may raise `Refused`. `office` has the webhooks,
    `settings` the configuration's file (see `config.py`).
    """

    lanes: int = 0
    queue_depth: int = 0
    model: Callable[[], str] = str
    health: Callable[[], Sequence[ModelHealth]] = tuple
    database: Path | None = None
    certificate: Callable[[bool], Certificate] | None = None
    office: PostOffice | None = None
    settings: Any = None


@dataclass(frozen=True, kw_only=True)
class Door:
    """What every request may reach. `closing` ends the open streams."""

    house: House
    stop: Callable[[], None]
    facts: Facts
    keep_alive: float
    access: Access
    locks: Locks
    sessions: Sessions
    once: Once
    closing: anyio.Event = field(default_factory=anyio.Event)
    listening: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask(Generic[Q, B]):
    """One request, parsed. `by` is the authenticated principal."""

    door: Door
    request: Request
    query: Q
    body: B

    @property
    def house(self) -> House:
        return self.door.house

    @property
    def by(self) -> str:
        return self.request.scope[BY]

    @property
    def grant(self) -> Grant:
        """What the principal may do."""
        return grant(self.request.scope)

    @property
    def local(self) -> bool:
        """True when it came through the Unix socket."""
        return peer(self.request.scope) is not None

    def path(self, name: str) -> str:
        return self.request.path_params[name]

    async def task(self, ref: str = "") -> TaskId:
        """The task that the path, or `ref` of it, names. A key that is for some agents sees no
        others' tasks."""
        found = await tasks.resolve(self.house, ref or self.path("ref"))
        if self.grant.key is not None:
            self.grant.check_agent((await tasks.show(self.house, found)).agent)
        return found


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the table. `errors` are the statuses besides those that every row has.

    `answer` is a Struct, or the media type of what is none. Who may use it: `scopes.py`. `again`:
    an Idempotency-Key makes repeating it safe; False where the function sees to that, or must not.
    `also` are other good answers by their status.
    """

    method: str
    path: str
    run: Callable[[Ask[Any, Any]], Awaitable[msgspec.Struct | Mapping[str, Any] | ASGIApp]]
    summary: str
    answer: type[msgspec.Struct] | str
    query: type[Question] = NoQuery
    body: type[Body] = Nothing
    status: int = 200
    errors: tuple[int, ...] = ()
    streams: bool = False
    again: bool = True
    also: tuple[tuple[int, type[msgspec.Struct]], ...] = ()

    @property
    def writes(self) -> bool:
        return self.method in _WRITING

    @property
    def repeatable(self) -> bool:
        """Whether the same Idempotency-Key gets the same answer again."""
        return self.again and self.writes and not self.streams

    @property
    def public(self) -> bool:
        return needed(self.method, self.path) == PUBLIC


class Endpoint:
    """An entry as an ASGI app: parses, runs, renders."""

    def __init__(self, door: Door, entry: Entry) -> None:
        self._door, self._entry = door, entry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request, entry = Request(scope, receive, send), self._entry
        query = _query(request, entry.query)
        sent = await request.body() if entry.writes else b""
        body = _parsed(entry.body, sent) if entry.writes else Nothing()
        ask: Ask[Any, Any] = Ask(door=self._door, request=request, query=query, body=body)

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            said = await entry.run(ask)
            is_data = isinstance(said, msgspec.Struct | Mapping)
            told = json_answer(said, entry.status) if is_data else said
            await told(scope, receive, send)

        key = request.headers.get("idempotency-key", "") if entry.repeatable else ""
        name = (ask.by, request.url.path, key)
        chosen = await self._door.once.answer(name, sent, answer) if key else answer
        await chosen(scope, receive, send)


def json_answer(said: Any, status: int, headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(said), status, headers, "application/json")


def _parsed(model: type[B], data: bytes) -> B:
    try:
        return model.model_validate_json(data.strip(_BLANK) or b"{}")
    except ValidationError as failure:
        raise _invalid(failure, "the body") from None


def _query(request: Request, model: type[Q]) -> Q:
    if model is NoQuery and not request.url.query:
        return model()
    given: dict[str, Any] = dict(request.query_params)
    if _SEVERAL in given:
        given[_SEVERAL] = request.query_params.getlist(_SEVERAL)
    try:
        return model.model_validate(given)
    except ValidationError as failure:
        raise _invalid(failure, "the query") from None


def _invalid(failure: ValidationError, where: str) -> Invalid:
    """Every finding in one sentence each, the unknown keys by name."""
    told: list[str] = []
    for found in failure.errors(include_url=False, include_context=False):
        name = ".".join(map(str, found["loc"]))
        if found["type"] == "extra_forbidden":
            told.append(f"{where} has an unknown key {json.dumps(name)}")
        elif found["type"] == "json_invalid":
            return Invalid(f"{where} is not JSON: {found['msg']}", code="invalid_json")
        else:
            told.append(f"{name or where}: {found['msg'].removeprefix('Value error, ')}")
    return Invalid("; ".join(told), hint="GET /openapi.json describes every request")
