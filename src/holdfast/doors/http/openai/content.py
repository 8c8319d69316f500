"""The parts of a message: words, and what is shown beside them."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

from holdfast.core.error import NotFound
from holdfast.core.message import File

from .errors import NoSuchFile, Wrong
from .fields import object_of

_DATA = re.compile(r"data:([\w.+-]+/[\w.+-]+)?((?:;[\w.+-]+=[^;,]*)*)(;base64)?,", re.ASCII)
_TEXTS = {"text", "input_text", "output_text", "refusal"}
_IMAGES = {"image_url", "input_image"}
_FILES = {"file", "input_file"}
_NAMING = {*_FILES, "input_image"}
_SOUNDS = {"wav": "audio/wav", "mp3": "audio/mpeg"}
_MOST = 50


class Desk(Protocol):
    """Where what is shown beside words is kept, and found that was put there before."""

    async def attach(self, name: str, media_type: str, data: bytes) -> File: ...

    async def uploaded(self, file_id: str) -> File:
        """Raises `NotFound`."""
        ...


async def read(content: object, where: str, desk: Desk) -> tuple[str, tuple[File, ...]]:
    """The words of a content, and its files as kept by `desk`. Raises `Wrong`, saying where."""
    if content is None:
        return "", ()
    if isinstance(content, str):
        return content, ()
    if not isinstance(content, list):
        raise Wrong(f"{where} must be a text or a list of parts.", param=where)
    words: list[str] = []
    files: list[File] = []
    for place, part in enumerate(cast("Sequence[object]", content)):
        at = f"{where}[{place}]"
        if not isinstance(part, dict):
            raise Wrong(f"{at} must be an object.", param=at)
        fields = cast("Mapping[str, Any]", part)
        kind = str(fields.get("type"))
        if kind in _TEXTS:
            words.append(text_of(fields.get("refusal" if kind == "refusal" else "text"), at))
        else:
            files.append(await _file(fields, kind, at, desk))
        if len(files) > _MOST:
            raise Wrong(f"{where} shows more than {_MOST} files.", param=where)
    return "\n\n".join(words), tuple(files)


def text_of(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise Wrong(f"{where} must hold a text.", param=where)
    return value


async def _file(part: Mapping[str, Any], kind: str, at: str, desk: Desk) -> File:
    fields = object_of(part.get("file")) if kind == "file" else part
    if kind not in _NAMING or fields.get("file_id") is None:
        return await desk.attach(*_shown(part, kind, at))
    given = [name for name in ("file_data", "image_url", "file_url") if fields.get(name)]
    if given:
        raise Wrong(f"{at} has 'file_id' and '{given[0]}': give one.", param=f"{at}.file_id")
    try:
        return await desk.uploaded(text_of(fields["file_id"], f"{at}.file_id"))
    except NotFound as missing:
        raise NoSuchFile(str(missing), param=f"{at}.file_id") from None


def _shown(part: Mapping[str, Any], kind: str, at: str) -> tuple[str, str, bytes]:
    """Name, media type and bytes of what a part shows."""
    if kind in _IMAGES:
        given: object = part.get("image_url")
        url = given if isinstance(given, str) else object_of(given).get("url")
        media, data = _decoded(url, f"{at}.image_url", "an image")
        return f"image.{media.partition('/')[2]}", media, data
    if kind in _FILES:
        fields = object_of(part.get("file")) if kind == "file" else part
        media, data = _decoded(fields.get("file_data"), f"{at}.file_data", "a file")
        return str(fields.get("filename") or "file"), media, data
    if kind == "input_audio":
        fields = object_of(part.get("input_audio"))
        media = _SOUNDS.get(str(fields.get("format")))
        if media is None:
            raise Wrong(f"{at}.format must be wav or mp3.", param=at)
        return f"sound.{fields['format']}", media, _bytes(fields.get("data"), at)
    raise Wrong(f"{at}: parts of the type {kind!r} are not understood.", param=f"{at}.type")


def _decoded(url: object, at: str, what: str) -> tuple[str, bytes]:
    if not isinstance(url, str) or not (head := _DATA.match(url)):
        hint = "no address out of a message is fetched; put the file at /v1/files and name its id"
        raise Wrong(
            f"{at}: {what} must be given as a data URL or by its file_id.", param=at, hint=hint
        )
    if not head[3]:
        raise Wrong(f"{at}: the data URL must be in base64.", param=at)
    return head[1] or "text/plain", _bytes(url[head.end() :], at)


def _bytes(text: object, at: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except (binascii.Error, ValueError):
        raise Wrong(f"{at} is not base64.", param=at) from None
    if not data:
        raise Wrong(f"{at} is empty.", param=at)
    return data
