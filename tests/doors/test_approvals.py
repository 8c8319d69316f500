"""Answering what agents ask: why, with other arguments, all alike, two at once, in time."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from holdfast.core import event as e
from holdfast.core.context import Prompt
from holdfast.core.event import Event
from holdfast.core.ids import CallId
from holdfast.core.message import ModelSaid, Refused, Reply, ToolAnswered, ToolCall
from tests.whole_house import Inhabited, inhabited

pytestmark = pytest.mark.anyio

Proposal = tuple[str, dict[str, Any]]
ASKS = """
[policy]
preset = "open"
[[policy.rule]]
say = "ask"
tools = ["write", "append", "read"]
expires = "10m"
[[policy.rule]]
say = "deny"
tools = ["write"]
paths = ["secret*"]
reason = "not there"
"""


def turns(*proposed: tuple[Proposal, ...]) -> Any:
    """A model that proposes these calls turn by turn, and then is done."""
    return partial(_turn, proposed)


def _turn(proposed: tuple[tuple[Proposal, ...], ...], prompt: Prompt) -> Reply:
    turn = sum(isinstance(entry, ModelSaid) for entry in prompt.entries)
    if turn >= len(proposed):
        return Reply(text="the work is done")
    calls = (
        ToolCall(id=CallId(f"c{turn}{n}"), tool=tool, arguments=arguments)
        for n, (tool, arguments) in enumerate(proposed[turn])
    )
    return Reply(calls=tuple(calls))


async def answer(lives: Inhabited, task: str, question: Any, **told: Any) -> Any:
    place = f"/api/v1/tasks/{task}/calls/{question['call']}/approve"
    return await lives.tcp.post(place, json={"digest": question["digest"], **told})


WRITE: Proposal = ("write", {"path": "a.txt", "content": "draft"})


async def test_an_edit_is_a_new_proposal_that_the_model_makes_and_a_person_sees(tmp_path: Path):
    said: list[str] = []

    def model(prompt: Prompt) -> Reply:
        said.extend(
            entry.outcome.reason
            for entry in prompt.entries
            if isinstance(entry, ToolAnswered) and isinstance(entry.outcome, Refused)
        )
        path = "b.txt" if said else "a.txt"
        proposed: Proposal = ("write", {"path": path, "content": "draft"})
        return _turn(((proposed,), (proposed,)), prompt)

    async with inhabited(tmp_path / "home", model, ASKS) as lives:
        task = await lives.submit("write it")
        (first,) = (await lives.asks_or_ends(task))["questions"]
        edited = await answer(lives, task, first, arguments={"path": "b.txt"})
        assert edited.status_code == 200
        row = await lives.when(
            task, lambda one: any(x.call.target == "b.txt" for x in one.calls.values())
        )
        row = await lives.asks_or_ends(task)
        (second,) = row["questions"]
        assert (second["target"], second["digest"] != first["digest"]) == ("b.txt", True)
        assert not list((lives.house.home / "workspace").iterdir()), "nobody has said yes yet"
        assert (await answer(lives, task, second)).status_code == 200
        assert (await lives.ended(task))["status"] == "SUCCEEDED"
        assert [one.name for one in (lives.house.home / "workspace").iterdir()] == ["b.txt"]
        again = await answer(lives, task, first, arguments={"path": "c.txt"})
        assert again.status_code == 404
    assert said[0] == (
        "token:default said no: propose write with these arguments instead: "
        '{"content":"draft","path":"b.txt"}'
    )


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        ({"path": "secret.txt"}, 403, "edit_denied"),
        ({"path": 7}, 422, "bad_arguments"),
        ({"colour": "red"}, 422, "bad_arguments"),
        ({"path": "a.txt"}, 422, "nothing_edited"),
    ],
)
async def test_an_edit_that_cannot_be_leaves_the_question_open(
    tmp_path: Path, arguments: dict[str, Any], status: int, code: str
):
    async with inhabited(tmp_path / "home", turns((WRITE,)), ASKS) as lives:
        task = await lives.submit("write it")
        (question,) = (await lives.asks_or_ends(task))["questions"]
        refused = await answer(lives, task, question, arguments=arguments)
        assert (refused.json()["code"], refused.status_code) == (code, status)
        stale = await answer(lives, task, {**question, "digest": "0" * 64}, arguments={"path": "b"})
        assert stale.json()["code"] == "approval_mismatch"
        both = await answer(lives, task, question, arguments={"path": "b"}, alike=True)
        assert both.status_code == 422
        assert (await lives.asks_or_ends(task))["questions"] == [question]


READ: Proposal = ("read", {"path": "notes"})


async def test_one_yes_answers_all_that_ask_for_the_very_same_read(tmp_path: Path):
    other: Proposal = ("read", {"path": "other"})
    async with inhabited(tmp_path / "home", turns((READ, READ, other, WRITE)), ASKS) as lives:
        one, two = await lives.submit("read"), await lives.submit("read")
        for task in (one, two):
            assert len((await lives.asks_or_ends(task))["questions"]) == 4
        questions = (await lives.asks_or_ends(one))["questions"]
        refused = await answer(lives, one, questions[3], alike=True)
        assert refused.json()["code"] == "not_a_read"
        assert (await answer(lives, one, questions[0], alike=True)).status_code == 200
        for task in (one, two):
            left = (await lives.asks_or_ends(task))["questions"]
            assert [question["target"] for question in left] == ["other", "a.txt"]
            approved = [x for x in await lives.events(task) if isinstance(x, e.CallApproved)]
            assert [x.by for x in approved] == ["token:default"] * 2
            assert len({x.call_id for x in approved}) == 2


async def test_a_yes_to_all_alike_is_for_no_agent_that_the_key_is_not_for(tmp_path: Path):
    async with inhabited(tmp_path / "home", turns((READ,)), ASKS) as lives:
        one = await lives.submit("read")
        in_force = lives.house.in_force
        in_force.agent = replace(in_force.agent, name="other")
        two = await lives.submit("read")
        (question,), _ = [(await lives.asks_or_ends(task))["questions"] for task in (one, two)]
        new = {"name": "crew", "scopes": ["approve"], "agents": ["default"]}
        key = (await lives.local.post("/api/v1/keys", json=new)).json()["key"]
        crew = {"Authorization": f"Bearer {key}"}
        place = f"/api/v1/tasks/{one}/calls/{question['call']}/approve"
        told = {"digest": question["digest"], "alike": True}
        assert (await lives.tcp.post(place, json=told, headers=crew)).status_code == 200
        assert len((await lives.asks_or_ends(two))["questions"]) == 1


async def test_a_question_says_which_rule_asks_what_would_allow_it_and_until_when(tmp_path: Path):
    async with inhabited(tmp_path / "home", turns((WRITE,)), ASKS) as lives:
        task = await lives.submit("write it")
        await lives.asks_or_ends(task)
        (shown,) = (await lives.tcp.get("/api/v1/approvals")).json()["approvals"]
        submitted = (await lives.events(task))[0]
    assert shown["rule"] == "config: ask write, append, read *"
    assert shown["suggested"] == "allow write a.txt"
    assert isinstance(submitted, e.Submitted)
    assert 0 <= shown["until"] - submitted.at - 600_000 < 60_000


async def test_of_two_answers_at_once_the_first_counts_and_the_other_is_told(tmp_path: Path):
    """From both doors at the same moment, yes and no, many times over."""
    rounds = 12
    script: Proposal = ("append", {"path": "log", "content": "x\n"})
    events: list[Event] = []
    async with inhabited(tmp_path / "home", turns((script,)), ASKS) as lives:
        won_by_yes = 0
        for number in range(rounds):
            task = await lives.submit("write it")
            (question,) = (await lives.asks_or_ends(task))["questions"]
            place = f"/api/v1/tasks/{task}/calls/{question['call']}"
            yes = {"digest": question["digest"]}
            answers = [
                lives.tcp.post(f"{place}/approve", json=yes),
                lives.local.post(f"{place}/refuse", json={}),
                lives.local.post(f"{place}/approve", json=yes),
            ]
            order = answers if number % 2 else answers[::-1]
            told = await asyncio.gather(*order)
            statuses = sorted(one.status_code for one in told)
            assert statuses[0] == 200
            assert set(statuses[1:]) <= {404, 409}
            won = next(one for one in told if one.status_code == 200)
            won_by_yes += won.request.url.path.endswith("approve")
            assert (await lives.ended(task))["status"] == "SUCCEEDED"
            events += await lives.events(task)
        log = lives.house.home / "workspace" / "log"
        written = log.read_text().split() if log.exists() else []
    approved = [one for one in events if isinstance(one, e.CallApproved)]
    settled = [one for one in events if isinstance(one, e.CallSettled)]
    assert len(written) == len(approved) == won_by_yes
    assert len(settled) == rounds
