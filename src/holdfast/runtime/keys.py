"""Keys for programs and people that come over HTTP: made once, shown once, kept as a hash."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from holdfast.core.audit.fact import Fact
from holdfast.core.error import Invalid

from . import scopes
from .house import House
from .keyring import Key, digest

_log = logging.getLogger("holdfast.keys")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_MARK = "hfk"
KEY = "key"
"""What the principal of a key begins with: `key:NAME`."""

_ID_BYTES, _SECRET_BYTES = 6, 32


class NewKey(Struct, frozen=True, kw_only=True):
    """What a key is to be. `lasts` in milliseconds, 0: until it is revoked."""

    name: str
    scopes: tuple[str, ...]
    agents: tuple[str, ...] = ("*",)
    per_minute: int = 0
    burst: int = 10
    lasts: int = 0


def listed(house: House) -> Sequence[Key]:
    """All keys, the revoked ones too, by name."""
    return house.keys.all()


def opens(house: House, by: str) -> bool:
    """Whether a principal may still come in; only one with a key may not for ever."""
    kind, _, name = by.partition(":")
    return kind != KEY or house.keys.named(name, house.clock.now()) is not None


async def create(house: House, new: NewKey, *, by: str) -> tuple[Key, str]:
    """Make a key; its text is returned here and nowhere else.

    Raises `Invalid`, and `Refused` when there is one of that name: a name in the audit stays one
    key's for ever.
    """
    if not _NAME.fullmatch(new.name):
        hint = "lower-case letters, digits, . _ and -, 64 at most"
        raise Invalid(f"{new.name!r} is no name for a key", code="bad_name", hint=hint)
    house.keys.free(new.name)
    now, ident = house.clock.now(), secrets.token_hex(_ID_BYTES)
    text = f"{_MARK}_{ident}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    key = Key(
        name=new.name,
        ident=ident,
        hash=digest(text),
        scopes=scopes.checked(new.scopes),
        agents=new.agents,
        per_minute=new.per_minute,
        burst=new.burst,
        made_at=now,
        made_by=by,
        expires_at=now + new.lasts if new.lasts else 0,
    )
    await _say(house, key, by, after="made")
    await house.keys.add(key)
    _log.info("the key %s was made by %s: %s", key.name, by, ", ".join(key.scopes))
    return key, text


async def revoke(house: House, name: str, *, by: str) -> Key:
    """It opens nothing from now on; doing it twice is one revocation. Raises `NotFound`."""
    key = house.keys.get(name)
    if key.revoked_at:
        return key
    await _say(house, key, by, after="revoked")
    gone = await house.keys.put(replace(key, revoked_at=house.clock.now()))
    _log.info("the key %s was revoked by %s", name, by)
    return gone


async def _say(house: House, key: Key, by: str, *, after: str) -> None:
    told = Fact(
        kind="access.changed",
        at=house.clock.now(),
        by=by,
        subject=f"key:{key.name}",
        digest=key.hash,
        after=after,
    )
    await house.audit.append(told)
