"""What must be provable later: one stream of records that only grows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from holdfast.core.audit.chain import Checkpoint, Kept
from holdfast.core.audit.fact import Fact
from holdfast.core.ids import Instant


class AuditQuery(Struct, frozen=True, kw_only=True):
    """Which records, newest first: all conditions must hold. `before` is a record's number.

    `kind` may be the first word of one, like `call`.
    """

    since: Instant = 0
    kind: str = ""
    task: str = ""
    agent: str = ""
    secret: str = ""
    rule: str = ""
    before: int = 0
    limit: int = 50


class Signer(Protocol):
    """Who signs checkpoints, and tells true signatures from others."""

    @property
    def key(self) -> bytes:
        """The public half."""
        ...

    def sign(self, said: bytes) -> bytes: ...

    def check(self, key: bytes, said: bytes, signature: bytes) -> bool:
        """Did whoever has this public key sign that?"""
        ...


class Audit(Protocol):
    """The audit of a journal, beside it: what events of tasks say is in it with their commit.

    Records are numbered from 1 without a gap and chained; checkpoints come by themselves now and
    then. All may raise `Unavailable`.
    """

    @property
    def size(self) -> int:
        """How many records there are."""
        ...

    async def append(self, *facts: Fact) -> None:
        """What is in no task's events. Durable on return, together or not at all."""
        ...

    async def query(self, query: AuditQuery) -> Sequence[Kept]:
        """Those whose content is gone are found by `task` and number only."""
        ...

    async def read(self, after: int, limit: int) -> Sequence[Kept]:
        """In order, from the number after `after`."""
        ...

    async def checkpoint(self, at: Instant) -> Checkpoint:
        """The end, signed and durable. Raises `Refused` where nobody signs."""
        ...

    async def checkpoints(self, after: int, limit: int) -> Sequence[Checkpoint]:
        """In order, those of sizes greater than `after`."""
        ...

    async def forget(self, before: Instant, *, at: Instant) -> int:
        """Take the content of older records away, leaving their hashes, and say so; how many."""
        ...

    async def more(self, than: int) -> None:
        """Returns once there are more records than that."""
        ...
