"""Budgets and costs through the doors: over HTTP, and what the commands print."""

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from holdfast.adapters.stores.ledger import StoredLedger
from holdfast.adapters.stores.ledger_memory import MemoryPages
from holdfast.config import load, to_budgets
from holdfast.core.budget import Reservation
from holdfast.core.error import Invalid
from holdfast.core.message import Reply, Usage
from holdfast.engine.clock import SystemClock
from holdfast.ports.ledger import Budget, Hold, Payer
from holdfast.testing.fake_clock import FakeClock
from tests.doors.cli_stage import Stage, staged
from tests.doors.house import Plan, street

DAY = 86_400
CENT = 10_000


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path) as found:
        yield found


async def pay(ledger: StoredLedger, clock: FakeClock, cost: int, **payer: str) -> None:
    hold = Hold(
        id=clock.new_id("hold"),
        payer=Payer(**payer),
        model=payer.get("team", "") or "p/m",
        most=Reservation(tokens=30, cost=cost),
        at=clock.now(),
    )
    await ledger.hold(hold)
    await ledger.settle(hold.id, Usage(input=20, output=10, cost=cost, saved=2))


@pytest.mark.anyio
async def test_forty_days_of_costs_add_up_by_day_week_month_and_agent(tmp_path: Path):
    """Rows OK-142, OL-38."""
    clock = FakeClock(round(datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp() * 1000))
    ledger = StoredLedger(MemoryPages(), clock.now)
    clock.advance(-39 * DAY)
    for day in range(1, 41):
        await pay(ledger, clock, day * CENT, agent="odd" if day % 2 else "even")
        clock.advance(DAY)
    clock.advance(-DAY)
    async with street(tmp_path, plan=Plan(ledger=ledger)) as at:
        object.__setattr__(at.house, "clock", clock)

        async def asked(query: str) -> Any:
            return (await at.tcp.get(f"/api/v1/costs?{query}")).json()

        assert (await asked("since=today"))["total"]["usd"] == 0.40
        assert (await asked("since=week"))["total"]["usd"] == pytest.approx(
            sum(range(34, 41)) / 100
        )
        assert (await asked("since=month"))["total"]["usd"] == pytest.approx(
            sum(range(11, 41)) / 100
        )
        page = await asked("by=agent&since=2026-11-29&until=today")
        assert [(r["group"], r["usd"], r["input"]) for r in page["rows"]] == [
            ({"agent": "odd"}, 0.39, 20)
        ]
        months = (await asked("by=month,agent"))["rows"]
        assert [tuple(row["group"].values()) for row in months] == [
            ("2026-10", "even"),
            ("2026-10", "odd"),
            ("2026-11", "even"),
            ("2026-11", "odd"),
        ]
        assert (await asked("by=day"))["total"]["saved_usd"] == pytest.approx(80 / 1e6)
        for wrong in ("by=colour", "since=yesterdayish", "until=2026-13-01"):
            assert (await at.tcp.get(f"/api/v1/costs?{wrong}")).status_code == 422


@pytest.mark.anyio
async def test_a_budget_is_seen_raised_and_freed_of_doubt_over_http(tmp_path: Path):
    """Part of row OL-35."""
    clock = FakeClock()
    ledger = StoredLedger(MemoryPages(), clock.now)
    ledger.budgets([Budget(scope="agent", cost=10 * CENT, calls=4)])
    await pay(ledger, clock, 4 * CENT, agent="coder")
    lost = Hold(
        id="hold_x",
        payer=Payer(agent="coder"),
        model="p/m",
        most=Reservation(tokens=5, cost=CENT),
        at=clock.now(),
    )
    await ledger.hold(lost)
    await ledger.lose("hold_x")
    async with street(tmp_path, plan=Plan(ledger=ledger)) as at:
        found = (await at.tcp.get("/api/v1/budgets")).json()
        (row,) = found["budgets"]
        assert (row["scope"], row["of"], row["per"], row["percent"]) == (
            "agent",
            "coder",
            "day",
            50,
        )
        assert (row["used"]["usd"], row["doubtful"]["usd"], row["left"]["usd"]) == (
            0.05,
            0.01,
            0.05,
        )
        assert [(one["id"], one["usd"]) for one in found["doubtful"]] == [("hold_x", 0.01)]
        more = {"key": "agent/coder/day", "usd": 1.5, "once": "a"}
        for _ in range(2):
            raised = (await at.tcp.post("/api/v1/budgets/raise", json=more)).json()["budget"]
            assert (raised["limit"]["usd"], raised["limit"]["calls"]) == (1.6, 4)
        done = await at.tcp.post("/api/v1/budgets/settle", json={"call": "hold_x", "usd": 0})
        assert done.json() == {"call": "hold_x", "usd": 0.0}
        again = await at.tcp.post("/api/v1/budgets/settle", json={"call": "hold_x", "usd": 1})
        assert again.status_code == 404
        await ledger.hold(replace(lost, id="hold_y"))
        early = await at.tcp.post("/api/v1/budgets/settle", json={"call": "hold_y", "usd": 1})
        assert early.status_code == 404, "it is under way: its answer settles it"
        await ledger.release("hold_y")
        (row,) = (await at.tcp.get("/api/v1/budgets")).json()["budgets"]
        assert (row["used"]["usd"], row["used"]["calls"], row["doubtful"]["usd"]) == (0.04, 1, 0.0)
        for body, code in (
            ({"key": "agent/coder/day"}, "nothing_to_add"),
            ({"key": "agent/nobody/month", "usd": 1}, "unknown_budget"),
        ):
            said = await at.tcp.post("/api/v1/budgets/raise", json=body)
            assert said.json()["code"] == code
        allowed = await at.tcp.post("/api/v1/budgets/raise", json={"key": "price/lab/m"})
        assert allowed.json() == {"key": "price/lab/m", "budget": None}


@pytest.mark.anyio
async def test_a_budget_that_is_raised_by_its_short_name_lets_whoever_waits_for_it_go_on(
    tmp_path: Path,
):
    clock = SystemClock()
    ledger = StoredLedger(MemoryPages(), clock.now)
    ledger.budgets([Budget(scope="agent", calls=1)])
    first = Hold(
        id="hold_1",
        payer=Payer(agent="default"),
        model="p/m",
        most=Reservation(tokens=1, cost=0),
        at=clock.now(),
    )
    await ledger.hold(first)
    await ledger.settle("hold_1", Usage(input=1, cost=0))
    async with street(tmp_path, [Reply(text="done")], plan=Plan(ledger=ledger)) as at:
        row = await at.submit()
        waiting = await at.until(row["id"], "WAITING")
        assert "agent/default/day" in waiting["questions"][0]["question"]
        more = {"key": "agent/default/day", "calls": 1}
        assert (await at.tcp.post("/api/v1/budgets/raise", json=more)).status_code == 200
        await at.until(row["id"], "SUCCEEDED")


def budget(**more: Any) -> dict[str, Any]:
    nothing = {"usd": 0.0, "tokens": 0, "calls": 0}
    row = {
        "key": "agent/coder/day/2026-11-21",
        "limit": {"usd": 2.0, "tokens": None, "calls": 10},
        "used": {"usd": 0.5, "tokens": 90, "calls": 1},
        "held": nothing,
        "left": {"usd": 1.5, "tokens": None, "calls": 9},
    }
    return {**row, **more}


def cost(**more: Any) -> dict[str, Any]:
    row = {"group": {"model": "p/m"}, "calls": 3, "usd": 1.25, "input": 2000, "output": 400}
    return {**row, "saved_usd": 0.5, "doubtful_usd": 0.0, "unpriced": 0, **more}


def test_the_budgets_are_shown_with_what_is_in_doubt(stage: Stage):
    doubt = {"id": "hold_1", "at": 1, "model": "p/m", "task": "task_12345678", "usd": 0.25}
    stage.daemon.canned["/api/v1/budgets"] = {"budgets": [budget()], "doubtful": [doubt]}
    lines = stage.run("budget").out.splitlines()
    assert lines[1].split() == [
        *("agent/coder/day/2026-11-21", "$0.5000", "$0.0000", "$1.5000", "$2.0000", "25")
    ]
    assert "1 calls" in lines[2]
    assert any(line.startswith("hold_1") and "$0.2500" in line for line in lines)
    stage.daemon.canned["/api/v1/budgets"] = {"budgets": [], "doubtful": []}
    assert "[[budget]]" in stage.run("budget", "list").err


def test_a_budget_is_raised_and_a_call_settled_by_a_command(stage: Stage):
    stage.daemon.canned["/api/v1/budgets/raise"] = {"key": "agent/coder/day", "budget": budget()}
    assert "$2.0000" in stage.run("budget", "raise", "agent/coder/day", "1.50", "--calls", "3").out
    body = stage.daemon.requests[-1][2]
    assert (body["key"], body["usd"], body["calls"]) == ("agent/coder/day", 1.5, 3)
    assert len(body["once"]) == 32
    for amount in ("a lot", "nan", "inf"):
        told = stage.run("budget", "raise", "agent/coder/day", amount)
        said = f"error: {amount!r} is not an amount of dollars, for example 2.50\n"
        assert (told.code, told.err) == (2, said)
    stage.daemon.canned["/api/v1/budgets/raise"] = {"key": "price/lab/m", "budget": None}
    assert "is allowed until 00:00 UTC" in stage.run("budget", "raise", "price/lab/m").out
    stage.daemon.canned["/api/v1/budgets/settle"] = {"call": "hold_1", "usd": 0.25}
    assert stage.run("budget", "settle", "hold_1", "$0.25").out == "hold_1 cost $0.2500\n"
    wrong = stage.run("budget", "settle", "hold_1", "much")
    assert (wrong.code, "not an amount" in wrong.err) == (2, True)


def test_costs_are_a_table_or_lines_for_a_spreadsheet(stage: Stage):
    """Row GC-46."""
    found = {"rows": [cost(), cost(group={"model": "q/n"})], "total": cost(group={}, calls=6)}
    stage.daemon.canned["/api/v1/costs"] = found
    lines = stage.run("costs", "--by", "model", "--since", "week").out.splitlines()
    assert lines[0].split() == ["MODEL", "CALLS", "IN", "OUT", "SAVED", "COST"]
    assert lines[1].split() == ["p/m", "3", "2,000", "400", "$0.5000", "$1.2500"]
    assert lines[3].split()[:2] == ["all", "6"]
    assert "since=week" in stage.daemon.requests[-1][1]
    rows = list(csv.DictReader(io.StringIO(stage.run("costs", "--by", "model", "--csv").out)))
    assert [(row["model"], row["usd"]) for row in rows] == [("p/m", "1.25"), ("q/n", "1.25")]


def test_budgets_come_from_the_file_and_nonsense_is_told_with_its_line(tmp_path: Path):
    """Row OL-41."""
    file = tmp_path / "config.toml"
    file.write_text(
        '[[budget]]\nscope = "agent"\nof = "coder"\nusd = 1.5\n\n'
        '[[budget]]\nscope = "installation"\nper = "month"\ntokens = 9\nwarn = [50, 90]\n'
        '[models.price."lab/*"]\ninput = 1.0\n'
    )
    config = load(environment={"HOLDFAST_HOME": str(tmp_path)})
    assert to_budgets(config) == (
        Budget(scope="agent", of="coder", cost=1_500_000),
        Budget(scope="installation", per="month", tokens=9, warn=(50, 90)),
    )
    assert config.models.price["lab/*"].input == 1.0
    assert any(row.key == "budget" and row.source == "file" for row in config.describe())
    for text, said in [
        ('[[budget]]\nscope = "agent"\n', "expected usd, tokens or calls"),
        ('[[budget]]\nscope = "agent"\nusd = 1\n' * 2, "one budget for agent * per day, not two"),
        ('[[budget]]\nscope = "installation"\nof = "x"\nusd = 1\n', "only one installation"),
        (
            '[[budget]]\nscope = "agent"\nusd = 1\n[[budget]]\nscope = "team"\nusd = -1\n',
            "config.toml:6: budget.2.usd",
        ),
    ]:
        file.write_text(text)
        with pytest.raises(Invalid) as found:
            load(environment={"HOLDFAST_HOME": str(tmp_path)})
        assert said in str(found.value)
