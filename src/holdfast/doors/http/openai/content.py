"""The parts of a message: words, and what is shown beside them."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

from holdfast.core.message import File

from .errors import Wrong
from .fields import object_of

Attach = Callable[[str, str, bytes], Awaitable[File]]
_DATA = re.compile(r"data:([\w.+-]+/[\w.+-]+)?((?:;[\w.+-]+=[^;,]*)*)(;base64)?,", re.ASCII)
_TEXTS = {"text", "input_text", "output_text", "refusal"}
_IMAGES = {"image_url", "input_image"}
_FILES = {"file", "input_file"}
_SOUNDS = {"wav": "audio/wav", "mp3": "audio/mpeg"}
_MOST = 50


async def read(content: object, where: str, attach: Attach) -> tuple[str, tuple[File, ...]]:
    """The words of a content, and its files as kept by `attach`. Raises `Wrong`, saying where."""
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
            files.append(await attach(*_shown(fields, kind, at)))
        if len(files) > _MOST:
            raise Wrong(f"{where} shows more than {_MOST} files.", param=where)
    return "\n\n".join(words), tuple(files)


def text_of(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise Wrong(f"{where} must hold a text.", param=where)
    return value


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
        hint = "Holdfast fetches no addresses out of messages and keeps no uploads"
        raise Wrong(f"{at}: {what} must be given as a data URL.", param=at, hint=hint)
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
