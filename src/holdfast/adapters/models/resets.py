"""When a provider's counters start anew, from the headers that its refusals carry."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime

# `x-ratelimit-reset-tokens`, `anthropic-ratelimit-requests-reset`, `x-ratelimit-reset`, …
_NAME = re.compile(r"(?:[a-z]+-)*ratelimit-(?:(?P<of>[a-z-]+)-reset|reset(?:-(?P<for>[a-z-]+))?)")
_PIECE = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST = 86_400.0
_AN_EPOCH, _IN_MILLISECONDS = 1e9, 1e11


def wait(headers: Mapping[str, str], now: float) -> float:
    """Seconds until the counters that are used up start anew; 0 if nothing says so.

    Where no header says which counter is used up, it is the one that takes longest.
    """
    resets = dict(_resets(headers, now))
    used_up = [seconds for name, seconds in resets.items() if _remaining(headers, name) == 0]
    return max(used_up or resets.values(), default=0.0)


def _resets(headers: Mapping[str, str], now: float) -> Iterator[tuple[str, float]]:
    for header, value in headers.items():
        if named := _NAME.fullmatch(header):
            seconds = _seconds(value.strip(), now)
            if 0 < seconds <= _LONGEST:
                yield named["of"] or named["for"] or "", seconds


def _seconds(value: str, now: float) -> float:
    """`6m0s`, `120ms`, `7.5`, seconds or milliseconds since the epoch, or a date; 0 if neither."""
    if re.fullmatch(r"\d+(?:\.\d+)?", value):
        number = float(value)
        if number < _AN_EPOCH:
            return number
        return (number / 1000 if number > _IN_MILLISECONDS else number) - now
    pieces = _PIECE.findall(value)
    if pieces and "".join(number + unit for number, unit in pieces) == value:
        return sum(float(number) * _SECONDS[unit] for number, unit in pieces)
    try:
        return datetime.fromisoformat(value).timestamp() - now
    except ValueError:
        return 0.0


def _remaining(headers: Mapping[str, str], name: str) -> int | None:
    """What is left of a counter; None if nothing says so."""
    for header, value in headers.items():
        if "ratelimit" in header and "remaining" in header and name in header:
            return int(value) if value.strip().isdigit() else None
    return None
