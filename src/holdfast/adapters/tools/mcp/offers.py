"""What a server offers: asked for page by page, bounded, and named by its digest."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from typing import Any, cast

import msgspec
from msgspec import Struct

from holdfast.core.ids import canonical, digest

from .messages import shaped
from .rounds import answered
from .speech import mirrors
from .talk import Peer
from .trouble import Odd

_NAME = re.compile(r"[A-Za-z0-9_./:-]{1,128}")
_PAGES, _TOOLS = 50, 300
_DESCRIPTION, _SCHEMA, _ALL = 20_000, 100_000, 2 << 20
_DEEP = 40
_log = logging.getLogger("holdfast.mcp")


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


class _Tool(Struct, frozen=True, rename="camel"):
    name: str
    title: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] = {}
    annotations: Hints | None = None


class _Page(Struct, frozen=True, rename="camel"):
    tools: list[_Tool] = []
    next_cursor: str | None = None


async def offered(peer: Peer, seconds: float) -> tuple[Offer, ...]:
    """Every tool, by name. Raises `Trouble`, also for a list that has no end.

    One that wants what may not be asked of whoever calls it is left out, and that logged.
    """
    found: dict[str, Offer] = {}
    cursor, size = "", 0
    for _ in range(_PAGES):
        params = {"cursor": cursor} if cursor else {}
        answer = await answered(peer, "tools/list", params, seconds=seconds)
        page = shaped(answer, _Page, "its list of tools")
        for offer in map(_offer, page.tools):
            if peer.mirrors and (why := _misplaced(offer)):
                _log.warning("%s of the server %s: %s", offer.name, peer.host.spec.name, why)
                continue
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


def _misplaced(offer: Offer) -> str:
    """Why the headers that it wants cannot be given."""
    try:
        mirrors(offer.schema)
    except Odd as odd:
        return str(odd)
    return ""


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
