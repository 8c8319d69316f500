"""What was done under trust, and whether people let it stand: from the audit, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from holdfast.core.audit.fact import Fact, decode
from holdfast.core.ids import Instant
from holdfast.ports.audit import AuditQuery

from .domains import Level, level_of, read_name
from .house import House
from .trust import found

Advice = Literal["not enough", "raise", "keep", "lower"]

LATEST = 20
_ENOUGH, _RAISE, _KEEP = 5, 0.95, 0.80
_DAY = 86_400_000
_PAGE = 2_000

_Place = tuple[str, str]
"""A task and its call."""


class Act(Struct, frozen=True, kw_only=True):
    """A call that trust decided. `asked`: a person did, and said yes.

    `overridden` says by what a person took it back, and `by` who: empty where it stands.
    """

    at: Instant
    domain: str
    level: Level
    agent: str
    task: str
    call: str
    tool: str
    asked: bool = False
    overridden: str = ""
    by: str = ""


class Record(Struct, frozen=True, kw_only=True):
    """How trust in a domain went. `right` of `acts` stand; `accuracy` is their share, if any.

    At high the acts are what was done without asking; below, what was asked and answered.
    """

    domain: str
    level: Level
    days: int
    acts: int
    right: int
    overridden: int
    accuracy: float | None
    advice: Advice
    latest: tuple[Act, ...]


async def audited(house: House, name: str, days: int, agent: str = "") -> Sequence[Record]:
    """One domain or all, over so many days. Raises `NotFound` for a domain there is not."""
    domains = [found(house, name)] if name else house.in_force.domains
    acts = await _acts(house, house.clock.now() - days * _DAY, agent)
    grants = house.trust.grants
    return [_record(domain.name, level_of(domain, grants, agent), days, acts) for domain in domains]


def _record(domain: str, level: Level, days: int, acts: Iterable[Act]) -> Record:
    mine = [act for act in acts if act.domain == domain]
    counted = [act for act in mine if act.asked is not (level is Level.HIGH)]
    right = sum(not act.overridden for act in counted)
    return Record(
        domain=domain,
        level=level,
        days=days,
        acts=len(counted),
        right=right,
        overridden=len(counted) - right,
        accuracy=round(right / len(counted), 4) if counted else None,
        advice=advised(level, right, len(counted)),
        latest=tuple(mine[::-1][:LATEST]),
    )


def advised(level: Level, right: int, acts: int) -> Advice:
    """What to do about a level after so many acts."""
    if acts < _ENOUGH:
        return "not enough"
    if right / acts >= _RAISE:
        return "keep" if level is Level.HIGH else "raise"
    return "keep" if right / acts >= _KEEP or level is Level.NONE else "lower"


async def _acts(house: House, since: Instant, agent: str) -> list[Act]:
    """What trust decided since then, oldest first."""
    judged = [one async for one in _facts(house, "call.judged", since, agent)][::-1]
    if not any(read_name(one.rule) for one in judged):
        return []
    approved = [one async for one in _facts(house, "call.approved", since, agent)]
    refused = [one async for one in _facts(house, "call.refused", since, agent) if one.by]
    ended = [one async for one in _facts(house, "task.ended", since, agent)]
    yes = {(one.task, one.call): one.by for one in approved}
    no = {(one.task, one.call): one.by for one in refused}
    cancelled = {one.task: one.by for one in ended if one.code == "canceled" and ":" in one.by}
    return _weighed(judged, yes, no, cancelled)


def _weighed(
    judged: Sequence[Fact],
    yes: Mapping[_Place, str],
    no: Mapping[_Place, str],
    cancelled: Mapping[str, str],
) -> list[Act]:
    last = {one.task: one.call for one in judged if _is_own(one)}
    later: dict[str, str] = {}
    acts: list[Act] = []
    for one in reversed(judged):
        place = (one.task, one.call)
        if _is_own(one):
            ended = cancelled.get(one.task, "") if last[one.task] == one.call else ""
            again = later.get(one.digest, "")
            why = "cancelled" if ended else "refused later" if again else ""
            acts.append(_act(one, overridden=why, by=ended or again))
        elif one.verdict == "ask" and read_name(one.rule) and (place in yes or place in no):
            why = "" if place in yes else "refused"
            acts.append(_act(one, asked=True, overridden=why, by=yes.get(place) or no[place]))
        if place in no:
            later[one.digest] = no[place]
    return acts[::-1]


def _is_own(fact: Fact) -> bool:
    return fact.verdict == "allow" and read_name(fact.rule) is not None


def _act(fact: Fact, *, asked: bool = False, overridden: str = "", by: str = "") -> Act:
    domain, level = read_name(fact.rule) or ("", Level.LOW)
    return Act(
        at=fact.at,
        domain=domain,
        level=level,
        agent=fact.agent,
        task=fact.task,
        call=fact.call,
        tool=fact.tool,
        asked=asked,
        overridden=overridden,
        by=by,
    )


async def _facts(house: House, kind: str, since: Instant, agent: str) -> AsyncIterator[Fact]:
    """Newest first; what is forgotten is left out."""
    before = 0
    while True:
        query = AuditQuery(kind=kind, since=since, agent=agent, before=before, limit=_PAGE)
        rows = await house.audit.query(query)
        for row in rows:
            if row.body is not None:
                yield decode(row.body)
        if len(rows) < _PAGE:
            return
        before = rows[-1].seq
