"""Is a stream what it claims to be: chain, fold and summary, recomputed and compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from holdfast.core import event as e
from holdfast.core import view
from holdfast.core.error import Broken
from holdfast.core.evolve import fold
from holdfast.core.ids import GENESIS, Instant, TaskId, link
from holdfast.core.task import Fault
from holdfast.core.view import Summary

PURGED = "[purged]"

Row = tuple[int, str, Instant, bytes, str]


class Stream(NamedTuple):
    """A stream as stored: `rows` of (seq, kind, at, body, link) in order."""

    task: TaskId
    version: int
    head: str
    purged: bool
    summary: bytes
    rows: Sequence[Row]


def problems(stream: Stream) -> tuple[str, ...]:
    """What is wrong with it, in sentences."""
    task, rows = stream.task, stream.rows
    if [row[0] for row in rows] != list(range(1, len(rows) + 1)):
        return (f"{task}: events are missing; {len(rows)} are there",)
    if not rows or (stream.version, stream.head) != (len(rows), rows[-1][4]):
        return (f"{task}: its row says {stream.version} events, and they end otherwise",)
    if stream.purged:
        left = any(body for _, _, _, body, _ in rows)
        return (f"{task}: purged, but something is left",) if left else ()
    return _broken_chain(stream) or _other_summary(stream)


def _broken_chain(stream: Stream) -> tuple[str, ...]:
    chain = GENESIS
    for seq, kind, at, body, stored in stream.rows:
        chain = link(chain, kind, at, body)
        if chain != stored:
            return (f"{stream.task}: event {seq} ({kind}) was changed after it was written",)
    return ()


def _other_summary(stream: Stream) -> tuple[str, ...]:
    try:
        task = fold(e.decode(kind, body) for _, kind, _, body, _ in stream.rows)
    except Broken as error:
        return (f"{stream.task}: its events do not fit together: {error}",)
    if view.encode(view.summary(task)) != stream.summary:
        return (f"{stream.task}: its summary is not what its events say",)
    return ()


def overwritten(summary: Summary) -> Summary:
    """The summary of a purged task: that it was there, without what it said."""
    fault = summary.fault
    return replace(
        summary,
        title=PURGED,
        answer=None if summary.answer is None else PURGED,
        questions=(),
        changes=(),
        fault=None if fault is None else Fault(code=fault.code, message=PURGED),
    )
