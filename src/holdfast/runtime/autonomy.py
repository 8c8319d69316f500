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

_WHOLE = ""
"""In place of a call: all that a task did."""


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


class Answers(Struct, frozen=True, kw_only=True):
    """What people made of calls, by task and call; who took a whole task back, by task."""

    yes: Mapping[_Place, str] = {}
    no: Mapping[_Place, str] = {}
    cancelled: Mapping[str, str] = {}
    undone: Mapping[_Place, str] = {}

    def undone_by(self, place: _Place) -> str:
        return self.undone.get(place) or self.undone.get((place[0], _WHOLE), "")


async def _acts(house: House, since: Instant, agent: str) -> list[Act]:
    """What trust decided since then, oldest first."""

    async def facts(kind: str) -> list[Fact]:
        return [one async for one in _facts(house, kind, since, agent)][::-1]

    no = {(one.task, one.call): one.by for one in await facts("call.refused") if one.by}
    verdicts = _facts(house, "call.judged", since, agent)
    # Of the verdicts, by far the most facts, only what counts is held in memory.
    judged = [one async for one in verdicts if read_name(one.rule) or (one.task, one.call) in no][
        ::-1
    ]
    if not any(read_name(one.rule) for one in judged):
        return []
    ended = [one for one in await facts("task.ended") if one.code == "canceled" and ":" in one.by]
    answers = Answers(
        yes={(one.task, one.call): one.by for one in await facts("call.approved")},
        no=no,
        cancelled={one.task: one.by for one in ended},
        undone=undone(await facts("task.undone")),
    )
    return weighed(judged, answers)


def undone(facts: Iterable[Fact]) -> Mapping[_Place, str]:
    """What was undone, one call or all that a task did, and stayed so: an undo can be undone.

    What takes back an undo of which nothing is told here counts for nothing.
    """
    found: dict[_Place, str] = {}
    places: dict[str, _Place] = {}
    away: dict[str, bool] = {}
    for one in facts:
        if one.before and one.before not in places:
            continue
        place = places[one.subject] = places.get(one.before, (one.task, one.call))
        away[one.subject] = not away.get(one.before, False)
        if away[one.subject]:
            found[place] = one.by
        else:
            found.pop(place, None)
    return found


def weighed(judged: Sequence[Fact], answers: Answers) -> list[Act]:
    """The acts among verdicts (oldest first), each with what a person made of it."""
    last = {one.task: one.call for one in judged if _is_own(one)}
    later: dict[str, str] = {}
    acts: list[Act] = []
    for one in reversed(judged):
        place = (one.task, one.call)
        if _is_own(one):
            final = last[one.task] == one.call
            why, by = _overridden(place, answers, later.get(one.digest, ""), final=final)
            acts.append(_act(one, overridden=why, by=by))
        elif read_name(one.rule) and (place in answers.yes or place in answers.no):
            why, by = _answered(place, answers)
            acts.append(_act(one, asked=True, overridden=why, by=by))
        if place in answers.no:
            later[one.digest] = answers.no[place]
    return acts[::-1]


def _overridden(place: _Place, answers: Answers, later: str, *, final: bool) -> tuple[str, str]:
    if by := answers.undone_by(place):
        return "undone", by
    if final and (by := answers.cancelled.get(place[0], "")):
        return "cancelled", by
    return ("refused later", later) if later else ("", "")


def _answered(place: _Place, answers: Answers) -> tuple[str, str]:
    if place not in answers.yes:
        return "refused", answers.no[place]
    by = answers.undone_by(place)
    return ("undone", by) if by else ("", answers.yes[place])


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
