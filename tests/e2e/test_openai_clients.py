"""OpenAI's own clients, in Python and Node, and llmprobe, against a daemon."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from openai.types.chat import ChatCompletionToolParam
from pydantic import BaseModel

from holdfast.testing.daemon import Daemon, stage, use_model
from holdfast.testing.model_server import ModelServer, Reply
from tests.doors.openai_schema import events, valid
from tests.e2e.at_home import until
from tests.e2e.clever import clever
from tests.kits.npm import KITS, installed, node
from tests.kits.python import interpreter

MODEL = "scripted/scripted"
PING: Any = [{"role": "user", "content": "ping"}]
PARAMETERS: dict[str, object] = {
    "type": "object",
    "properties": {"a": {"type": "integer"}},
    "required": ["a"],
}
ADD: ChatCompletionToolParam = {
    "type": "function",
    "function": {"name": "add", "parameters": PARAMETERS},
}


class Sum(BaseModel):
    """What is wanted of a structured answer."""

    a: int


class At:
    """A daemon with a clever model behind it."""

    def __init__(self, lab: ModelServer, daemon: Daemon) -> None:
        self.lab, self.daemon = lab, daemon
        listening: list[str] = daemon.get("/api/v1/status")["listening"]
        self.base = next(one for one in listening if one.startswith("http")) + "/v1"
        self.key = (daemon.home / "token").read_text().strip()

    def client(self, **more: Any) -> openai.OpenAI:
        given: dict[str, Any] = {
            "base_url": self.base,
            "api_key": self.key,
            "max_retries": 0,
            "timeout": 20.0,
        }
        return openai.OpenAI(**{**given, **more})


@pytest.fixture(scope="module")
def at() -> Generator[At]:
    with stage("openai") as place, ModelServer(rule=clever, default=Reply(text="pong")) as lab:
        use_model(place / "home", lab.url)
        with Daemon(
            place / "home", {"HOLDFAST_SERVER_HTTP": "true", "HOLDFAST_SERVER_PORT": "0"}
        ) as daemon:
            daemon.start()
            yield At(lab, daemon)


def test_openais_python_client_chats_streams_calls_tools_and_gets_what_it_wants(at: At):
    with at.client() as client:
        chat = client.chat.completions
        assert MODEL in [one.id for one in client.models.list()]
        assert client.models.retrieve(MODEL).owned_by == "scripted"
        assert chat.create(model=MODEL, messages=PING).choices[0].message.content == "pong"
        with chat.stream(model=MODEL, messages=PING) as stream:
            stream.until_done()
            assert stream.get_final_completion().choices[0].message.content == "pong"
        usage = [
            chunk.usage
            for chunk in chat.create(
                model=MODEL, messages=PING, stream=True, stream_options={"include_usage": True}
            )
            if chunk.usage
        ]
        assert [one.total_tokens for one in usage] == [15]
        made = chat.create(model=MODEL, messages=PING, tools=[ADD], tool_choice="required")
        calls = made.choices[0].message.tool_calls
        assert calls
        call = calls[0]
        assert call.type == "function"
        assert json.loads(call.function.arguments) == {"a": 1}
        answered: Any = [
            *PING,
            made.choices[0].message,
            {"role": "tool", "tool_call_id": call.id, "content": "2"},
        ]
        after = chat.create(model=MODEL, messages=answered, tools=[ADD])
        assert after.choices[0].message.content == "pong"
        parsed = chat.parse(model=MODEL, messages=PING, response_format=Sum)
        assert parsed.choices[0].message.parsed == Sum(a=1)
        both = chat.create(model=MODEL, messages=PING, n=2, logprobs=True, top_logprobs=2)
        for choice in both.choices:
            assert choice.logprobs
            assert choice.logprobs.content
            (token,) = choice.logprobs.content
            assert (token.token, len(token.top_logprobs)) == ("pong", 2)
        assert len(client.embeddings.create(model=MODEL, input=["a", "b"]).data) == 2


def test_openais_python_client_puts_files_and_names_them(at: At, tmp_path: Path):
    notes = tmp_path / "notes.txt"
    notes.write_text("what is in the file")
    with at.client() as client, notes.open("rb") as opened:
        made = client.files.create(
            file=opened,
            purpose="user_data",
            expires_after={"anchor": "created_at", "seconds": 3600},
        )
        assert (made.filename, made.bytes, made.status) == ("notes.txt", 19, "processed")
        assert client.files.retrieve(made.id).expires_at == made.created_at + 3600
        assert [one.id for one in client.files.list(limit=1)] == [made.id]
        assert client.files.content(made.id).read() == b"what is in the file"
        assert client.files.wait_for_processing(made.id).id == made.id
        part: Any = {"type": "file", "file": {"file_id": made.id}}
        content: Any = [{"type": "text", "text": "ping"}, part]
        said = client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": content}]
        )
        assert said.choices[0].message.content == "pong"
        items: Any = [{"role": "user", "content": [{"type": "input_file", "file_id": made.id}]}]
        assert client.responses.create(model=MODEL, input=items).status == "completed"
        assert client.files.delete(made.id).deleted
        with pytest.raises(openai.NotFoundError) as gone:
            client.files.retrieve(made.id)
        assert gone.value.code == "file_not_found"
        with pytest.raises(openai.NotFoundError):
            client.responses.create(model=MODEL, input=items)


def test_openais_python_client_keeps_and_continues_responses(at: At):
    with at.client() as client:
        first = client.responses.create(model=MODEL, input="My name is Ada.")
        second = client.responses.create(
            model=MODEL, input="Who am I?", previous_response_id=first.id
        )
        assert second.output_text == "You are Ada."
        assert client.responses.retrieve(second.id).output_text == second.output_text
        assert client.responses.input_items.list(second.id).data
        client.responses.delete(first.id)
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(first.id)
        with client.responses.stream(model=MODEL, input="ping") as stream:
            deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
            assert "".join(deltas) == stream.get_final_response().output_text == "pong"
        wanted = client.responses.parse(model=MODEL, input="ping", text_format=Sum)
        assert wanted.output_parsed == Sum(a=1)


def test_openais_python_client_knows_our_errors_by_their_kind(at: At):
    with at.client() as client, at.client(api_key="wrong") as stranger:
        with pytest.raises(openai.NotFoundError) as unknown:
            client.chat.completions.create(model="nobody/none", messages=PING)
        assert unknown.value.code == "model_not_found"
        with pytest.raises(openai.AuthenticationError) as foreign:
            stranger.chat.completions.create(model=MODEL, messages=PING)
        assert foreign.value.code == "invalid_api_key"
        with pytest.raises(openai.BadRequestError) as bad:
            client.chat.completions.create(model="agent:default", messages=PING, n=2)
        assert bad.value.param == "n"


def test_one_callers_mistakes_cost_no_other_caller_anything(at: At):
    """A provider's 4xx does not cool its model down, nor does ours."""
    with at.client() as client:
        for _ in range(3):
            with pytest.raises(openai.APIStatusError):
                client.chat.completions.create(model="scripted/gone", messages=PING)
            with pytest.raises(openai.BadRequestError):
                client.chat.completions.create(model=MODEL, messages=[])
            made = client.chat.completions.create(model=MODEL, messages=PING)
            assert made.choices[0].message.content == "pong"
        health = at.daemon.get("/api/v1/models/health")["models"]
        assert all(one["available"] and not one["consecutive_failures"] for one in health), health


def test_a_response_in_the_background_survives_the_daemon(at: At):
    with at.client() as client:
        made = client.responses.create(model="agent:default", input="ping", background=True)
        at.daemon.kill()
        at.daemon.start()
    with At(at.lab, at.daemon).client() as client:
        until(lambda: client.responses.retrieve(made.id).status == "completed")
        found = client.responses.retrieve(made.id)
        assert (found.status, found.output_text) == ("completed", "pong")
        with client.responses.retrieve(made.id, stream=True, starting_after=1) as stream:
            told = list(stream)
        said = [event.delta for event in told if event.type == "response.output_text.delta"]
        assert ("".join(said), told[-1].type) == ("pong", "response.completed")
        client.responses.cancel(made.id)
        assert client.responses.retrieve(made.id).status == "completed"


def test_what_a_daemon_says_is_what_openai_describes(at: At):
    """Ten checks: models, whole and streamed chats with their usage, errors, and responses."""
    now = At(at.lab, at.daemon)
    plain: dict[str, Any] = {"model": MODEL, "messages": PING}
    with httpx2.Client(base_url=now.base, timeout=30) as client:
        client.headers["authorization"] = f"Bearer {now.key}"
        valid("ListModelsResponse", client.get("/models").json())
        valid("CreateChatCompletionResponse", client.post("/chat/completions", json=plain).json())
        wish = {"stream": True, "stream_options": {"include_usage": True}}
        answer = client.post("/chat/completions", json=plain | wish)
        assert answer.headers["content-type"].startswith("text/event-stream")
        told = [valid("CreateChatCompletionStreamResponse", one) for one in events(answer.text)]
        assert [one["usage"]["total_tokens"] for one in told if one["usage"]] == [15]
        wrong: list[tuple[int, dict[str, Any]]] = [
            (404, {**plain, "model": "no-such-model"}),
            (400, {"model": MODEL}),
            (400, {**plain, "messages": [{"role": "zzz", "content": 1}]}),
        ]
        for status, body in wrong:
            answer = client.post("/chat/completions", json=body)
            assert answer.status_code == status
            valid("ErrorResponse", answer.json())
        kind = {"content-type": "application/json"}
        answer = client.post("/chat/completions", content=b"{bad", headers=kind)
        assert answer.status_code == 400
        valid("ErrorResponse", answer.json())
        stranger = {"authorization": "Bearer wrong"}
        answer = client.post("/chat/completions", json=plain, headers=stranger)
        assert answer.status_code == 401
        asked = {"model": MODEL, "input": "ping"}
        valid("Response", client.post("/responses", json=asked).json())


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_openais_node_client(at: At):
    kit, now = installed("openai"), At(at.lab, at.daemon)
    command = [node(), str(kit / "client.mjs"), now.base, now.key, MODEL]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    said = run.stdout.splitlines()
    assert len(said) == 13
    assert [line for line in said if not line.startswith("ok ")] == []
    assert 'errors: [["NotFoundError","model_not_found"]' in said[-1]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_other_peoples_clients_do_all_that_they_do_elsewhere(at: At):
    """Eighteen things that five clients do: all of them work."""
    now, vercel = At(at.lab, at.daemon), installed("vercel")
    script = KITS / "clients" / "clients.py"
    said: list[str] = []
    for command in (
        [interpreter("clients"), str(script), now.base, now.key, MODEL],
        [node(), str(vercel / "client.mjs"), now.base, now.key, MODEL],
    ):
        run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert run.returncode == 0, run.stderr
        said += run.stdout.splitlines()
    assert [line for line in said if not line.startswith("ok ")] == []
    assert len(said) == 18


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_llmprobe_finds_every_must_of_chat_responses_models_and_embeddings(at: At, tmp_path: Path):
    kit, now = installed("openai"), At(at.lab, at.daemon)
    command = [node(), str(kit / "node_modules/llmprobe/bin/dist/llmprobe.mjs"), now.base]
    options = ["-m", MODEL, "-k", now.key, "--no-bench", "--no-save", "--no-color"]
    run = subprocess.run(
        [*command, *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    row = r"^  (models|chat|responses|embeddings) +(\d+/\d+)"
    musts = dict(re.findall(row, run.stdout, re.MULTILINE))
    assert set(musts) == {"models", "chat", "responses", "embeddings"}, run.stdout
    for surface, figure in musts.items():
        passed, _, all_of_them = figure.partition("/")
        assert passed == all_of_them, (surface, run.stdout)
