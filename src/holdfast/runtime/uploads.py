"""Files that clients put here to name them later: put, listed, used, deleted."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from holdfast.core.error import Broken, Invalid, NotFound
from holdfast.core.foreign import NotJson, decoded
from holdfast.core.ids import Instant

from .house import House

_log = logging.getLogger("holdfast.uploads")


class Upload(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of a file. `expires_at` is 0 for one that stays until it is deleted."""

    id: str
    name: str
    media_type: str
    purpose: str
    size: int
    created_at: Instant
    expires_at: Instant = 0


class Given(Struct, frozen=True, kw_only=True):
    """A file as a client gives it; it `lasts` so many seconds, or (0) until it is deleted."""

    name: str
    media_type: str
    purpose: str
    data: bytes
    lasts: int = 0


async def put(house: House, given: Given, by: str) -> Upload:
    """Keep it; durable when this returns. Raises `Refused` where there is no more room for it."""
    if not given.data:
        raise Invalid(f"{given.name} is empty", code="empty_file")
    now = house.clock.now()
    made = Upload(
        id=house.clock.new_id("file"),
        name=given.name,
        media_type=given.media_type,
        purpose=given.purpose,
        size=len(given.data),
        created_at=now,
        expires_at=now + given.lasts * 1000 if given.lasts else 0,
    )
    await house.uploads.keep(made.id, by, msgspec.json.encode(made), given.data)
    return made


async def find(house: House, name: str, by: str) -> Upload:
    """Raises `NotFound`, also for what is somebody else's or has expired."""
    return _still(house, _read(await house.uploads.about(name, by)))


async def fetch(house: House, name: str, by: str) -> tuple[Upload, bytes]:
    """With its bytes. Raises as `find`."""
    about, data = await house.uploads.find(name, by)
    return _still(house, _read(about)), data


async def all_of(house: House, by: str) -> Sequence[Upload]:
    """Oldest first, without those that are damaged."""
    now = house.clock.now()
    found = map(_legible, await house.uploads.all(by))
    return [one for one in found if one is not None and not _is_over(one, now)]


async def forget(house: House, name: str, by: str) -> None:
    await house.uploads.forget(name, by)


async def tidy(house: House, before: Instant) -> None:
    """Everybody's that have expired go, and those put here before that moment.

    What is damaged stays: nobody knows how old it is.
    """
    now = house.clock.now()

    def is_over(line: bytes) -> bool:
        about = _legible(line)
        return about is not None and (about.created_at < before or _is_over(about, now))

    await house.uploads.tidy(is_over)


def _read(line: bytes) -> Upload:
    """Raises `Broken`."""
    try:
        return decoded(line, Upload)
    except NotJson as error:
        what = f"what is known of a file in uploads is damaged: {line[:60]!r} ({error})"
        hint = "delete it, and put it here again"
        raise Broken(what, code="file_damaged", hint=hint) from None


def _legible(line: bytes) -> Upload | None:
    """None, and a word in the log, for one that is damaged: the others do not suffer from it."""
    try:
        return _read(line)
    except Broken as damaged:
        _log.error("%s", damaged, extra={"code": damaged.code})
        return None


def _is_over(about: Upload, now: Instant) -> bool:
    return 0 < about.expires_at <= now


def _still(house: House, about: Upload) -> Upload:
    if _is_over(about, house.clock.now()):
        raise NotFound(f"The file {about.id!r} has expired.", code="file_not_found")
    return about
