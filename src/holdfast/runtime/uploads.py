"""Files that clients put here to name them later: put, listed, used, deleted."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from holdfast.core.error import Broken, Invalid, NotFound
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
    """Oldest first."""
    now = house.clock.now()
    found = filter(None, map(_known, await house.uploads.all(by)))
    return [one for one in found if not _is_over(one, now)]


async def forget(house: House, name: str, by: str) -> None:
    await house.uploads.forget(name, by)


async def tidy(house: House, before: Instant) -> None:
    """Everybody's that have expired go, and those put here before that moment.

    One that is damaged stays, and the others' time is over all the same.
    """
    now = house.clock.now()

    def is_over(line: bytes) -> bool:
        about = _known(line)
        return about is not None and (about.created_at < before or _is_over(about, now))

    await house.uploads.tidy(is_over)


def _read(line: bytes) -> Upload:
    if (about := _known(line)) is None:
        hint = "delete it, and put it here again"
        raise Broken("what is known of the file is damaged", code="file_damaged", hint=hint)
    return about


def _known(line: bytes) -> Upload | None:
    """None where it is damaged."""
    try:
        return msgspec.json.decode(line, type=Upload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        _log.error("a file of a client is damaged: %s", error, extra={"code": "file_damaged"})
        return None


def _is_over(about: Upload, now: Instant) -> bool:
    return 0 < about.expires_at <= now


def _still(house: House, about: Upload) -> Upload:
    if _is_over(about, house.clock.now()):
        raise NotFound(f"The file {about.id!r} has expired.", code="file_not_found")
    return about
