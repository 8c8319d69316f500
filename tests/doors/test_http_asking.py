"""A question straight to a model: answered, streamed, paid for, and refused in time."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from holdfast.adapters.models.catalog import Catalog
from holdfast.adapters.models.settings import ModelsConfig, Provider
from holdfast.core.budget import Reservation
from holdfast.core.context import Prompt
from holdfast.core.ids import CallId
from holdfast.core.message import Failed, ModelSaid, Reply, Thought, ToolAnswered, ToolCall, Usage
from holdfast.ports.ledger import Budget, CostQuery
from holdfast.ports.model import Delta, ModelFailure
from holdfast.testing.model_server import ModelServer
from holdfast.testing.model_server import Reply as Say
from tests.doors.house import Plan, Street, client, street
from tests.doors.test_http_stream import heard, listening

pytestmark = pytest.mark.anyio

HELLO = Reply(text="hello", usage=Usage(input=9, output=3))
ASK = "/api/v1/models/ask"
CALLS = Reply(
    thoughts=(Thought(text="hm", signature="s", provider="scripted"),),
    calls=(ToolCall(id=CallId("x1"), tool="add", arguments={"a": 1}, signature="sig"),),
    finish="calls",
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def priced() -> Plan:
    """A house whose model has a price."""
    return Plan(most=Reservation(tokens=100, cost=1_000))


def error(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_a_question_is_answered_with_what_it_took_and_paid_for(tmp_path: Path):
    """Part of row OL-26."""
    async with street(tmp_path, [HELLO]) as at:
        said = (
            await at.tcp.post(
                ASK, json={"text": "say hello", "role": "judge", "model": "scripted/script"}
            )
        ).json()
        assert (said["text"], said["model"], said["finish"]) == ("hello", "scripted/script", "stop")
        assert (said["usage"], said["cost_usd"]) == ({"input": 9, "output": 3, "cost": 0}, 0.0)
        (cost,) = await at.house.ledger.costs(CostQuery(by=("model", "role")))
        assert (cost.group, cost.calls) == (("scripted/script", "judge"), 1)
        assert (cost.input, cost.output) == (9, 3)
        assert (await at.tcp.get("/api/v1/tasks")).json()["tasks"] == []


async def test_calls_are_returned_and_not_run_and_a_conversation_goes_on_with_their_answers(
    tmp_path: Path,
):
    """Part of row OL-26."""
    prompts: list[Prompt] = []

    async def turn(prompt: Prompt, hear: Callable[[Delta], None]) -> Reply:
        prompts.append(prompt)
        return CALLS if len(prompts) == 1 else HELLO

    async with street(tmp_path, turn) as at:
        tool = {"name": "add", "description": "adds", "schema": {"type": "object"}}
        ask: dict[str, Any] = {
            "system": "Be brief.",
            "messages": [{"role": "user", "text": "add one"}],
            "tools": [tool],
            "style": {"temperature": 0.5, "stop": ["END"], "max_output": 99},
        }
        first = (await at.tcp.post(ASK, json=ask)).json()
        assert first["finish"] == "calls"
        (call,) = first["calls"]
        assert (call["id"], call["tool"], call["arguments"]) == ("x1", "add", {"a": 1})
        ask["messages"] += [
            {
                "role": "assistant",
                "calls": [{k: v for k, v in call.items() if k != "problem"}],
                "thoughts": first["thoughts"],
            },
            {"role": "tool", "call": "x1", "text": "no such number", "failed": True},
        ]
        assert (await at.tcp.post(ASK, json=ask)).json()["text"] == "hello"
        seen = prompts[1]
        assert (seen.system, seen.style.temperature, seen.style.stop) == (
            "Be brief.",
            0.5,
            ("END",),
        )
        assert isinstance(said := seen.entries[1], ModelSaid)
        assert said.calls[0].signature == "sig"
        answered = seen.entries[2]
        assert answered == ToolAnswered(
            call_id=CallId("x1"), tool="add", outcome=Failed(text="no such number")
        )


BAD: list[tuple[Any, str]] = [
    ({}, "give `text` or `messages`"),
    ({"text": "a", "messages": [{"role": "user", "text": "a"}]}, "give `text` or `messages`"),
    ({"text": "a", "style": {"temperature": 9}}, "style.temperature"),
    ({"text": "a", "colour": 1}, "unknown key"),
    ({"messages": [{"role": "assistant", "text": "a"}]}, "must begin with a user"),
    ({"messages": [{"role": "user", "text": "a", "failed": True}]}, "messages.0"),
    ({"messages": [{"role": "user", "calls": [{"id": "1", "tool": "t"}]}]}, "messages.0"),
    (
        {"messages": [{"role": "user", "text": "hi"}, {"role": "tool", "call": "1", "text": "a"}]},
        "message 2 answers the call '1', which is not open",
    ),
    (
        {
            "messages": [
                {"role": "user", "text": "hi"},
                {"role": "assistant", "calls": [{"id": "1", "tool": "t"}]},
            ]
        },
        "the call '1' has no answer",
    ),
    (
        {
            "messages": [
                {"role": "user", "text": "hi"},
                {"role": "assistant", "calls": [{"id": "1", "tool": "t"}]},
                {"role": "user", "text": "go on"},
            ]
        },
        "message 3 comes before the answer to the call '1'",
    ),
    ({"messages": [{"role": "user", "text": " "}]}, "message 1 says nothing"),
    ({"text": "a", "model": "nobody/nothing"}, "no model"),
]


@pytest.mark.parametrize(("body", "why"), BAD, ids=[why for _, why in BAD])
async def test_what_cannot_be_asked_is_refused_before_anything_is_paid(
    body: Any, why: str, tmp_path: Path
):
    async with street(tmp_path, [HELLO]) as at:
        answer = await at.tcp.post(ASK, json=body)
        assert answer.status_code == 422
        assert why in answer.json()["detail"]
        assert await calls(at) == (0, 0)


async def test_nobody_asks_without_the_token(tmp_path: Path):
    async with street(tmp_path, [HELLO]) as at:
        assert error(await client(at.app).post(ASK, json={"text": "a"})) == (401, "unauthenticated")


async def test_what_no_budget_allows_is_refused_and_never_sent(tmp_path: Path):
    async def turn(prompt: Prompt, hear: Callable[[Delta], None]) -> Reply:
        raise AssertionError("nobody may be asked")

    async with street(tmp_path, turn, plan=priced()) as at:
        at.house.ledger.budgets([Budget(scope="installation", cost=999)])
        for stream in (False, True):
            answer = await at.tcp.post(ASK, json={"text": "a", "stream": stream})
            assert error(answer) == (409, "budget_exceeded")


FAILURES = [
    ("rate_limited", 429, False),
    ("overloaded", 502, True),
    ("timeout", 504, True),
    ("auth", 502, False),
    ("context_overflow", 422, False),
]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("code", "status", "paid"), FAILURES, ids=[one[0] for one in FAILURES])
async def test_a_model_that_fails_is_an_error_with_a_code(
    code: str, status: int, paid: bool, stream: bool, tmp_path: Path
):
    failure = ModelFailure(code, "It failed.", retryable=True, retry_after=1.5, paid=paid)

    async def turn(prompt: Prompt, hear: Callable[[Delta], None]) -> Reply:
        raise failure

    async with street(tmp_path, turn, plan=priced()) as at:
        answer = await at.tcp.post(ASK, json={"text": "a", "stream": stream})
        assert error(answer) == (status, code)
        assert answer.headers["retry-after"] == "2"
        assert await calls(at) == (0, 1 if paid else 0)


async def test_a_streamed_reply_comes_in_gathered_pieces_and_then_whole(tmp_path: Path):
    """Row OL-28."""

    async def turn(prompt: Prompt, hear: Callable[[Delta], None]) -> Reply:
        hear(Delta(thought="hm"))
        for piece in "hello":
            hear(Delta(text=piece))
            await anyio.lowlevel.checkpoint()
        hear(Delta(call="add"))
        return Reply(text="hello", calls=CALLS.calls)

    async with street(tmp_path, turn) as at, listening(at, tmp_path) as door:
        said = [item async for item in asked(door)]
        assert "".join(one.data.get("text", "") for one in said[:-1]) == "hello"
        assert {one.kind for one in said[:-1]} == {"delta"}
        assert len(said) < 6
        assert (said[-1].kind, said[-1].data["text"]) == ("reply", "hello")
        assert said[-1].data["calls"][0]["arguments"] == {"a": 1}


async def test_a_stream_that_fails_after_it_began_ends_with_the_error(tmp_path: Path):
    """Part of row OL-28."""
    begun = anyio.Event()

    async def turn(prompt: Prompt, hear: Callable[[Delta], None]) -> Reply:
        hear(Delta(text="half"))
        await begun.wait()
        raise ModelFailure("incomplete", "The reply broke off.", retryable=True)

    async with street(tmp_path, turn) as at, listening(at, tmp_path) as door:
        seen: list[Any] = []
        async for item in asked(door):
            seen.append(item)
            begun.set()
        assert [item.kind for item in seen] == ["delta", "error"]
        assert seen[-1].data["code"] == "incomplete"


async def test_a_reader_who_leaves_ends_the_question_and_what_was_held_counts(tmp_path: Path):
    for stream in (True, False):
        left, begun = anyio.Event(), anyio.Event()

        async def turn(
            prompt: Prompt,
            hear: Callable[[Delta], None],
            left: anyio.Event = left,
            begun: anyio.Event = begun,
        ) -> Reply:
            hear(Delta(text="half"))
            begun.set()
            try:
                await anyio.sleep_forever()
            finally:
                left.set()
            raise AssertionError

        async with street(tmp_path, turn, plan=priced()) as at:
            async with listening(at, tmp_path) as door, anyio.create_task_group() as group:
                group.start_soon(post, door, stream)
                with anyio.fail_after(5):
                    await begun.wait()
                    group.cancel_scope.cancel()
            with anyio.fail_after(5):
                await left.wait()
                while await calls(at) != (0, 1):
                    await anyio.sleep(0)


async def test_a_quiet_stream_is_kept_alive_and_a_stopping_daemon_says_so(tmp_path: Path):
    async def turn(prompt: Prompt, hear: Callable[[Delta], None]) -> Reply:
        await anyio.sleep_forever()
        raise AssertionError

    async with street(tmp_path, turn, plan=Plan(keep_alive=0.01)) as at:
        seen: list[Any] = []
        async with listening(at, tmp_path) as door:
            async for item in asked(door):
                seen.append(item)
                at.app.state.door.closing.set()
        assert seen[0].kind == ":"
        assert (seen[-1].kind, seen[-1].data["code"]) == ("error", "stopping")


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_one_question_is_one_request_at_the_provider(stream: bool, tmp_path: Path):
    """Row GC-45."""
    with ModelServer([Say(text="one two three", chunks=5)]) as server:
        provider = Provider(
            kind="openai-compatible", base_url=f"{server.url}/v1", api_key="k", models=("scripted",)
        )
        catalog = Catalog(ModelsConfig(providers={"lab": provider}, probe=False))
        async with street(tmp_path, models=catalog) as at, listening(at, tmp_path) as door:
            if stream:
                said = [item async for item in asked(door)]
                assert said[-1].data["text"] == "one two three"
            else:
                answer = await door.post(ASK, json={"text": "count"})
                assert answer.json()["text"] == "one two three"
            assert len(server.requests) == 1
            assert server.requests[0].last_text == ("go on" if stream else "count")
        await catalog.close()


async def calls(at: Street) -> tuple[int, int]:
    """How many are settled, and how many may have been paid."""
    (cost,) = await at.house.ledger.costs(CostQuery())
    return cost.calls, cost.doubtful_calls


async def post(door: httpx2.AsyncClient, stream: bool) -> None:
    await door.post(ASK, json={"text": "go on", "stream": stream})


async def asked(door: httpx2.AsyncClient) -> AsyncIterator[Any]:
    with anyio.fail_after(10):
        async with door.stream("POST", ASK, json={"text": "go on", "stream": True}) as answer:
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            async for item in heard(answer):
                yield item
