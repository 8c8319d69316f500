"""What a server has besides tools: resources to read, and prompts for people."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Annotated, Any, cast

import anyio
import msgspec
from msgspec import Meta, Raw, Struct

from holdfast.adapters.tools.beneath import Denied
from holdfast.adapters.tools.craft import Craft
from holdfast.adapters.tools.web.outside import cleaned, framed
from holdfast.core.error import Invalid
from holdfast.core.mcp import ServerSpec
from holdfast.core.message import EffectClass, Failed, Outcome, Returned
from holdfast.ports.tools import Job, Tool, Traits

from .following import watched
from .messages import shaped
from .results import error_text, outcome
from .rounds import answered
from .talk import Peer
from .tool import Means, called, not_done, patience
from .trouble import LoginNeeded, Odd, Said, Trouble

_PAGES, _MOST = 20, 1_000
_LONGEST = 600.0
_KEYS = {
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
    "prompts/list": "prompts",
}
ASKED = frozenset({*_KEYS, "resources/read", "prompts/get"})
"""What may be asked of a server besides its tools."""


class Resources(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """List what can be read from this server, and the patterns of addresses that it knows."""


class ReadResource(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Read one resource of this server."""

    uri: Annotated[str, Meta(description="Its address, as listed.", min_length=1, max_length=4_000)]


async def asked(
    peer: Peer, method: str, params: Mapping[str, Any], seconds: float
) -> dict[str, Any]:
    """Ask for something of `ASKED`; a list is asked for page by page, to its end or ours.

    Raises `Trouble`, and `Invalid` for anything else.
    """
    if method not in ASKED:
        raise Invalid(f"a server is not asked {method[:40]!r}", code="bad_question")
    key = _KEYS.get(method)
    if key is None:
        return shaped(await answered(peer, method, params, seconds=seconds), dict[str, Any], method)
    found: list[Any] = []
    cursor = ""
    for _ in range(_PAGES):
        more = {"cursor": cursor} if cursor else {}
        answer = await answered(peer, method, {**params, **more}, seconds=seconds)
        page = shaped(answer, dict[str, Any], f"its answer to {method}")
        rows = page.get(key)
        found += cast("list[Any]", rows) if isinstance(rows, list) else []
        cursor = str(page.get("nextCursor") or "")
        if len(found) > _MOST:
            raise Odd(f"it lists more than {_MOST} {key}")
        if not cursor:
            return {key: found}
    raise Odd(f"its list of {key} has more than {_PAGES} pages")


class WaitForResource(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Wait until a resource of this server is another, and read it. After `seconds` it is read as
    it is."""

    uri: Annotated[str, Meta(description="Its address, as listed.", min_length=1, max_length=4_000)]
    seconds: Annotated[float, Meta(description="The longest to wait.", ge=1, le=_LONGEST)] = 60.0


def reading_tools(
    spec: ServerSpec, means: Means, taken: frozenset[str] | set[str], *, updates: bool
) -> list[Tool]:
    """The tools with which agents read a server's resources; with `updates` also as they change."""

    async def listed(_: Resources, job: Job) -> Outcome:
        async def look(peer: Peer) -> Outcome:
            lines = [_line(one) for one in await _all(peer, spec.seconds)]
            text = cleaned("\n".join(lines) or "[nothing]")[0]
            return Returned(text=framed(text, job.task))

        return await _talked(spec, means, job, look)

    async def read(wanted: ReadResource, job: Job) -> Outcome:
        async def look(peer: Peer) -> Outcome:
            return await _read(peer, wanted.uri, means, job)

        return await _talked(spec, means, job, look)

    async def wait(wanted: WaitForResource, job: Job) -> Outcome:
        async def look(peer: Peer) -> Outcome:
            async with watched(peer, wanted.uri, spec.seconds) as event:
                with anyio.move_on_after(wanted.seconds):
                    await event.wait()
            return await _read(peer, wanted.uri, means, job)

        return await _talked(spec, means, job, look)

    traits = Traits(effect=EffectClass.READS, source=f"mcp:{spec.name}", agents=spec.agents)
    first = called(spec, "list_resources", taken)
    second = called(spec, "read_resource", {*taken, first})
    third = called(spec, "wait_for_resource", {*taken, first, second})
    found: list[Tool] = [
        Craft(first, Resources, traits, listed),
        Craft(second, ReadResource, traits, read),
    ]
    if updates:
        found.append(Craft(third, WaitForResource, traits, wait))
    return [tool for tool in found if tool.spec.name not in taken]


async def _read(peer: Peer, uri: str, means: Means, job: Job) -> Outcome:
    seconds = patience(peer.host.spec, job)
    answer = await answered(peer, "resources/read", {"uri": uri}, seconds=seconds)
    return await outcome(_as_result(answer), means.blobs, job.task)


async def _talked(
    spec: ServerSpec, means: Means, job: Job, look: Callable[[Peer], Awaitable[Outcome]]
) -> Outcome:
    try:
        async with means.sessions.use(spec, job) as peer:
            return await look(peer)
    except (Denied, LoginNeeded) as why:
        return not_done(spec, why)
    except Said as said:
        return Failed(text=error_text(str(said), job.task), code=said.code)
    except Trouble as trouble:
        return Failed(text=f"the server {spec.name}: {trouble}", code=trouble.code)


async def _all(peer: Peer, seconds: float) -> list[Any]:
    """Resources, and after them the patterns of more."""
    found: list[Any] = (await asked(peer, "resources/list", {}, seconds))["resources"]
    with suppress(Said):  # many have no patterns, and say that they do not know the question
        more = await asked(peer, "resources/templates/list", {}, seconds)
        found += more["resourceTemplates"]
    return found


class _Contents(Struct, frozen=True):
    contents: list[Raw] = []


def _as_result(answer: Raw) -> Raw:
    """The contents of a resource, as if a tool had returned them."""
    told = shaped(answer, _Contents, "its answer")
    parts = [{"type": "resource", "resource": one} for one in told.contents]
    return Raw(msgspec.json.encode({"content": parts}))


def _line(row: Any) -> str:
    if not isinstance(row, dict):
        raise Odd("a resource of its list makes no sense")
    told = cast("dict[str, object]", row)
    words = [told.get(key) for key in ("uri", "uriTemplate", "name", "mimeType", "description")]
    return "  ".join(str(one)[:300] for one in words if one)
