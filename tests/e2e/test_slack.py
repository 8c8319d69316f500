"""Slack in a whole house: a person connects a workspace, and agents read it and post as them."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.context import Prompt
from holdfast.core.ids import CallId
from holdfast.core.message import ModelSaid, Reply, ToolAnswered, ToolCall, words
from holdfast.testing.fake_slack import CLIENT, SECRET, FakeSlack, no, reply
from tests.whole_house import Inhabited, inhabited

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

Call = tuple[str, dict[str, Any]]


def calling(*calls: Call) -> Callable[[Prompt], Reply]:
    """A model that makes these calls, one a turn, and then says what the last one answered."""

    def says(prompt: Prompt) -> Reply:
        made = sum(isinstance(one, ModelSaid) for one in prompt.entries)
        if made >= len(calls):
            answers = [one for one in prompt.entries if isinstance(one, ToolAnswered)]
            return Reply(text=words(answers[-1].outcome) if answers else "nothing")
        name, arguments = calls[made]
        call = ToolCall(id=CallId(f"call_{made}"), tool=name, arguments=arguments)
        return Reply(text="", calls=(call,))

    return says


@asynccontextmanager
async def lab(
    home: Path, slack: FakeSlack, *calls: Call, config: str = ""
) -> AsyncGenerator[Inhabited]:
    text = f'[slack]\napi = "{slack.api}"\n{config}'
    async with inhabited(home / "home", calling(*calls), text) as place:
        yield place


async def log_in(place: Inhabited, slack: FakeSlack, alias: str = "default", **more: Any) -> Any:
    body = {"client_id": CLIENT, "client_secret": SECRET, **more}
    begun = (await place.local.post(f"/api/v1/slack/{alias}/login", json=body)).json()
    answer = {"answer": slack.agree(begun["authorize"])}
    made = await place.local.post(f"/api/v1/slack-logins/{begun['attempt']}", json=answer)
    assert made.status_code == 200, made.text
    return made.json()


async def test_a_person_connects_a_workspace_and_an_agent_reads_a_channel(tmp_path: Path):
    with FakeSlack() as slack:
        slack.say("C0GENERAL", "the build is red")
        read = ("slack_channel_history", {"channel": "C0GENERAL"})
        async with lab(tmp_path, slack, read) as place:
            assert not [one for one in place.house.tools.all() if "slack" in one.spec.name]
            made = await log_in(place, slack)
            assert (made["state"], made["user"], made["team_id"]) == ("in", "ada", "T0LAB")
            row = await place.ended(await place.submit("what is new in C0GENERAL?"))
            assert row["status"] == "SUCCEEDED"
            assert "the build is red" in row["answer"], row
