"""How far agents are trusted in which domain: shown, granted, taken back."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from holdfast.core.audit.fact import Fact
from holdfast.core.error import Invalid, NotFound
from holdfast.core.gate.policy import Rule
from holdfast.core.ids import Instant

from .domains import EVERYBODY, MEANS, Domain, Grant, Level, grant_of, is_stale, level_of
from .house import House

_HINT = "name one in policy.toml: [domain.email] tools = [...]; docs/guides/trust.md"


class Trusted(Struct, frozen=True, kw_only=True):
    """A domain with the level that counts in it; `agent` empty: for all without one of their own.

    `since`, `by` and `reason` are those of the grant, if there is one. `stale`: the domain has
    changed since more than low was granted in it, so low counts. `gone`: the policy no longer has
    this domain, so nothing counts. `calls` says what belongs to it.
    """

    domain: str
    agent: str
    level: Level
    means: str
    about: str = ""
    calls: tuple[Rule, ...] = ()
    since: Instant = 0
    by: str = ""
    reason: str = ""
    stale: bool = False
    gone: bool = False
    policy: str = ""


class Wish(Struct, frozen=True, kw_only=True):
    """A level that a person gives in a domain, to one agent or to all."""

    domain: str
    level: str
    agent: str = EVERYBODY
    reason: str = ""


def shown(house: House, name: str = "", agent: str = "") -> Sequence[Trusted]:
    """Every domain, or one, with the levels that count. Raises `NotFound` for one there is not."""
    domains = [found(house, name)] if name else house.in_force.domains
    grants = house.trust.grants
    rows: list[Trusted] = []
    for domain in domains:
        own = sorted(who for of, who in grants if of == domain.name and who != EVERYBODY)
        agents = [agent] if agent else [EVERYBODY, *own]
        rows += [_row(house, domain, who) for who in agents]
    known = {domain.name for domain in house.in_force.domains}
    left = (one for _, one in sorted(grants.items()) if one.domain not in known)
    return rows if name else [*rows, *map(_gone, left)]


def _row(house: House, domain: Domain, agent: str) -> Trusted:
    grants = house.trust.grants
    level = level_of(domain, grants, agent)
    grant = grant_of(domain, grants, agent)
    return Trusted(
        domain=domain.name,
        agent=agent,
        level=level,
        means=MEANS[level],
        about=domain.about,
        calls=domain.calls,
        since=grant.at if grant else 0,
        by=grant.by if grant else "",
        reason=grant.reason if grant else "",
        stale=grant is not None and is_stale(domain, grant),
        policy=house.rules.version,
    )


def _gone(grant: Grant) -> Trusted:
    return Trusted(
        domain=grant.domain,
        agent=grant.agent,
        level=grant.level,
        means="nothing: the policy has no such domain",
        since=grant.at,
        by=grant.by,
        reason=grant.reason,
        gone=True,
    )


def found(house: House, name: str) -> Domain:
    """The domain of that name. Raises `NotFound`, saying what may have been meant."""
    domains = {domain.name: domain for domain in house.in_force.domains}
    if name in domains:
        return domains[name]
    close = difflib.get_close_matches(name, domains, n=1)
    known = f"there are: {', '.join(domains)}" if domains else _HINT
    hint = f"did you mean {close[0]}?" if close else known
    raise NotFound(f"there is no domain {name!r}", code="no_such_domain", hint=hint)


def level_named(text: str) -> Level:
    """Raises `Invalid`, with the four words that there are."""
    if text in list(Level):
        return Level(text)
    hint = "; ".join(f"{level}: {means}" for level, means in MEANS.items())
    what = f"there is no level {text!r}: use {', '.join(Level)}"
    raise Invalid(what, code="no_such_level", hint=hint)


async def grant(house: House, wish: Wish, *, by: str) -> Trusted:
    """Give a level. What it forbids counts at once, what it allows for tries that begin now."""
    domain, level = found(house, wish.domain), level_named(wish.level)
    given = Grant(
        domain=domain.name,
        level=level,
        agent=wish.agent,
        of=domain.digest,
        by=by,
        at=house.clock.now(),
        reason=house.secrets.redact(wish.reason),
    )
    await _changed(house, given, to=given, after=level)
    return _row(house, domain, wish.agent)


async def revoke(house: House, name: str, agent: str = EVERYBODY, *, by: str) -> Trusted:
    """Take back what was granted: it is low again, for one agent what counts for all."""
    known = {one for one, _ in house.trust.grants}
    domain = None if name in known - _names(house) else found(house, name)
    gone = Grant(domain=name, agent=agent, level=Level.LOW, by=by, at=house.clock.now())
    left = {key: one for key, one in house.trust.grants.items() if key != (name, agent)}
    after = level_of(domain, left, agent) if domain else Level.LOW
    await _changed(house, gone, to=None, after=after)
    return _row(house, domain, agent) if domain else _gone(gone)


def _names(house: House) -> set[str]:
    return {domain.name for domain in house.in_force.domains}


async def _changed(house: House, said: Grant, *, to: Grant | None, after: Level) -> None:
    whom = f" for agent {said.agent}" if said.agent else ""
    fact = Fact(
        kind="trust.changed",
        at=said.at,
        by=said.by,
        subject=f"domain {said.domain}{whom}",
        digest=said.of,
        policy=house.rules.version,
        after=str(after),
    )

    async def witness(before: Grant | None) -> None:
        was = before.level if before else Level.LOW
        await house.audit.append(replace(fact, before=str(was)))

    await house.trust.change(said.domain, said.agent, to, witness)
    house.in_force.bell.ring()
