"""Policy through the doors: what it is, why, what a change changes, leases."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from msgspec.structs import replace

from holdfast.adapters.stores.memory import MemoryJournal
from holdfast.config import policy_in, to_answerers, to_rules
from holdfast.core.error import Invalid
from holdfast.core.gate.matter import Matter
from holdfast.core.gate.policy import Ceiling, Rule, Rules, Say
from holdfast.core.gate.presets import ABOUT, PRESETS
from holdfast.core.ids import CallId
from holdfast.core.message import Reply, ToolCall
from holdfast.testing.engine import calls
from tests.doors.cli_stage import Stage, staged
from tests.doors.house import Street, street
from tests.whole_house import inhabited

ROOT = Path(__file__).parents[2]
NEW = """
preset = "ask"
[[rule]]
say = "allow"
tools = ["pay"]
target = "ann"
"""
POLICY = """
preset = "coder"
[[rule]]
say = "deny"
tools = ["exec"]
command = ["git", "push", "*"]
reason = "pushing is for people"
hours = "18:00-08:00"
[ceiling."crew-*"]
preset = "reader"
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path) as found:
        yield found


async def said(house: Street, target: str, body: dict[str, Any] | None = None) -> Any:
    if body is None:
        answer = await house.tcp.get(target)
    else:
        answer = await house.tcp.post(target, json=body)
    return answer.json() | {"status": answer.status_code}


async def asking(house: Street) -> str:
    """A task that waits for a person."""
    row = await house.submit()
    await house.until(row["id"], "WAITING")
    return str(row["id"])


@pytest.mark.anyio
async def test_the_policy_in_force_is_shown_as_far_as_it_concerns_an_agent(tmp_path: Path):
    """Part of row OL-21."""
    async with street(tmp_path) as here:
        mine = Rule(say=Say.DENY, tools=("pay",), agents=("ann",))
        ceiling = Ceiling(agents=("crew-*",), layers=((), PRESETS["reader"]))
        layers = ((mine,), PRESETS["ask"])
        here.house.in_force.rules = Rules(layers=layers, version="p", ceilings=(ceiling,))
        found = await said(here, "/api/v1/policy")
        assert (found["version"], found["preset"], len(found["rules"])) == ("p", "ask", 1)
        assert found["doubts"] == []
        assert "default" in found["about"]
        crew = await said(here, "/api/v1/policy?agent=crew-1")
        assert crew["rules"] == []
        assert crew["ceilings"][0]["agents"] == ["crew-*"]
        assert (await said(here, "/api/v1/policy?agent=ann"))["ceilings"] == []


@pytest.mark.anyio
async def test_a_rule_about_a_tool_that_there_is_not_is_doubted(tmp_path: Path):
    """Part of row GC-89b."""
    async with street(tmp_path) as here:
        odd = Rule(say=Say.ALLOW, tools=("pay", "pya"), name="odd")
        here.house.in_force.rules = Rules(layers=((odd,), PRESETS["ask"]))
        found = await said(here, "/api/v1/policy")
        assert found["doubts"] == ["odd: there is no tool 'pya'"]


@pytest.mark.anyio
async def test_a_source_from_which_nothing_answers_is_doubted(tmp_path: Path):
    async with inhabited(tmp_path / "home", lambda _: Reply(text="done")) as lives:
        apart = ("mail", "file", "web:*", "web:a.test", "mcp:mail", "bo?")
        lives.house.in_force.rules = replace(lives.house.rules, apart=apart)
        found = (await lives.tcp.get("/api/v1/policy")).json()
    assert found["doubts"] == [
        f"apart: nothing that there is answers from {one!r}" for one in ("mail", "mcp:mail")
    ]


def test_an_empty_pattern_is_no_source(tmp_path: Path):
    with pytest.raises(Invalid, match="patterns that are not empty"):
        policy_in('apart = ["file", " "]', tmp_path / "policy.toml")


@pytest.mark.anyio
async def test_while_thousands_of_rules_are_compared_others_are_answered(tmp_path: Path):
    rules = "".join(
        f'[[rule]]\nsay = "deny"\ncommand = ["git{number}", "*"]\n' for number in range(200)
    )
    found: list[Any] = []
    answered = 0
    async with street(tmp_path) as here, anyio.create_task_group() as group:

        async def compare() -> None:
            found.append(await said(here, "/api/v1/policy/diff", {"new": rules}))

        group.start_soon(compare)
        while not found:
            answered += (await said(here, "/api/v1/status"))["status"] == 200
            await anyio.lowlevel.checkpoint()
    assert len(found[0]["narrower"]) == 200
    assert answered > 10, "they waited until it was over"


def test_the_guide_tells_true_policies_and_every_preset():
    guide = (ROOT / "docs" / "guides" / "policy.md").read_text(encoding="utf-8")
    policies = [
        text for text in re.findall(r"```toml\n(.*?)```", guide, re.DOTALL) if "preset" in text
    ]
    assert len(policies) == 4
    for text in policies:
        assert to_rules(policy_in(text, Path("policy.toml"))).layers[0]
    for name, about in ABOUT.items():
        assert f"| `{name}` | {about} |" in guide


@pytest.mark.anyio
async def test_a_verdict_is_explained_with_everything_that_matches(tmp_path: Path):
    async with street(tmp_path) as here:
        asked = {"tool": "pay", "words": ["ann"], "labels": ["untrusted:web"]}
        found = await said(here, "/api/v1/policy/explain", asked)
        assert found["verdict"]["say"] == "ask"
        assert found["labels"] == ["untrusted:web"]
        assert [one["decided"] for one in found["matches"]] == [True, False]
        assert found["suggested"] == "allow pay ann"
        alone = await said(here, "/api/v1/policy/explain", asked | {"unattended": True})
        assert alone["verdict"]["say"] == "deny"
        reader = await said(here, "/api/v1/policy/explain", asked | {"preset": "reader"})
        assert reader["verdict"]["rule"] == "default deny"
        for bad in (
            {"tool": "no"},
            {},
            {"tool": "pay", "preset": "no"},
            {"tool": "pay", "at": "x"},
        ):
            assert (await said(here, "/api/v1/policy/explain", bad))["status"] in {404, 422}


LIMITED = """
preset = "nothing"
[[rule]]
say = "allow"
tools = ["pay"]
most = {amount = 100}
[[rule]]
say = "ask"
tools = ["pay"]
most = {amount = 100}
reason = "large sums are for two"
[[answer]]
tools = ["pay"]
most = {amount = 1000}
by = ["user:chief"]
"""


@pytest.mark.anyio
async def test_money_in_an_argument_is_bounded_by_rules(tmp_path: Path):
    """Up to a sum it is paid, above it a person is asked, and far above it another one."""
    policy = policy_in(LIMITED, tmp_path / "policy.toml")
    async with street(tmp_path) as here:
        paid = {"tool": "pay", "words": ["ann"]}
        expect = [
            {**paid, "arguments": {"amount": 100}, "say": "allow"},
            {**paid, "arguments": {"amount": 101}, "say": "ask"},
            {**paid, "arguments": {"amount": "all of it"}, "say": "ask"},
            {**paid, "say": "deny"},
        ]
        told = {"expect": expect, "policy": LIMITED}
        assert (await said(here, "/api/v1/policy/test", told))["ok"]
    (answerers,) = to_answerers(policy)
    for amount, theirs in ((2000, True), (500, False)):
        call = ToolCall(id=CallId("c"), tool="pay", arguments={"amount": amount})
        assert answerers.speaks_of(Matter(call)) is theirs
    for bad in ("{amount = -1}", '{amount = "x"}', "{amount = inf}", '{"" = 1}'):
        with pytest.raises(Invalid, match="most"):
            policy_in(LIMITED.replace("{amount = 100}", bad), tmp_path / "policy.toml")


@pytest.mark.anyio
async def test_a_recorded_call_is_explained_then_and_now(tmp_path: Path):
    """Part of row GC-89g."""
    async with street(tmp_path, [calls(("pay", {"to": "ann"}))]) as here:
        task = await asking(here)
        found = await said(here, "/api/v1/policy/explain", {"task": task})
        assert found["then"]["say"] == "ask"
        assert found["then"]["policy"] == "policy-test"
        none = await said(here, "/api/v1/policy/explain", {"task": task, "call": "no"})
        assert (none["status"], none["hint"]) == (404, f"its calls: {found['call_id']}")


@pytest.mark.anyio
async def test_without_a_name_the_call_that_is_asked_about_is_explained(tmp_path: Path):
    reads = calls(("none", {}))
    async with street(tmp_path, [reads, calls(("pay", {"to": "ann"}))]) as here:
        task = await asking(here)
        found = await said(here, "/api/v1/policy/explain", {"task": task})
        assert (found["call"], found["then"]["say"]) == ("pay ann", "ask")
        first = {"task": task, "call": "c1_1"}
        assert (await said(here, "/api/v1/policy/explain", first))["call"] == "none"


@pytest.mark.anyio
async def test_expectations_are_tried_on_a_policy(tmp_path: Path):
    async with street(tmp_path) as here:
        expect = [
            {"say": "ask", "tool": "pay", "words": ["ann"]},
            {"say": "allow", "tool": "pay", "words": ["ann"]},
        ]
        found = await said(here, "/api/v1/policy/test", {"expect": expect})
        assert (found["ok"], [one["ok"] for one in found["results"]]) == (False, [True, False])
        found = await said(here, "/api/v1/policy/test", {"expect": expect[1:], "policy": NEW})
        assert found["ok"]
        bad = await said(here, "/api/v1/policy/test", {"expect": expect, "policy": "rule = 1"})
        assert (bad["status"], bad["code"]) == (422, "bad_policy")


@pytest.mark.anyio
async def test_a_change_is_told_in_what_it_makes_wider_and_narrower(tmp_path: Path):
    async with street(tmp_path, [calls(("pay", {"to": "ann"}))]) as here:
        await asking(here)
        found = await said(here, "/api/v1/policy/diff", {"new": NEW})
        (wider,) = [one for one in found["wider"] if not one["example"]]
        assert wider["call"] == "pay ann"
        assert (wider["before"]["say"], wider["after"]["say"]) == ("ask", "allow")
        assert found["narrower"] == []
        back = await said(here, "/api/v1/policy/diff", {"old": NEW})
        assert back["wider"] == []
        assert back["narrower"]


@pytest.mark.anyio
async def test_leave_is_given_used_shown_and_taken_back(tmp_path: Path):
    """Row OC-15."""
    journal = MemoryJournal()
    async with street(tmp_path, journal=journal) as here:
        terms = {"rule": "pay:ann", "scope": "agent", "of": "default", "uses": 3, "seconds": 60}
        lease = await said(here, "/api/v1/policy/leases", terms)
        assert (lease["status"], lease["uses"], lease["by"]) == (200, 3, "token:default")
        asked = {"tool": "pay", "words": ["ann"]}
        assert (await said(here, "/api/v1/policy/explain", asked))["verdict"]["say"] == "allow"
        other = await said(here, "/api/v1/policy/explain", asked | {"agent": "bob"})
        assert other["verdict"]["say"] == "ask"
        (shown,) = (await said(here, "/api/v1/policy"))["leases"]
        assert shown["id"] == lease["id"]
        gone = await said(here, f"/api/v1/policy/leases/{lease['id'][-8:]}/revoke", {})
        assert gone["status"] == 200
        assert (await said(here, "/api/v1/policy/explain", asked))["verdict"]["say"] == "ask"
        assert (await said(here, f"/api/v1/policy/leases/{lease['id']}/revoke", {}))[
            "status"
        ] == 404
        for bad in (
            {"rule": "pay:", "scope": "all"},
            {"rule": "pay", "scope": "agent"},
            {"rule": "pay", "scope": "all", "of": "x"},
            {"rule": "exec:a; b", "scope": "all"},
        ):
            assert (await said(here, "/api/v1/policy/leases", bad))["status"] == 422


@pytest.mark.anyio
async def test_an_answer_may_end_the_asking(tmp_path: Path):
    journal = MemoryJournal()
    async with street(tmp_path, [calls(("pay", {"to": "ann"}))], journal=journal) as here:
        task = await asking(here)
        (question,) = (await said(here, f"/api/v1/tasks/{task}"))["questions"]
        target = f"/api/v1/tasks/{task}/calls/{question['call']}/approve"
        yes = {"digest": question["digest"], "lease": {"scope": "agent", "uses": 2}}
        wrong = await said(here, target, yes | {"lease": {"rule": "pay:bob"}})
        assert (wrong["status"], wrong["code"]) == (422, "bad_lease")
        assert (await said(here, target, yes))["status"] == 200
        (lease,) = await journal.leases().all()
        assert (lease.scope, lease.of, lease.uses) == ("agent", "default", 2)


def test_a_file_is_checked_without_a_daemon(stage: Stage, tmp_path: Path):
    """Part of row GC-89a."""
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text(POLICY)
    told = stage.run("policy", "check", str(good))
    assert told.code == 0
    assert "1 rules, 1 ceilings, preset coder" in told.out
    bad.write_text('preset = "x"\n[[rule]]\nsay = "allow"\n  tolls = ["x"]\nhours = "noon"\n')
    told = stage.run("policy", "check", str(bad))
    assert told.code == 2
    assert "bad.toml:1:1: policy.preset: expected one of" in told.err
    assert "bad.toml:4:3: policy.rule.1.tolls: unknown key; did you mean tools?" in told.err
    assert "bad.toml:5:1: policy.rule.1.hours: expected hours of the week" in told.err
    assert stage.run("policy", "check", str(tmp_path / "none.toml")).code == 2


def test_the_commands_say_what_the_daemon_says(stage: Stage, tmp_path: Path):
    rule = {"rule": "no pushing", "say": "deny", "reason": "for people"}
    row = {"version": "policy-1", "preset": "ask", "about": "Reads.", "rules": [rule]}
    lease = {"id": "lease_0123456789", "uses": 3, "used": 1, "by": "me", "rule": {"tool": "pay"}}
    stage.daemon.canned["/api/v1/policy"] = row | {"leases": [lease]}
    told = stage.run("policy").out
    assert "no pushing" in told
    assert "23456789" in told
    assert "1 of 3" in told
    verdict = {"say": "deny", "rule": "no pushing", "reason": "for people"}
    found = {"call": "exec git push", "verdict": verdict, "policy": "policy-1"}
    stage.daemon.canned["/api/v1/policy/explain"] = found | {"labels": ["untrusted:web"]}
    told = stage.run("policy", "explain", "exec", "git push", "--label", "untrusted:web").out
    assert told.startswith("deny: exec git push\n  by      no pushing\n")
    assert "untrusted:web" in told
    assert stage.run("policy", "explain").code == 2
    results = [{"call": "a", "expected": "ask", "found": verdict, "ok": ok} for ok in (True, False)]
    stage.daemon.canned["/api/v1/policy/test"] = {"ok": False, "results": [*results, *results]}
    expected = tmp_path / "expected.toml"
    expected.write_text('[[expect]]\nsay = "ask"\ntool = "exec"\n')
    told = stage.run("policy", "test", str(expected))
    assert told.code == 1
    lines = told.out.splitlines()
    assert lines == ["1..4", "ok 1 - ask: a", "not ok 2 - ask: a", "  # it is deny by no pushing"]
    expected.write_text("x = 1")
    assert stage.run("policy", "test", str(expected)).code == 2
    change = {"call": "pay ann", "agent": "a", "before": {"say": "ask"}, "after": {"say": "allow"}}
    stage.daemon.canned["/api/v1/policy/diff"] = {"wider": [change], "narrower": [], "tried": 7}
    told = stage.run("policy", "diff", str(expected))
    assert "Wider:" in told.out
    assert "1 wider, 0 narrower, of 7" in told.err
    stage.daemon.canned["/api/v1/policy/leases"] = lease
    told = stage.run("policy", "grant", "pay", "--for", "agent:a", "--uses", "3", "--until", "2h")
    assert told.code == 0
    assert stage.run("policy", "grant", "pay", "--until", "soon").code == 2
