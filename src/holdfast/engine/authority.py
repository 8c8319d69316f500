"""By which rules a task is judged now: those of its try, what has come since, the leases."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec.structs import replace

from holdfast.core.event import Event
from holdfast.core.gate import using
from holdfast.core.gate.policy import Lease, Rules
from holdfast.core.task import Status, Task

_KEPT = 32


class Authority:
    """The rules in force and those of running tries, and the leases, each use taken once.

    What is decided and taken in one go, without waiting between, cannot be taken twice.
    """

    def __init__(self, rules: Callable[[], Rules]) -> None:
        self._rules = rules
        self._versions: OrderedDict[str, Rules] = OrderedDict()
        self._leases: dict[str, Lease] = {}

    @property
    def leases(self) -> tuple[Lease, ...]:
        return tuple(self._leases.values())

    def current(self) -> Rules:
        """The rules in force, with the leases."""
        return self._with_leases(self._remembered())

    def over(self, task: Task) -> Rules:
        """The rules for a task: a try that runs keeps its own, narrowed by what has come since."""
        now = self._remembered()
        own = self._versions.get(task.policy) if task.status is Status.RUNNING else None
        if own is None or own.version == now.version:
            return self._with_leases(now)
        return replace(self._with_leases(own), newer=self._with_leases(now))

    def put(self, leases: Iterable[Lease]) -> None:
        self._leases.update({lease.id: lease for lease in leases})

    def drop(self, lease: str) -> None:
        self._leases.pop(lease, None)

    def take(self, events: Sequence[Event]) -> Mapping[str, int]:
        """Count the uses that these events tell; returns them, to give back if they are lost."""
        uses = using.uses(events)
        self._count(uses, 1)
        return uses

    def give_back(self, uses: Mapping[str, int]) -> None:
        self._count(uses, -1)

    def exhaust(self, uses: Mapping[str, int]) -> None:
        """The store knows better: these are not to be used again."""
        for lease in uses:
            self.drop(lease)

    def _count(self, uses: Mapping[str, int], sign: int) -> None:
        for name, times in uses.items():
            if lease := self._leases.get(name):
                self._leases[name] = replace(lease, used=lease.used + sign * times)

    def _remembered(self) -> Rules:
        now = self._rules()
        self._versions[now.version] = now
        if len(self._versions) > _KEPT:
            self._versions.popitem(last=False)
        return now

    def _with_leases(self, rules: Rules) -> Rules:
        return replace(rules, leases=self.leases) if self._leases else rules
