"""Asks a provider through pydantic-ai's model layer and nothing else; the load in the same process.

`bare.py PORT STREAM LANES SECONDS` prints what that took as JSON.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time

import uvloop
from pydantic_ai import ModelRequest
from pydantic_ai.direct import model_request, model_request_stream
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from benchmarks.measure import Result, Watch, report, spread


async def main(port: int, stream: bool, lanes: int, length: float) -> Result:
    gc.set_threshold(10_000, 10, 10)  # as the daemon does
    provider = OpenAIProvider(base_url=f"http://127.0.0.1:{port}/v1", api_key="none")
    model = OpenAIChatModel("bench", provider=provider)
    seconds: list[float] = []

    async def ask() -> None:
        messages = [ModelRequest.user_text_prompt("ping", instructions="Be brief.")]
        if not stream:
            response = await model_request(model, messages)
        else:
            async with model_request_stream(model, messages) as events:
                async for _ in events:
                    pass
                response = events.get()
        assert response.parts

    async def lane(end: float) -> None:
        while (start := time.perf_counter()) < end:
            await ask()
            seconds.append(time.perf_counter() - start)

    for _ in range(20):
        await ask()
    watch, began = Watch(), time.perf_counter()
    end = began + length
    async with asyncio.TaskGroup() as group:
        for _ in range(lanes):
            group.create_task(lane(end))
    told = {"count": len(seconds), "wall_s": time.perf_counter() - began}
    return {**told, **watch.per(len(seconds)), **spread(seconds)}


if __name__ == "__main__":
    to, streamed, many, how_long = sys.argv[1:]
    report(uvloop.run(main(int(to), streamed == "True", int(many), float(how_long))))
