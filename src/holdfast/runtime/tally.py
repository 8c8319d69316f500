"""Counts what happens in a house, for whoever measures it: from the start of the daemon on.

Statuses and tool calls are counted as they are recorded. Verdicts, answers of people, secrets and
requests to the outside are in the audit, which is read on now and then, and whenever somebody asks.
Every name in a count is ours or a tool's that there is: a model cannot make new ones.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Iterator
from itertools import takewhile

import anyio

from holdfast.core.audit.fact import Fact, decode
from holdfast.core.error import HoldfastError
from holdfast.core.message import Outcome, Refused, Returned, ToolAnswered, Unknown
from holdfast.core.task import Status, Task
from holdfast.engine.record import Recorder
from holdfast.ports.audit import Audit
from holdfast.ports.tools import Tools

from .spending import Spending

_log = logging.getLogger("holdfast")

OTHER = "other"
"""Stands for every name that is none of ours, or one too many."""

_AT_WORK = (Status.CLAIMED, Status.RUNNING)
_MOST = 200
_PAGE, _PAGES = 2_000, 25
_BEAT, _LOOK = 1.0, 10
_MINUTE = 60


class Tally:
    """What was counted. The recorder tells of every change; `run` goes on reading the audit."""

    def __init__(self, recorder: Recorder, tools: Tools, audit: Audit, spending: Spending) -> None:
        self._told, recorder.changed = recorder.changed, self._changed
        self._tools, self._audit, self._read = tools, audit, audit.size
        self.spending = spending
        self._names = set[str]()
        self._late = deque[float](maxlen=_MINUTE)
        self._turn = anyio.Lock()
        self.entered = Counter[Status]()
        self.recovered = 0
        self.calls = Counter[tuple[str, str]]()
        self.facts = Counter[str]()

    @property
    def lag(self) -> tuple[float, float]:
        """By how many seconds the loop was late: just now, and at most within the last minute."""
        return (self._late[-1], max(self._late)) if self._late else (0.0, 0.0)

    async def run(self) -> None:
        """Until cancelled. Asks the store for nothing while nothing happens."""
        beats = 0
        while True:
            begun = anyio.current_time()
            await anyio.sleep(_BEAT)
            self._late.append(round(max(0.0, anyio.current_time() - begun - _BEAT), 6))
            beats += 1
            if beats % _LOOK == 0:
                try:
                    await self.catch_up()
                except HoldfastError as error:
                    _log.warning("the audit was not counted: %s", error)

    async def catch_up(self) -> None:
        """Count what the audit has got since. What is too much at once is counted next time."""
        async with self._turn:
            for _ in range(_PAGES):
                if self._audit.size <= self._read:
                    return
                page = await self._audit.read(self._read, _PAGE)
                if not page:  # what is on its way to the disk does not count yet
                    return
                for row in page:
                    self._read = row.seq
                    if row.body is not None:
                        self._count(decode(row.body))

    def _count(self, fact: Fact) -> None:
        match fact.kind:
            case "call.judged":
                self.facts[f"verdict.{fact.verdict}"] += 1
            case "call.approved":
                self.facts["answer.yes"] += 1
            case "call.refused" if fact.by:
                self.facts["answer.no"] += 1
            case "egress.allowed" | "egress.denied" | "secret.used" | "secret.denied":
                self.facts[fact.kind] += 1
            case _:
                pass

    def _changed(self, before: Task, after: Task) -> None:
        self._told(before, after)
        if after.status is not before.status:
            self.entered[after.status] += 1
            if after.status is Status.QUEUED and before.status in _AT_WORK:
                self.recovered += 1
        for answered in _fresh(before, after):
            self.calls[self._name(answered.tool), _outcome(answered.outcome)] += 1

    def _name(self, tool: str) -> str:
        if tool not in self._names:
            if len(self._names) >= _MOST or self._tools.get(tool) is None:
                return OTHER
            self._names.add(tool)
        return tool


def _fresh(before: Task, after: Task) -> Iterator[ToolAnswered]:
    """The answers to calls that came last: they stand behind all that there was before."""
    last = before.transcript[-1] if before.transcript else None
    for entry in takewhile(lambda one: one is not last, reversed(after.transcript)):
        if isinstance(entry, ToolAnswered):
            yield entry


def _outcome(outcome: Outcome) -> str:
    match outcome:
        case Returned():
            return "returned"
        case Refused():
            return "refused"
        case Unknown():
            return "unknown"
        case _:
            return "failed"
