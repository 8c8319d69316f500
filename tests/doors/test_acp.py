"""An editor at the door, played by the protocol's own library: what it sees, asks and stops."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import acp
import anyio
import pytest
from acp import schema

from holdfast.testing.daemon import Daemon, stage, use_model
from holdfast.testing.model_server import ModelServer, Reply, ScriptedCall

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
PATIENCE = 40
WRITES = ScriptedCall(name="write", arguments={"path": "note.txt", "content": "hello\n"}, id="w")
CAPABLE = schema.ClientCapabilities()


class Editor:
    """What the person in front of it sees, and answers."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.asked: list[Any] = []
        self.choice = "once"
        self.asking, self.answering = anyio.Event(), anyio.Event()
        self.answering.set()
        self.arrived = anyio.Event()

    async def session_update(self, session_id: str, update: Any, **_: Any) -> None:
        self.seen.append(update)
        arrived, self.arrived = self.arrived, anyio.Event()
        arrived.set()

    async def request_permission(
        self, session_id: str, tool_call: Any, options: Any, **_: Any
    ) -> schema.RequestPermissionResponse:
        self.asked.append((tool_call, options))
        self.asking.set()
        await self.answering.wait()
        if self.choice == "cancelled":
            outcome: Any = schema.DeniedOutcome(outcome="cancelled")
        else:
            outcome = schema.AllowedOutcome(outcome="selected", option_id=self.choice)
        return schema.RequestPermissionResponse(outcome=outcome)

    def kinds(self) -> list[str]:
        return [str(one.session_update) for one in self.seen]

    def words(self, kind: str = "agent_message_chunk") -> str:
        return "".join(one.content.text for one in self.seen if one.session_update == kind)

    def calls(self) -> list[Any]:
        return [one for one in self.seen if one.session_update.startswith("tool_call")]

    async def until(self, kind: str) -> None:
        with anyio.fail_after(PATIENCE):
            while kind not in self.kinds():
                await self.arrived.wait()


class Place:
    """A home, its model, a folder to work in."""

    def __init__(self, path: Path, model: ModelServer) -> None:
        self.home, self.folder, self.model = path / "home", path / "work", model
        self.folder.mkdir()
        use_model(self.home, model.url)
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(sys.path),
            "HOME": str(path),
            "HOLDFAST_HOME": str(self.home),
            "HOLDFAST_SERVER_HTTP": "false",
            "HOLDFAST_MODELS_DETECT_LOCAL": "false",
        }

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "holdfast.doors.cli", *words]

    def holdfast(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words),
            env=self.environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    @asynccontextmanager
    async def editor(self) -> AsyncGenerator[tuple[Editor, Any]]:
        """A new editor with an agent of its own, greeted."""
        editor, program = Editor(), self.command("acp")
        person: Any = editor  # it offers no files and no terminals
        async with acp.spawn_agent_process(
            person, program[0], *program[1:], env=self.environment, cwd=self.folder
        ) as (agent, _):
            with anyio.fail_after(PATIENCE):
                said = await agent.initialize(protocol_version=1, client_capabilities=CAPABLE)
            assert said.protocol_version == 1
            yield editor, agent


@pytest.fixture
def place() -> Generator[Place]:
    with stage("acp") as path, ModelServer() as model:
        here = Place(path, model)
        yield here
        here.holdfast("serve", "stop")


def said(text: str) -> list[Any]:
    return [acp.text_block(text)]


async def begun(place: Place, agent: Any, mode: str = "") -> str:
    with anyio.fail_after(PATIENCE):
        session = await agent.new_session(cwd=str(place.folder), mcp_servers=[])
        if mode:
            await agent.set_session_mode(session_id=session.session_id, mode_id=mode)
    return session.session_id


async def asked(agent: Any, session: str, text: str) -> str:
    with anyio.fail_after(PATIENCE):
        return (await agent.prompt(session_id=session, prompt=said(text))).stop_reason


async def test_a_prompt_is_a_durable_task_and_its_answer_streams(place: Place) -> None:
    place.model.load(
        Reply(thinking="Let me see.", text="Hello, dear reader!", chunks=6, chunk_delay=0.3)
    )
    async with place.editor() as (editor, agent):
        session = await begun(place, agent)
        assert await asked(agent, session, "greet me") == "end_turn"
        assert editor.words() == "Hello, dear reader!"
        assert len([k for k in editor.kinds() if k == "agent_message_chunk"]) >= 2
        listed = await agent.list_sessions(cwd=str(place.folder))
        assert [(one.session_id, one.title) for one in listed.sessions] == [(session, "greet me")]
    rows = json.loads(place.holdfast("task", "list", "--json").stdout)["tasks"]
    assert [(row["session"], row["status"], row["answer"]) for row in rows] == [
        (session, "SUCCEEDED", "Hello, dear reader!")
    ]


async def test_what_changes_a_file_is_asked_with_its_difference_and_done_after_a_yes(
    place: Place,
) -> None:
    (place.folder / "note.txt").write_text("old\n")
    place.model.load(Reply(calls=(WRITES,)), Reply(text="Written."))
    async with place.editor() as (editor, agent):
        session = await begun(place, agent)
        assert await asked(agent, session, "write a note") == "end_turn"
        call, options = editor.asked[0]
        assert [one.kind for one in options] == ["allow_once", "allow_always", "reject_once"]
        difference = call.content[0]
        assert (difference.old_text, difference.new_text) == ("old\n", "hello\n")
        assert difference.path == str(place.folder / "note.txt")
        assert (place.folder / "note.txt").read_text() == "hello\n"
        shown = editor.calls()
        assert [one.status for one in shown] == ["pending", "in_progress", "completed"]
        assert (shown[0].kind, shown[0].locations[0].path) == ("edit", difference.path)
        assert len({one.tool_call_id for one in shown}) == 1


async def test_a_no_leaves_the_file_alone_and_the_model_hears_it(place: Place) -> None:
    place.model.load(Reply(calls=(WRITES,)), Reply(text="Then not."))
    async with place.editor() as (editor, agent):
        editor.choice = "no"
        session = await begun(place, agent)
        assert await asked(agent, session, "write a note") == "end_turn"
        assert [one.status for one in editor.calls()] == ["pending", "failed"]
    assert not (place.folder / "note.txt").exists()
    assert "refused" in place.model.requests[-1].last_text.lower()


async def test_a_yes_for_the_task_is_not_asked_again(place: Place) -> None:
    more = ScriptedCall(name="write", arguments={"path": "more.txt", "content": "more\n"}, id="m")
    place.model.load(Reply(calls=(WRITES,)), Reply(calls=(more,)), Reply(text="Both."))
    async with place.editor() as (editor, agent):
        editor.choice = "task"
        session = await begun(place, agent)
        assert await asked(agent, session, "write two notes") == "end_turn"
        assert len(editor.asked) == 1
    assert (place.folder / "more.txt").exists()


async def test_a_mode_is_a_preset_of_the_tasks_that_follow(place: Place) -> None:
    place.model.load(Reply(calls=(WRITES,)), Reply(text="Written."))
    async with place.editor() as (editor, agent):
        session = await begun(place, agent, mode="workspace")
        options = await agent.set_config_option(
            config_id="thinking", session_id=session, value="low"
        )
        assert {one.id: one.current_value for one in options.config_options} == {
            "mode": "workspace",
            "model": "configured",
            "thinking": "low",
        }
        assert await asked(agent, session, "write a note") == "end_turn"
        assert editor.asked == []
        with pytest.raises(acp.RequestError):
            await agent.set_session_mode(session_id=session, mode_id="almighty")
    assert (place.folder / "note.txt").read_text() == "hello\n"


async def test_cancelling_stops_the_task_for_good(place: Place) -> None:
    place.model.load(Reply(calls=(WRITES,)), Reply(text="never"))
    async with place.editor() as (editor, agent):
        editor.answering, editor.choice = anyio.Event(), "cancelled"
        session = await begun(place, agent)
        reasons: list[str] = []

        async def prompt() -> None:
            reasons.append(await asked(agent, session, "write a note"))

        async with anyio.create_task_group() as group:
            group.start_soon(prompt)
            with anyio.fail_after(PATIENCE):
                await editor.asking.wait()
                await agent.cancel(session_id=session)
            editor.answering.set()
        assert reasons == ["cancelled"]
    row = json.loads(place.holdfast("task", "list", "--json").stdout)["tasks"][0]
    assert row["status"] == "CANCELED"
    assert not (place.folder / "note.txt").exists()


async def test_a_killed_daemon_comes_back_and_the_session_is_loaded_whole(place: Place) -> None:
    place.model.load(
        Reply(text="One.", chunks=2), Reply(calls=(WRITES,)), Reply(text="Two."), Reply(text="3.")
    )
    daemon = Daemon(place.home)
    async with place.editor() as (editor, agent):
        with daemon:
            daemon.start()
            session = await begun(place, agent)
            assert await asked(agent, session, "first") == "end_turn"
            editor.answering = anyio.Event()
            async with anyio.create_task_group() as group:
                group.start_soon(asked, agent, session, "second")
                with anyio.fail_after(PATIENCE):
                    await editor.asking.wait()
                daemon.kill()
                editor.answering.set()
        assert editor.words() == "One.Two."
        assert len(editor.calls()) == 3
        assert (place.folder / "note.txt").read_text() == "hello\n"
    async with place.editor() as (again, agent):
        with anyio.fail_after(PATIENCE):
            await agent.load_session(cwd=str(place.folder), session_id=session, mcp_servers=[])
        assert again.words("user_message_chunk") == "firstsecond"
        assert again.words() == "One.Two."
        assert [one.status for one in again.calls()] == ["pending", "in_progress", "completed"]
        assert await asked(agent, session, "third") == "end_turn"
        assert again.words() == "One.Two.3."
        with pytest.raises(acp.RequestError):
            await agent.load_session(cwd=str(place.folder), session_id="acp-no", mcp_servers=[])


async def test_a_question_asked_while_the_editor_was_away_is_asked_when_it_is_back(
    place: Place,
) -> None:
    place.model.load(Reply(calls=(WRITES,)), Reply(text="Done."))
    async with place.editor() as (editor, agent):
        editor.answering = anyio.Event()
        session = await begun(place, agent)
        async with anyio.create_task_group() as group:
            group.start_soon(asked, agent, session, "write a note")
            with anyio.fail_after(PATIENCE):
                await editor.asking.wait()
            group.cancel_scope.cancel()
    async with place.editor() as (again, agent):
        with anyio.fail_after(PATIENCE):
            await agent.load_session(cwd=str(place.folder), session_id=session, mcp_servers=[])
            await again.asking.wait()
        await again.until("agent_message_chunk")
        assert again.words() == "Done."
    assert (place.folder / "note.txt").read_text() == "hello\n"


async def test_a_question_for_words_is_answered_by_the_next_prompt(place: Place) -> None:
    asks = ScriptedCall(name="ask_person", arguments={"question": "Which colour?"}, id="q")
    place.model.load(Reply(calls=(asks,)), Reply(text="Blue it is."))
    async with place.editor() as (editor, agent):
        session = await begun(place, agent)
        assert await asked(agent, session, "paint it") == "end_turn"
        assert editor.words() == "Which colour?"
        assert await asked(agent, session, "blue") == "end_turn"
        assert editor.words() == "Which colour?Blue it is."
    rows = json.loads(place.holdfast("task", "list", "--json").stdout)["tasks"]
    assert [row["status"] for row in rows] == ["SUCCEEDED"]


async def test_servers_that_an_editor_names_wait_for_a_persons_agreement(place: Place) -> None:
    place.model.load(Reply(text="Hi."))
    async with place.editor() as (editor, agent):
        server = schema.McpServerStdio(
            name="My Files", command="/usr/bin/files", args=["--all"], env=[]
        )
        session = await agent.new_session(cwd=str(place.folder), mcp_servers=[server])
        assert await asked(agent, session.session_id, "hello") == "end_turn"
        assert "holdfast mcp trust my-files" in editor.words("agent_thought_chunk")
    listed = json.loads(place.holdfast("mcp", "list", "--json").stdout)["servers"]
    assert [(one["name"], one["state"]) for one in listed] == [("my-files", "untrusted")]


async def test_files_and_pictures_of_the_editor_reach_the_model(place: Place) -> None:
    place.model.load(Reply(text="Seen."))
    async with place.editor() as (_, agent):
        session = await begun(place, agent)
        text = schema.TextResourceContents(
            uri=(place.folder / "a b.py").as_uri(), text="print(1)", mime_type="text/x-python"
        )
        blocks = [
            acp.text_block("explain "),
            schema.EmbeddedResourceContentBlock(type="resource", resource=text),
            acp.image_block("iVBORw0KGgo=", "image/png"),
        ]
        with anyio.fail_after(PATIENCE):
            told = await agent.prompt(session_id=session, prompt=blocks)
        assert told.stop_reason == "end_turn"
        with pytest.raises(acp.RequestError):
            await agent.prompt(session_id=session, prompt=[acp.text_block("  ")])
    request = json.dumps(place.model.requests[-1].messages)
    assert "explain a b.py" in request
    assert "print(1)" in request
    assert "iVBORw0KGgo=" in request


async def test_a_helper_is_a_step_of_the_plan(place: Place) -> None:
    hands = ScriptedCall(name="delegate", arguments={"task": "count the files"}, id="d")
    place.model.load(Reply(calls=(hands,)), Reply(text="Seven."), Reply(text="There are seven."))
    async with place.editor() as (editor, agent):
        session = await begun(place, agent)
        assert await asked(agent, session, "how many?") == "end_turn"
        plans = [one for one in editor.seen if one.session_update == "plan"]
        assert [[(e.content, e.status) for e in plan.entries] for plan in plans] == [
            [("count the files", "pending")],
            [("count the files", "in_progress")],
            [("count the files", "completed")],
        ]


async def test_a_failed_task_is_an_error_with_its_reason(place: Place) -> None:
    place.model.load(*[Reply(status=400, text="no such thing")] * 8)
    async with place.editor() as (_, agent):
        session = await begun(place, agent)
        with pytest.raises(acp.RequestError) as failed:
            await asked(agent, session, "go")
        assert "the task failed" in str(failed.value)


LINES = [
    (b"{", -32700),
    (b"[]", -32600),
    (b'{"jsonrpc":"2.0","id":1,"method":"session/new","params":{}}', -32600),
    (b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"x"}}', -32602),
    (b'{"jsonrpc":"2.0","id":1,"method":"nonsense"}', -32601),
    (b"\xff\xfe", -32700),
]


@pytest.mark.parametrize(("line", "code"), LINES)
def test_nonsense_is_answered_with_its_error_and_ends_nothing(
    place: Place, line: bytes, code: int
) -> None:
    hello = b'{"jsonrpc":"2.0","id":9,"method":"initialize","params":{"protocolVersion":1}}'
    done = subprocess.run(
        place.command("acp"),
        input=line + b"\n\n" + hello + b"\n",
        env=place.environment,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = [json.loads(one) for one in done.stdout.splitlines()]
    assert sorted(one.get("error", {}).get("code", 0) for one in told) == [code, 0]
