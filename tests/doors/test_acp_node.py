"""An editor made with the protocol's JavaScript library is served as well as one in Python."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Generator

import pytest

from holdfast.testing.daemon import stage
from holdfast.testing.model_server import ModelServer, Reply, ScriptedCall
from tests.doors.test_acp import WRITES, Place
from tests.kits.npm import installed, node

pytestmark = pytest.mark.timeout(400)
HANGS = ScriptedCall(name="write", arguments={"path": "hang.txt", "content": "x"}, id="h")


@pytest.fixture
def place() -> Generator[Place]:
    with stage("acp") as path, ModelServer() as model:
        here = Place(path, model)
        yield here
        here.holdfast("serve", "stop")


def test_it_prompts_permits_cancels_and_loads(place: Place) -> None:
    """The library checks every message against the protocol's schema before it passes it on."""
    place.model.load(Reply(calls=(WRITES,)), Reply(text="Written."), Reply(calls=(HANGS,)))
    kit = installed("acp")
    done = subprocess.run(
        [node(), str(kit / "editor.mjs"), str(place.folder), *place.command("acp")],
        cwd=kit,
        env=place.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["hello"]["agentCapabilities"]["loadSession"] is True
    assert seen["stops"] == ["end_turn", "cancelled"]
    assert seen["asked"][0]["toolCall"]["content"] == [
        {
            "type": "diff",
            "path": str(place.folder / "note.txt"),
            "oldText": None,
            "newText": "hello\n",
        }
    ]
    loaded = [one["sessionUpdate"] for one in seen["loaded"]]
    assert loaded.count("user_message_chunk") == 2
    assert "agent_message_chunk" in loaded
    assert [one["cwd"] for one in seen["listed"]] == [str(place.folder)]
    assert (place.folder / "note.txt").read_text() == "hello\n"
    assert not (place.folder / "hang.txt").exists()


def test_it_answers_in_forms_runs_commands_and_deletes_a_session(place: Place) -> None:
    asks = ScriptedCall(name="ask_person", arguments={"question": "Which colour?"}, id="q")
    place.model.load(
        *(Reply(calls=(asks,)), Reply(text="Blue it is.")),
        *(Reply(calls=(WRITES,)), Reply(text="Written.")),
        *(Reply(calls=(asks,)), Reply(text="Red it is.")),
    )
    kit = installed("acp")
    done = subprocess.run(
        [node(), str(kit / "words.mjs"), str(place.folder), *place.command("acp")],
        cwd=kit,
        env=place.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    kinds = [one["sessionUpdate"] for one in seen["updates"]]
    commands = seen["updates"][kinds.index("available_commands_update")]["availableCommands"]
    assert [one["name"] for one in commands] == ["undo", "costs", "tasks"]
    assert [one["message"] for one in seen["forms"]] == ["Which colour?"] * 2
    said = seen["said"]
    assert said["paint it"] == ["end_turn", "Which colour?Blue it is."]
    assert said["/undo"][1].startswith("Undone: write a note\n- note.txt: removed")
    assert not (place.folder / "note.txt").exists()
    assert "calls of models" in said["/costs"][1]
    assert said["/tasks"][1].count("SUCCEEDED") == 2
    assert said["ask again"] == ["end_turn", "Which colour?"], "the form was closed"
    assert said["red"] == ["end_turn", "Red it is."]
    assert "paint it" in [
        one["title"] for one in seen["updates"] if one["sessionUpdate"] == "session_info_update"
    ]
    assert len(seen["before"]) == 1
    assert seen["after"] == []
