"""OpenAI's responses: kept, chained, in the background, and everybody's own."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from holdfast.adapters.responses.files import FileResponses
from holdfast.core.context import Prompt
from holdfast.core.error import NotFound
from holdfast.core.ids import CallId, TaskId
from holdfast.core.message import ModelSaid, Reply, Thought, ToolCall, Usage
from holdfast.ports.model import Delta
from holdfast.runtime import upkeep
from holdfast.runtime.permissions import exposed
from tests.doors.house import PAYS, Plan, Street, client, street
from tests.doors.openai_schema import events, valid
from tests.doors.test_openai_chat import leaving, refused, say_yes

pytestmark = pytest.mark.anyio

AT = "/v1/responses"
PONG = Reply(text="pong", usage=Usage(input=9, output=3))
PLAIN = {"model": "scripted/script", "input": "ping"}
AGENT = {"model": "agent:default", "input": "ping"}
ADD = {"type": "function", "name": "add", "parameters": {"type": "object"}}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def made(at: Street, **more: Any) -> dict[str, Any]:
    answer = await at.tcp.post(AT, json={**PLAIN, **more})
    assert answer.status_code == 200, answer.text
    return valid("Response", answer.json())


async def streamed(at: Street, **more: Any) -> list[dict[str, Any]]:
    answer = await at.tcp.post(AT, json={**PLAIN, "stream": True, **more})
    assert answer.status_code == 200, answer.text
    said = [valid("ResponseStreamEvent", one) for one in events(answer.text)]
    assert [one["sequence_number"] for one in said] == list(range(len(said)))
    return said


def words(response: dict[str, Any]) -> list[str]:
    messages = (item for item in response["output"] if item["type"] == "message")
    return [part["text"] for item in messages for part in item["content"]]


async def found(at: Street, name: str) -> dict[str, Any]:
    answer = await at.tcp.get(f"{AT}/{name}")
    assert answer.status_code == 200, answer.text
    return valid("Response", answer.json())


async def until(at: Street, name: str, status: str) -> dict[str, Any]:
    with anyio.fail_after(5):
        while (response := await found(at, name))["status"] != status:
            await anyio.sleep(0.001)
    return response


async def test_a_response_is_kept_and_forgotten(tmp_path: Path):
    async with street(tmp_path, [PONG, PONG]) as at:
        response = await made(at, metadata={"a": "b"}, instructions="Be brief.")
        assert (response["status"], words(response)) == ("completed", ["pong"])
        assert response["usage"]["total_tokens"] == 12
        assert (response["metadata"], response["instructions"]) == ({"a": "b"}, "Be brief.")
        assert await found(at, response["id"]) == response
        shown = (await at.tcp.get(f"{AT}/{response['id']}/input_items")).json()
        (item,) = valid("ResponseItemList", shown)["data"]
        assert item["content"] == [{"type": "input_text", "text": "ping"}]
        gone = await at.tcp.delete(f"{AT}/{response['id']}")
        assert gone.json() == {"id": response["id"], "object": "response", "deleted": True}
        status, error = await refused(at, {**PLAIN, "previous_response_id": response["id"]}, AT)
        assert (status, error["code"]) == (404, "previous_response_not_found")
        assert error["param"] == "previous_response_id"
        kept_not = await made(at, store=False)
        assert (await at.tcp.get(f"{AT}/{kept_not['id']}")).status_code == 404


async def test_a_conversation_goes_on_from_a_response_and_instructions_do_not(tmp_path: Path):
    prompts: list[Prompt] = []

    async def turn(prompt: Prompt, hear: Callable[[Delta], None]) -> Reply:
        prompts.append(prompt)
        calls = (ToolCall(id=CallId("x1"), tool="add", arguments={"a": 1}),)
        return Reply(calls=calls, finish="calls") if len(prompts) == 1 else PONG

    async with street(tmp_path, turn) as at:
        first = await made(at, tools=[ADD], instructions="Be brief.")
        (call,) = first["output"]
        assert (call["type"], call["name"], call["arguments"]) == (
            "function_call",
            "add",
            '{"a":1}',
        )
        answer = {"type": "function_call_output", "call_id": call["call_id"], "output": "2"}
        second = await made(at, input=[answer], previous_response_id=first["id"])
        third = await made(at, input="and?", previous_response_id=second["id"])
        assert third["previous_response_id"] == second["id"]
        assert [prompt.system for prompt in prompts] == ["Be brief.", "", ""]
        kinds = [type(entry).__name__ for entry in prompts[2].entries]
        assert kinds == ["PersonSaid", "ModelSaid", "ToolAnswered", "ModelSaid", "PersonSaid"]
        assert isinstance(said := prompts[2].entries[3], ModelSaid)
        assert said.text == "pong"


async def test_calls_made_together_are_one_turn(tmp_path: Path):
    prompts: list[Prompt] = []

    async def turn(prompt: Prompt, hear: Callable[[Delta], None]) -> Reply:
        prompts.append(prompt)
        return PONG

    async with street(tmp_path, turn) as at:
        calls = [
            {"type": "function_call", "call_id": name, "name": "add", "arguments": "{}"}
            for name in ("a", "b")
        ]
        answers = [
            {"type": "function_call_output", "call_id": name, "output": name} for name in ("b", "a")
        ]
        asked = {"role": "user", "content": "add"}
        await made(at, input=[asked, {"type": "reasoning", "summary": []}, *calls, *answers])
        assert isinstance(said := prompts[0].entries[1], ModelSaid)
        assert [call.id for call in said.calls] == ["a", "b"]


async def test_a_stream_tells_every_step_and_ends_with_what_is_kept(tmp_path: Path):
    async def turn(prompt: Prompt, hear: Callable[[Delta], None]) -> Reply:
        if prompt.stream:
            hear(Delta(thought="hm"))
            hear(Delta(text="po"))
            hear(Delta(text="ng"))
        calls = (ToolCall(id=CallId("x1"), tool="add", arguments={"a": 1}),)
        return Reply(text="pong", thoughts=(Thought(text="hm"),), calls=calls, usage=PONG.usage)

    async with street(tmp_path, turn) as at:
        said = await streamed(at, tools=[ADD])
        kinds = [one["type"] for one in said]
        assert kinds[:2] == ["response.created", "response.in_progress"]
        assert kinds[-1] == "response.completed"
        response = said[-1]["response"]
        assert [item["type"] for item in response["output"]] == [
            "reasoning", "message", "function_call",
        ]  # fmt: skip
        done = [one["item"] for one in said if one["type"] == "response.output_item.done"]
        assert done == response["output"]
        deltas = [one["delta"] for one in said if one["type"] == "response.output_text.delta"]
        assert "".join(deltas) == words(response)[0] == "pong"
        assert await found(at, response["id"]) == response
        whole = await made(at, tools=[ADD])
        assert words(whole) == words(response)
        assert [i["type"] for i in whole["output"]] == [i["type"] for i in response["output"]]


async def test_an_answer_that_was_cut_is_incomplete(tmp_path: Path):
    async with street(tmp_path, [Reply(text="po", finish="length")] * 2) as at:
        response = await made(at, max_output_tokens=1)
        assert response["status"] == response["output"][0]["status"] == "incomplete"
        assert response["incomplete_details"] == {"reason": "max_output_tokens"}
        assert (await streamed(at))[-1]["type"] == "response.incomplete"


async def test_nobody_finds_what_is_somebody_elses(tmp_path: Path):
    async with street(tmp_path, [PONG]) as at:
        response = await made(at)
        for answer in (
            await at.local.get(f"{AT}/{response['id']}"),
            await at.local.delete(f"{AT}/{response['id']}"),
            await at.local.post(f"{AT}/{response['id']}/cancel"),
            await at.local.post(AT, json={**PLAIN, "previous_response_id": response["id"]}),
        ):
            assert answer.status_code == 404
        stranger = await client(at.app).get(f"{AT}/{response['id']}")
        assert stranger.status_code == 401
        for name in ("resp_x", "resp_" + "0" * 32):
            assert (await at.tcp.get(f"{AT}/{name}")).status_code == 404
        assert (await found(at, response["id"]))["id"] == response["id"]


async def test_an_agent_shows_the_tools_that_the_house_ran(tmp_path: Path):
    """Part of row GC-76."""
    turns = 0

    async def turn(prompt: Prompt, hear: Callable[[Delta], None]) -> Reply:
        nonlocal turns
        turns += 1
        return Reply(text="I pay.", calls=PAYS.calls) if turns == 1 else Reply(text="all paid")

    async with street(tmp_path, turn) as at:
        said: list[dict[str, Any]] = []
        async with anyio.create_task_group() as group:
            group.start_soon(say_yes, at)
            said += await streamed(at, **AGENT)
        response = said[-1]["response"]
        first, call, last = response["output"]
        assert (first["content"][0]["text"], last["content"][0]["text"]) == ("I pay.", "all paid")
        assert (call["type"], call["name"], call["output"]) == ("mcp_call", "pay", "paid Ann")
        assert call["status"] == "completed"
        kinds = [one["type"] for one in said]
        assert kinds.index("response.mcp_call.in_progress") < kinds.index(
            "response.mcp_call.completed"
        )


async def test_in_the_background_a_task_goes_on_whoever_leaves(tmp_path: Path):
    go_on = anyio.Event()
    asked = anyio.Event()

    async def turn(prompt: Prompt, hear: Callable[[Delta], None]) -> Reply:
        asked.set()
        await go_on.wait()
        return PONG

    async with street(tmp_path, turn) as at:
        response = await made(at, **AGENT, background=True)
        assert (response["status"], response["output"]) == ("queued", [])
        with anyio.fail_after(5):
            await asked.wait()
        assert (await found(at, response["id"]))["status"] == "in_progress"
        status, error = await refused(at, {**PLAIN, "previous_response_id": response["id"]}, AT)
        assert (status, error["param"]) == (400, "previous_response_id")
        asked = anyio.Event()
        told = await leaving(at, {**AGENT, "background": True, "stream": True}, asked, AT)
        assert b"response.created" in told, "who leaves must know what to ask for"
        go_on.set()
        done = await until(at, response["id"], "completed")
        assert words(done) == ["pong"]
        rows = (await at.tcp.get("/api/v1/tasks")).json()["tasks"]
        for row in rows:
            await at.until(row["id"], "SUCCEEDED")
        assert await found(at, response["id"]) == done, "it is kept as it ended"


async def test_a_stream_in_the_background_is_gone_on_with_from_any_event(tmp_path: Path):
    """Whatever was seen of it, and in whatever pieces it came: nothing is missing or doubled."""
    turns = 0

    async def turn(prompt: Prompt, hear: Callable[[Delta], None]) -> Reply:
        nonlocal turns
        turns += 1
        hear(Delta(thought="hm"))
        text = "I pay, then." if turns == 1 else "all paid"
        for piece in text.split(" "):
            hear(Delta(text=piece if piece == text.split(" ", maxsplit=1)[0] else f" {piece}"))
            await anyio.sleep(0)
        return Reply(text=text, calls=PAYS.calls if turns == 1 else ())

    async with street(tmp_path, turn) as at:
        live: list[dict[str, Any]] = []
        async with anyio.create_task_group() as group:
            group.start_soon(say_yes, at)
            live += told_of(await at.tcp.post(AT, json={**AGENT, **STREAMED}))
        name = live[0]["response"]["id"]
        whole = said_in(live)
        last = live[-1]["sequence_number"]
        for seen in range(-1, last):
            before = [one for one in live if one["sequence_number"] <= seen]
            after = before[-1]["sequence_number"] if before else -1
            query = f"stream=true&starting_after={after}" if before else "stream=true"
            rest = told_of(await at.tcp.get(f"{AT}/{name}?{query}"))
            assert all(one["sequence_number"] > after for one in rest)
            assert said_in(before) + said_in(rest) == whole
            assert rest[-1] == live[-1]
        middle = told_of(await at.tcp.get(f"{AT}/{name}?stream=true&starting_after=6"))
        assert said_in(middle) == whole[3:], "an event of a text can be cut"
        for wrong in ("x", "-1", "1.5", "9" * 16, ""):
            answer = await at.tcp.get(f"{AT}/{name}?stream=true&starting_after={wrong}")
            error = valid("ErrorResponse", answer.json())["error"]
            assert (answer.status_code, error["param"]) == (400, "starting_after")
        plain = await made(at, model="agent:default")
        answer = await at.tcp.get(f"{AT}/{plain['id']}?stream=true")
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "stream")
        assert turns == 3, "nothing was asked again for it"


@pytest.mark.parametrize("background", [True, False])
async def test_a_key_that_ends_hears_no_more_of_an_answer(tmp_path: Path, background: bool):
    asked, go_on, broken_off = anyio.Event(), anyio.Event(), anyio.Event()

    async def turn(prompt: Prompt, hear: Callable[[Delta], None]) -> Reply:
        asked.set()
        try:
            await go_on.wait()
            hear(Delta(text=" and more"))
            await anyio.sleep_forever()
        finally:
            broken_off.set()
        raise AssertionError("for ever has ended")

    async with street(tmp_path, turn) as at, await at.keyed("chat", name="brief") as brief:

        async def revoke() -> None:
            await asked.wait()
            await at.local.post("/api/v1/keys/brief/revoke")
            go_on.set()

        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                group.start_soon(revoke)
                ask = {**AGENT, "background": background, "stream": True}
                told = (await brief.post(AT, json=ask)).text
                assert "more" not in told
                begun = ("response.created" in told, "response.failed" in told)
                assert begun == (background, False)
                if not background:
                    await broken_off.wait()


STREAMED = {"background": True, "stream": True}


def told_of(answer: Any) -> list[dict[str, Any]]:
    """The events of a stream, each with a higher number than the one before."""
    assert answer.status_code == 200, answer.text
    told = [valid("ResponseStreamEvent", one) for one in events(answer.text)]
    numbers = [one["sequence_number"] for one in told]
    assert numbers == sorted(set(numbers))
    return told


def said_in(told: list[dict[str, Any]]) -> str:
    return "".join(one["delta"] for one in told if one["type"] == "response.output_text.delta")


async def test_a_response_in_the_background_can_be_cancelled(tmp_path: Path):
    async def turn(prompt: Prompt, hear: Callable[[Delta], None]) -> Reply:
        await anyio.sleep_forever()
        return PONG

    async with street(tmp_path, turn) as at:
        response = await made(at, **AGENT, background=True)
        answer = await at.tcp.post(f"{AT}/{response['id']}/cancel")
        assert valid("Response", answer.json())["status"] == "cancelled"
        again = await at.tcp.post(f"{AT}/{response['id']}/cancel")
        assert (again.status_code, again.json()["status"]) == (200, "cancelled")


REFUSED = [
    ({"input": None}, "input", "missing_parameter"),
    ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type", "invalid_value"),
    ({"background": True}, "background", "unsupported_parameter"),
    ({"conversation": "c"}, "conversation", "unsupported_parameter"),
    ({"truncation": "auto"}, "truncation", "unsupported_parameter"),
    ({"tools": [{"type": "web_search"}]}, "tools[0].type", "unsupported_parameter"),
    ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema", ""),
    ({"colour": 1}, "colour", "unknown_parameter"),
    ({"model": "agent:default", "background": True, "store": False}, "store", "invalid_value"),
]


@pytest.mark.parametrize(("change", "param", "code"), REFUSED, ids=[one[1] for one in REFUSED])
async def test_what_cannot_be_done_is_refused_by_name(
    change: dict[str, Any], param: str, code: str, tmp_path: Path
):
    async with street(tmp_path, [PONG]) as at:
        status, error = await refused(at, {**PLAIN, **change}, AT)
        assert (status, error["param"]) == (400, param)
        assert error["code"] == (code or "missing_parameter")


async def test_only_a_response_in_the_background_is_cancelled(tmp_path: Path):
    async with street(tmp_path, [PONG]) as at:
        response = await made(at)
        answer = await at.tcp.post(f"{AT}/{response['id']}/cancel")
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "not_in_background")


async def test_what_is_kept_is_for_its_owner_alone_holds_no_secret_and_does_not_grow(
    tmp_path: Path,
):
    async with street(tmp_path, [PONG], plan=Plan()) as at:
        await at.house.secrets.put("key", "hunter2-hunter2", by="user:me")
        await made(at, input="my key is hunter2-hunter2")
        (file,) = (path for path in (tmp_path / "responses").rglob("resp_*"))
        assert file.stat().st_mode & 0o077 == 0
        assert "hunter2" not in file.read_text()
    few = FileResponses(tmp_path / "few", most=2)
    names = [f"resp_{number:032x}" for number in range(201)]
    for name in names:
        await few.keep(name, "me", b"{}")
    assert len(list((tmp_path / "few").rglob("resp_*"))) == 2
    assert await few.find(names[-1], "me") == b"{}"
    with pytest.raises(NotFound):
        await few.find(names[0], "me")


async def test_what_a_purged_task_said_is_kept_nowhere(tmp_path: Path):
    async with street(tmp_path, [PONG] * 3) as at:
        plain = await made(at)
        agents = await made(at, model="agent:default")
        later = (await at.tcp.get("/api/v1/tasks")).json()["tasks"]
        (task,) = [one["id"] for one in later]
        answer = await at.tcp.post("/api/v1/purge", json={"task": task, "reason": "asked"})
        assert answer.status_code == 200, answer.text
        await upkeep.purge(at.house, tasks=[TaskId(""), TaskId("resp")], by="me", reason="none")
        assert (await at.tcp.get(f"{AT}/{agents['id']}")).status_code == 404
        assert (await at.tcp.get(f"{AT}/{plain['id']}")).status_code == 200


async def test_answers_go_with_the_tasks_of_their_time_and_after_thirty_days(tmp_path: Path):
    now = 40 * 86_400.0
    kept = FileResponses(tmp_path / "kept", now=lambda: now)
    old, late, new = (f"resp_{number:032x}" for number in range(3))
    for name, days in ((old, 31), (late, 8), (new, 1)):
        await kept.keep(name, "me", b"{}")
        (path,) = (tmp_path / "kept").rglob(name)
        moment = now - days * 86_400
        os.utime(path, (moment, moment))
    await kept.tidy(0)
    assert sorted(path.name for path in (tmp_path / "kept").rglob("resp_*")) == [late, new]
    await kept.tidy(int((now - 7 * 86_400) * 1000))
    assert [path.name for path in (tmp_path / "kept").rglob("resp_*")] == [new]
    await FileResponses(tmp_path / "nothing").tidy(0)


async def test_what_is_kept_is_for_the_owner_of_the_home_alone(tmp_path: Path):
    kept = FileResponses(tmp_path / "responses")
    await kept.keep(f"resp_{'0' * 32}", "key:ann", b"{}")
    assert not exposed(tmp_path / "responses")
