"""Tasks that help others: seen from outside, and asked for by people."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from websockets.asyncio.client import unix_connect

from holdfast.assembly.home import SOCKET
from holdfast.core.context import Prompt
from holdfast.core.ids import CallId
from holdfast.core.message import ModelSaid, PersonSaid, Reply, ToolAnswered, ToolCall, words
from tests.doors.test_ws import Caller
from tests.whole_house import inhabited

pytestmark = pytest.mark.anyio
HALF = "count the second half"


def model(prompt: Prompt) -> Reply:
    """Asks how to go on, and does what it is told; a helper counts."""
    said = [one.text for one in prompt.entries if isinstance(one, PersonSaid)]
    said += [words(one.outcome) for one in prompt.entries if isinstance(one, ToolAnswered)]
    turns = sum(isinstance(one, ModelSaid) for one in prompt.entries)
    if said[0] == HALF:
        return Reply(text="seven")
    if not turns:
        return _call("ask_person", question="And now?")
    if turns == 1 and any("helper" in text for text in said):
        return _call("delegate", task=HALF)
    return Reply(text="all is counted")


def _call(tool: str, **arguments: str) -> Reply:
    return Reply(calls=(ToolCall(id=CallId(tool), tool=tool, arguments=arguments),))


async def test_helpers_are_listed_by_their_parent_and_are_asked_for_in_words(tmp_path: Path):
    """A helper answers a call of its parent, so it is asked for, not put there;
    see decision 39."""
    home = tmp_path / "home"
    async with inhabited(home, model) as lives:
        task = await lives.submit("count everything")
        await lives.asks_or_ends(task)
        async with unix_connect(str(home / SOCKET), uri="ws://localhost/ws") as wire:
            caller = Caller(wire)
            await caller.hello()
            assert (await caller.result("tasks.list", parent=task))["tasks"] == []
            await caller.result("tasks.say", ref=task, text="hand the second half to a helper")
            row = await lives.ended(task)
            assert (row["status"], row["answer"]) == ("SUCCEEDED", "all is counted")
            (child,) = (await caller.result("tasks.list", parent=task))["tasks"]
            assert (child["parent"], child["answer"]) == (task, "seven")
            events = (await caller.result("tasks.events", ref=task))["events"]
        told = [one for one in events if one["kind"] == "CallSettled"]
        assert sum("seven" in json.dumps(one["data"]) for one in told) == 1
