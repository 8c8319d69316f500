"""The route about the boxes in which commands run."""

from __future__ import annotations

from msgspec import Struct

from holdfast.ports.box import Lodger
from holdfast.runtime.boxes import boxes

from .bodies import NoQuery, Nothing
from .route import Ask


class BoxList(Struct, frozen=True, kw_only=True):
    """Boxes that exist now: at work, idle, or made for whoever comes next."""

    boxes: tuple[Lodger, ...]


async def box_list(ask: Ask[NoQuery, Nothing]) -> BoxList:
    return BoxList(boxes=tuple(await boxes(ask.house)))
