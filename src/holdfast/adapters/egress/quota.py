"""How much a task has asked for and moved, counted on across restarts."""

from __future__ import annotations

from collections import OrderedDict

from holdfast.core.error import NotAllowed
from holdfast.core.reach import Reach
from holdfast.ports.egress import Visits

_KEPT = 4_096
_HINT = "requests and bytes in [egress] say how much a task may use"


class Meter:
    """What one task has used so far."""

    def __init__(self, requests: int, size: int) -> None:
        self._requests, self._bytes = requests, size
        self.told = False

    def enter(self, reach: Reach) -> None:
        """One request more. Raises `NotAllowed`."""
        if self._requests >= reach.requests:
            what = f"the {reach.requests} requests of this task are used up"
            raise NotAllowed(what, code="egress_quota", hint=_HINT)
        self._requests += 1
        self.move(reach, 0)

    def move(self, reach: Reach, size: int) -> None:
        """So many bytes more. Raises `NotAllowed`."""
        self._bytes += size
        if self._bytes > reach.bytes or (not size and self._bytes == reach.bytes):
            what = f"the {reach.bytes} bytes of this task are used up"
            raise NotAllowed(what, code="egress_bytes", hint=_HINT)


class Meters:
    """One meter for each task; one that was put away is read from what is written down."""

    def __init__(self, visits: Visits) -> None:
        self._visits = visits
        self._known: OrderedDict[str, Meter] = OrderedDict()

    async def of(self, reach: Reach) -> Meter:
        if not reach.task:
            return Meter(0, 0)
        if reach.task not in self._known:
            used = await self._visits.used(reach.task)
            self._known.setdefault(reach.task, Meter(*used))
        self._known.move_to_end(reach.task)
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return self._known[reach.task]
