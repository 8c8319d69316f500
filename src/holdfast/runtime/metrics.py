"""How a house is doing, in numbers with names: for whoever watches many of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from msgspec import Struct

from holdfast.core.task import Status
from holdfast.ports.journal import Query
from holdfast.ports.ledger import Cost, Standing
from holdfast.ports.model import ModelHealth

from . import budgets
from .house import House
from .spending import plus
from .tally import OTHER
from .usage import files, processor_seconds, resident, size
from .webhooks import PostOffice

Kind = Literal["counter", "gauge", "info"]

_MOST = 100
_ASKED = 500
_MILLION = 1_000_000
_UNITS = (("cost", "usd", _MILLION), ("tokens", "tokens", 1), ("calls", "calls", 1))


class Sample(Struct, frozen=True, kw_only=True):
    """One number, and of what it is."""

    value: float
    labels: Mapping[str, str] = {}


class Metric(Struct, frozen=True, kw_only=True):
    """Numbers of one kind. A counter only grows until the daemon ends; an info is always 1."""

    name: str
    kind: Kind
    help: str
    samples: tuple[Sample, ...]


class Plant(Struct, frozen=True, kw_only=True):
    """What the house does not know of itself: how much at once, its models, its file, its post."""

    lanes: int = 0
    queue_depth: int = 0
    health: Sequence[ModelHealth] = ()
    database: Path | None = None
    office: PostOffice | None = None


async def metrics(house: House, plant: Plant) -> Sequence[Metric]:
    """Everything there is to measure, now. Bounded, however long the house has been at work."""
    await house.tally.catch_up()
    spent = await house.tally.spending.by_model(house.clock.now())
    rows = await house.journal.query(Query(asked=True, limit=_ASKED))
    return (
        *_about(house, plant),
        *_tasks(house, plant),
        _gauge(
            "open_questions",
            "Calls that wait for a person; those of 500 tasks are counted.",
            {"": sum(len(row.questions) for row in rows)},
        ),
        *_calls(house),
        _tries(plant.health),
        *_models(_few(spent)),
        *_budgets(await budgets.standings(house)),
        *_outside(house, plant.office),
        *_process(),
    )


def _about(house: House, plant: Plant) -> Iterable[Metric]:
    build = {"version": house.version, "policy": house.rules.version}
    yield Metric(
        name="holdfast_build",
        kind="info",
        help="Which Holdfast this is, and which policy is in force.",
        samples=(Sample(value=1, labels=build),),
    )
    uptime = max(0, house.clock.now() - house.started_at) / 1000
    yield _gauge("uptime_seconds", "How long the daemon runs.", {"": uptime})
    bad = int(bool(house.in_force.problem))
    yield _gauge("config_refused", "1 while a changed configuration is not taken.", {"": bad})
    now, most = house.tally.lag
    yield _gauge("event_loop_lag_seconds", "How late the loop was last.", {"": now})
    yield _gauge("event_loop_lag_max_seconds", "The same, at most in the last minute.", {"": most})
    yield _gauge("database_bytes", "The journal with its log.", {"": size(plant.database)})
    yield _gauge("audit_records", "How long the audit is.", {"": house.audit.size})


def _tasks(house: House, plant: Plant) -> Iterable[Metric]:
    counts, entered = house.supervisor.counts, house.tally.entered
    known = [status for status in Status if status is not Status.NEW]
    now = {status.value: counts.get(status, 0) for status in known}
    yield _gauge("tasks", "Tasks there are, by status.", now, "status")
    yield _counter(
        "task_changes",
        "How often tasks came into a status: RETRY_WAIT counts tries that failed.",
        {status.value: entered[status] for status in known},
        "status",
    )
    yield _counter("tasks_recovered", "Tasks whose worker was lost.", {"": house.tally.recovered})
    yield _gauge("queue_depth", "Tasks that wait for a lane.", {"": now[Status.QUEUED.value]})
    if plant.queue_depth:
        yield _gauge("queue_limit", "How many of them there may be.", {"": plant.queue_depth})
    yield _gauge("lanes_busy", "Tasks at work.", {"": house.supervisor.running})
    yield _gauge("lanes", "How many may be at work at once.", {"": plant.lanes})


def _calls(house: House) -> Iterable[Metric]:
    tally = house.tally
    yield Metric(
        name="holdfast_tool_calls",
        kind="counter",
        help="Calls that have their answer; `refused` ones did not run.",
        samples=tuple(
            Sample(value=count, labels={"tool": tool, "outcome": outcome})
            for (tool, outcome), count in sorted(tally.calls.items())
        ),
    )
    said = {say: tally.facts[f"verdict.{say}"] for say in ("allow", "ask", "deny")}
    yield _counter("verdicts", "What the gate said about calls.", said, "verdict")
    answers = {answer: tally.facts[f"answer.{answer}"] for answer in ("yes", "no")}
    yield _counter("answers", "What people said to calls.", answers, "answer")


def _tries(health: Sequence[ModelHealth]) -> Metric:
    """By model and outcome: of every model that was asked."""
    return Metric(
        name="holdfast_model_tries",
        kind="counter",
        help="How often a model was tried, since it was first asked.",
        samples=tuple(
            Sample(value=count, labels={"model": one.model, "outcome": outcome})
            for one in sorted(health, key=lambda one: one.model)[:_MOST]
            for outcome, count in (("answered", one.success_count), ("failed", one.failure_count))
        ),
    )


def _few(spent: Mapping[str, Cost]) -> Mapping[str, Cost]:
    """Only so many names, in their order, and what is left together."""
    names = sorted(spent)
    rest = [spent[name] for name in names[_MOST:]]
    return {name: spent[name] for name in names[:_MOST]} | ({OTHER: plus(*rest)} if rest else {})


def _models(spent: Mapping[str, Cost]) -> Iterable[Metric]:
    calls = {model: cost.calls for model, cost in spent.items()}
    yield _counter("model_calls", "Calls of models that were answered and paid.", calls, "model")
    yield Metric(
        name="holdfast_model_tokens",
        kind="counter",
        help="Tokens: `input` and `output` are all of them, the rest are parts of these.",
        samples=tuple(
            Sample(value=getattr(cost, kind), labels={"model": model, "kind": kind})
            for model, cost in spent.items()
            for kind in ("input", "output", "cache_read", "cache_write", "reasoning")
        ),
    )
    money = {model: cost.cost / _MILLION for model, cost in spent.items()}
    yield _counter("model_cost_usd", "What they cost, as far as it is known.", money, "model")


def _budgets(standings: Sequence[Standing]) -> Iterable[Metric]:
    """Not those of conversations: their names come from outside, and there is no end of them."""
    used, limits = dict[tuple[str, ...], float](), dict[tuple[str, ...], float]()
    for standing in [one for one in standings if one.budget.scope != "session"][:_MOST]:
        budget = standing.budget
        for kind, unit, part in _UNITS:
            most = getattr(budget, kind)
            if most is not None:
                place = (budget.scope, standing.of or budget.of, budget.per, unit)
                used[place] = getattr(standing.spent, kind) / part
                limits[place] = (most + getattr(standing.raised, kind)) / part
    labels = ("scope", "of", "per", "unit")
    for name, said, values in (
        ("budget_used", "What is used of a budget in its running period.", used),
        ("budget_limit", "What may be, with what was added by hand.", limits),
    ):
        samples = (
            Sample(value=value, labels=dict(zip(labels, place, strict=True)))
            for place, value in values.items()
        )
        yield Metric(name=f"holdfast_{name}", kind="gauge", help=said, samples=tuple(samples))


def _outside(house: House, office: PostOffice | None) -> Iterable[Metric]:
    facts = house.tally.facts
    out = {say: facts[f"egress.{say}"] for say in ("allowed", "denied")}
    yield _counter("egress_requests", "Requests of tools and boxes to the outside.", out, "verdict")
    used = {say: facts[f"secret.{say}"] for say in ("used", "denied")}
    yield _counter("secret_uses", "Secrets that were given out, or not.", used, "outcome")
    mail = [mail for _, mail in office.all()] if office else []
    waits = {
        "waiting": sum(len(one.due) for one in mail),
        "set_aside": sum(len(one.dead) for one in mail),
    }
    yield _gauge("webhook_messages", "Messages of webhooks that did not arrive.", waits, "state")


def _process() -> Iterable[Metric]:
    """Under the names that everybody has for them."""
    is_open, most = files()
    told: list[tuple[str, Kind, str, float]] = [
        ("cpu_seconds", "counter", "Processor time.", processor_seconds()),
        ("resident_memory_bytes", "gauge", "Memory in use.", resident()),
        ("max_fds", "gauge", "Files that may be open.", most),
        *([] if is_open is None else [("open_fds", "gauge", "Files that are open.", is_open)]),
    ]
    for name, kind, said, value in told:
        yield Metric(name=f"process_{name}", kind=kind, help=said, samples=(Sample(value=value),))


def _gauge(name: str, said: str, values: Mapping[str, float], label: str = "") -> Metric:
    return _metric(name, "gauge", said, values, label)


def _counter(name: str, said: str, values: Mapping[str, float], label: str = "") -> Metric:
    return _metric(name, "counter", said, values, label)


def _metric(name: str, kind: Kind, said: str, values: Mapping[str, float], label: str) -> Metric:
    samples = (
        Sample(value=value, labels={label: of} if label else {}) for of, value in values.items()
    )
    return Metric(name=f"holdfast_{name}", kind=kind, help=said, samples=tuple(samples))
