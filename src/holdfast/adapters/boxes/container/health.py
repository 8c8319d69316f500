"""Is a container still well, and what follows when it is not: values that return the next one."""

from __future__ import annotations

from msgspec.structs import replace

from holdfast.core.ids import Instant
from holdfast.ports.box import BoxHealth

EVERY = 30_000
_FAILURES = 3
_RESTARTS, _WITHIN = 3, 3_600_000


class Health(BoxHealth, frozen=True, kw_only=True):
    """What is known of one container, and what a check makes of it."""

    def passed(self, now: Instant) -> Health:
        return replace(self, state="healthy", failures=0, last_check=now, last_healthy=now)

    def missed(self, now: Instant) -> Health:
        """One check more that failed; after three it is to be made again, if it still may be."""
        failures = self.failures + 1
        missed = replace(self, state="unhealthy", failures=failures, last_check=now)
        if failures < _FAILURES:
            return missed
        recent = tuple(moment for moment in self.restarts if now - moment < _WITHIN)
        if len(recent) >= _RESTARTS:
            return replace(missed, state="failed", restarts=recent)
        return replace(missed, state="restarting", restarts=(*recent, now))

    def restarted(self) -> Health:
        """Made again: three fresh checks decide whether that helped."""
        return replace(self, state="unknown", failures=0)

    def not_restarted(self, now: Instant) -> Health:
        """It could not be made again: the next check tries once more, if it still may."""
        return replace(self, state="unhealthy", failures=_FAILURES - 1, last_check=now)
