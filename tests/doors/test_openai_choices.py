"""Several answers at once, and how likely each token of an answer was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from holdfast.core.budget import Reservation
from holdfast.core.context import Prompt
from holdfast.core.message import Reply, Usage
from holdfast.ports.ledger import Budget, CostQuery
from holdfast.ports.model import Delta, ModelFailure
from tests.doors.house import Plan, Street, street
from tests.doors.openai_schema import events, valid

pytestmark = pytest.mark.anyio

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
PLAIN: dict[str, Any] = {
    "model": "scripted/script",
    "messages": [{"role": "user", "content": "ping"}],
}
PONG = Reply(text="pong", usage=Usage(input=9, output=3, cache_read=4, reasoning=1))
TOKEN: dict[str, Any] = {"token": "pong", "bytes": [112], "logprob": -0.1, "top_logprobs": []}
LIKELY = replace(PONG, logprobs=(TOKEN,))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def chat(at: Street, **more: Any) -> dict[str, Any]:
    answer = await at.tcp.post(CHAT, json={**PLAIN, **more})
    assert answer.status_code == 200, answer.text
    return valid("CreateChatCompletionResponse", answer.json())


async def choices(at: Street, **more: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Every choice of every chunk, and the last chunk."""
    answer = await at.tcp.post(CHAT, json={**PLAIN, "stream": True, **more})
    assert answer.status_code == 200, answer.text
    told = [valid("CreateChatCompletionStreamResponse", one) for one in events(answer.text)]
    return [choice for one in told for choice in one["choices"]], told[-1]


async def refused(at: Street, path: str, body: dict[str, Any]) -> tuple[int, Any]:
    answer = await at.tcp.post(path, json=body)
    return answer.status_code, valid("ErrorResponse", answer.json())["error"]["param"]


async def test_how_likely_each_token_was_is_said_where_the_model_says_it(tmp_path: Path) -> None:
    async with street(tmp_path, [LIKELY, LIKELY, PONG]) as at:
        whole = await chat(at, logprobs=True)
        assert whole["choices"][0]["logprobs"] == {"content": [TOKEN], "refusal": None}
        told, _ = await choices(at, logprobs=True)
        assert [one["logprobs"]["content"] for one in told if one["logprobs"]] == [[TOKEN]]
        assert await refused(at, CHAT, {**PLAIN, "logprobs": True}) == (400, "logprobs")


async def test_a_response_says_how_likely_its_tokens_were(tmp_path: Path) -> None:
    wish = {"include": ["message.output_text.logprobs"], "top_logprobs": 2}
    body = {"model": PLAIN["model"], "input": "ping", **wish}
    async with street(tmp_path, [LIKELY, LIKELY]) as at:
        whole = valid("Response", (await at.tcp.post(RESPONSES, json=body)).json())
        assert whole["top_logprobs"] == 2
        assert whole["output"][0]["content"][0]["logprobs"] == [TOKEN]
        answer = await at.tcp.post(RESPONSES, json={**body, "stream": True})
        told = [valid("ResponseStreamEvent", one) for one in events(answer.text)]
        (done,) = [one for one in told if one["type"] == "response.output_text.done"]
        assert done["logprobs"] == [TOKEN]
        agent = {**body, "model": "agent:default"}
        assert await refused(at, RESPONSES, agent) == (400, "logprobs")


async def test_several_answers_are_several_calls_told_by_their_number(tmp_path: Path) -> None:
    said = [replace(PONG, text=f"answer {number}") for number in range(6)]
    async with street(tmp_path, said) as at:
        whole = await chat(at, n=3)
        assert [one["index"] for one in whole["choices"]] == [0, 1, 2]
        texts = {one["message"]["content"] for one in whole["choices"]}
        assert texts == {"answer 0", "answer 1", "answer 2"}
        assert whole["usage"]["total_tokens"] == 3 * 12
        told, last = await choices(at, n=3, stream_options={"include_usage": True})
        for place in range(3):
            mine = [one for one in told if one["index"] == place]
            assert mine[0]["delta"]["role"] == "assistant"
            assert "".join(one["delta"].get("content") or "" for one in mine)[:6] == "answer"
            assert [one["finish_reason"] for one in mine if one["finish_reason"]] == ["stop"]
        assert last["usage"]["total_tokens"] == 3 * 12
        (cost,) = await at.house.ledger.costs(CostQuery(by=("model",)))
        assert cost.calls == 6


async def test_one_of_several_that_fails_breaks_the_others_off(tmp_path: Path) -> None:
    gone = anyio.Event()
    asked: list[Prompt] = []

    async def turn(prompt: Prompt, hear: Callable[[Delta], None]) -> Reply:
        asked.append(prompt)
        if len(asked) == 2:
            raise ModelFailure("invalid_request", "no", retryable=False)
        try:
            await anyio.sleep_forever()
        finally:
            gone.set()
        raise AssertionError("for ever has ended")

    async with street(tmp_path, turn) as at:
        with anyio.fail_after(10):
            answer = await at.tcp.post(CHAT, json={**PLAIN, "n": 2})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")
        assert gone.is_set()


async def test_several_answers_cost_no_more_than_there_is(tmp_path: Path) -> None:
    """Each is held before it is sent: what does not fit is not asked."""
    asked: list[Prompt] = []

    async def turn(prompt: Prompt, hear: Callable[[Delta], None]) -> Reply:
        asked.append(prompt)
        return replace(PONG, usage=replace(PONG.usage, cost=400))

    async with street(tmp_path, turn, plan=Plan(most=Reservation(tokens=9, cost=400))) as at:
        at.house.ledger.budgets([Budget(scope="installation", cost=999)])
        answer = await at.tcp.post(CHAT, json={**PLAIN, "n": 5})
        assert (answer.status_code, answer.json()["error"]["type"]) == (429, "insufficient_quota")
        assert len(asked) <= 2
