"""Which boxes there are."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.ports.box import Lodger

from .house import House


async def boxes(house: House) -> Sequence[Lodger]:
    """Every box that is kept now, and what it uses."""
    return await house.boxes.all()
