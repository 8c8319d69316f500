"""Is the audit what it claims to be, and does it say all that the events say?"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from holdfast.core import event as e
from holdfast.core.audit.chain import Chain, grown, leaf_of, link_of, root
from holdfast.core.audit.fact import Fact, encode
from holdfast.core.audit.told import TELLING, told
from holdfast.core.error import Broken
from holdfast.core.ids import Instant

from . import audit, trail
from .connection import Connection

_AT_ONCE = 2_000
_THERE = "SELECT 1 FROM sqlite_schema WHERE name = 'audit'"


class Told:
    """What is in the audit, for comparison with streams that are looked at later.

    A backup from before there was an audit has none, and nothing is missing from it.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._leaves = set[bytes]()
        self._missing: dict[bytes, Fact] = {}
        self._chain = Chain()
        self._there = bool(connection.value(_THERE))
        since = connection.value("SELECT at FROM audit WHERE seq = 1") if self._there else None
        self._since: Instant = since or 1 << 62

    def walk(self) -> Iterator[str]:
        """What is wrong with the records and with the checkpoints; nothing behind the first."""
        if not self._there:
            return
        signed = {one.size: one for one in trail.checkpoints(self._connection, 0, 1 << 60)}
        sql = "SELECT seq, leaf, hash, body FROM audit WHERE seq > ? ORDER BY seq LIMIT ?"
        while rows := self._connection.rows(sql, (self._chain.size, _AT_ONCE)):
            for seq, leaf, own, body in rows:
                due = self._chain.size + 1
                if seq != due:
                    yield f"the audit: record {due} is gone"
                    return
                whole = body is None or leaf_of(body) == leaf
                if not whole or link_of(self._chain, leaf) != own:
                    yield f"the audit: record {seq} was changed after it was written"
                    return
                self._chain = grown(self._chain, leaf)
                self._leaves.add(leaf)
                if (said := signed.pop(seq, None)) and said.root != root(self._chain).hex():
                    yield f"the audit: what the checkpoint of {seq} records signed is not this"
                    return
        if signed:
            yield f"the audit: {min(signed)} records are signed, and {self._chain.size} are there"

    def look(self, stream: audit.Stream, agent: str) -> None:
        """Remember what the audit does not say of this stream."""
        for seq, kind, at, body, link in () if stream.purged else stream.rows:
            if at <= self._since:  # older than the audit, or of the moment in which it begins
                continue
            try:
                event = e.decode(kind, body)
            except Broken:  # the stream itself is said to be damaged
                return
            if type(event) not in TELLING:
                continue
            here = partial(Fact, at=at, task=stream.task, event=seq, link=link, agent=agent)
            for fact in told(event, here):
                leaf = leaf_of(encode(fact))
                if leaf not in self._leaves:
                    self._missing[leaf] = fact

    def missing(self) -> Iterator[str]:
        """What nothing was written about, not even since the walk."""
        sql = "SELECT leaf FROM audit WHERE seq > ?"
        for (leaf,) in () if not self._missing else self._connection.rows(sql, (self._chain.size,)):
            self._missing.pop(leaf, None)
        for fact in self._missing.values():
            yield f"the audit: event {fact.event} of {fact.task} ({fact.kind}) has no record"
