"""How often somebody may ask: buckets that fill with time, one for each name."""

from __future__ import annotations

import math
from dataclasses import dataclass

from holdfast.core.error import Unavailable

_MINUTE = 60.0
_ONE = 1.0 - 1e-9
"""Whoever has waited as told is let in, whatever was rounded on the way."""
_MOST = 10_000


class TooMany(Unavailable):
    """Asked too often; `retry_after` is in seconds."""

    code, http_status = "rate_limited", 429

    def __init__(self, message: str, pace: Pace) -> None:
        super().__init__(message, hint=f"ask again in {pace.wait} s")
        self.retry_after, self.pace = pace.wait, pace


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How it stands: requests that may come now, seconds until one may, and the rule."""

    left: int
    wait: int
    per_minute: int
    burst: int

    def headers(self) -> dict[str, str]:
        """As the IETF's draft on RateLimit header fields has them."""
        return {
            "RateLimit-Policy": f'"key";q={self.per_minute};w=60',
            "RateLimit": f'"key";r={max(0, self.left)};t={self.wait}',
        }


class Buckets:
    """Each name has up to `burst` requests at once, and `per_minute` of them come back."""

    def __init__(self) -> None:
        self._filled: dict[str, tuple[float, float]] = {}

    def take(self, name: str, per_minute: int, burst: int, now: float) -> Pace | None:
        """How it stands after one more; `left` is -1 when it was one too many."""
        if not per_minute:
            return None
        rate = per_minute / _MINUTE
        level, seen = self._filled.pop(name, (float(burst), now))
        level = min(float(burst), level + max(0.0, now - seen) * rate)
        if enough := level >= _ONE:
            level = max(0.0, level - 1.0)
        self._make_room(now)
        self._filled[name] = level, now  # the latest stands last
        wait = 0 if level >= _ONE else math.ceil((1.0 - level) / rate)
        left = math.floor(level) if enough else -1
        return Pace(
            left=left, wait=max(wait, 0 if enough else 1), per_minute=per_minute, burst=burst
        )

    def _make_room(self, now: float) -> None:
        """A bucket that nobody has touched for so long is full again: it need not be kept."""
        while self._filled:
            oldest = next(iter(self._filled))
            idle = now - self._filled[oldest][1]
            if len(self._filled) < _MOST and idle < 10 * _MINUTE:
                return
            del self._filled[oldest]
