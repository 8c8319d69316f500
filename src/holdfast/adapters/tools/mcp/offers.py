"""What a server offers: asked for page by page, bounded, and named by its digest."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, cast

import msgspec
from msgspec import Struct

from holdfast.core.ids import canonical, digest

from .messages import VERSION, VERSIONS, shaped
from .talk import Peer
from .trouble import Odd

_NAME = re.compile(r"[A-Za-z0-9_./:-]{1,128}")
_PAGES, _TOOLS = 50, 300
_DESCRIPTION, _SCHEMA, _ALL = 20_000, 100_000, 2 << 20
_DEEP = 40
_US = {"name": "holdfast", "title": "Holdfast", "version": "1"}


class Hints(Struct, frozen=True, rename="camel", omit_defaults=True):
    """A stranger's word about a tool: believed only by configuration."""

    read_only_hint: bool | None = None
    destructive_hint: bool | None = None
    idempotent_hint: bool | None = None
    open_world_hint: bool | None = None


class Offer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One tool, as the server describes it."""

    name: str
    description: str = ""
    schema: dict[str, Any] = {}
    hints: Hints = Hints()


class Greeting(Struct, frozen=True, kw_only=True):
    """Who it says it is."""

    title: str
    version: str
    protocol: str
    has_tools: bool
    has_resources: bool = False


class _Identity(Struct, frozen=True):
    name: str = ""
    version: str = ""


class _Abilities(Struct, frozen=True):
    tools: dict[str, Any] | None = None
    resources: dict[str, Any] | None = None


class _Welcome(Struct, frozen=True, rename="camel"):
    protocol_version: str
    capabilities: _Abilities = _Abilities()
    server_info: _Identity = _Identity()


class _Tool(Struct, frozen=True, rename="camel"):
    name: str
    title: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] = {}
    annotations: Hints | None = None


class _Page(Struct, frozen=True, rename="camel"):
    tools: list[_Tool] = []
    next_cursor: str | None = None


async def greeted(peer: Peer, seconds: float) -> Greeting:
    """Begin to talk. Raises `Trouble`."""
    able = peer.host.abilities
    params = {"protocolVersion": VERSION, "capabilities": able, "clientInfo": _US}
    answer = await peer.call("initialize", params, seconds=seconds)
    welcome = shaped(answer, _Welcome, "its greeting")
    if welcome.protocol_version not in VERSIONS:
        spoken = welcome.protocol_version[:40]
        raise Odd(f"it speaks version {spoken!r}; we speak {', '.join(sorted(VERSIONS))}")
    peer.begun(welcome.protocol_version)
    await peer.notify("notifications/initialized")
    return Greeting(
        title=welcome.server_info.name[:100],
        version=welcome.server_info.version[:40],
        protocol=welcome.protocol_version,
        has_tools=welcome.capabilities.tools is not None,
        has_resources=welcome.capabilities.resources is not None,
    )


async def offered(peer: Peer, seconds: float) -> tuple[Offer, ...]:
    """Every tool, by name. Raises `Trouble`, also for a list that has no end."""
    found: dict[str, Offer] = {}
    cursor, size = "", 0
    for _ in range(_PAGES):
        params = {"cursor": cursor} if cursor else {}
        page = shaped(
            await peer.call("tools/list", params, seconds=seconds), _Page, "its list of tools"
        )
        for tool in page.tools:
            offer = _offer(tool)
            if offer.name in found:
                raise Odd(f"it offers two tools called {offer.name}")
            size += len(offer.description) + len(canonical(offer.schema))
            found[offer.name] = offer
            if len(found) > _TOOLS or size > _ALL:
                raise Odd(f"it offers more than {_TOOLS} tools or {_ALL >> 20} MiB of them")
        if not page.next_cursor:
            return tuple(found[name] for name in sorted(found))
        cursor = page.next_cursor
    raise Odd(f"its list of tools has more than {_PAGES} pages")


def digest_of(offers: Iterable[Offer]) -> str:
    """Equal for the same tools, described alike."""
    return digest([msgspec.to_builtins(offer) for offer in offers])


def _offer(tool: _Tool) -> Offer:
    if not _NAME.fullmatch(tool.name):
        raise Odd(f"{tool.name[:60]!r} is no name of a tool")
    description = tool.description or tool.title or ""
    if len(description) > _DESCRIPTION:
        raise Odd(f"the description of {tool.name} has {len(description):,} characters")
    if _depth(tool.input_schema) > _DEEP or len(canonical(tool.input_schema)) > _SCHEMA:
        raise Odd(f"the schema of {tool.name} is larger than one may be")
    schema: dict[str, Any] = {"type": "object", "properties": {}, **tool.input_schema}
    if schema["type"] != "object" or not isinstance(schema["properties"], dict):
        raise Odd(f"the schema of {tool.name} describes no object")
    return Offer(
        name=tool.name,
        description=description,
        schema=schema,
        hints=tool.annotations or Hints(),
    )


def _depth(value: object) -> int:
    """How deeply it is nested, counted without recursion."""
    deepest, rest = 0, [(value, 1)]
    while rest:
        one, level = rest.pop()
        deepest = max(deepest, level)
        if isinstance(one, dict):
            inside = list(cast("dict[str, object]", one).values())
        else:
            inside = cast("list[object]", one) if isinstance(one, list) else []
        rest += [(each, level + 1) for each in inside]
    return deepest
