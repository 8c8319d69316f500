"""Trust over the doors: shown, granted, taken back, read by the gate, and looked back on."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from holdfast.config.policy import checked_policy
from holdfast.core import event as e
from holdfast.core.audit.fact import Fact, decode
from holdfast.core.context import Prompt
from holdfast.core.error import Invalid
from holdfast.core.ids import CallId
from holdfast.core.message import ModelSaid, Reply, ToolCall, Usage
from holdfast.ports.audit import AuditQuery
from tests.whole_house import Inhabited, inhabited

pytestmark = pytest.mark.anyio

POLICY = """
[policy]
preset = "ask"
[policy.domain.files]
about = "what is written into the workspace"
tools = ["write", "append"]
[policy.domain.deploy]
command = ["git", "push", "**"]
"""


def writes(*names: str) -> Any:
    return partial(in_turn, tuple(("append", {"path": one, "content": "x\n"}) for one in names))


def in_turn(proposed: tuple[tuple[str, dict[str, Any]], ...], prompt: Prompt) -> Reply:
    turn = sum(isinstance(entry, ModelSaid) for entry in prompt.entries)
    if turn >= len(proposed):
        return Reply(text="the work is done")
    tool, arguments = proposed[turn]
    return Reply(calls=(ToolCall(id=CallId(f"c{turn}"), tool=tool, arguments=arguments),))


async def grant(lives: Inhabited, level: str, domain: str = "files", **more: Any) -> Any:
    told = {"domain": domain, "level": level, **more}
    return await lives.tcp.post("/api/v1/trust/grant", json=told)


async def shown(lives: Inhabited, domain: str = "files") -> dict[str, Any]:
    found = (await lives.tcp.get(f"/api/v1/trust?domain={domain}")).json()
    return found["domains"][0]


async def facts(lives: Inhabited, kind: str) -> list[Fact]:
    kept = await lives.house.audit.query(AuditQuery(kind=kind, limit=500))
    return [decode(one.body) for one in kept if one.body is not None][::-1]


async def judged(lives: Inhabited, task: str) -> list[tuple[str, str]]:
    found = await facts(lives, "call.judged")
    return [(one.verdict, one.rule) for one in found if one.task == task]


async def test_what_was_never_granted_is_low_and_asks(tmp_path: Path):
    """Row OK-49."""
    async with inhabited(tmp_path / "home", writes("a"), POLICY) as lives:
        row = await shown(lives)
        assert (row["level"], row["since"], row["by"]) == ("low", 0, "")
        task = await lives.submit("write it")
        assert (await lives.asks_or_ends(task))["questions"]
        assert await judged(lives, task) == [("ask", "trust: files is low")]
        alone = await lives.submit("write it", unattended=True)
        assert (await lives.ended(alone))["status"] == "SUCCEEDED"
        assert await judged(lives, alone) == [("deny", "trust: files is low")]
        assert not list((lives.house.home / "workspace").iterdir())


async def test_high_runs_without_asking_and_leaves_its_line_in_the_audit(tmp_path: Path):
    """Row OK-51."""
    async with inhabited(tmp_path / "home", writes("a"), POLICY) as lives:
        answer = await grant(lives, "high", reason="it did well")
        assert answer.status_code == 200, answer.text
        assert answer.json()["level"] == "high"
        task = await lives.submit("write it")
        assert (await lives.ended(task))["status"] == "SUCCEEDED"
        assert await judged(lives, task) == [("allow", "trust: files is high")]
        (line,) = [one for one in await facts(lives, "call.judged") if one.task == task]
        assert line.policy == lives.house.rules.version == answer.json()["policy"]
        row = await shown(lives)
        assert (row["level"], row["by"], row["reason"]) == ("high", "token:default", "it did well")


async def test_a_rule_counts_as_far_as_the_agent_is_trusted(tmp_path: Path):
    """The owner's own rule asks about everything; it says itself from where on it does not."""
    rule = """
[[policy.rule]]
say = "ask"
name = "until we know each other"
tools = ["append"]
trust = ["files:low", "files:medium"]
"""
    async with inhabited(tmp_path / "home", writes("a"), POLICY + rule) as lives:
        task = await lives.submit("write it")
        assert (await lives.asks_or_ends(task))["questions"]
        assert await judged(lives, task) == [("ask", "until we know each other")]
        await grant(lives, "high")
        later = await lives.submit("write it")
        assert (await lives.ended(later))["status"] == "SUCCEEDED"
        assert await judged(lives, later) == [("allow", "trust: files is high")]


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("flies:high", "did you mean files?"),
        ("files:highest", "expected DOMAIN:LEVEL with one of none, low, medium, high"),
        ("files", "expected DOMAIN:LEVEL"),
        (":high", "expected DOMAIN:LEVEL"),
    ],
)
@pytest.mark.parametrize("where", ["rule", "ceiling.all.rule"])
def test_a_rule_about_trust_that_could_never_count_is_refused(
    tmp_path: Path, word: str, told: str, where: str
):
    file = tmp_path / "policy.toml"
    file.write_text(
        f'[domain.files]\ntools = ["write"]\n[[{where}]]\nsay = "ask"\ntrust = ["{word}"]\n'
    )
    with pytest.raises(Invalid) as refused:
        checked_policy(file)
    assert told in str(refused.value)
    assert str(file) in str(refused.value)


async def test_none_denies_at_once_and_revoking_asks_again(tmp_path: Path):
    async with inhabited(tmp_path / "home", writes("a"), POLICY) as lives:
        await grant(lives, "none")
        task = await lives.submit("write it")
        await lives.ended(task)
        assert await judged(lives, task) == [("deny", "trust: files is none")]
        gone = await lives.tcp.post("/api/v1/trust/revoke", json={"domain": "files"})
        assert (gone.json()["level"], gone.json()["since"]) == ("low", 0)
        again = await lives.submit("write it")
        assert (await lives.asks_or_ends(again))["questions"]


async def test_trust_that_is_lost_while_a_question_is_open_leaves_nothing_to_approve(
    tmp_path: Path,
):
    async with inhabited(tmp_path / "home", writes("a", "b"), POLICY) as lives:

        async def answer(word: str) -> Any:
            (question,) = (await lives.asks_or_ends(task))["questions"]
            place = f"/api/v1/tasks/{task}/calls/{question['call']}/{word}"
            told = {"digest": question["digest"]} if word == "approve" else {}
            return await lives.tcp.post(place, json=told)

        task = await lives.submit("write it")
        await lives.asks_or_ends(task)
        await grant(lives, "none")
        late = await answer("approve")
        assert (late.status_code, late.json()["code"]) == (409, "approval_denied")
        assert (await answer("refuse")).status_code == 200
        await lives.ended(task)
        assert [one for one, _ in await judged(lives, task)] == ["ask", "deny"]
    assert not list((tmp_path / "home" / "workspace").iterdir())


async def test_a_word_that_is_no_level_is_told_the_four_and_a_domain_what_was_meant(
    tmp_path: Path,
):
    """Rows OK-49 and OK-50."""
    async with inhabited(tmp_path / "home", writes(), POLICY) as lives:
        wrong = await grant(lives, "autonomous")
        assert (wrong.status_code, wrong.json()["code"]) == (422, "no_such_level")
        assert "use none, low, medium, high" in wrong.text
        for place, told in (
            ("grant", {"domain": "flies", "level": "low"}),
            ("revoke", {"domain": "flies"}),
        ):
            wrong = await lives.tcp.post(f"/api/v1/trust/{place}", json=told)
            assert (wrong.status_code, wrong.json()["code"]) == (404, "no_such_domain")
            assert wrong.json()["hint"] == "did you mean files?"
        assert not await facts(lives, "trust.changed")


async def test_only_who_may_change_the_installation_may_grant(tmp_path: Path):
    """A task has no key at all; a key for tasks, approvals and the policy is refused as well."""
    async with inhabited(tmp_path / "home", writes(), POLICY) as lives:
        scopes = ["tasks.read", "tasks.write", "approve", "policy", "audit", "chat", "agents"]
        made = await lives.tcp.post("/api/v1/keys", json={"name": "bot", "scopes": scopes})
        bot = {"Authorization": f"Bearer {made.json()['key']}"}
        seen = await lives.tcp.get("/api/v1/trust", headers=bot)
        assert seen.status_code == 200
        for place in ("grant", "revoke"):
            told = {"domain": "files", "level": "high"} if place == "grant" else {"domain": "files"}
            refused = await lives.tcp.post(f"/api/v1/trust/{place}", json=told, headers=bot)
            assert (refused.status_code, refused.json()["code"]) == (403, "no_scope")
        nobody = await lives.local.get("/api/v1/trust")
        assert nobody.status_code == 200
        assert (await shown(lives))["level"] == "low"


async def test_every_change_is_a_line_of_the_audit_and_outlives_the_house(tmp_path: Path):
    home = tmp_path / "home"
    async with inhabited(home, writes(), POLICY) as lives:
        await grant(lives, "high")
        await grant(lives, "medium", agent="scout")
        await lives.tcp.post("/api/v1/trust/revoke", json={"domain": "files"})
        await grant(lives, "medium")
        told = [(one.by, one.subject, one.before, one.after) for one in await facts(lives, "trust")]
    assert told == [
        ("token:default", "domain files", "low", "high"),
        ("token:default", "domain files for agent scout", "low", "medium"),
        ("token:default", "domain files", "high", "low"),
        ("token:default", "domain files", "low", "medium"),
    ]
    async with inhabited(home, writes(), POLICY) as lives:
        rows = (await lives.tcp.get("/api/v1/trust?domain=files")).json()["domains"]
        assert [(one["agent"], one["level"]) for one in rows] == [
            ("", "medium"),
            ("scout", "medium"),
        ]


async def test_what_an_agent_has_of_its_own_is_told_as_it_counts(tmp_path: Path):
    """None for all counts for each, and is what is shown; without its own it has what all have."""
    async with inhabited(tmp_path / "home", writes("a"), POLICY) as lives:
        await grant(lives, "high", agent="newcomer", reason="it is good")
        await grant(lives, "none", reason="release week")
        found = await lives.tcp.get("/api/v1/trust?domain=files&agent=newcomer")
        (row,) = found.json()["domains"]
        assert (row["level"], row["reason"]) == ("none", "release week")
        await grant(lives, "high")
        await grant(lives, "low", agent="newcomer")
        told = {"domain": "files", "agent": "newcomer"}
        row = (await lives.tcp.post("/api/v1/trust/revoke", json=told)).json()
        last = (await facts(lives, "trust.changed"))[-1]
        assert (row["level"], last.before, last.after) == ("high", "low", "high")


async def test_a_domain_that_has_changed_since_is_low_until_granted_again(tmp_path: Path):
    home = tmp_path / "home"
    async with inhabited(home, writes("a"), POLICY) as lives:
        await grant(lives, "high")
    wider = POLICY.replace('["write", "append"]', '["*"]')
    async with inhabited(home, writes("a"), wider) as lives:
        row = await shown(lives)
        assert (row["level"], row["stale"]) == ("low", True)
        task = await lives.submit("write it")
        assert (await lives.asks_or_ends(task))["questions"]
    without = POLICY.replace("policy.domain.files", "policy.domain.other")
    async with inhabited(home, writes("a"), without) as lives:
        rows = (await lives.tcp.get("/api/v1/trust")).json()["domains"]
        assert [one["domain"] for one in rows if one["gone"]] == ["files"]
        gone = await lives.tcp.post("/api/v1/trust/revoke", json={"domain": "files"})
        assert gone.status_code == 200
        rows = (await lives.tcp.get("/api/v1/trust")).json()["domains"]
        assert not [one for one in rows if one["gone"]]


async def test_of_many_grants_at_once_each_is_whole_and_the_last_line_is_what_counts(
    tmp_path: Path,
):
    home = tmp_path / "home"
    async with inhabited(home, writes(), POLICY) as lives:
        levels = ["none", "low", "medium", "high"] * 5
        told = await asyncio.gather(
            *(grant(lives, one, ("files", "deploy")[n % 2]) for n, one in enumerate(levels))
        )
        assert {one.status_code for one in told} == {200}
        lines = await facts(lives, "trust.changed")
        for domain in ("files", "deploy"):
            mine = [one for one in lines if one.subject == f"domain {domain}"]
            assert [one.before for one in mine[1:]] == [one.after for one in mine[:-1]]
            assert (await shown(lives, domain))["level"] == mine[-1].after
        kept = json.loads((home / "trust.json").read_text())
        assert sorted(one["domain"] for one in kept["grants"]) == ["deploy", "files"]


async def test_trust_is_no_way_to_more_money(tmp_path: Path):
    """A budget stands above every level: the house asks, whatever domain that were."""
    everything = '[policy]\npreset = "ask"\n[policy.domain.all]\ntools = ["*"]\n'

    def model(prompt: Prompt) -> Reply:
        return replace(writes("a", "b", "c")(prompt), usage=Usage(input=900, output=100))

    async with inhabited(tmp_path / "home", model, everything) as lives:
        await grant(lives, "high", "all")
        task = await lives.submit("write it", limits={"tokens": 2_500})
        (question,) = (await lives.asks_or_ends(task))["questions"]
        assert question["tool"] == "top_up"
        raised = await lives.tcp.post(
            f"/api/v1/tasks/{task}/calls/{question['call']}/approve",
            json={"digest": question["digest"]},
        )
        assert raised.status_code == 200


async def test_at_medium_one_yes_answers_all_about_the_very_same_call(tmp_path: Path):
    (tmp_path / "other").mkdir()
    async with inhabited(tmp_path / "home", writes("a"), POLICY) as lives:
        await grant(lives, "medium")
        elsewhere = await lives.submit("write it", workspace=str(tmp_path / "other"))
        await lives.asks_or_ends(elsewhere)
        one, two = await lives.submit("write it"), await lives.submit("write it")
        for task in (one, two):
            (question,) = (await lives.asks_or_ends(task))["questions"]
        shown = (await lives.tcp.get("/api/v1/approvals")).json()["approvals"]
        assert {one["rule"] for one in shown} == {"trust: files is medium"}
        assert {one["suggested"] for one in shown} == {"allow append a"}
        place = f"/api/v1/tasks/{two}/calls/{question['call']}/approve"
        told = {"digest": question["digest"], "alike": True}
        assert (await lives.tcp.post(place, json=told)).status_code == 200
        for task in (one, two):
            assert (await lives.ended(task))["status"] == "SUCCEEDED"
            approved = [x for x in await lives.events(task) if isinstance(x, e.CallApproved)]
            assert len(approved) == 1
        assert (await lives.asks_or_ends(elsewhere))["questions"], "that is another file"


async def test_a_yes_to_all_alike_needs_the_trust_that_there_is_now(tmp_path: Path):
    """What was asked at medium, and is low by now, gets an answer for each."""
    async with inhabited(tmp_path / "home", writes("a"), POLICY) as lives:
        await grant(lives, "medium")
        tasks = [await lives.submit("write it") for _ in range(2)]
        (question,), _ = [(await lives.asks_or_ends(task))["questions"] for task in tasks]
        await grant(lives, "low")
        place = f"/api/v1/tasks/{tasks[0]}/calls/{question['call']}/approve"
        told = {"digest": question["digest"], "alike": True}
        refused = await lives.tcp.post(place, json=told)
        assert (refused.status_code, refused.json()["code"]) == (409, "not_a_read")
        for task in tasks:
            assert (await lives.asks_or_ends(task))["questions"]


async def test_what_stood_and_what_people_overrode_is_told_from_the_audit(tmp_path: Path):
    """Row OK-50, and part of row OK-51: six acts, of which one was cancelled: 83 %, keep."""
    done = asyncio.Event()

    def model(prompt: Prompt) -> Reply | None:
        turn = sum(isinstance(entry, ModelSaid) for entry in prompt.entries)
        last = "stay" in str(prompt.entries[0])
        if turn and last:
            done.set()
            return None
        return in_turn((("append", {"path": "a", "content": f"{turn}\n"}),), prompt)

    async with inhabited(tmp_path / "home", model, POLICY) as lives:
        empty = (await lives.tcp.get("/api/v1/trust/audit?domain=files")).json()["records"]
        assert (empty[0]["acts"], empty[0]["accuracy"]) == (0, None)
        assert empty[0]["advice"] == "not enough"
        await grant(lives, "high")
        for _ in range(5):
            await lives.ended(await lives.submit("write it"))
        stays = await lives.submit("write it and stay")
        await done.wait()
        await lives.tcp.post(f"/api/v1/tasks/{stays}/cancel", json={"reason": "not that"})
        await lives.ended(stays)
        found = (await lives.tcp.get("/api/v1/trust/audit?days=7")).json()["records"]
        record = next(one for one in found if one["domain"] == "files")
        assert (record["acts"], record["right"], record["overridden"]) == (6, 5, 1)
        assert (record["accuracy"], record["advice"]) == (0.8333, "keep")
        assert (record["latest"][0]["task"], record["latest"][0]["by"]) == (stays, "token:default")
        assert record["latest"][0]["overridden"] == "cancelled"
        # What a person refuses later overrides what was done alike before.
        await grant(lives, "low")
        task = await lives.submit("write it")
        (question,) = (await lives.asks_or_ends(task))["questions"]
        await lives.tcp.post(f"/api/v1/tasks/{task}/calls/{question['call']}/refuse", json={})
        await lives.ended(task)
        await grant(lives, "high")
        found = (await lives.tcp.get("/api/v1/trust/audit?domain=files")).json()["records"]
        assert (found[0]["acts"], found[0]["right"], found[0]["advice"]) == (6, 0, "lower")
        for wrong, code in (("domain=flies", 404), ("days=0", 422), ("days=x", 422)):
            assert (await lives.tcp.get(f"/api/v1/trust/audit?{wrong}")).status_code == code


async def test_below_high_the_answers_of_people_are_what_counts(tmp_path: Path):
    async with inhabited(tmp_path / "home", writes("a"), POLICY) as lives:
        for number in range(6):
            task = await lives.submit("write it")
            (question,) = (await lives.asks_or_ends(task))["questions"]
            place = f"/api/v1/tasks/{task}/calls/{question['call']}"
            told: dict[str, Any] = {"digest": question["digest"]} if number else {}
            word = "approve" if number else "refuse"
            assert (await lives.tcp.post(f"{place}/{word}", json=told)).status_code == 200
            await lives.ended(task)
        found = (await lives.tcp.get("/api/v1/trust/audit?domain=files")).json()["records"][0]
        assert (found["acts"], found["right"], found["advice"]) == (6, 5, "keep")
        assert all(one["asked"] for one in found["latest"])
        assert found["latest"][-1]["overridden"] == "refused"


async def test_what_a_person_undoes_counts_as_overridden_until_it_is_done_again(tmp_path: Path):
    """Part of rows OK-50 and OK-51."""
    async with inhabited(tmp_path / "home", writes("a"), POLICY) as lives:
        await grant(lives, "high")
        task = await lives.submit("write it")
        await lives.ended(task)
        gone = ("undone", "token:default")
        for name, told in ((task, gone), (f"{task}.1", ("", "")), (f"{task}.2", gone)):
            undone = await lives.tcp.post(f"/api/v1/tasks/{name}/undo", json={})
            assert undone.status_code == 200, undone.text
            found = (await lives.tcp.get("/api/v1/trust/audit?domain=files")).json()["records"]
            (act,) = found[0]["latest"]
            assert (act["overridden"], act["by"]) == told
