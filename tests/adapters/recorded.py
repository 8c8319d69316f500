"""Recorded traffic of real providers: what was asked, what came back, read without our code.

The recordings are not part of this repository. They are looked for in `HOLDFAST_SHARED`, or in the
folder `shared` beside the checkout; a test without them is skipped.
"""

from __future__ import annotations

import importlib.util
import json
import os
import struct
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from socket import create_server
from types import ModuleType
from typing import Any, cast
from urllib.parse import quote, unquote, urlsplit

import yaml

from holdfast.adapters.models.known import KNOWN

ROOT = Path(__file__).resolve().parent.parent.parent
_SERVE = """
import argparse, asyncio, importlib.util, sys, threading
spec = importlib.util.spec_from_file_location("replay", sys.argv[1])
replay = importlib.util.module_from_spec(spec)
spec.loader.exec_module(replay)
replay.A = argparse.Namespace(
    root=sys.argv[2], port=int(sys.argv[3]), chunk=0, drop_after=0, delay=0
)
def listen():
    for line in sys.stdin:
        word, _, number = line.partition(" ")
        if word.strip() == "rewind":
            replay.CACHE.clear()
        else:
            replay.A.drop_after = int(number)
        print("done", flush=True)
threading.Thread(target=listen, daemon=True).start()
asyncio.run(replay.main())
"""


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a recorded answer says: the same words for every protocol."""

    text: str = ""
    thought: str = ""
    calls: tuple[tuple[str, Any], ...] = ()
    usage: tuple[int, int, int, int] | None = None  # in, out, of it read and written in a cache


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One recorded question and its answer; `turn` counts those of its file that look alike."""

    file: str
    kind: str
    flavour: str
    prefix: str
    model: str
    streamed: bool
    status: int
    turn: int
    body: bytes = field(repr=False)

    @property
    def failed(self) -> bool:
        """Whether an error came in the middle of the answer."""
        if self.kind == "bedrock":
            return b":exception-type" in self.body
        return self.streamed and bool(_failures(self.body))

    @property
    def said(self) -> Said:
        there = _READERS[self.kind](self.body, streamed=self.streamed)
        return there if any(there.usage or ()) else replace(there, usage=None)

    def base_url(self, url: str) -> str:
        """Where to ask so that the server replays the file of this exchange."""
        return f"{url}/c/{quote(self.file, safe='')}{self.prefix}"

    def __str__(self) -> str:
        return f"{Path(self.file).stem}-{self.kind}-{self.turn}{'-stream' * self.streamed}"


def shared() -> Path | None:
    """The folder with what is not ours."""
    if told := os.environ.get("HOLDFAST_SHARED"):
        return Path(told)
    git = subprocess.run(
        ["git", "rev-parse", "--git-common-dir"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    homes = [ROOT, *([(ROOT / git.stdout.strip()).resolve().parent] if git.stdout else [])]
    return next((there for home in homes if (there := home.parent / "shared").is_dir()), None)


def recordings() -> Path | None:
    here = shared()
    return here / "data" / "cassettes" if here and (here / "data" / "cassettes").is_dir() else None


@cache
def replay() -> ModuleType:
    """The replaying server's own module, for how it reads a file."""
    here = shared()
    assert here
    path = here / "verify" / "cassette_replay.py"
    spec = importlib.util.spec_from_file_location("cassette_replay", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def exchanges() -> tuple[tuple[Exchange, ...], tuple[tuple[str, str], ...]]:
    """All questions to a model, and every other request that was recorded, with why it is none."""
    root = recordings()
    if root is None:
        return (), ()
    asked: list[Exchange] = []
    others: list[tuple[str, str]] = []
    for path in sorted(root.rglob("*.yaml")):
        file = path.relative_to(root).as_posix()
        turns: dict[tuple[str, bool], int] = {}
        with path.open(encoding="utf-8") as text:
            document: Any = yaml.load(text, yaml.CSafeLoader)
        for one in document["interactions"]:
            if why := _not_a_question(one):
                others.append((file, why))
                continue
            exchange = _exchange(file, one, turns)
            asked.append(exchange)
    return tuple(asked), tuple(others)


@contextmanager
def replaying(*options: str) -> Generator[str]:
    """The replaying server as a process: its URL."""
    here, root = shared(), recordings()
    assert here
    assert root
    script = here / "verify" / "cassette_replay.py"
    port = _free_port()
    command = [sys.executable, str(script), str(root), str(port), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout
            assert server.stdout.readline() == b"ready\n"
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(10)


class Cutting:
    """The same, with an end after so many bytes that can be set for each answer."""

    def __init__(self) -> None:
        here, root = shared(), recordings()
        assert here
        assert root
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        script = here / "verify" / "cassette_replay.py"
        command = [sys.executable, "-c", _SERVE, str(script), str(root), str(port)]
        self._server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Cutting:
        assert self._server.stdout
        assert self._server.stdout.readline() == "ready\n"
        return self

    def __exit__(self, *_: object) -> None:
        with self._server:
            self._server.terminate()
            self._server.wait(10)

    def rewind(self) -> None:
        """From the first answer of every file again."""
        self._tell("rewind")

    def cut_after(self, count: int) -> None:
        """0: not at all."""
        self._tell(f"cut {count}")

    def _tell(self, words: str) -> None:
        assert self._server.stdin
        assert self._server.stdout
        self._server.stdin.write(f"{words}\n")
        self._server.stdin.flush()
        assert self._server.stdout.readline() == "done\n"


def _free_port() -> int:
    with create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def _not_a_question(one: Any) -> str:
    """Why an interaction is no question that a model answers at once; "" if it is one."""
    if "request" not in one:
        return "no request"
    request = one["request"]
    path = urlsplit(str(request["uri"])).path
    body = request.get("parsed_body")
    if request["method"] != "POST":
        return f"{request['method']} of something kept at the provider"
    if not any(path.endswith(end) for end in _KINDS) and not _names_its_model(path):
        return f"{path.rpartition('/')[2]}: no question to a model"
    if isinstance(body, dict) and cast("dict[str, Any]", body).get("background"):
        return "an answer in the background, to be fetched later"
    return ""


def _names_its_model(path: str) -> bool:
    gemini = path.startswith("/v1beta/models/")
    if gemini and path.endswith((":generateContent", ":streamGenerateContent")):
        return True
    return path.startswith("/model/") and path.endswith(("/converse", "/converse-stream"))


# How a question's path ends: what it speaks, and what comes before it in a provider's address.
_KINDS = {
    "/chat/completions": "openai-compatible",
    "/responses": "openai-responses",
    "/messages": "anthropic",
}


def _exchange(file: str, one: Any, turns: dict[tuple[str, bool], int]) -> Exchange:
    parts = urlsplit(str(one["request"]["uri"]))
    sent: dict[str, Any] = _table(one["request"].get("parsed_body"))
    prefix = ""
    if parts.path.startswith("/model/"):
        kind, streamed = "bedrock", parts.path.endswith("-stream")
        model = unquote(parts.path.split("/")[2])
    elif _names_its_model(parts.path):
        kind, streamed = "google", parts.path.endswith(":streamGenerateContent")
        model = parts.path.rpartition("/")[2].partition(":")[0]
    else:
        end = next(end for end in _KINDS if parts.path.endswith(end))
        kind, streamed = _KINDS[end], bool(sent.get("stream"))
        prefix, model = parts.path.removesuffix(end), str(sent["model"])
        prefix = prefix.removesuffix("/v1") if kind == "anthropic" else prefix
    turn = turns.get((parts.path, streamed), 0)
    turns[parts.path, streamed] = turn + 1
    host = parts.hostname or ""
    known = next((one for one in KNOWN.values() if f"//{host}/" in one.base_url), None)
    flavour = known.flavour if known else ""
    if kind == "openai-compatible" and host.endswith("openai.com"):
        kind = "openai"
    return Exchange(
        file=file,
        kind=kind,
        flavour=flavour,
        prefix=prefix,
        model=model,
        streamed=streamed,
        status=one["response"]["status"]["code"],
        turn=turn,
        body=replay().body_of(one["response"]),
    )


def _events(body: bytes) -> list[dict[str, Any]]:
    """The objects of a stream of server-sent events."""
    found: list[dict[str, Any]] = []
    for block in body.replace(b"\r\n", b"\n").split(b"\n\n"):
        lines = [line for line in block.split(b"\n") if line.startswith(b"data:")]
        data = b"\n".join(line.removeprefix(b"data:").removeprefix(b" ") for line in lines)
        if data and data.strip() != b"[DONE]":
            found.append(json.loads(data))
    return found


def _failures(body: bytes) -> list[dict[str, Any]]:
    return [event for event in _events(body) if event.get("error") or event.get("type") == "error"]


def _table(value: Any) -> dict[str, Any]:
    return value or {}


def _row(value: Any) -> list[Any]:
    return value or []


def _arguments(text: str) -> Any:
    try:
        return json.loads(text or "{}")
    except ValueError:
        return {}


def _chat(body: bytes, *, streamed: bool) -> Said:
    pieces = _events(body) if streamed else [json.loads(body)]
    text, thought = "", ""
    calls: dict[int, list[str]] = {}
    counted: Any = None
    for piece in pieces:
        counted = piece.get("usage") or _table(piece.get("x_groq")).get("usage") or counted
        for choice in _row(piece.get("choices"))[:1]:
            said = _table(choice.get("delta" if streamed else "message"))
            parts = _parts(said.get("content"))
            text += "".join(one.get("text") or "" for one in parts)
            inner = [part for one in parts for part in _row(one.get("thinking"))]
            thought += "".join(part.get("text") or "" for part in inner)
            thought += said.get("reasoning_content") or said.get("reasoning") or ""
            for place, call in enumerate(_row(said.get("tool_calls"))):
                known = calls.setdefault(call.get("index", place), ["", ""])
                known[0] += _table(call.get("function")).get("name") or ""
                known[1] += _table(call.get("function")).get("arguments") or ""
    usage = None
    if counted:
        details = _table(counted.get("prompt_tokens_details"))
        usage = (
            counted["prompt_tokens"],
            counted["completion_tokens"],
            details.get("cached_tokens") or 0,
            details.get("cache_write_tokens") or 0,
        )
    made = tuple((name, _arguments(said)) for _, (name, said) in sorted(calls.items()))
    return Said(text=text, thought=thought, calls=made, usage=usage)


def _parts(content: Any) -> list[Any]:
    """Content as a list of parts, as Mistral has it; others have words."""
    return cast("list[Any]", content) if isinstance(content, list) else [{"text": content}]


def _responses(body: bytes, *, streamed: bool) -> Said:
    if streamed:
        ends = {"response.completed", "response.incomplete", "response.failed"}
        events = _events(body)
        answer: dict[str, Any] = next(
            one["response"] for one in reversed(events) if one["type"] in ends
        )
        done = [one["item"] for one in events if one["type"] == "response.output_item.done"]
        answer = {**answer, "output": answer.get("output") or done}
    else:
        answer = json.loads(body)
    output = answer["output"]
    messages = [item for item in output if item["type"] == "message"]
    counted: Any = answer.get("usage")
    details = _table(_table(counted).get("input_tokens_details"))
    return Said(
        text="".join(part.get("text") or "" for one in messages for part in one["content"]),
        thought="".join(
            part["text"] for one in output if one["type"] == "reasoning" for part in one["summary"]
        ),
        calls=tuple(call for one in output for call in _calls_of(one)),
        usage=(
            counted["input_tokens"],
            counted["output_tokens"],
            details.get("cached_tokens") or 0,
            details.get("cache_write_tokens") or 0,
        )
        if counted
        else None,
    )


def _calls_of(item: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """A function's call; a search for tools is one too, where the caller is to answer it."""
    if item["type"] == "function_call":
        yield item["name"], _arguments(item["arguments"])
    elif item["type"] == "tool_search_call" and item["execution"] == "client":
        yield "search_tools", item["arguments"]


def _messages(body: bytes, *, streamed: bool) -> Said:
    if not streamed:
        answer = json.loads(body)
        return _said_in_blocks(answer["content"], answer["usage"])
    blocks: dict[int, dict[str, Any]] = {}
    counted: dict[str, Any] = {}
    for event in _events(body):
        match event["type"]:
            case "message_start":
                counted |= event["message"]["usage"]
            case "content_block_start":
                blocks[event["index"]] = {**event["content_block"], "json": ""}
            case "content_block_delta":
                block, delta = blocks[event["index"]], event["delta"]
                for name in ("text", "thinking"):
                    block[name] = block.get(name, "") + delta.get(name, "")
                block["json"] += delta.get("partial_json", "")
            case "message_delta":
                counted |= {name: value for name, value in event["usage"].items() if value}
            case _:
                pass
    for block in blocks.values():
        if block["type"] == "tool_use" and block["json"]:
            block["input"] = _arguments(block["json"])
    return _said_in_blocks([blocks[index] for index in sorted(blocks)], counted)


def _said_in_blocks(blocks: list[dict[str, Any]], counted: dict[str, Any]) -> Said:
    read = counted.get("cache_read_input_tokens") or 0
    written = counted.get("cache_creation_input_tokens") or 0
    return Said(
        text="".join(one["text"] for one in blocks if one["type"] == "text"),
        thought="".join(one["thinking"] for one in blocks if one["type"] == "thinking"),
        calls=tuple((one["name"], one["input"]) for one in blocks if one["type"] == "tool_use"),
        usage=(
            counted["input_tokens"] + read + written,
            counted["output_tokens"],
            read,
            written,
        ),
    )


def _gemini(body: bytes, *, streamed: bool) -> Said:
    pieces = _events(body) if streamed else [json.loads(body)]
    parts = [
        part
        for piece in pieces
        for candidate in _row(piece.get("candidates"))[:1]
        for part in _row(_table(candidate.get("content")).get("parts"))
    ]
    counted = next((one["usageMetadata"] for one in pieces[::-1] if "usageMetadata" in one), None)
    told = _table(counted)
    return Said(
        text="".join(one.get("text") or "" for one in parts if not one.get("thought")),
        thought="".join(one.get("text") or "" for one in parts if one.get("thought")),
        calls=tuple(
            (one["functionCall"]["name"], _table(one["functionCall"].get("args")))
            for one in parts
            if "functionCall" in one
        ),
        usage=(
            told.get("promptTokenCount", 0) + told.get("toolUsePromptTokenCount", 0),
            told.get("candidatesTokenCount", 0) + told.get("thoughtsTokenCount", 0),
            told.get("cachedContentTokenCount", 0),
            0,
        )
        if counted
        else None,
    )


def _converse(body: bytes, *, streamed: bool) -> Said:
    if not streamed:
        answer = json.loads(body)
        blocks: list[dict[str, Any]] = [
            {
                "text": one.get("text") or "",
                "thought": _table(_table(one.get("reasoningContent")).get("reasoningText")).get(
                    "text", ""
                ),
                "call": _table(one.get("toolUse")),
            }
            for one in answer["output"]["message"]["content"]
        ]
        return _said_by_bedrock(blocks, answer["usage"])
    found: dict[int, dict[str, Any]] = {}
    counted: dict[str, Any] = {}
    for kind, event in _frames(body):
        block: dict[str, Any] = found.setdefault(
            event.get("contentBlockIndex", -1), {"text": "", "thought": "", "json": "", "call": {}}
        )
        delta = _table(event.get("delta"))
        block["text"] += delta.get("text") or ""
        block["thought"] += _table(delta.get("reasoningContent")).get("text") or ""
        block["json"] += _table(delta.get("toolUse")).get("input") or ""
        if kind == "contentBlockStart":
            block["call"] = _table(event["start"].get("toolUse"))
        counted = event["usage"] if kind == "metadata" else counted
    for block in found.values():
        if block["call"]:
            block["call"] = {**block["call"], "input": _arguments(block["json"])}
    return _said_by_bedrock([found[index] for index in sorted(found)], counted)


def _said_by_bedrock(blocks: list[dict[str, Any]], counted: dict[str, Any]) -> Said:
    read = counted.get("cacheReadInputTokens") or 0
    written = counted.get("cacheWriteInputTokens") or 0
    calls = [one["call"] for one in blocks if one["call"]]
    total = counted.get("inputTokens", 0) + read + written
    return Said(
        text="".join(one["text"] for one in blocks),
        thought="".join(one["thought"] for one in blocks),
        calls=tuple((call["name"], call["input"]) for call in calls),
        usage=(total, counted.get("outputTokens", 0), read, written) if counted else None,
    )


def _frames(body: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    """AWS's event stream: two lengths, a check sum, headers, the body, a check sum."""
    place = 0
    while place < len(body):
        size, headers = struct.unpack_from(">II", body, place)
        told = body[place + 12 : place + 12 + headers]
        kind = told.partition(b":event-type\x07")[2]
        length = int.from_bytes(kind[:2], "big")
        said = json.loads(body[place + 12 + headers : place + size - 4])
        yield kind[2 : 2 + length].decode(), said
        place += size


_READERS = {
    "bedrock": _converse,
    "openai": _chat,
    "openai-compatible": _chat,
    "openai-responses": _responses,
    "anthropic": _messages,
    "google": _gemini,
}
