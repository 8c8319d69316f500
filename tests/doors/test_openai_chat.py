"""OpenAI's chat completions: plain models asked straight, agents through the queue."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from holdfast.core.agent import Agent
from holdfast.core.budget import Reservation
from holdfast.core.context import Prompt
from holdfast.core.ids import CallId, TaskId
from holdfast.core.message import (
    ModelSaid,
    PersonSaid,
    Reply,
    Returned,
    Thought,
    ToolAnswered,
    ToolCall,
    Usage,
)
from holdfast.ports.ledger import Budget, CostQuery
from holdfast.ports.model import Delta, ModelFailure
from tests.doors.house import PAYS, TOKEN, Plan, Street, client, street
from tests.doors.openai_schema import events, valid

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
PING = [{"role": "user", "content": "ping"}]
PONG = Reply(text="pong", usage=Usage(input=9, output=3, cache_read=4, reasoning=1))
ADD = {
    "type": "function",
    "function": {"name": "add", "description": "adds", "parameters": {"type": "object"}},
}
CALLS = Reply(
    calls=(ToolCall(id=CallId("x1"), tool="add", arguments={"a": 1}, signature="sig"),),
    finish="calls",
)
PLAIN = {"model": "scripted/script", "messages": PING}
AGENT = {"model": "agent:default", "messages": PING}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def chat(at: Street, **more: Any) -> dict[str, Any]:
    answer = await at.tcp.post(CHAT, json={**PLAIN, **more})
    assert answer.status_code == 200, answer.text
    return valid("CreateChatCompletionResponse", answer.json())


async def refused(at: Street, body: Any, path: str = CHAT) -> tuple[int, dict[str, Any]]:
    answer = await at.tcp.post(path, json=body)
    return answer.status_code, valid("ErrorResponse", answer.json())["error"]


async def chunks(at: Street, **more: Any) -> list[dict[str, Any]]:
    answer = await at.tcp.post(CHAT, json={**PLAIN, "stream": True, **more})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    return [valid("CreateChatCompletionStreamResponse", one) for one in events(answer.text)]


def content(said: list[dict[str, Any]]) -> str:
    deltas = [choice["delta"] for one in said for choice in one["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)


def said(completion: dict[str, Any]) -> str:
    return completion["choices"][0]["message"]["content"]


async def test_models_are_agents_and_what_the_house_can_ask(tmp_path: Path):
    """Row GC-73."""
    async with street(tmp_path, [PONG], plan=Plan(agent=Agent(name="clerk"))) as at:
        listed = valid("ListModelsResponse", (await at.tcp.get("/v1/models")).json())["data"]
        assert [one["id"] for one in listed][:2] == ["agent:default", "agent:clerk"]
        for name in ("agent:clerk", "scripted/script"):
            shown = valid("Model", (await at.tcp.get(f"/v1/models/{name}")).json())
            assert shown["id"] == name
        answer = await at.tcp.get("/v1/models/agent:nobody")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


async def test_a_plain_model_answers_once_and_is_paid_for(tmp_path: Path):
    async with street(tmp_path, [PONG]) as at:
        said = await chat(at)
        (choice,) = said["choices"]
        assert (choice["message"]["content"], choice["finish_reason"]) == ("pong", "stop")
        assert said["usage"]["total_tokens"] == 12
        assert said["usage"]["prompt_tokens_details"] == {"cached_tokens": 4}
        (cost,) = await at.house.ledger.costs(CostQuery(by=("model",)))
        assert (cost.group, cost.calls) == (("scripted/script",), 1)
        assert (await at.tcp.get("/api/v1/tasks")).json()["tasks"] == []


async def test_what_is_wished_for_reaches_the_model(tmp_path: Path):
    """Part of row GC-74."""
    prompts: list[Prompt] = []

    async def turn(prompt: Prompt, hear: Callable[[Delta], None]) -> Reply:
        prompts.append(prompt)
        return PONG

    async with street(tmp_path, turn) as at:
        picture = base64.b64encode(b"picture").decode()
        messages: list[Any] = [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "add"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "x1",
                        "type": "function",
                        "function": {"name": "add", "arguments": '{"a": 1}'},
                        "extra_content": {"holdfast": {"signature": "sig"}},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "x1", "content": "2"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "and this?"},
                    {
                        "type": "image_url",
                        "image_url": {"url": f"data:image/png;base64,{picture}"},
                    },
                ],
            },
        ]
        await chat(
            at,
            messages=messages,
            tools=[ADD],
            tool_choice={"type": "function", "function": {"name": "add"}},
            parallel_tool_calls=False,
            temperature=0.5,
            top_p=0.9,
            top_k=7,
            seed=3,
            stop="END",
            max_tokens=9,
            max_completion_tokens=99,
            presence_penalty=0.5,
            frequency_penalty=-0.5,
            reasoning_effort="minimal",
            user="ann",
            metadata={"a": "b"},
        )
        (prompt,) = prompts
        style = prompt.style
        assert (prompt.system, prompt.choice, prompt.parallel) == ("Be brief.", "=add", False)
        assert (style.temperature, style.top_p, style.top_k, style.seed) == (0.5, 0.9, 7, 3)
        assert (style.stop, style.max_output, style.thinking) == (("END",), 99, "low")
        assert (style.presence_penalty, style.frequency_penalty) == (0.5, -0.5)
        _, said, answered, last = prompt.entries
        assert isinstance(said, ModelSaid)
        assert said.calls[0].signature == "sig"
        assert answered == ToolAnswered(
            call_id=CallId("x1"), tool="add", outcome=Returned(text="2")
        )
        assert isinstance(last, PersonSaid)
        assert last.files[0].media_type == "image/png"
        assert await at.house.blobs.get(last.files[0].digest) == b"picture"


async def test_a_streamed_answer_says_the_same_as_a_whole_one(tmp_path: Path):
    """Part of row GC-76."""

    async def turn(prompt: Prompt, hear: Callable[[Delta], None]) -> Reply:
        for piece in ("po", "ng") if prompt.stream else ():
            hear(Delta(text=piece))
        thoughts = (Thought(text="hm"),)
        return Reply(text="pong", thoughts=thoughts, usage=PONG.usage)

    async with street(tmp_path, turn) as at:
        whole = await chat(at)
        said = await chunks(at, stream_options={"include_usage": True})
        assert content(said) == whole["choices"][0]["message"]["content"] == "pong"
        assert whole["choices"][0]["message"]["reasoning_content"] == "hm"
        assert said[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
        assert said[-2]["choices"][0]["finish_reason"] == "stop"
        assert (said[-1]["choices"], said[-1]["usage"]) == ([], whole["usage"])
        assert len({one["id"] for one in said}) == 1
        assert all("usage" not in one for one in await chunks(at))


async def test_calls_go_back_to_the_client(tmp_path: Path):
    async with street(tmp_path, [CALLS, CALLS]) as at:
        (choice,) = (await chat(at, tools=[ADD]))["choices"]
        (call,) = choice["message"]["tool_calls"]
        assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", None)
        assert call["function"] == {"name": "add", "arguments": '{"a":1}'}
        said = await chunks(at, tools=[ADD])
        (streamed,) = said[1]["choices"][0]["delta"]["tool_calls"]
        assert streamed == {"index": 0, **call}
        assert said[-1]["choices"][0]["finish_reason"] == "tool_calls"


async def test_a_wanted_shape_is_kept_or_the_answer_fails(tmp_path: Path):
    good = Reply(text='{"a":1}')
    bad = Reply(text="words", problem="no JSON was found")
    cut = Reply(text='{"a":', problem="no JSON was found", finish="length")
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": True}}
    async with street(tmp_path, [good, bad, cut, bad]) as at:
        assert (await chat(at, response_format=form))["choices"][0]["message"][
            "content"
        ] == good.text
        status, error = await refused(at, {**PLAIN, "response_format": form})
        assert (status, error["type"], error["code"]) == (502, "server_error", "malformed")
        (choice,) = (await chat(at, response_format=form))["choices"]
        assert choice["finish_reason"] == "length"
        loose = {"type": "json_object"}
        assert (await chat(at, response_format=loose))["choices"][0]["message"][
            "content"
        ] == "words"


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"model": None}, "model", "missing_parameter"),
    ({"model": 5}, "model", "invalid_type"),
    ({"messages": []}, "messages", "missing_parameter"),
    ({"messages": "ping"}, "messages", "invalid_type"),
    ({"messages": [{"role": "zzz", "content": "a"}]}, "messages[0].role", "invalid_value"),
    ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content", "invalid_value"),
    (
        {"messages": [{"role": "user", "content": [{"type": "video"}]}]},
        "messages[0].content[0].type",
        "invalid_value",
    ),
    ({"n": 17}, "n", "invalid_value"),
    ({"n": True}, "n", "invalid_type"),
    ({"model": "agent:default", "n": 2}, "n", "unsupported_parameter"),
    ({"model": "agent:default", "logprobs": True}, "logprobs", "unsupported_parameter"),
    ({"top_logprobs": 3}, "top_logprobs", "invalid_value"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "invalid_value"),
    ({"logit_bias": {"1": 1}}, "logit_bias", "unsupported_parameter"),
    ({"functions": [{}]}, "functions", "unsupported_parameter"),
    ({"colour": "red"}, "colour", "unknown_parameter"),
    ({"temperature": 9}, "temperature", "invalid_value"),
    ({"temperature": "hot"}, "temperature", "invalid_type"),
    ({"max_tokens": 1.5}, "max_tokens", "invalid_type"),
    ({"stop": [""]}, "stop", "invalid_value"),
    ({"tool_choice": "required"}, "tool_choice", "invalid_value"),
    ({"tools": [{"type": "web_search"}]}, "tools[0].type", "unsupported_parameter"),
    ({"response_format": {"type": "xml"}}, "response_format.type", "invalid_value"),
    ({"reasoning_effort": "wild"}, "reasoning_effort", "invalid_value"),
]


@pytest.mark.parametrize(("change", "param", "code"), REFUSED, ids=[one[1] for one in REFUSED])
async def test_what_cannot_be_done_is_refused_by_name_before_anything_is_paid(
    change: dict[str, Any], param: str, code: str, tmp_path: Path
):
    """Part of row GC-77."""
    async with street(tmp_path, [PONG]) as at:
        status, error = await refused(at, {**PLAIN, **change})
        assert (status, error["param"], error["code"]) == (400, param, code)
        assert error["type"] == "invalid_request_error"
        assert await at.house.ledger.costs(CostQuery(by=("model",))) == ()


PICTURES = ["http://example.com/a.png", "data:image/png,abc", "data:image/png;base64,!!!", 7]


@pytest.mark.parametrize("url", PICTURES)
async def test_a_picture_is_a_data_url_or_refused(url: Any, tmp_path: Path):
    part = {"type": "image_url", "image_url": {"url": url}}
    async with street(tmp_path, [PONG]) as at:
        body = {**PLAIN, "messages": [{"role": "user", "content": [part]}]}
        status, error = await refused(at, body)
        assert (status, error["param"]) == (400, "messages[0].content[0].image_url")


async def test_who_asks_wrongly_is_told_in_openais_words(tmp_path: Path):
    """Row GC-77."""
    async with street(tmp_path, [PONG]) as at:
        stranger = await client(at.app).post(CHAT, json=PLAIN)
        told = valid("ErrorResponse", stranger.json())["error"]
        assert (stranger.status_code, told["type"]) == (401, "authentication_error")
        assert told["code"] == "invalid_api_key"
        wrong = await at.tcp.get(CHAT)
        assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
        assert valid("ErrorResponse", wrong.json())["error"]["code"] == "method_not_allowed"
        nowhere = await at.tcp.post("/v1/nothing", json={})
        assert (nowhere.status_code, nowhere.json()["error"]["code"]) == (404, "unknown_url")
        broken = await at.tcp.post(CHAT, content=b"{bad")
        assert (broken.status_code, broken.json()["error"]["code"]) == (400, "invalid_json")
        status, error = await refused(at, {**PLAIN, "model": "nobody/nothing"})
        assert (status, error["code"], error["param"]) == (404, "model_not_found", "model")


FAILURES = [
    ("rate_limited", 429, "rate_limit_exceeded"),
    ("context_overflow", 400, "context_length_exceeded"),
    ("content_filtered", 400, "content_filter"),
    ("invalid_request", 400, "invalid_request"),
    ("not_found", 404, "model_not_found"),
    ("auth", 502, "auth"),
    ("overloaded", 502, "overloaded"),
    ("timeout", 504, "timeout"),
]


@pytest.mark.parametrize(("code", "status", "told"), FAILURES, ids=[one[0] for one in FAILURES])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_models_failure_is_no_fault_of_the_clients_key(
    code: str, status: int, told: str, stream: bool, tmp_path: Path
):
    failure = ModelFailure(code, "no", retryable=False, retry_after=3)
    async with street(tmp_path, [failure]) as at:
        answer = await at.tcp.post(CHAT, json={**PLAIN, "stream": stream})
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, told)
        assert answer.headers["retry-after"] == "3"


async def test_a_used_up_budget_is_no_quota_left_and_not_worth_asking_again(tmp_path: Path):
    async def turn(prompt: Prompt, hear: Callable[[Delta], None]) -> Reply:
        raise AssertionError("nobody may be asked")

    priced = Plan(most=Reservation(tokens=100, cost=1_000))
    async with street(tmp_path, turn, plan=priced) as at:
        at.house.ledger.budgets([Budget(scope="installation", cost=999)])
        answer = await at.tcp.post(CHAT, json=PLAIN)
        assert (answer.status_code, answer.json()["error"]["type"]) == (429, "insufficient_quota")
        assert answer.headers["x-should-retry"] == "false"


async def test_a_reply_that_began_anew_is_not_passed_off_as_one(tmp_path: Path):
    async def turn(prompt: Prompt, hear: Callable[[Delta], None]) -> Reply:
        hear(Delta(text="the first "))
        await anyio.sleep(0)
        hear(Delta(reset=True, model="another"))
        hear(Delta(text="second"))
        return Reply(text="second")

    async with street(tmp_path, turn) as at:
        answer = await at.tcp.post(CHAT, json={**PLAIN, "stream": True})
        last = answer.text.strip().rpartition("data: ")[2]
        assert "begun anew" in last
        assert "[DONE]" not in answer.text


async def test_who_leaves_breaks_a_plain_answer_off(tmp_path: Path):
    asked, stopped = anyio.Event(), anyio.Event()

    async def turn(prompt: Prompt, hear: Callable[[Delta], None]) -> Reply:
        asked.set()
        try:
            await anyio.sleep_forever()
        finally:
            stopped.set()
        return PONG

    async with street(tmp_path, turn) as at:
        for stream in (False, True):
            await leaving(at, {**PLAIN, "stream": stream}, asked)
            with anyio.fail_after(5):
                await stopped.wait()
            asked, stopped = anyio.Event(), anyio.Event()


async def leaving(at: Street, body: Any, asked: anyio.Event, path: str = CHAT) -> bytes:
    """Ask, and be gone as soon as `asked` is set. Returns what came until then."""
    import json

    content = json.dumps(body).encode()
    given, told = False, b""

    async def receive() -> Any:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": content, "more_body": False}
        await asked.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        nonlocal told
        told += message.get("body", b"")

    headers = [(b"host", b"127.0.0.1"), (b"authorization", f"Bearer {TOKEN}".encode())]
    scope: dict[str, Any] = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": headers,
        "http_version": "1.1",
        "scheme": "http",
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 1),
        "root_path": "",
    }
    with anyio.fail_after(5):
        await at.app(scope, receive, send)
    return told


async def test_an_agent_is_a_task_with_the_conversation_before_it(tmp_path: Path):
    """Rows GC-74, GC-75."""
    prompts: list[Prompt] = []

    async def turn(prompt: Prompt, hear: Callable[[Delta], None]) -> Reply:
        prompts.append(prompt)
        return PONG

    async with street(tmp_path, turn) as at:
        messages = [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "I am Ada."},
            {"role": "assistant", "content": "Hello, Ada."},
            {"role": "user", "content": "Who am I?"},
        ]
        said = await chat(at, model="agent:default", messages=messages, user="u1", temperature=0)
        (choice,) = said["choices"]
        assert (choice["message"]["content"], choice["finish_reason"]) == ("pong", "stop")
        row = (await at.tcp.get(f"/api/v1/tasks/{said['holdfast']['task']}")).json()
        assert (row["status"], row["session"]) == ("SUCCEEDED", "openai:token:default:u1")
        (prompt,) = prompts
        assert prompt.system.startswith("Be kind.")
        assert [getattr(entry, "text", "") for entry in prompt.entries] == [
            "I am Ada.",
            "Hello, Ada.",
            "Who am I?",
        ]
        assert prompt.style.temperature == 0
        task = await at.house.recorder.load(TaskId(row["id"]))
        assert isinstance(earlier := task.transcript[1], ModelSaid)
        assert earlier.sources == ("client",), "nobody here knows where that came from"


async def test_one_streamed_task_asks_the_model_once_a_turn_and_shows_its_tools(tmp_path: Path):
    """Row GC-76."""
    turns = 0

    async def turn(prompt: Prompt, hear: Callable[[Delta], None]) -> Reply:
        nonlocal turns
        turns += 1
        if turns == 1:
            hear(Delta(text="I pay."))
            return Reply(text="I pay.", calls=PAYS.calls)
        for piece in ("all ", "paid"):
            hear(Delta(text=piece))
        return Reply(text="all paid")

    async with street(tmp_path, turn) as at:
        said: list[dict[str, Any]] = []
        async with anyio.create_task_group() as group:
            group.start_soon(say_yes, at)
            said += await chunks(at, **AGENT)
        assert turns == 2
        assert content(said) == "I pay.\n\nall paid"
        tools = [one["holdfast"]["tool"] for one in said if "tool" in one.get("holdfast", {})]
        assert [one["state"] for one in tools] == ["asked", "returned"]
        assert (tools[0]["name"], tools[1]["output"]) == ("pay", "paid Ann")
        assert said[-1]["holdfast"]["tools"] == [tools[1]]
        assert said[-1]["choices"][0]["finish_reason"] == "stop"


async def say_yes(at: Street) -> None:
    """A person somewhere else approves whatever is asked."""
    with anyio.fail_after(5):
        while not (open_ones := (await at.tcp.get("/api/v1/approvals")).json()["approvals"]):
            await anyio.sleep(0.001)
    (one,) = open_ones
    path = f"/api/v1/tasks/{one['task']}/calls/{one['call']}/approve"
    assert (await at.tcp.post(path, json={"digest": one["digest"]})).status_code == 200


async def test_who_leaves_an_agent_takes_its_task_along(tmp_path: Path):
    asked = anyio.Event()

    async def turn(prompt: Prompt, hear: Callable[[Delta], None]) -> Reply:
        asked.set()
        await anyio.sleep_forever()
        return PONG

    async with street(tmp_path, turn) as at:
        for stream in (False, True):
            asked = anyio.Event()
            await leaving(at, {**AGENT, "stream": stream}, asked)
            (row, *_) = (await at.tcp.get("/api/v1/tasks")).json()["tasks"]
            assert (await at.until(row["id"], "CANCELED"))["status"] == "CANCELED"


async def test_a_task_that_fails_says_so_and_is_not_begun_again(tmp_path: Path):
    """Part of row GC-77."""
    failure = ModelFailure("auth", "the key is wrong", retryable=False)
    async with street(tmp_path, [failure, failure]) as at:
        answer = await at.tcp.post(CHAT, json=AGENT)
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "task_failed")
        assert "the key is wrong" in answer.json()["error"]["message"]
        assert answer.headers["x-should-retry"] == "false"
        streamed = await at.tcp.post(CHAT, json={**AGENT, "stream": True})
        assert streamed.status_code == 500, "nothing was said yet"


async def test_the_same_idempotency_key_is_the_same_task(tmp_path: Path):
    async with street(tmp_path, [PONG]) as at:
        headers = {"Idempotency-Key": "k1"}
        first = (await at.tcp.post(CHAT, json=AGENT, headers=headers)).json()
        second = (await at.tcp.post(CHAT, json=AGENT, headers=headers)).json()
        assert first["holdfast"]["task"] == second["holdfast"]["task"]
        assert second["choices"][0]["message"]["content"] == "pong"


@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"model": "agent:nobody"}, 404, "model"),
        ({"tools": [ADD]}, 400, "tools"),
        ({"messages": [*PING, {"role": "assistant", "content": None, "tool_calls": [
            {"id": "c", "function": {"name": "add", "arguments": "{}"}}]}]}, 400, "messages"),
    ],
)  # fmt: skip
async def test_what_an_agent_cannot_do_is_refused(
    change: Any, status: int, param: str, tmp_path: Path
):
    """Part of row GC-74."""
    async with street(tmp_path, [PONG]) as at:
        told = await refused(at, {**AGENT, **change})
        assert (told[0], told[1]["param"]) == (status, param)
        assert (await at.tcp.get("/api/v1/tasks")).json()["tasks"] == []


async def test_embeddings_are_numbers_or_packed(tmp_path: Path):
    import struct

    async with street(tmp_path) as at:
        body = {"model": "fake/letters", "input": ["one", "two"]}
        plain = (await at.tcp.post("/v1/embeddings", json=body)).json()
        valid("CreateEmbeddingResponse", plain)
        packed = await at.tcp.post("/v1/embeddings", json={**body, "encoding_format": "base64"})
        for one, other in zip(plain["data"], packed.json()["data"], strict=True):
            data = base64.b64decode(other["embedding"])
            assert list(struct.unpack(f"<{len(data) // 4}f", data)) == pytest.approx(
                one["embedding"]
            )
        wrong: list[tuple[dict[str, Any], str]] = [
            ({"dimensions": 8}, "dimensions"),
            ({"input": [[1, 2]]}, "input"),
            ({"input": []}, "input"),
            ({"encoding_format": "hex"}, "encoding_format"),
        ]
        for change, param in wrong:
            status, error = await refused(at, {**body, **change}, "/v1/embeddings")
            assert (status, error["param"]) == (400, param)


async def test_a_key_has_its_own_agents_its_own_pace_and_needs_the_scope(tmp_path: Path):
    async with street(tmp_path, [PONG] * 4) as at:
        async with await at.keyed("chat", agents=["other"], per_minute=3, burst=3) as holder:
            listed = (await holder.get("/v1/models")).json()["data"]
            assert "agent:default" not in [one["id"] for one in listed]
            no = await holder.post(CHAT, json=AGENT)
            told = valid("ErrorResponse", no.json())["error"]
            assert (no.status_code, told["type"]) == (403, "permission_error")
            assert (await holder.post(CHAT, json=PLAIN)).status_code == 200
            slow = await holder.post(CHAT, json=PLAIN)
            told = valid("ErrorResponse", slow.json())["error"]
            assert (slow.status_code, told["code"]) == (429, "rate_limit_exceeded")
            assert int(slow.headers["retry-after"]) > 0
        async with await at.keyed("status", name="other") as holder:
            assert (await holder.get("/v1/models")).status_code == 403
        assert (await at.tcp.post(CHAT, json=PLAIN)).status_code == 200, "nobody else waits"
