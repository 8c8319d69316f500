"""The door for MCP, through the official kit's client: tasks, approvals, resources, prompts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import jsonschema
import mcp_types as types
import pytest
from mcp.shared.exceptions import MCPError

from holdfast.core.context import Prompt
from holdfast.core.message import Reply
from tests.doors.hosting import Host, inn
from tests.doors.house import PAYS

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore:resources/.*removed")]
DONE = Reply(text="all done")


def chooses(decision: str, seen: list[str]) -> Any:
    async def elicit(_context: Any, params: Any) -> types.ElicitResult:
        seen.append(params.message)
        return types.ElicitResult(action="accept", content={"decision": decision})

    return elicit


async def waiting(host: Host) -> dict[str, Any]:
    """The one question that is open."""
    with anyio.fail_after(30):
        while not (found := (await host.does("list_approvals"))["approvals"]):
            await anyio.sleep(0.01)
    return found[0]


async def test_a_task_is_submitted_followed_approved_by_a_person_and_gives_its_result(
    tmp_path: Path,
):
    """Part of row KV-55."""
    seen: list[str] = []
    async with (
        inn(tmp_path, [PAYS, DONE]) as here,
        here.host(chooses("Yes, this once", seen)) as host,
    ):
        row = await host.does("submit_task", prompt="pay Ann", wait_seconds=20)
        assert (row["status"], row["answer"]) == ("SUCCEEDED", "all done")
        assert len(seen) == 1
        assert "May I pay Ann?" in seen[0]
        assert '"to": "Ann"' in seen[0]
        assert "wants pay Ann" in host.progress
        assert await host.reads(f"task://{row['id']}/result") == "all done"


@pytest.mark.parametrize(
    ("decision", "words"), [("Yes, for the whole task", "paid Ann"), ("No", "person")]
)
async def test_a_persons_word_in_the_form_is_what_is_done(
    tmp_path: Path, decision: str, words: str
):
    async with inn(tmp_path, [PAYS, DONE]) as here, here.host(chooses(decision, [])) as host:
        row = await host.does("submit_task", prompt="pay Ann", wait_seconds=20)
        told = await host.reads(f"task://{row['id']}/transcript")
        assert ("paid Ann" in told) == decision.startswith("Yes")
        assert words in told or "efused" in told


async def test_a_closed_form_leaves_the_question_open(tmp_path: Path):
    async def elicit(_context: Any, _params: Any) -> types.ElicitResult:
        return types.ElicitResult(action="decline")

    async with inn(tmp_path, [PAYS, DONE]) as here, here.host(elicit) as host:
        row = await host.does("submit_task", prompt="pay Ann", wait_seconds=1)
        assert row["status"] == "WAITING"
        assert len((await host.does("list_approvals"))["approvals"]) == 1


async def test_a_host_without_forms_is_told_the_question_and_approves_with_its_digest(
    tmp_path: Path,
):
    async with inn(tmp_path, [PAYS, DONE]) as here, here.host() as host:
        row = await host.does("submit_task", prompt="pay Ann", wait_seconds=20)
        assert row["status"] == "WAITING"
        asked = await waiting(host)
        assert (asked["tool"], asked["target"], asked["task"]) == ("pay", "Ann", row["id"])
        where = {"task": row["id"], "call": asked["call"]}
        refused = await host.refused("approve_call", **where, digest="0" * 64)
        assert "its arguments or rules are others" in refused
        await host.does("approve_call", **where, digest=asked["digest"])
        row = await host.does("wait_for_task", task=row["id"])
        assert row["status"] == "SUCCEEDED"


async def test_of_two_hosts_one_may_answer_what_the_other_was_asked(tmp_path: Path):
    async def never(_context: Any, _params: Any) -> types.ElicitResult:
        await anyio.sleep_forever()
        raise AssertionError

    async with inn(tmp_path, [PAYS, DONE]) as here, here.host(never) as one, here.host() as two:
        ended: list[str] = []

        async def submit() -> None:
            row = await one.does("submit_task", prompt="pay Ann", wait_seconds=20)
            ended.append(row["status"])

        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                group.start_soon(submit)
                asked = await waiting(two)
                where = {"task": asked["task"], "call": asked["call"]}
                await two.does("approve_call", **where, digest=asked["digest"])
        assert ended == ["SUCCEEDED"]


async def test_a_host_that_vanishes_costs_nobody_and_its_task_goes_on(tmp_path: Path):
    free = anyio.Event()

    async def turn(_prompt: Prompt, _hear: Any) -> Reply:
        await free.wait()
        return DONE

    async with inn(tmp_path, turn) as here:
        row: dict[str, Any] = {}
        async with anyio.create_task_group() as group:
            async with here.host() as host:
                row |= await host.does("submit_task", prompt="take your time")
                group.start_soon(_given_up, host, row["id"])
                with anyio.fail_after(30):
                    while not here.street.house.live.watched(row["id"]):
                        await anyio.sleep(0.01)
            group.cancel_scope.cancel()
        with anyio.fail_after(30):
            while here.street.house.live.watched(row["id"]):
                await anyio.sleep(0.01)
        free.set()
        await here.street.until(row["id"], "SUCCEEDED")


async def _given_up(host: Host, task: str) -> None:
    try:
        await host.does("wait_for_task", task=task, wait_seconds=600)
    except MCPError:
        return  # its line is gone


async def test_a_wait_that_is_cancelled_ends_and_the_task_does_not(tmp_path: Path):
    free = anyio.Event()

    async def turn(_prompt: Prompt, _hear: Any) -> Reply:
        await free.wait()
        return DONE

    async with inn(tmp_path, turn) as here, here.host() as host:
        row = await host.does("submit_task", prompt="take your time")
        live = here.street.house.live
        with anyio.move_on_after(0.3):
            await host.session.call_tool("wait_for_task", {"task": row["id"], "wait_seconds": 600})
        with anyio.fail_after(30):
            while live.watched(row["id"]):
                await anyio.sleep(0.01)
        free.set()
        assert (await host.does("wait_for_task", task=row["id"]))["status"] == "SUCCEEDED"


async def test_the_same_key_again_is_the_same_task(tmp_path: Path):
    async with inn(tmp_path, [DONE, DONE]) as here, here.host() as host:
        first = await host.does("submit_task", prompt="once", key="k1", wait_seconds=10)
        again = await host.does("submit_task", prompt="once", key="k1", wait_seconds=10)
        assert first["id"] == again["id"]
        meta: Any = {"holdfast/key": "k2"}
        ids: set[str] = set()
        for _ in range(2):
            said: Any = await host.session.call_tool("submit_task", {"prompt": "x"}, meta=meta)
            ids.add(said.structured_content["id"])
        assert len(ids) == 1


async def test_every_tool_says_what_it_takes_gives_and_does(tmp_path: Path):
    async with inn(tmp_path) as here, here.host() as host:
        tools = (await host.session.list_tools()).tools
        assert len({tool.name for tool in tools}) == len(tools) > 20
        for tool in tools:
            for schema in (tool.input_schema, tool.output_schema):
                assert schema is not None
                jsonschema.Draft202012Validator.check_schema(schema)
                assert schema["type"] == "object"
            assert tool.annotations is not None
            assert tool.title
            assert tool.description
        reads = {
            tool.name for tool in tools if tool.annotations and tool.annotations.read_only_hint
        }
        assert "submit_task" not in reads
        assert {
            name for name in reads if name.split("_")[0] in {"approve", "cancel", "say"}
        } == set()


async def test_every_tool_that_only_reads_answers_as_its_schema_says(tmp_path: Path):
    """Part of row KV-55."""
    async with (
        inn(tmp_path, [PAYS, DONE]) as here,
        here.host(chooses("Yes, this once", [])) as host,
    ):
        row = await host.does("submit_task", prompt="pay", session="s/1", wait_seconds=10)
        given = {"task": row["id"], "session": "s/1", "tool": "pay", "words": ["Ann"]}
        for tool in (await host.session.list_tools()).tools:
            assert tool.annotations
            if not (tool.annotations.read_only_hint):
                continue
            needed = tool.input_schema.get("required", [])
            told = {name: given[name] for name in needed}
            if tool.name == "explain_policy":
                told = {"tool": "pay", "words": ["Ann"]}
            assert await host.does(tool.name, **told)


async def test_no_answer_holds_a_known_secret(tmp_path: Path):
    """Part of row KV-55: each is looked for in everything that a host can read."""
    value = 'correct-"horse"-bättery-staple-77'
    says = [Reply(text=f"you told me {value}"), DONE]
    async with inn(tmp_path, says) as here, here.host() as host:
        body = {"name": "spare", "value": value}
        assert (await here.street.tcp.post("/api/v1/secrets", json=body)).status_code == 200
        server = {"command": ["/opt/server", f"--key={value}"], "description": value}
        added = await here.street.tcp.post("/api/v1/mcp/far", json=server)
        assert added.status_code == 200, added.text
        web = {"url": "https://x.example/mcp"}
        assert (await here.street.tcp.post("/api/v1/mcp/web", json=web)).status_code == 200
        begun = await host.does("begin_server_login", name="web")
        answer = "http://127.0.0.1:7898/callback?code=ok"
        done = await host.does("finish_server_login", attempt=begun["attempt"], answer=answer)
        row = await host.does("submit_task", prompt=f"{value}?", session="s/1", wait_seconds=10)
        given = {"task": row["id"], "session": "s/1", "name": "far"}
        heard = [str(begun), str(done), str(row), str(await host.does("check_tool_servers"))]
        for tool in (await host.session.list_tools()).tools:
            if tool.annotations and tool.annotations.read_only_hint:
                needed = tool.input_schema.get("required", [])
                told: dict[str, Any] = {name: given[name] for name in needed}
                if tool.name == "explain_policy":
                    told = {"tool": "pay", "words": [value]}
                heard.append(str(await host.does(tool.name, **told)))
        below = ("", "/events", "/result", "/transcript")
        names = ("approvals", "costs", "budgets", "policy", "sessions", "status")
        places = [f"task://{row['id']}{one}" for one in below]
        places += ["session://s/1", *(f"holdfast://{one}" for one in names)]
        heard += [await host.reads(place) for place in places]
        assert [one for one in heard if value in one] == []


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("show_task", {"task": "nobody-has-this"}),
        ("show_task", {"task": "x/cancel"}),
        ("show_task", {}),
        ("show_task", {"task": 7}),
        ("submit_task", {"prompt": ""}),
        ("submit_task", {"prompt": "x", "surprise": 1}),
        ("submit_task", {"prompt": "x", "wait_seconds": -1}),
        ("submit_task", {"prompt": "x", "wait_seconds": "long"}),
        ("submit_task", {"prompt": "x", "by": "user:root"}),
        ("submit_task", {"prompt": "x", "workspace": "/"}),
        ("list_tasks", {"limit": 0}),
        ("list_tasks", {"status": ["DANCING"]}),
    ],
)
async def test_what_makes_no_sense_is_a_result_that_says_so(
    tmp_path: Path, tool: str, arguments: dict[str, Any]
):
    async with inn(tmp_path) as here, here.host() as host:
        assert await host.refused(tool, **arguments)
        assert (await host.does("list_tasks"))["tasks"] == []


async def test_only_the_tools_that_a_host_is_to_have_are_there(tmp_path: Path):
    async with inn(tmp_path) as here, here.host(query="?tools=list_*&tools=show_task") as host:
        names = {tool.name for tool in (await host.session.list_tools()).tools}
        assert "list_tasks" in names
        assert names == {name for name in names if name.startswith("list_")} | {"show_task"}
        with pytest.raises(MCPError, match="no tool"):
            await host.session.call_tool("approve_call", {})


async def test_resources_are_a_tree_of_tasks(tmp_path: Path):
    """Part of row OK-138."""
    async with (
        inn(tmp_path, [PAYS, DONE]) as here,
        here.host(chooses("Yes, this once", [])) as host,
    ):
        row = await host.does("submit_task", prompt="pay", session="talk", wait_seconds=10)
        task = f"task://{row['id']}"
        listed = [one.uri for one in (await host.session.list_resources()).resources]
        assert {task, "holdfast://approvals", "holdfast://costs"} <= set(listed)
        for uri in listed:
            assert json.loads(await host.reads(uri))
        kinds = [one["kind"] for one in json.loads(await host.reads(f"{task}/events"))["events"]]
        assert (kinds[0], kinds[-1]) == ("Submitted", "Finished")
        later = json.loads(await host.reads(f"{task}/events?after=2"))["events"]
        assert later[0]["seq"] == 3
        more = json.loads(await host.reads(f"{task}/events?after=2&follow=true"))["events"]
        assert more == later, "what is read is no stream"
        assert json.loads(await host.reads(f"{task}/bundle/meta.json"))["task"] == row["id"]
        assert json.loads(await host.reads("session://talk"))["exchanges"][0]["answer"]
        whole = (await host.session.read_resource(f"{task}/bundle")).contents[0]
        assert isinstance(whole, types.BlobResourceContents)


@pytest.mark.parametrize(
    "uri",
    [
        "task://nobody-has-this",
        "task://x%2F..%2Fcosts",
        "task://x/cancel",
        "task://",
        "session://none",
        "holdfast://token",
        "file:///etc/passwd",
        "http://127.0.0.1/",
        "nonsense",
    ],
)
async def test_what_is_no_resource_is_not_found(tmp_path: Path, uri: str):
    async with inn(tmp_path) as here, here.host() as host:
        with pytest.raises(MCPError) as refusal:
            await host.session.read_resource(uri)
        assert refusal.value.error.code in {-32002, -32602}


async def test_who_follows_a_task_is_told_of_every_change_until_it_is_enough(tmp_path: Path):
    async with inn(tmp_path, [PAYS, DONE]) as here, here.host() as host:
        row = await host.does("submit_task", prompt="pay Ann", wait_seconds=10)
        uri = f"task://{row['id']}"
        await host.old.subscribe_resource(uri)
        asked = await waiting(host)
        where = {"task": row["id"], "call": asked["call"]}
        await host.does("approve_call", **where, digest=asked["digest"])
        with anyio.fail_after(30):
            while not any(isinstance(one, types.ResourceUpdatedNotification) for one in host.heard):
                await anyio.sleep(0.01)
        await host.old.unsubscribe_resource(uri)
        with pytest.raises(MCPError, match="cannot be followed"):
            await host.old.subscribe_resource("holdfast://status")
        with pytest.raises(MCPError):
            await host.old.subscribe_resource("task://nobody-has-this")


async def test_who_follows_and_leaves_is_forgotten(tmp_path: Path):
    async with inn(tmp_path, [PAYS]) as here:
        async with here.host() as host:
            row = await host.does("submit_task", prompt="pay Ann", wait_seconds=10)
            await host.old.subscribe_resource(f"task://{row['id']}")
            with anyio.fail_after(30):
                while not here.street.house.live.watched(row["id"]):
                    await anyio.sleep(0.01)
        with anyio.fail_after(30):
            while here.street.house.live.watched(row["id"]):
                await anyio.sleep(0.01)


async def test_prompts_and_their_arguments_are_completed(tmp_path: Path):
    async with inn(tmp_path, [DONE]) as here, here.host() as host:
        row = await host.does("submit_task", prompt="something", wait_seconds=10)
        names = {one.name for one in (await host.session.list_prompts()).prompts}
        assert names == {"delegate", "review_approvals", "explain_task"}
        said = await host.session.get_prompt("delegate", {"job": "tidy up"})
        assert "tidy up" in str(said.messages[0].content)
        said = await host.session.get_prompt("explain_task", {"task": row["id"]})
        assert "all done" in str(said.messages[1].content)
        for name, given in (("explain_task", {}), ("nothing", {}), ("explain_task", {"task": "?"})):
            with pytest.raises(MCPError):
                await host.session.get_prompt(name, given)
        about = types.PromptReference(type="ref/prompt", name="explain_task")
        found = await host.session.complete(about, {"name": "task", "value": row["id"][:9]})
        assert found.completion.values == [row["id"]]
        tree = types.ResourceTemplateReference(type="ref/resource", uri="task://{task}")
        found = await host.session.complete(tree, {"name": "task", "value": "none"})
        assert found.completion.values == []


@pytest.mark.filterwarnings("ignore:.*logging")
async def test_a_host_hears_as_much_as_it_wants(tmp_path: Path):
    async with inn(tmp_path, [DONE, DONE]) as here, here.host() as host:

        def said() -> int:
            kind = types.LoggingMessageNotification
            return sum(isinstance(one, kind) for one in host.heard)

        await host.does("submit_task", prompt="one", wait_seconds=10)
        loud = said()
        assert loud > 0
        await host.old.set_logging_level("error")
        await host.does("submit_task", prompt="two", wait_seconds=10)
        assert said() == loud


async def test_a_host_of_2026_answers_a_question_by_coming_back(tmp_path: Path):
    seen: list[str] = []
    async with (
        inn(tmp_path, [PAYS, DONE]) as here,
        here.modern(chooses("Yes, this once", seen)) as client,
    ):
        said = await client.call_tool("submit_task", {"prompt": "pay Ann", "wait_seconds": 20})
        assert said.structured_content
        assert said.structured_content["status"] == "SUCCEEDED"
        assert len(seen) == 1
        rows: Any = await client.call_tool("list_tasks", {})
        assert len(rows.structured_content["tasks"]) == 1


async def test_a_host_of_2026_listens_to_a_task(tmp_path: Path):
    async with inn(tmp_path, [PAYS, DONE]) as here, here.host() as host, here.modern() as client:
        row = await host.does("submit_task", prompt="pay Ann", wait_seconds=10)
        uri = f"task://{row['id']}"
        async with client.listen(resource_subscriptions=[uri]) as changes:
            asked = await waiting(host)
            where = {"task": row["id"], "call": asked["call"]}
            await host.does("approve_call", **where, digest=asked["digest"])
            with anyio.fail_after(30):
                async for change in changes:
                    assert getattr(change, "uri", "") == uri
                    break


def test_a_daemon_that_nobody_asks_has_not_loaded_the_protocol():
    told = (
        "import sys, holdfast.assembly.daemon; "
        "sys.exit(any(name.split('.')[0] in ('mcp', 'mcp_types') for name in sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", told], check=False, timeout=60)
    assert ran.returncode == 0
