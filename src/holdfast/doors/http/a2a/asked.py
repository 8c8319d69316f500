"""A message of another agent as what it asks of us: a new task, or a word to one that waits."""

from __future__ import annotations

import re
from typing import Any, cast

import msgspec
from msgspec import UNSET, Struct

from holdfast.core.message import File
from holdfast.core.task import Request
from holdfast.doors.http.readable import READABLE, is_read
from holdfast.runtime import tasks
from holdfast.runtime.house import House

from .faults import ContentTypeNotSupported, InvalidParams, UnsupportedOperation
from .words import Message, Part, Sending

_NAME = re.compile(r"[\x21-\x7e]{1,200}")
_FILE = re.compile(r"[^\x00-\x1f/\\]{1,200}")
_MOST_PARTS = 64


class Decision(Struct, frozen=True, kw_only=True, rename="camel", tag_field="answer"):
    """An answer to a question, as one part with values."""

    call: str


class Approved(Decision, tag="approve", frozen=True, kw_only=True):
    """A yes to exactly the arguments that `digest` names."""

    digest: str
    whole_task: bool = False


class Declined(Decision, tag="refuse", frozen=True, kw_only=True):
    """A no."""

    reason: str = ""


def checked(sending: Sending) -> Message:
    """The message, if it can be one. Raises `InvalidParams`, `ContentTypeNotSupported`."""
    message = sending.message
    if message.role == "ROLE_AGENT":
        raise InvalidParams("message.role: only a user's messages are taken here")
    if not _NAME.fullmatch(message.message_id):
        raise InvalidParams("message.messageId: expected 1 to 200 printable characters")
    if message.context_id and not _NAME.fullmatch(message.context_id):
        raise InvalidParams("message.contextId: expected 1 to 200 printable characters")
    if not 0 < len(message.parts) <= _MOST_PARTS:
        raise InvalidParams(f"message.parts: expected 1 to {_MOST_PARTS} parts")
    for place, part in enumerate(message.parts):
        _check(part, f"message.parts[{place}]")
    return message


def _check(part: Part, where: str) -> None:
    given = [one for one in (part.text, part.raw, part.url, part.data) if one is not UNSET]
    if len(given) != 1:
        raise InvalidParams(f"{where}: expected exactly one of text, raw, url and data")
    if part.raw is UNSET:
        return
    if not is_read(part.media_type):
        what = part.media_type or "bytes without a media type"
        hint = f"what is read: {READABLE}"
        raise ContentTypeNotSupported(f"{where}: {what} cannot be read here", hint=hint)
    if not part.raw:
        raise InvalidParams(f"{where}: the file is empty")


async def request_of(
    house: House, message: Message, *, by: str, sources: tuple[str, ...]
) -> Request:
    """The task that a first message asks for."""
    return Request(
        prompt=words(message.parts),
        agent=house.agent,
        by=by,
        workspace=str(house.home / "workspace"),
        files=tuple([await _file(house, n, p) for n, p in enumerate(message.parts, 1) if p.raw]),
        sources=sources,
    )


def words(parts: tuple[Part, ...]) -> str:
    """All that is no file, as text."""
    said: list[str] = []
    for part in parts:
        if isinstance(part.text, str):
            said.append(part.text)
        elif isinstance(part.url, str):
            what = " ".join(filter(None, (part.filename or "a file", part.media_type)))
            said.append(f"[{what}: {part.url}]")
        elif part.data is not UNSET:
            said.append(f"```json\n{msgspec.json.encode(part.data).decode()}\n```")
    return "\n\n".join(said) or "Look at the files."


async def _file(house: House, number: int, part: Part) -> File:
    name = part.filename if _FILE.fullmatch(part.filename) else f"file-{number}"
    data = part.raw if isinstance(part.raw, bytes) else b""
    return await tasks.attach(house, name, part.media_type.lower(), data)


def sources_of(message: Message, by: str, *, person: bool) -> tuple[str, ...]:
    """Where the words come from; nothing for a person's own.

    A sender that says they may come from strangers is believed. Its word for the contrary counts
    for no more than who it is.
    """
    told = _told_sources(message)
    return () if person and not told else (f"peer:{by}", *(f"peer:{by}:{one}" for one in told))


def _told_sources(message: Message) -> tuple[str, ...]:
    if message.metadata is UNSET:
        return ()
    holdfast: Any = message.metadata.get("holdfast")
    found: Any = holdfast.get("sources") if isinstance(holdfast, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    try:
        sources = msgspec.convert(found or [], list[str])
    except msgspec.ValidationError:
        raise InvalidParams("message.metadata.holdfast.sources: expected a list of texts") from None
    return tuple(dict.fromkeys(one[:100] for one in sources[:32]))


def answer_of(message: Message) -> Approved | Declined | str:
    """What a message to a task that is there already says: a decision, or words."""
    if any(part.raw is not UNSET for part in message.parts):
        hint = "begin a task with it, in the same context"
        raise UnsupportedOperation("files come with the first message of a task", hint=hint)
    for part in message.parts:
        values: Any = part.data
        if isinstance(values, dict) and "answer" in values:
            try:
                return msgspec.convert(cast("Any", values), Approved | Declined)
            except msgspec.ValidationError as error:
                raise InvalidParams(f"the answer to a question: {error}") from None
    return words(message.parts)
