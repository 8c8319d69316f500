"""A request of another agent before anything is done: its body, its version, its address."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from starlette.requests import Request

from holdfast.core import foreign
from holdfast.doors.http.access import grant
from holdfast.doors.http.route import Door

from .asking import Asking
from .card import VERSIONS
from .faults import ContentTypeNotSupported, InvalidParams, ParseFault, VersionNotSupported

_JSON = ("application/json", "application/a2a+json")
W = TypeVar("W")


def base_of(request: Request, door: Door) -> str:
    """Where this door is for whoever asks: as configured, or where they have found it."""
    told = door.house.in_force.a2a.url
    scheme = door.access.scheme(request.scope)
    return told.rstrip("/") or f"{scheme}://{request.headers.get('host', '')}"


def asking(request: Request, door: Door) -> Asking:
    """Raises `NotAllowed` for a key that is for other agents."""
    named, asker = request.headers.get("a2a-extensions", ""), grant(request.scope)
    asker.check_agent(door.house.agent.name)
    return Asking(
        house=door.house,
        by=asker.by,
        approves=asker.may("approve"),
        base=base_of(request, door),
        extensions=frozenset(one.strip() for one in named.split(",")),
    )


def version_of(request: Request) -> str:
    """Major and minor; one that is not named is the one before it could be."""
    told = request.headers.get("a2a-version") or request.query_params.get("A2A-Version") or "0.3"
    version = ".".join(told.strip().split(".")[:2])
    if version not in VERSIONS:
        hint = f"there are {' and '.join(VERSIONS)}"
        raise VersionNotSupported(f"A2A-Version {told[:20]} is not spoken here", hint=hint)
    return version


async def body_of(request: Request) -> bytes:
    """What was sent, if it is JSON at all. Raises `ContentTypeNotSupported`."""
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip()
    if kind.lower() not in _JSON:
        raise ContentTypeNotSupported(f"Content-Type {kind[:80]}: expected application/json")
    return await request.body()


def decoded(data: bytes | msgspec.Raw, kind: type[W]) -> W:
    try:
        return foreign.decoded(data, kind)
    except foreign.NotJson as error:
        if error.misshapen:
            raise InvalidParams(str(error)) from None
        raise ParseFault(f"the body is not JSON: {error}") from None
