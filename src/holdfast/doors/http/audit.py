"""The routes about the audit: looked at, exported, signed, proved."""

from __future__ import annotations

from functools import partial

from msgspec import Struct
from pydantic import Field
from starlette.responses import StreamingResponse

from holdfast.core.audit.chain import Checkpoint, Kept
from holdfast.core.audit.fact import Fact, decode
from holdfast.ports.audit import AuditQuery
from holdfast.runtime import audit
from holdfast.runtime.budgets import moment
from holdfast.runtime.bundle import fingerprint
from holdfast.runtime.house import House
from holdfast.runtime.proof import Finding

from .bodies import Name, NoQuery, Nothing, Question
from .route import Ask, Entry
from .slow import Slowly

_LINES = "application/jsonl"


class AuditAsk(Question):
    """Which records."""

    since: Name = Field(default="", description="today, week, month or a date.")
    kind: Name = Field(default="", description="Like `call.judged`, or only `call`.")
    task: Name = ""
    agent: Name = ""
    secret: Name = ""
    rule: str = Field(default="", max_length=1000)
    limit: int = Field(default=50, ge=1, le=500)
    before: int = Field(default=0, ge=0, le=1 << 53, description="The `next` of the page before.")


class AuditRecord(Struct, frozen=True, kw_only=True):
    """One record: its number, its hashes, and what it says; null where only those are kept."""

    seq: int
    leaf: str
    hash: str
    fact: Fact | None


class AuditPage(Struct, frozen=True, kw_only=True):
    """Records, newest first, of `size` that there are; `next` is null on the last page."""

    records: tuple[AuditRecord, ...]
    size: int
    next: int | None = None


class CheckpointMade(Struct, frozen=True, kw_only=True):
    """The audit as it was at one moment, signed; and how people compare the key."""

    checkpoint: Checkpoint
    fingerprint: str


class AuditProof(Struct, frozen=True, kw_only=True):
    """Whether it is whole, and else the first thing that is wrong."""

    ok: bool
    size: int
    gone: int
    checkpoints: int
    signed: int
    keys: tuple[str, ...]
    finding: Finding | None = None


async def audit_list(ask: Ask[AuditAsk, Nothing]) -> AuditPage:
    wanted, house = ask.query, ask.house
    query = AuditQuery(
        since=moment(wanted.since, house.clock.now()) if wanted.since else 0,
        kind=wanted.kind,
        task=wanted.task,
        agent=wanted.agent,
        secret=wanted.secret,
        rule=wanted.rule,
        limit=wanted.limit + 1,
        before=wanted.before,
    )
    found = [_record(one) for one in await audit.listed(house, query)]
    rows = tuple(found[: wanted.limit])
    more = rows[-1].seq if len(found) > len(rows) else None
    return AuditPage(records=rows, size=house.audit.size, next=more)


async def audit_show(ask: Ask[NoQuery, Nothing]) -> AuditRecord:
    return _record(await audit.shown(ask.house, int(ask.path("seq"))))


async def audit_export(ask: Ask[NoQuery, Nothing]) -> StreamingResponse:
    house = ask.house
    lines = audit.exported(house.audit, house.signer, house.clock.now())
    headers = {"Content-Disposition": 'attachment; filename="holdfast-audit.jsonl"'}
    return StreamingResponse(lines, 200, headers, _LINES)


async def audit_checkpoint(ask: Ask[NoQuery, Nothing]) -> CheckpointMade:
    made = await audit.checkpoint(ask.house)
    return CheckpointMade(checkpoint=made, fingerprint=fingerprint(made.key))


async def audit_verify(ask: Ask[NoQuery, Nothing]) -> Slowly:
    return Slowly(partial(_proof, ask.house))


async def _proof(house: House) -> AuditProof:
    proof = await audit.verified(house)
    return AuditProof(
        ok=proof.ok,
        size=proof.size,
        gone=proof.gone,
        checkpoints=proof.checkpoints,
        signed=proof.signed,
        keys=proof.keys,
        finding=proof.finding,
    )


def _record(row: Kept) -> AuditRecord:
    fact = None if row.body is None else decode(row.body)
    return AuditRecord(seq=row.seq, leaf=row.leaf.hex(), hash=row.hash.hex(), fact=fact)


AUDIT_ROUTES: tuple[Entry, ...] = (
    Entry(
        "GET",
        "/api/v1/audit",
        audit_list,
        "What must be provable later: decisions, approvals, uses of secrets, changes.",
        AuditPage,
        query=AuditAsk,
    ),
    Entry("GET", "/api/v1/audit/records/{seq:int}", audit_show, "One of these.", AuditRecord),
    Entry(
        "GET",
        "/api/v1/audit/export",
        audit_export,
        "The whole audit as lines that prove themselves: `holdfast audit verify FILE`.",
        _LINES,
        errors=(503,),
    ),
    Entry(
        "POST",
        "/api/v1/audit/checkpoint",
        audit_checkpoint,
        "Sign the audit as it is now.",
        CheckpointMade,
        errors=(503,),
    ),
    Entry(
        "GET", "/api/v1/audit/verify", audit_verify, "Is it whole, down to each byte?", AuditProof
    ),
)
