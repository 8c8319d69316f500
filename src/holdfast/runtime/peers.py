"""Agents elsewhere that ours may ask: add one, look at it, remove it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from .elsewhere import Peer, PeerCard
from .house import House

_log = logging.getLogger("holdfast.peers")


def peers(house: House) -> Sequence[Peer]:
    """All of them, by name."""
    return house.peers.all()


async def look(house: House, name: str) -> PeerCard:
    """Fetch its card: is it there, and who does it say it is?"""
    return await house.peers.look(name)


async def add(house: House, told: Mapping[str, Any], *, by: str) -> Peer:
    """From now on our agents may ask it."""
    made = await house.peers.add(told)
    _log.info("the agent %s was added by %s: %s", made.name, by, made.url)
    return made


async def remove(house: House, name: str, *, by: str) -> None:
    """Nobody asks it any more."""
    await house.peers.remove(name)
    _log.info("the agent %s was removed by %s", name, by)
