"""The audit in memory, for tests of everything above: the same numbers, hashes and checkpoints."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import anyio.lowlevel
from msgspec.structs import replace

from holdfast.core.audit.chain import Chain, Checkpoint, Kept, claim, due, grown, leaf_of
from holdfast.core.audit.fact import Fact, decode
from holdfast.core.error import Refused
from holdfast.core.ids import Instant
from holdfast.ports.audit import AuditQuery, Signer

from .entry import Note, noted


class MemoryAudit:
    """An `Audit` that is gone at exit. `signer`: who signs, once somebody does."""

    def __init__(self) -> None:
        self.signer: Signer | None = None
        self._chain = Chain()
        self._rows: list[Kept] = []
        self._of: list[tuple[Instant, str]] = []
        self._signed: list[Checkpoint] = []
        self._bell = anyio.Event()

    @property
    def size(self) -> int:
        return self._chain.size

    def add(self, notes: Sequence[Note]) -> None:
        """What came with the events of a task."""
        for at, task, body in notes:
            self._chain = grown(self._chain, leaf := leaf_of(body))
            self._rows.append(Kept(self._chain.size, leaf, self._chain.head, body))
            self._of.append((at, task))
        bell, self._bell = self._bell, anyio.Event()
        bell.set()

    def tell(self, *facts: Fact) -> None:
        self.add(noted(*facts))

    def empty(self, task: str) -> None:
        """Of what a task said only the hashes stay."""
        for place, (_, whose) in enumerate(self._of):
            if whose == task:
                self._rows[place] = self._rows[place]._replace(body=None)

    async def append(self, *facts: Fact) -> None:
        notes = noted(*facts)
        await anyio.lowlevel.checkpoint()
        self.add(notes)

    async def query(self, query: AuditQuery) -> Sequence[Kept]:
        found = [
            row
            for row, (at, task) in zip(reversed(self._rows), reversed(self._of), strict=True)
            if at >= query.since
            and query.task in ("", task)
            and (row.seq < query.before or not query.before)
            and _matches(row, query)
        ]
        return found[: query.limit]

    async def read(self, after: int, limit: int) -> Sequence[Kept]:
        return self._rows[after : after + limit]

    async def checkpoint(self, at: Instant) -> Checkpoint:
        if self._signed and self._signed[-1].size == self.size:
            return self._signed[-1]
        if self.signer is None:
            raise Refused("nobody signs this audit", code="audit_unsigned")
        previous = self._signed[-1].size if self._signed else 0
        made = due(self._chain, previous, self.signer.key, at)
        signed = self.signer.sign(claim(made)).hex()
        self._signed.append(replace(made, signature=signed))
        return self._signed[-1]

    async def checkpoints(self, after: int, limit: int) -> Sequence[Checkpoint]:
        return [one for one in self._signed if one.size > after][:limit]

    async def forget(self, before: Instant, *, at: Instant) -> int:
        old = [
            place
            for place, (when, _) in enumerate(self._of)
            if when < before and self._rows[place].body is not None
        ]
        for place in old:
            self._rows[place] = self._rows[place]._replace(body=None)
        if old:
            self.tell(Fact(kind="audit.forgotten", at=at, count=len(old)))
        return len(old)

    async def more(self, than: int) -> None:
        while self.size <= than:
            await self._bell.wait()


def _matches(row: Kept, query: AuditQuery) -> bool:
    wanted = {name: getattr(query, name) for name in ("agent", "secret", "rule")}
    if row.body is None:
        return not (query.kind or any(wanted.values()))
    fact = decode(row.body)
    of_kind = not query.kind or fact.kind == query.kind or fact.kind.startswith(f"{query.kind}.")
    return of_kind and all(
        not value or getattr(fact, name) == value for name, value in wanted.items()
    )
