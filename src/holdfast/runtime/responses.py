"""Keep an answer for its client, find it again, forget it."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from .house import House

K = TypeVar("K", bound=Struct)


async def keep(house: House, name: str, by: str, kept: Struct) -> None:
    """Durable when this returns, and without any known secret."""
    clean: Any = house.secrets.clean(kept)
    await house.responses.keep(name, by, msgspec.json.encode(clean))


async def find(house: House, name: str, by: str, kind: type[K]) -> K:
    """Raises `NotFound`, also for what is somebody else's."""
    return msgspec.json.decode(await house.responses.find(name, by), type=kind)


async def forget(house: House, name: str, by: str) -> None:
    await house.responses.forget(name, by)
