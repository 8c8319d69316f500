"""What servers said lately without being asked: kept in mind for people, and nowhere else."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from holdfast.adapters.tools.web.outside import cleaned
from holdfast.core.ids import TaskId
from holdfast.ports.clock import Clock
from holdfast.ports.mcp import ServerRemark

_MOST, _LONGEST, _SERVERS = 200, 2_000, 64


class Heard:
    """The last remarks of each server, without known secrets and what cannot be seen."""

    def __init__(self, clock: Clock, redact: Callable[[str], str]) -> None:
        self._clock, self._redact = clock, redact
        self._said: dict[str, deque[ServerRemark]] = {}

    def add(self, server: str, task: TaskId, level: str, text: str) -> None:
        remarks = self._said.pop(server, None) or deque(maxlen=_MOST)
        shown = cleaned(self._redact(text[: _LONGEST * 4]))[0][:_LONGEST]
        remarks.append(ServerRemark(at=self._clock.now(), task=task, level=level, text=shown))
        self._said[server] = remarks  # last in line to be forgotten
        while len(self._said) > _SERVERS:
            del self._said[next(iter(self._said))]

    def of(self, server: str) -> Sequence[ServerRemark]:
        """The oldest first."""
        return tuple(self._said.get(server, ()))

    def forget(self, server: str) -> None:
        self._said.pop(server, None)
