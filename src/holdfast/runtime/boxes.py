"""Which boxes there are."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.ports.box import Lodger

from .house import House


async def boxes(house: House) -> Sequence[Lodger]:
    """Those that are kept: whose they are, how long they are idle, what they use, how they are."""
    return await house.boxes.all()
