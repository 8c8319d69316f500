"""What must be provable later: told, looked at, exported, proved."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence

from msgspec.structs import replace

from holdfast.core.audit.chain import Checkpoint, Kept, line
from holdfast.core.audit.fact import KINDS
from holdfast.core.error import Invalid, NotFound
from holdfast.core.ids import Instant
from holdfast.ports.audit import Audit, AuditQuery, Signer

from . import tasks
from .bundle import Header, Seal, Sealed, Signed, State, followed, is_gone, sealing, written
from .house import House
from .proof import Finding, Proof, located, proved

_PAGE = 500
_DAY = 86_400_000


async def listed(house: House, query: AuditQuery) -> Sequence[Kept]:
    """Newest first. `task` may be cut short."""
    kinds = {*KINDS, *(kind.partition(".")[0] for kind in KINDS)}
    if query.kind and query.kind not in kinds:
        hint = f"one of {', '.join(sorted(kinds))}"
        raise Invalid(f"there is no kind of record {query.kind!r}", code="bad_kind", hint=hint)
    if query.task:
        query = replace(query, task=await _task(house, query.task))
    return await house.audit.query(query)


async def _task(house: House, text: str) -> str:
    """The task's whole id; as it was said for one that is not there any more."""
    try:
        return await tasks.resolve(house, text)
    except NotFound:
        return text


async def shown(house: House, seq: int) -> Kept:
    """One record. Raises `NotFound`."""
    found = await house.audit.read(seq - 1, 1) if 0 < seq <= house.audit.size else ()
    if not found:
        what = f"there is no audit record {seq}: the last one is {house.audit.size}"
        raise NotFound(what, code="audit_not_found")
    return found[0]


async def checkpoint(house: House) -> Checkpoint:
    """The audit as it is now, signed."""
    return await house.audit.checkpoint(house.clock.now())


async def forget(house: House, days: int) -> int:
    """Of records older than so many days only the hashes stay; 0 keeps everything."""
    if not days:
        return 0
    now = house.clock.now()
    return await house.audit.forget(now - days * _DAY, at=now)


async def exported(audit: Audit, signer: Signer, now: Instant) -> AsyncIterator[bytes]:
    """The whole audit as a file that proves itself, line by line in a few large pieces."""
    last = await audit.checkpoint(now)
    header = written(Header(size=last.size, at=now, key=signer.key.hex()))
    yield header
    gone = 0
    async for piece in _pages(audit, last.size):
        gone += sum(map(is_gone, piece))
        yield b"".join(piece)
    seal = Seal(
        size=last.size,
        at=now,
        header=hashlib.sha256(header).hexdigest(),
        root=last.root,
        head=last.head,
        key=signer.key.hex(),
        gone=gone,
    )
    yield written(Sealed(end=replace(seal, signature=signer.sign(sealing(seal)).hex())))


async def _pages(audit: Audit, size: int) -> AsyncIterator[list[bytes]]:
    """The lines of records and of the checkpoints among them, a page at a time."""
    done = 0
    while done < size:
        rows = await audit.read(done, min(_PAGE, size - done))
        end = rows[-1].seq if rows else size
        signed = {one.size: one for one in await audit.checkpoints(done, _PAGE)}
        piece = list[bytes]()
        for row in rows:
            piece.append(line(row))
            if row.seq in signed:
                piece.append(written(Signed(checkpoint=signed[row.seq])))
        yield piece
        done = end


async def verified(house: House) -> Proof:
    """Look at every record and signature, and that it says all that the journal knows."""
    state, number, check = State(), 0, house.signer.check
    async for piece in _pages(house.audit, house.audit.size):
        for place, text in enumerate(piece):
            number += 1
            after = followed(state, text, check)
            if after is None:
                return proved(state, located(state, number, iter(piece[place:]), check))
            state = after
    problems = (await house.journal.verify()).problems
    if problems:
        return proved(state, Finding(what="changed", record=0, line=0, says=problems[0]))
    return proved(state)
