"""A house for A2A's own compatibility kit (TCK): a whole daemon whose model plays its scenarios.

    python -m holdfast.testing.a2a_tck --port 9777

prints the address to give to the kit (`run_tck.py --sut-host http://localhost:9777`) and serves
until interrupted. Nothing of the product is other than usual: it is a daemon in a process of its
own, with the gate, the journal and its token. Two things are here because the kit needs them:

- The kit brings no credentials. A relay in front adds the token of the fresh home.
- The kit says by the id of a message what the agent is to do (`tck-input-required-…`), and a model
  sees words only. The relay adds `[tck:…]` to the words, and takes it out of what comes back.

The model then does what the kit's scenarios say: it answers, waits, writes a file, asks a person
(input-required), or proposes a call that needs a yes (auth-required).
"""

from __future__ import annotations

import argparse
import re
import socket
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast

import anyio
import httpx2
import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from .daemon import Daemon, stage, use_model
from .model_script import RecordedRequest, Reply, ScriptedCall
from .model_server import Catalogue, ModelServer

_MARK = re.compile(rb" \[tck:[^\]]*\]")
_SCENARIO = re.compile(r"\[tck:([^\]]*)\]")
_CONFIG = """
[policy]
preset = "open"
[[policy.rule]]
tool = "delete"
say = "ask"
[egress]
private = ["localhost", "127.0.0.1"]
[[egress.allow]]
host = "localhost"
port = 0
tools = ["push"]
[[egress.allow]]
host = "127.0.0.1"
port = 0
tools = ["push"]
"""
_SETTINGS = {"HOLDFAST_SERVER_HTTP": "true", "HOLDFAST_SERVER_PORT": "0"}
_DELAY = 2.0
_ANSWERS: tuple[tuple[str, Reply], ...] = (
    ("tck-complete-task", Reply(text="Hello from TCK")),
    ("tck-delayed-complete", Reply(text="Done after delay", delay=_DELAY)),
    ("tck-artifact-text", Reply(text="Generated text content")),
    ("tck-artifact-file-url", Reply(text="https://example.com/output.txt")),
    ("tck-artifact-data", Reply(text='{"key": "value", "count": 42}')),
    ("tck-message-response", Reply(text="Direct message response")),
    ("tck-reject-task", Reply(text="rejected", status=400)),
    ("tck-stream-artifact-text", Reply(text="Streamed text content")),
    ("tck-stream-artifact-chunked", Reply(text="chunk-1 chunk-2", chunks=2)),
    ("tck-stream-ordering-001", Reply(text="Ordered output")),
    ("tck-stream-001", Reply(text="Stream hello from TCK")),
    ("tck-stream-003", Reply(text="Stream task lifecycle")),
    ("test-resubscribe-message-id", Reply(text="done", delay=2 * _DELAY)),
)
_CALLS: tuple[tuple[str, ScriptedCall], ...] = (
    ("tck-input-required", ScriptedCall(name="ask_person", arguments={"question": "Which one?"})),
    ("tck-auth-required", ScriptedCall(name="delete", arguments={"path": "output.txt"})),
    ("tck-artifact-file", ScriptedCall(name="write", arguments={})),
    ("tck-stream-artifact-file", ScriptedCall(name="write", arguments={})),
)


def scenario(request: RecordedRequest) -> Reply:
    """What the kit wants of the agent now."""
    last = request.messages[-1]
    said = _SCENARIO.findall(str(last.get("content")))
    if last.get("role") == "tool" or not said:
        return Reply(text="Hello from TCK")
    for prefix, reply in _ANSWERS:
        if said[-1].startswith(prefix):
            return reply
    for prefix, call in _CALLS:
        if said[-1].startswith(prefix):
            arguments = call.arguments or {"path": f"{said[-1]}/output.txt", "content": "tck"}
            return Reply(calls=(ScriptedCall(name=call.name, arguments=arguments),))
    return Reply(text=f"Unhandled messageId prefix: {said[-1]}")


class Relay:
    """Hands everything on to the daemon, as its owner; only the marks are its own."""

    def __init__(self, url: str, token: str) -> None:
        self._token = token
        self._client = httpx2.AsyncClient(base_url=url, timeout=None)

    def app(self) -> Starlette:
        methods = ["GET", "POST", "DELETE", "PUT", "PATCH"]
        route = Route("/{path:path}", self._passed, methods=methods)
        return Starlette(routes=[route], lifespan=self._living)

    @asynccontextmanager
    async def _living(self, _: Starlette) -> AsyncGenerator[None]:
        async with self._client:
            yield

    async def _passed(self, request: Request) -> Response:
        headers = {
            key: value
            for key, value in request.headers.items()
            if key not in ("content-length", "authorization", "accept-encoding", "connection")
        }
        sent = self._client.build_request(
            request.method,
            str(request.url.replace(scheme="", netloc="")),
            headers=headers | {"authorization": f"Bearer {self._token}"},
            content=marked(await request.body()),
        )
        answer = await self._client.send(sent, stream=True)
        kept = ("content-type", "etag", "cache-control")
        told = {key: answer.headers[key] for key in kept if key in answer.headers}
        return StreamingResponse(_lines(answer), answer.status_code, told)


async def _lines(answer: httpx2.Response) -> AsyncGenerator[bytes]:
    """Line by line, so that no mark is cut in two."""
    rest = b""
    try:
        async for piece in answer.aiter_raw():
            *whole, rest = (rest + piece).split(b"\n")
            if whole:
                yield _MARK.sub(b"", b"\n".join(whole) + b"\n")
        yield _MARK.sub(b"", rest)
    finally:
        await answer.aclose()


def marked(body: bytes) -> bytes:
    """The same, its message's scenario in its words; what is no message as it was."""
    try:
        told = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return body
    message = _message(told)
    if message is None:
        return body
    name = message.get("messageId")
    parts = message.get("parts")
    if not isinstance(name, str) or not isinstance(parts, list):
        return body
    for part in cast("list[Any]", parts):
        if isinstance(part, dict) and isinstance(text := cast("Json", part).get("text"), str):
            part["text"] = f"{text} [tck:{name}]"
            return msgspec.json.encode(told)
    return body


Json = dict[str, Any]


def _message(told: Any) -> Json | None:
    """Over HTTP it stands at the top, over JSON-RPC in the parameters."""
    table = cast("Json", told) if isinstance(told, dict) else {}
    inner = table.get("params", table)
    found = cast("Mapping[str, Any]", inner).get("message") if isinstance(inner, dict) else None
    return cast("Json", found) if isinstance(found, dict) else None


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m holdfast.testing.a2a_tck", description=__doc__)
    parser.add_argument("--port", type=int, default=9777, help="where the kit asks; 0: any")
    port: int = parser.parse_args(words).port
    with (
        stage("tck") as place,
        ModelServer(rule=scenario, catalogue=Catalogue(models=("scripted",))) as model,
        Daemon(place / "home", _SETTINGS) as daemon,
    ):
        use_model(daemon.home, model.url)
        with (daemon.home / "config.toml").open("a", encoding="utf-8") as config:
            config.write(_CONFIG)
        daemon.start()
        (url,) = [one for one in daemon.get("/api/v1/status")["listening"] if "http" in one]
        token = (Path(daemon.home) / "token").read_text(encoding="utf-8").strip()
        line = socket.create_server(("127.0.0.1", port))
        sys.stdout.write(f"http://localhost:{line.getsockname()[1]}\n")
        sys.stdout.flush()
        server = uvicorn.Server(uvicorn.Config(Relay(url, token).app(), log_level="warning"))
        with suppress(KeyboardInterrupt):
            anyio.run(server.serve, [line])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
