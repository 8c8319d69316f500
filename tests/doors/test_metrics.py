"""How a house is doing, in numbers: as JSON, and as Prometheus' own readers read them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as open_families,  # pyright: ignore[reportUnknownVariableType]
)
from prometheus_client.parser import text_string_to_metric_families as families

from holdfast.adapters.stores.ledger import StoredLedger
from holdfast.adapters.stores.ledger_memory import MemoryPages
from holdfast.core.budget import Reservation
from holdfast.core.ids import CallId
from holdfast.core.message import Reply, ToolCall, Usage
from holdfast.doors.http.metrics import exposition
from holdfast.doors.http.route import Facts
from holdfast.engine.clock import SystemClock
from holdfast.ports.ledger import Budget, Hold, Payer
from holdfast.ports.model import ModelFailure, ModelHealth
from holdfast.runtime.metrics import Kind, Metric, Sample
from holdfast.runtime.spending import Spending
from holdfast.runtime.tally import OTHER
from holdfast.testing.visits_contract import visit
from tests.doors.house import PAYS, Plan, client, street
from tests.whole_house import inhabited

Key = tuple[str, frozenset[tuple[str, str]]]
OPEN = "application/openmetrics-text"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def key(name: str, **labels: str) -> Key:
    return name, frozenset(labels.items())


def parsed(text: str, *, is_open: bool = False) -> dict[Key, float]:
    """Every number that Prometheus finds, by name and labels. Twice the same is none of ours."""
    found: dict[Key, float] = {}
    for family in (open_families if is_open else families)(text):
        assert family.documentation
        assert family.type in ("counter", "gauge", "info"), family
        for one in family.samples:
            place = key(one.name, **one.labels)
            assert place not in found
            found[place] = one.value
    return found


async def scraped(at: httpx2.AsyncClient) -> dict[Key, float]:
    answer = await at.get("/metrics")
    assert answer.status_code == 200, answer.text
    return parsed(answer.text)


def calls(*tools: str) -> Reply:
    asked = [ToolCall(id=CallId(f"c{n}"), tool=tool, arguments={}) for n, tool in enumerate(tools)]
    return Reply(calls=tuple(asked), usage=Usage(input=70, output=7, cost=1_500))


DONE = Reply(text="done", usage=Usage(input=30, output=3, cache_read=10, cost=500))
LOST = ModelFailure("auth", "no such key", retryable=False)


@pytest.mark.anyio
async def test_what_happened_is_in_the_numbers(tmp_path: Path):
    """Row GC-67."""
    async with street(tmp_path, [PAYS, DONE, LOST]) as at:
        before = await scraped(at.tcp)
        assert before[key("holdfast_tasks", status="SUCCEEDED")] == 0
        asked = await at.submit()
        row = await at.until(asked["id"], "WAITING")
        waiting = await scraped(at.tcp)
        assert waiting[key("holdfast_open_questions")] == 1
        assert waiting[key("holdfast_verdicts_total", verdict="ask")] == 1
        question = row["questions"][0]
        path = f"/api/v1/tasks/{row['id']}/calls/{question['call']}/approve"
        await at.tcp.post(path, json={"digest": question["digest"]})
        await at.until(row["id"], "SUCCEEDED")
        await at.done()
        found = await scraped(at.tcp)
    wanted = {
        key("holdfast_tasks", status="SUCCEEDED"): 1,
        key("holdfast_tasks", status="FAILED"): 1,
        key("holdfast_task_changes_total", status="QUEUED"): 3,
        key("holdfast_task_changes_total", status="WAITING"): 1,
        key("holdfast_open_questions"): 0,
        key("holdfast_answers_total", answer="yes"): 1,
        key("holdfast_answers_total", answer="no"): 0,
        key("holdfast_tool_calls_total", tool="pay", outcome="returned"): 1,
        key("holdfast_lanes"): 16,
        key("holdfast_lanes_busy"): 0,
        key("holdfast_queue_depth"): 0,
        key("holdfast_config_refused"): 0,
        key("holdfast_build_info", version="0.0-test", policy=at.house.rules.version): 1,
    }
    assert {place: found[place] for place in wanted} == wanted
    assert found[key("process_resident_memory_bytes")] > 1_000_000
    assert found[key("process_cpu_seconds_total")] > 0
    assert found[key("holdfast_uptime_seconds")] >= 0


@pytest.mark.anyio
async def test_a_task_that_was_set_aside_is_seen_as_json(tmp_path: Path):
    """Row GC-66."""
    failing = [ModelFailure("unavailable", "nobody there", retryable=True)] * 9
    async with street(tmp_path, failing) as at:
        row = await at.submit(limits={"attempts": 1})
        await at.until(row["id"], "DEAD_LETTER")
        told = (await at.tcp.get("/api/v1/metrics")).json()
        by_name = {one["name"]: one for one in told["metrics"]}
        tasks = by_name["holdfast_tasks"]
        assert (tasks["kind"], "by status" in tasks["help"]) == ("gauge", True)
        assert {"value": 1, "labels": {"status": "DEAD_LETTER"}} in tasks["samples"]
        changed = by_name["holdfast_task_changes"]["samples"]
        assert {"value": 1, "labels": {"status": "DEAD_LETTER"}} in changed
        said = parsed((await at.tcp.get("/metrics")).text)
        names = {name for name, _ in said}
        assert names == {
            one["name"] + {"counter": "_total", "gauge": "", "info": "_info"}[one["kind"]]
            for one in told["metrics"]
            if one["samples"]
        }


@pytest.mark.anyio
async def test_a_model_cannot_make_a_new_name(tmp_path: Path):
    """What it calls its tools, in whatever words, is counted together."""
    wild = [calls(f'x{n}"}} 1\nholdfast_tasks{{status="SUCCEEDED') for n in range(3)]
    async with street(tmp_path, [*wild, DONE]) as at:
        await at.done()
        found = await scraped(at.tcp)
        places = {dict(labels)["tool"] for name, labels in found if "tool_calls" in name}
        assert places == {OTHER}
        counted = sum(value for (name, _), value in found.items() if "tool_calls" in name)
        assert counted == 3


@pytest.mark.anyio
async def test_models_and_budgets_are_told_with_what_they_used(tmp_path: Path):
    health = ModelHealth(
        model="a/b",
        available=True,
        success_count=5,
        failure_count=2,
        consecutive_failures=0,
        cooldown_remaining=0,
        last_code="",
        last_error="",
    )
    ledger = StoredLedger(MemoryPages(), SystemClock().now)
    ledger.budgets(
        [
            Budget(scope="installation", per="month", cost=2_000_000, calls=7),
            Budget(scope="session", calls=50),
        ]
    )
    plan = Plan(ledger=ledger, facts=Facts(health=lambda: [health], queue_depth=9))
    async with street(tmp_path, [calls("nope"), DONE], plan=plan) as at:
        row = await at.done(session="a stranger's words")
        found = await scraped(at.tcp)
        again = await scraped(at.tcp)
    model = next(dict(labels)["model"] for name, labels in found if "model_tokens" in name)
    budget = {"scope": "installation", "of": "*", "per": "month"}
    spent = row["spent"]
    wanted = {
        key("holdfast_model_tries_total", model="a/b", outcome="answered"): 5,
        key("holdfast_model_tries_total", model="a/b", outcome="failed"): 2,
        key("holdfast_model_calls_total", model=model): spent["steps"],
        key("holdfast_model_cost_usd_total", model=model): spent["cost"] / 1e6,
        key("holdfast_model_tokens_total", model=model, kind="input"): 100,
        key("holdfast_model_tokens_total", model=model, kind="cache_read"): 10,
        key("holdfast_queue_limit"): 9,
        key("holdfast_budget_limit", unit="usd", **budget): 2,
        key("holdfast_budget_limit", unit="calls", **budget): 7,
        key("holdfast_budget_used", unit="calls", **budget): spent["steps"],
    }
    assert {place: found[place] for place in wanted} == wanted
    assert {place: again[place] for place in wanted} == wanted
    assert not [labels for _, labels in found if ("scope", "session") in labels]


@pytest.mark.anyio
async def test_who_asks_for_open_metrics_gets_it(tmp_path: Path):
    async with street(tmp_path, [DONE]) as at:
        await at.done()
        prometheus = f"{OPEN};version=1.0.0,{OPEN};version=0.0.1;q=0.75,text/plain;q=0.5,*/*;q=0.1"
        for accept, is_open in {
            prometheus: True,
            OPEN: True,
            "text/plain": False,
            "*/*": False,
            "": False,
            f"{OPEN};q=0": False,
            f"{OPEN};q=0.2, text/plain": False,
            f"{OPEN};q=x": False,
        }.items():
            answer = await at.tcp.get("/metrics", headers={"Accept": accept})
            kind = answer.headers["content-type"]
            assert kind.startswith(OPEN if is_open else "text/plain; version=0.0.4"), accept
            assert answer.text.endswith("# EOF\n") is is_open
            found = parsed(answer.text, is_open=is_open)
            assert found[key("holdfast_tasks", status="SUCCEEDED")] == 1
            assert key(
                "holdfast_build_info", version="0.0-test", policy=at.house.rules.version
            ) in (found)


@pytest.mark.anyio
async def test_numbers_of_all_are_for_a_key_that_may_see_all(tmp_path: Path):
    async with street(tmp_path) as at:
        for path in ("/metrics", "/api/v1/metrics"):
            assert (await client(at.app).get(path)).status_code == 401
            assert (await at.local.get(path)).status_code == 200
            async with await at.keyed("status", name=f"all{len(path)}") as ops:
                assert (await ops.get(path)).status_code == 200
            async with await at.keyed("tasks.read", name=f"no{len(path)}") as other:
                assert (await other.get(path)).status_code == 403
            name, agents = f"crew{len(path)}", ["crew-*"]
            async with await at.keyed("status", name=name, agents=agents) as crew:
                assert (await crew.get(path)).status_code == 403


@pytest.mark.anyio
async def test_the_way_out_is_counted_and_nothing_is_counted_twice(tmp_path: Path):
    """In a house with a database: what the audit has from before the start does not count."""

    def says(prompt: Any) -> Reply:
        return Reply(text="done")

    for turn in (1, 2):
        async with inhabited(tmp_path, says) as at:
            await at.ended(await at.submit("do it"))
            found = await scraped(at.tcp)
            assert found[key("holdfast_task_changes_total", status="SUCCEEDED")] == 1
            assert found[key("holdfast_egress_requests_total", verdict="denied")] == 0
            await at.house.visits.write(visit(turn, code="egress_host"))
            for _ in range(2):
                found = await scraped(at.tcp)
                assert found[key("holdfast_egress_requests_total", verdict="denied")] == 1
    assert found[key("holdfast_tasks", status="SUCCEEDED")] == 2


@pytest.mark.anyio
async def test_a_task_whose_worker_was_lost_is_counted(tmp_path: Path):
    async with inhabited(tmp_path, lambda _: None) as at:
        row = await at.submit("do it")
        await at.until(row, "RUNNING")
    async with inhabited(tmp_path, lambda _: DONE) as at:
        await at.ended(row)
        found = await scraped(at.tcp)
        assert found[key("holdfast_tasks_recovered_total")] == 1
        assert found[key("holdfast_tasks", status="SUCCEEDED")] == 1


@pytest.mark.anyio
async def test_what_was_spent_hours_ago_is_counted_once():
    now, hour = 1_000_000_000, 3_600_000
    ledger = StoredLedger(MemoryPages(), lambda: now)
    spending = Spending(ledger, now)
    for number in range(1, 9):
        most = Reservation(tokens=9, cost=9)
        hold = Hold(id=f"h{number}", payer=Payer(task="t"), model="a/b", most=most, at=now)
        await ledger.hold(hold)
        await ledger.settle(hold.id, Usage(input=3, output=1, cost=2))
        found = (await spending.by_model(now))["a/b"]
        assert (found.calls, found.input, found.cost) == (number, 3 * number, 2 * number)
        now += hour
    await ledger.close()


LABELS = st.dictionaries(
    st.from_regex("[a-z][a-z0-9_]{0,9}", fullmatch=True),
    st.text(st.characters(exclude_categories=["Cs"])),
    max_size=3,
)


@given(labels=LABELS, value=st.floats(0, 1e15) | st.integers(0, 2**53), counts=st.booleans())
def test_whatever_a_label_says_comes_back(labels: Mapping[str, str], value: float, counts: bool):
    kind: Kind = "counter" if counts else "gauge"
    samples = (Sample(value=value, labels=labels),)
    one = Metric(name="a_thing", kind=kind, help='What it\n"is"', samples=samples)
    for is_open in (False, True):
        found = parsed(exposition([one], is_open=is_open), is_open=is_open)
        assert found == {key("a_thing_total" if counts else "a_thing", **labels): value}


def test_half_a_character_does_not_stop_the_rest():
    one = Metric(
        name="a_thing", kind="gauge", help="It.", samples=(Sample(value=1, labels={"a": "\ud800"}),)
    )
    assert parsed(exposition([one], is_open=False)) == {key("a_thing", a="?"): 1}
