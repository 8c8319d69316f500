"""Other people's clients against BASE with KEY: each line of the output is one thing that works.

Runs in an environment of its own, with what `requirements.txt` pins: the official client,
LangChain, OpenAI's agents, and simonw's `llm`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

base, key, model = sys.argv[1:4]
os.environ |= {"OPENAI_API_KEY": key, "OPENAI_BASE_URL": base, "LANGSMITH_TRACING": "false"}

# They read the environment while they load, and are there in this environment only.
openai: Any = import_module("openai")
agents_sdk: Any = import_module("agents")
langchain_openai: Any = import_module("langchain_openai")

PING: Any = [{"role": "user", "content": "ping"}]
NUMBERS = {name: {"type": "integer"} for name in ("a", "b")}
PARAMETERS = {"type": "object", "properties": NUMBERS, "required": ["a", "b"]}
FUNCTION = {"name": "add", "description": "adds", "parameters": PARAMETERS}
ADD: Any = [{"type": "function", "function": FUNCTION}]

client = openai.OpenAI(max_retries=0, timeout=30)
chat, answers = client.chat.completions, client.responses


def works(name: str, act: Callable[[], Any]) -> None:
    try:
        print(f"ok {name}: {_must(act())!r}")
    except Exception as error:  # noqa: BLE001 - whatever a client raises is its result
        print(f"FAILED {name}: {type(error).__name__} {str(error)[:300]}")


def _must(value: Any) -> Any:
    assert value, "nothing came"
    return value


def official() -> None:
    works("openai models", lambda: client.models.list().data[0].id)
    works("openai chat", lambda: _text(chat.create(model=model, messages=PING)))
    works("openai stream with usage", _streamed)
    works("openai stream helper", _helped)
    works("openai required tool", _called)
    works(
        "openai responses", lambda: client.responses.create(model=model, input="ping").output_text
    )
    works("openai unknown model", lambda: _fails(client, openai.NotFoundError, "no-such"))
    stranger = openai.OpenAI(api_key="bad", max_retries=0)
    works("openai wrong key", lambda: _fails(stranger, openai.AuthenticationError, model))


def _text(said: Any) -> str:
    return said.choices[0].message.content


def _streamed() -> int:
    options: Any = {"stream": True, "stream_options": {"include_usage": True}}
    chunks = list(chat.create(model=model, messages=PING, **options))
    (usage,) = [chunk.usage for chunk in chunks if chunk.usage]
    return usage.total_tokens


def _helped() -> str:
    with chat.stream(model=model, messages=PING) as stream:
        last = [event.type for event in stream][-1]
        assert last == "content.done", last
        return _text(stream.get_final_completion())


def _called() -> Any:
    said = chat.create(model=model, messages=PING, tools=ADD, tool_choice="required")
    return json.loads(said.choices[0].message.tool_calls[0].function.arguments)


def _fails(asking: Any, kind: type[Exception], name: str) -> str:
    try:
        asking.chat.completions.create(model=name, messages=PING)
    except kind as error:
        return type(error).__name__
    return ""


def langchain() -> None:
    asks = langchain_openai.ChatOpenAI(model=model, max_retries=0, timeout=30)
    bound = asks.bind_tools(ADD, tool_choice="required")
    works("langchain invoke", lambda: asks.invoke("ping").content)
    works("langchain stream", lambda: "".join(str(one.content) for one in asks.stream("ping")))
    works("langchain tools", lambda: bound.invoke("add").tool_calls)
    works("langchain batch of 8", lambda: len(asks.batch(["ping"] * 8)) == 8)


def agents() -> None:
    agents_sdk.set_tracing_disabled(disabled=True)
    later = openai.AsyncOpenAI(max_retries=0)
    behind = agents_sdk.OpenAIChatCompletionsModel(model=model, openai_client=later)

    @agents_sdk.function_tool
    def add(a: int, b: int) -> int:
        """Adds two numbers."""
        return a + b

    plain = agents_sdk.Agent(name="plain", model=behind)
    armed = agents_sdk.Agent(name="armed", model=behind, tools=[add])
    works("openai-agents run", lambda: agents_sdk.Runner.run_sync(plain, "ping").final_output)
    works("openai-agents tool loop", lambda: _looped(armed))


def _looped(agent: Any) -> list[str]:
    result = agents_sdk.Runner.run_sync(agent, "add them", max_turns=4)
    kinds = [item.type for item in result.new_items]
    assert "tool_call_output_item" in kinds, kinds
    return [result.final_output]


def llm() -> None:
    """The program of simonw's `llm`, which streams."""
    with tempfile.TemporaryDirectory() as place:
        fields = {"model_id": "m", "model_name": model, "api_base": base, "api_key_name": "openai"}
        (Path(place) / "extra-openai-models.yaml").write_text(json.dumps([fields]))
        command = [str(Path(sys.executable).parent / "llm"), "-m", "m", "ping", "--key", key]
        where = {**os.environ, "LLM_USER_PATH": place}

        def said() -> str:
            run = subprocess.run(command, env=where, capture_output=True, text=True, check=False)
            assert run.returncode == 0, run.stderr
            return run.stdout.strip()

        works("llm", said)


official()
langchain()
agents()
llm()
