"""Reading what the daemon says: what it leaves out is empty."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .wire import Json


def part_of(body: Json, name: str) -> Json:
    """The object under a name."""
    found: Json = body.get(name) or {}
    return found


def rows_of(body: Json, name: str) -> list[Json]:
    """The objects under a name."""
    found: list[Json] = body.get(name) or []
    return found


def texts_of(body: Json, name: str) -> list[str]:
    """The texts under a name."""
    found: list[str] = body.get(name) or []
    return found


def text_of(body: Json, name: str) -> str:
    """The text under a name."""
    found = body.get(name)
    return "" if found is None else str(found)


def count_of(body: Json, name: str) -> int:
    """The whole number under a name."""
    return int(body.get(name) or 0)


def number_of(body: Json, name: str) -> float:
    """The number under a name."""
    return float(body.get(name) or 0)
