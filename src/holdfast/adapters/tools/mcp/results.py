"""What a tool of a server answered, as an outcome: material from outside, and marked so."""

from __future__ import annotations

import base64
import binascii
from typing import Any, cast

import msgspec
from anyio import to_thread
from msgspec import Raw, Struct

from holdfast.adapters.tools.web.outside import cleaned, framed, removed
from holdfast.core.foreign import NotJson, decoded
from holdfast.core.message import Failed, Outcome, Returned
from holdfast.ports.blobs import Blobs

from .messages import shaped

_PARTS = 1_000
_SMALL = 100_000
_PICTURES = 32


class _Resource(Struct, frozen=True, rename="camel"):
    uri: str = ""
    text: str | None = None
    blob: str | None = None
    mime_type: str | None = None


class _Part(Struct, frozen=True, rename="camel"):
    type: str = ""
    text: str | None = None
    data: str | None = None
    mime_type: str | None = None
    uri: str | None = None
    name: str | None = None
    description: str | None = None
    resource: _Resource | None = None


class _Result(Struct, frozen=True, rename="camel"):
    content: list[_Part] = []
    structured_content: dict[str, Any] | None = None
    is_error: bool = False


async def outcome(answer: Raw, blobs: Blobs, salt: str) -> Outcome:
    """Raises `Odd` for what is no result. Pictures and files are kept as blobs, and named."""
    result = shaped(answer, _Result, "its answer")
    kept = _Kept(blobs)
    values, structured = result.structured_content, False
    parts = result.content[:_PARTS]
    if values is not None and (structured := all(_repeats(part, values) for part in parts)):
        said = [_values(values)]
    else:
        said = [await kept.told(part) for part in parts]
        if len(result.content) > _PARTS:
            said.append(f"[{len(result.content) - _PARTS:,} more parts]")
        if values is not None:
            said.append(_values(values))
    whole = "\n".join(said)
    # Megabytes take a while to look at: others are not kept waiting.
    text, odd = cleaned(whole) if len(whole) < _SMALL else await to_thread.run_sync(cleaned, whole)
    note = f"\n[{removed(odd)}]" if odd else ""
    shown = framed(text or "[it said nothing]", salt) + note
    return (
        Failed(text=shown, code="mcp_error")
        if result.is_error
        else Returned(text=shown, structured=structured)
    )


def error_text(text: str, salt: str) -> str:
    """A server's own sentence about a failure, marked as a stranger's."""
    return framed(cleaned(text[:_PARTS])[0], salt)


class _Kept:
    """Puts what is no text into blobs, within bounds."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs, self._left = blobs, _PICTURES

    async def told(self, part: _Part) -> str:
        match part.type:
            case "text":
                return part.text or ""
            case "image" | "audio":
                return await self._put(part.type, part.mime_type or "", part.data or "")
            case "resource_link":
                about = " ".join(filter(None, (part.name, part.uri, part.description)))
                return f"[a resource: {about}]"
            case "resource" if part.resource is not None:
                return await self._resource(part.resource)
            case _:
                return f"[a part of the kind {part.type[:40]}, which is not shown]"

    async def _resource(self, found: _Resource) -> str:
        if found.text is not None:
            return f"[the resource {found.uri}]\n{found.text}"
        return await self._put(found.uri or "a file", found.mime_type or "", found.blob or "")

    async def _put(self, what: str, media_type: str, data: str) -> str:
        try:
            raw = base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError):
            return f"[{what}: what it sent is no base64]"
        if self._left <= 0:
            return f"[{what}: not kept, there were too many]"
        self._left -= 1
        name = await self._blobs.put(raw)
        return f"[{what}: {media_type[:80]}, {len(raw):,} bytes, kept as blob {name}]"


def _values(found: dict[str, Any]) -> str:
    try:
        return msgspec.json.encode(found).decode()
    except RecursionError:
        return "[values that are nested too deeply]"


def _repeats(part: _Part, values: dict[str, Any]) -> bool:
    """Whether a part says again, as text for those who know only that, what stands in `values`: all
    of them, its only value, or an item of that."""
    same: list[Any] = [values]
    if len(values) == 1:
        (only,) = values.values()
        same += [only, *(cast("list[Any]", only) if isinstance(only, list) else ())]
    try:
        return part.type == "text" and (part.text in same or decoded(part.text or "") in same)
    except NotJson:
        return False
