"""The route about boxes: which there are."""

from __future__ import annotations

from msgspec import Struct

from holdfast.ports.box import Lodger
from holdfast.runtime.boxes import boxes

from .bodies import NoQuery, Nothing
from .route import Ask


class BoxList(Struct, frozen=True, kw_only=True):
    """Every box that is kept now."""

    boxes: tuple[Lodger, ...]


async def box_list(ask: Ask[NoQuery, Nothing]) -> BoxList:
    return BoxList(boxes=tuple(await boxes(ask.house)))
