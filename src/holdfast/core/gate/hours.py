"""Hours of the week, as a person writes them: `08:00-18:00 Mon-Fri`."""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import lru_cache

from holdfast.core.error import Invalid
from holdfast.core.ids import Instant

Zone = tuple[tuple[Instant, int], ...]
"""Since when the clock on the wall was how many minutes ahead of UTC; in order."""

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SPAN = re.compile(
    r"(?P<from>\d\d:\d\d)-(?P<to>\d\d:\d\d)(?:\s+(?P<first>[A-Za-z]{3})(?:-(?P<last>[A-Za-z]{3}))?)?"
)
_MINUTE, _DAY, _WEEK = 60_000, 1440, 10_080
_THURSDAY = 3  # the first of January 1970


def is_within(text: str, at: Instant, zone: Zone) -> bool:
    """True if the clock on the wall shows one of these hours. Raises `Invalid` for other words."""
    minute = _minute(at, zone)
    return any(
        (minute - start) % _WEEK < length for spans in [_spans(text)] for start, length in spans
    )


@lru_cache(maxsize=1024)
def _spans(text: str) -> tuple[tuple[int, int], ...]:
    """Minutes of the week at which spans begin, and how long each is."""
    found: list[tuple[int, int]] = []
    for part in text.split(","):
        span = _SPAN.fullmatch(part.strip())
        if span is None:
            raise _bad(text)
        start, end = _clock(text, span["from"]), _clock(text, span["to"])
        if start in {end, _DAY}:
            raise _bad(text)
        length = (end - start) % _DAY or _DAY
        found += [(day * _DAY + start, length) for day in _named(text, span["first"], span["last"])]
    return tuple(found)


def _named(text: str, first: str | None, last: str | None) -> range | list[int]:
    try:
        start = 0 if first is None else _DAYS.index(first.lower())
        end = _DAYS.index(last.lower()) if last else start if first else 6
    except ValueError:
        raise _bad(text) from None
    return [day % 7 for day in range(start, end + 1 if end >= start else end + 8)]


def _clock(text: str, written: str) -> int:
    hour, minute = int(written[:2]), int(written[3:])
    if minute > 59 or hour * 60 + minute > _DAY:
        raise _bad(text)
    return hour * 60 + minute


def _minute(at: Instant, zone: Zone) -> int:
    index = bisect_right(zone, at, key=lambda change: change[0]) - 1
    ahead = zone[max(index, 0)][1] if zone else 0
    return (at // _MINUTE + ahead + _THURSDAY * _DAY) % _WEEK


def _bad(text: str) -> Invalid:
    hint = "write for example 08:00-18:00 Mon-Fri, several after commas"
    return Invalid(f"{text!r} are no hours of the week", code="bad_hours", hint=hint)
