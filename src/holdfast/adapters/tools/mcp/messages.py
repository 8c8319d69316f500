"""The words of the protocol, as bytes that strangers wrote: bounded, and of the right shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct

from holdfast.core.foreign import NotJson, decoded

from .trouble import Odd, Problem

LARGEST = 8 << 20
"""Bytes of one message: a picture in an answer has some MiB."""

VERSION = "2025-11-25"
VERSIONS = frozenset({"2024-11-05", "2025-03-26", "2025-06-18", VERSION})
NOT_HERE = -32601
_BATCH = 100

T = TypeVar("T")


class Message(Struct, frozen=True):
    """Anything that is said: a request has method and id, a notification no id, an answer no
    method."""

    id: int | str | None = None
    method: str = ""
    params: Raw = Raw(b"{}")
    result: Raw = Raw(b"")
    error: Problem | None = None


class _Progress(Struct, frozen=True):
    token: int | str = msgspec.field(name="progressToken", default="")
    progress: float = 0.0
    total: float | None = None
    message: str = ""


def request(number: int, method: str, params: Mapping[str, Any]) -> bytes:
    return _said({"id": number, "method": method, "params": params})


def notification(method: str, params: Mapping[str, Any]) -> bytes:
    return _said({"method": method, "params": params})


def result(number: int | str | None, told: Mapping[str, Any]) -> bytes:
    return _said({"id": number, "result": told})


def failure(number: int | str | None, code: int, text: str) -> bytes:
    return _said({"id": number, "error": {"code": code, "message": text}})


def reply(message: Message) -> bytes:
    """To what a server may not ask of us."""
    return failure(message.id, NOT_HERE, "this client offers nothing of that kind")


def heard(data: bytes) -> list[Message]:
    """One message, or a batch of them. Raises `Odd`."""
    if not data.lstrip().startswith(b"["):
        return [shaped(data, Message, "a message")]
    batch = shaped(data, list[Message], "a batch of messages")
    if len(batch) > _BATCH:
        raise Odd(f"a batch has {len(batch)} messages; {_BATCH} are allowed")
    return batch


def shaped(data: bytes | Raw, shape: type[T], what: str) -> T:
    """Raises `Odd`."""
    try:
        return decoded(data, shape)
    except NotJson as error:
        raise Odd(f"{what} makes no sense: {error}") from None


def progress(message: Message) -> tuple[int | str, str]:
    """Which call it is about, and a short sentence."""
    told = shaped(message.params, _Progress, "a word of progress")
    of = f"{told.progress:g}/{told.total:g}" if told.total else f"{told.progress:g}"
    return told.token, f"{of} {told.message[:200]}".strip()


def _said(words: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode({"jsonrpc": "2.0", **words})
