"""Who may answer what agents ask: others are told no, over every way there is."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from holdfast.core import event as e
from holdfast.core.error import NotAllowed
from holdfast.core.ids import TaskId
from holdfast.core.message import Refused as RefusedCall
from holdfast.core.task import Lent, Request
from holdfast.runtime import tasks
from holdfast.runtime.relaying import relay
from tests.doors.test_trust import in_turn, writes
from tests.whole_house import Inhabited, inhabited

pytestmark = pytest.mark.anyio

POLICY = """
[policy]
preset = "ask"
[policy.domain.files]
tools = ["append"]
[policy.group]
finance = ["key:carol", "key:dave"]
[[policy.answer]]
domain = "files"
by = ["group:finance", "user:nobody"]
not_requester = true
"""
SCOPES = ["tasks.read", "tasks.write", "approve", "policy", "agents", "chat"]

Who = dict[str, str]


async def key(lives: Inhabited, name: str) -> Who:
    told = {"name": name, "scopes": SCOPES}
    made = await lives.tcp.post("/api/v1/keys", json=told)
    return {"Authorization": f"Bearer {made.json()['key']}"}


async def asked(lives: Inhabited, task: str) -> tuple[str, dict[str, Any]]:
    (question,) = (await lives.asks_or_ends(task))["questions"]
    place = f"/api/v1/tasks/{task}/calls/{question['call']}"
    return place, {"digest": question["digest"]}


async def test_only_whom_the_policy_names_may_answer_and_not_who_asked_for_it(tmp_path: Path):
    async with inhabited(tmp_path / "home", writes("a"), POLICY) as lives:
        bob, carol, dave = [await key(lives, name) for name in ("bob", "carol", "dave")]
        submitted = await lives.tcp.post("/api/v1/tasks", json={"prompt": "x"}, headers=carol)
        task = submitted.json()["id"]
        place, yes = await asked(lives, task)
        (shown,) = (await lives.tcp.get("/api/v1/approvals")).json()["approvals"]
        assert shown["for_whom"] == [
            "group:finance or user:nobody",
            "not key:carol, who asked for it",
        ]
        for who in (bob, carol, {}):
            ways: tuple[tuple[str, dict[str, Any]], ...] = (
                ("approve", yes),
                ("approve", {**yes, "whole_task": True}),
                ("approve", {**yes, "lease": {}}),
                ("approve", {**yes, "arguments": {"path": "b"}}),
                ("refuse", {}),
            )
            for word, told in ways:
                answer = await lives.tcp.post(f"{place}/{word}", json=told, headers=who)
                found = (answer.status_code, answer.json()["code"])
                assert found == (403, "not_yours_to_answer"), (word, told, who)
                assert "group:finance" in answer.text
        assert (await lives.asks_or_ends(task))["questions"], "it is open as it was"
        answer = await lives.tcp.post(f"{place}/approve", json=yes, headers=dave)
        assert answer.status_code == 200
        assert (await lives.ended(task))["status"] == "SUCCEEDED"
        approved = [x for x in await lives.events(task) if isinstance(x, e.CallApproved)]
        assert [one.by for one in approved] == ["key:dave"]


async def test_what_nobody_asked_has_no_answer(tmp_path: Path):
    async with inhabited(tmp_path / "home", writes("a"), POLICY) as lives:
        task = await lives.submit("write it")
        place, yes = await asked(lives, task)
        elsewhere = place.rpartition("/")[0] + "/another"
        for word, told in (("approve", yes), ("refuse", {})):
            answer = await lives.tcp.post(f"{elsewhere}/{word}", json=told)
            assert (answer.status_code, answer.json()["code"]) == (404, "call_not_open")
            assert "another" in answer.json()["detail"]


async def test_of_two_who_may_answer_the_first_counts(tmp_path: Path):
    async with inhabited(tmp_path / "home", writes("a"), POLICY) as lives:
        carol, dave = await key(lives, "carol"), await key(lives, "dave")
        task = await lives.submit("write it")
        place, yes = await asked(lives, task)
        told = await asyncio.gather(
            lives.tcp.post(f"{place}/approve", json=yes, headers=carol),
            lives.tcp.post(f"{place}/refuse", json={}, headers=dave),
        )
        first, second = sorted(one.status_code for one in told)
        assert first == 200
        assert second in (404, 409)
        await lives.ended(task)


async def test_a_yes_to_more_than_one_call_does_not_reach_into_what_others_answer(tmp_path: Path):
    """Whoever may answer for one folder gives no leave for another by the same tool."""
    policy = """
[policy]
preset = "ask"
[[policy.answer]]
tools = ["append"]
paths = ["vault"]
by = ["key:carol"]
"""
    async with inhabited(tmp_path / "home", writes("a", "vault/b"), policy) as lives:
        bob = await key(lives, "bob")
        task = await lives.submit("write it")
        place, yes = await asked(lives, task)
        wider: tuple[dict[str, Any], ...] = (
            {"whole_task": True},
            {"lease": {"rule": "append"}},
            {"lease": {"rule": "*", "scope": "all"}},
            {"lease": {"rule": "app*"}},
        )
        for more in wider:
            wide = await lives.tcp.post(f"{place}/approve", json={**yes, **more}, headers=bob)
            assert (wide.status_code, wide.json()["code"]) == (403, "not_yours_to_answer")
        assert (await lives.tcp.post(f"{place}/approve", json=yes, headers=bob)).status_code == 200
        await lives.when(
            task, lambda one: any(x.call.target == "vault/b" for x in one.calls.values())
        )
        place, yes = await asked(lives, task)
        late = await lives.tcp.post(f"{place}/approve", json=yes, headers=bob)
        assert late.status_code == 403


async def test_to_vouch_is_to_answer_for_every_tool_and_other_leave_for_its_own(tmp_path: Path):
    """What Bob says of whose words something is would count for Carol's payments too."""
    policy = """
[policy]
preset = "ask"
[[policy.answer]]
tools = ["pay"]
by = ["key:carol"]
"""
    async with inhabited(tmp_path / "home", writes("a", "b"), policy) as lives:
        bob = await key(lives, "bob")
        task = await lives.submit("write it")
        place, yes = await asked(lives, task)
        for more in ({"vouch": True}, {"lease": {"rule": "*"}}):
            wide = await lives.tcp.post(f"{place}/approve", json={**yes, **more}, headers=bob)
            assert (wide.status_code, wide.json()["code"]) == (403, "not_yours_to_answer"), more
        own = await lives.tcp.post(
            f"{place}/approve", json={**yes, "lease": {"rule": "append"}}, headers=bob
        )
        assert own.status_code == 200
        assert (await lives.ended(task))["status"] == "SUCCEEDED"


async def test_leave_for_a_command_line_is_for_command_lines_alone(tmp_path: Path):
    policy = """
[policy]
preset = "ask"
[[policy.answer]]
tools = ["pay"]
by = ["key:carol"]
"""
    lists = partial(in_turn, (("exec", {"command": "ls --all"}),))
    async with inhabited(tmp_path / "home", lists, policy) as lives:
        bob = await key(lives, "bob")
        task = await lives.submit("look")
        place, yes = await asked(lives, task)
        told = {**yes, "lease": {"rule": "exec:ls *"}}
        given = await lives.tcp.post(f"{place}/approve", json=told, headers=bob)
        assert given.status_code == 200, given.text
        assert (await lives.ended(task))["status"] == "SUCCEEDED"


async def test_what_is_said_to_a_task_that_asks_nothing_is_nobodys_answer(tmp_path: Path):
    """The policy leaves the answers to Carol; a remark of Bob's is none."""
    policy = """
[policy]
preset = "ask"
[[policy.answer]]
by = ["key:carol"]
"""
    async with inhabited(tmp_path / "home", writes("a"), policy) as lives:
        bob = await key(lives, "bob")
        task = await lives.submit("write it")
        place, yes = await asked(lives, task)
        remark = {"text": "carefully, please"}
        said = await lives.tcp.post(f"/api/v1/tasks/{task}/say", json=remark, headers=bob)
        assert said.status_code == 200
        refused = await lives.tcp.post(f"{place}/approve", json=yes, headers=bob)
        assert (refused.status_code, refused.json()["code"]) == (403, "not_yours_to_answer")


async def test_a_lease_for_more_than_one_task_does_not_answer_ones_own_requests(tmp_path: Path):
    """Dave may answer for Carol, so for his own tasks he would have answered beforehand."""
    async with inhabited(tmp_path / "home", writes("a"), POLICY) as lives:
        carol, dave = await key(lives, "carol"), await key(lives, "dave")
        told = {"prompt": "x"}
        own = (await lives.tcp.post("/api/v1/tasks", json=told, headers=dave)).json()["id"]
        await asked(lives, own)
        task = (await lives.tcp.post("/api/v1/tasks", json=told, headers=carol)).json()["id"]
        place, yes = await asked(lives, task)
        wider = (
            {"scope": "all"},
            {"scope": "agent"},
            {"scope": "task", "of": own},
            {"scope": "session", "of": task},  # a session may be called as the task is
        )
        for lease in wider:
            wide = await lives.tcp.post(
                f"{place}/approve", json={**yes, "lease": lease}, headers=dave
            )
            assert (wide.status_code, wide.json()["code"]) == (403, "not_yours_to_answer"), lease
        here = {**yes, "lease": {"scope": "task"}}
        given = await lives.tcp.post(f"{place}/approve", json=here, headers=dave)
        assert given.status_code == 200
        assert (await lives.ended(task))["status"] == "SUCCEEDED"
        assert (await lives.asks_or_ends(own))["questions"]


async def test_a_question_in_words_is_for_whom_the_policy_names_too(tmp_path: Path):
    """However it is answered: in words, by yes or no, or on behalf of an agent elsewhere."""
    policy = """
[policy]
preset = "open"
[[policy.answer]]
tools = ["ask_person"]
by = ["key:carol"]
"""
    asks = partial(in_turn, (("ask_person", {"question": "Which account?"}),))
    async with inhabited(tmp_path / "home", asks, policy) as lives:
        bob, carol = await key(lives, "bob"), await key(lives, "carol")
        task = await lives.submit("pay it")
        place, yes = await asked(lives, task)
        (shown,) = (await lives.tcp.get("/api/v1/approvals")).json()["approvals"]
        assert shown["for_whom"] == ["key:carol"]
        said = {"text": "that of bob"}
        for path, told in (
            (f"/api/v1/tasks/{task}/say", said),
            (f"{place}/approve", yes),
            (f"{place}/refuse", {}),
        ):
            refused = await lives.tcp.post(path, json=told, headers=bob)
            assert (refused.status_code, refused.json()["code"]) == (403, "not_yours_to_answer")
        with pytest.raises(NotAllowed, match="key:carol"):
            await relay(lives.house, TaskId(task), "that of bob", ("a2a:x",), by="key:bob")
        path = f"/api/v1/tasks/{task}/say"
        answer = await lives.tcp.post(path, json={"text": "mine"}, headers=carol)
        assert answer.status_code == 200
        assert (await lives.ended(task))["status"] == "SUCCEEDED"


async def test_a_question_in_words_may_be_answered_by_a_yes(tmp_path: Path):
    asks = partial(in_turn, (("ask_person", {"question": "Shall I?"}),))
    async with inhabited(tmp_path / "home", asks, "[policy]\npreset = 'open'\n") as lives:
        task = await lives.submit("do it")
        place, yes = await asked(lives, task)
        assert (await lives.tcp.post(f"{place}/approve", json=yes)).status_code == 200
        assert (await lives.ended(task))["status"] == "SUCCEEDED"


async def test_what_a_client_runs_itself_is_refused_by_others_and_claimed_by_none(tmp_path: Path):
    shows = partial(in_turn, (("client_show", {}),))
    async with inhabited(tmp_path / "home", shows, "[policy]\npreset = 'open'\n") as lives:
        house = lives.house
        request = Request(
            prompt="show it",
            agent=house.agent,
            by="key:page",
            workspace=str(house.home / "workspace"),
            lent=(Lent(name="client_show", schema={"type": "object"}),),
        )
        task = str((await tasks.submit(house, request)).id)
        place, yes = await asked(lives, task)
        claimed = await lives.tcp.post(f"{place}/approve", json=yes)
        assert (claimed.status_code, claimed.json()["code"]) == (403, "not_yours_to_answer")
        assert (await lives.tcp.post(f"{place}/refuse", json={})).status_code == 200
        assert (await lives.ended(task))["status"] == "SUCCEEDED"


async def test_who_submits_a_task_does_not_answer_beforehand_what_others_have_to(tmp_path: Path):
    async with inhabited(tmp_path / "home", writes("a"), POLICY) as lives:
        bob = await key(lives, "bob")
        for allow in ("append", "*", "app*:a", "append:a"):
            told = {"prompt": "x", "allow": [allow]}
            refused = await lives.tcp.post("/api/v1/tasks", json=told, headers=bob)
            assert (refused.status_code, refused.json()["code"]) == (403, "not_yours_to_answer")
        told = {"prompt": "x", "allow": ["read"]}
        assert (await lives.tcp.post("/api/v1/tasks", json=told, headers=bob)).status_code == 202


async def test_who_somebody_is_comes_from_the_key_and_from_nothing_that_is_said(tmp_path: Path):
    async with inhabited(tmp_path / "home", writes("a"), POLICY) as lives:
        bob = await key(lives, "bob")
        task = await lives.submit("write it")
        place, yes = await asked(lives, task)
        for more in ({"X-Forwarded-User": "key:carol"}, {"From": "key:carol"}):
            answer = await lives.tcp.post(f"{place}/approve", json=yes, headers={**bob, **more})
            assert answer.status_code == 403
        told = {**yes, "by": "key:carol"}
        answer = await lives.tcp.post(f"{place}/approve", json=told, headers=bob)
        assert answer.status_code == 422
        fake = {"Authorization": "Bearer key:carol"}
        assert (await lives.tcp.post(f"{place}/approve", json=yes, headers=fake)).status_code == 401


@pytest.mark.parametrize("word", ["approve", "refuse", ""])
async def test_a_step_waits_for_a_person_runs_after_yes_and_not_after_no_or_in_time(
    tmp_path: Path, word: str
):
    """Row GC-100. Part of row OL-53: a question with its id and its end; yes, no, or nobody."""
    policy = """
[policy]
preset = "open"
[[policy.rule]]
say = "ask"
tools = ["append"]
expires = "1h"
""".replace("1h", "1h" if word else "1s")
    async with inhabited(tmp_path / "home", writes("a"), policy) as lives:
        task = await lives.submit("write it")
        if word:
            place, yes = await asked(lives, task)
            row = (await lives.tcp.get("/api/v1/approvals")).json()["approvals"][0]
            assert row["until"] > 0
            assert (row["question"], row["call"]) == ("May I append a?", place.split("/")[-1])
            waits = await lives.until(task, "WAITING")
            assert waits["questions"]
            told = yes if word == "approve" else {"reason": "not there"}
            assert (await lives.tcp.post(f"{place}/{word}", json=told)).status_code == 200
        assert (await lives.ended(task))["status"] == "SUCCEEDED"
        assert not (await lives.tcp.get("/api/v1/approvals")).json()["approvals"]
        (settled,) = [x for x in await lives.events(task) if isinstance(x, e.CallSettled)]
        written = (lives.house.home / "workspace" / "a").exists()
    assert written is (word == "approve")
    if word == "refuse":
        assert settled.outcome == RefusedCall(
            reason="token:default said no: not there", rule="human"
        )
    if not word:
        expected = RefusedCall(reason="nobody answered in time", rule="approval expired")
        assert settled.outcome == expected
