"""The routes about trust: how far agents are trusted in which domain, and how it went."""

from __future__ import annotations

from msgspec import Struct
from pydantic import Field

from holdfast.runtime import autonomy, trust

from .bodies import Body, Name, NoQuery, Nothing, Question, Text
from .route import Ask, Entry


class TrustAsk(Question):
    """Of what."""

    domain: Name = Field(default="", description="Only this domain.")
    agent: Name = Field(default="", description="As it is for this agent.")


class AutonomyAsk(TrustAsk):
    """Of what, and since when."""

    days: int = Field(default=30, ge=1, le=3650, description="So many days back.")


class TrustGrant(Body):
    """A level of trust in a domain."""

    domain: Name = Field(description="A domain of the policy.")
    level: Name = Field(description="none, low, medium or high.")
    agent: Name = Field(default="", description="For this agent alone; empty: for all.")
    reason: Text = Field(default="", description="Why, for those who look at it later.")


class TrustRevoke(Body):
    """What is taken back."""

    domain: Name = Field(description="A domain of the policy.")
    agent: Name = Field(default="", description="What this agent has of its own; empty: of all.")


class TrustList(Struct, frozen=True, kw_only=True):
    """Domains with the levels that count, and what the levels mean."""

    domains: tuple[trust.Trusted, ...]
    levels: dict[str, str]


class AutonomyList(Struct, frozen=True, kw_only=True):
    """How trust in each domain went, from the audit."""

    records: tuple[autonomy.Record, ...]


async def trust_show(ask: Ask[TrustAsk, Nothing]) -> TrustList:
    rows = trust.shown(ask.house, ask.query.domain, ask.query.agent)
    levels = {str(level): means for level, means in trust.MEANS.items()}
    return TrustList(domains=tuple(rows), levels=levels)


async def trust_grant(ask: Ask[NoQuery, TrustGrant]) -> trust.Trusted:
    said = ask.body
    wish = trust.Wish(domain=said.domain, level=said.level, agent=said.agent, reason=said.reason)
    return await trust.grant(ask.house, wish, by=ask.by)


async def trust_revoke(ask: Ask[NoQuery, TrustRevoke]) -> trust.Trusted:
    return await trust.revoke(ask.house, ask.body.domain, ask.body.agent, by=ask.by)


async def trust_audit(ask: Ask[AutonomyAsk, Nothing]) -> AutonomyList:
    wanted = ask.query
    records = await autonomy.audited(ask.house, wanted.domain, wanted.days, wanted.agent)
    return AutonomyList(records=tuple(records))


TRUST_ROUTES: tuple[Entry, ...] = (
    Entry(
        "GET",
        "/api/v1/trust",
        trust_show,
        "How far agents are trusted in which domain.",
        TrustList,
        query=TrustAsk,
    ),
    Entry(
        "POST",
        "/api/v1/trust/grant",
        trust_grant,
        "Give a level of trust in a domain.",
        trust.Trusted,
        body=TrustGrant,
        errors=(503,),
    ),
    Entry(
        "POST",
        "/api/v1/trust/revoke",
        trust_revoke,
        "Take back what was granted: low counts again.",
        trust.Trusted,
        body=TrustRevoke,
        errors=(503,),
    ),
    Entry(
        "GET",
        "/api/v1/trust/audit",
        trust_audit,
        "What was done under trust, whether it stood, and what to make of it.",
        AutonomyList,
        query=AutonomyAsk,
        errors=(503,),
    ),
)
