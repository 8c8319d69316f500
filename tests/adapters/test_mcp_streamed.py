"""A server of 2024: all that it says comes in one stream, and it is asked elsewhere."""

from __future__ import annotations

import json
import queue
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from holdfast.core.error import Unavailable
from holdfast.core.mcp import ServerSpec
from holdfast.core.message import EffectClass, Unknown
from holdfast.testing.website import Asked, Reply, Website
from tests.adapters.mcp_far import Far, told
from tests.adapters.mcp_stage import Stage, inner, staged
from tests.adapters.plain_egress import PlainEgress

pytestmark = pytest.mark.anyio
EVENTS = {"Content-Type": "text/event-stream", "Content-Length": "10000000"}


class Streaming(Far):
    """`place` is where it says that it is asked; `says` is what its stream begins with."""

    def __init__(self, place: str = "/messages?id=1", says: bytes = b"") -> None:
        super().__init__()
        self.place, self.says = place, says
        self.streams: list[queue.Queue[bytes]] = []

    def __call__(self, asked: Asked) -> Reply | None:
        if asked.method == "GET" and asked.path == "/sse":
            stream: queue.Queue[bytes] = queue.Queue()
            self.streams.append(stream)
            return Reply(headers=EVENTS, body=lambda: self._pieces(stream))
        if asked.method == "POST" and asked.path == "/messages":
            answer = super().__call__(asked)
            message = json.loads(asked.body)
            if "id" in message and answer is not None and isinstance(answer.body, bytes):
                self.streams[-1].put(b"event: message\ndata: " + answer.body + b"\n\n")
            return Reply(status=202, body=b"Accepted")
        return Reply(status=405)

    def end(self) -> None:
        for stream in self.streams:
            stream.put(b"")

    def _pieces(self, stream: queue.Queue[bytes]) -> Iterable[bytes]:
        yield self.says + b": hello\r\n\r\n"
        yield f"event: endpoint\r\ndata: {self.place}\r\n\r\n".encode()
        while piece := stream.get(timeout=30):
            yield piece


@asynccontextmanager
async def far(
    place: Path, server: Streaming, *, trusted: bool = True, **more: Any
) -> AsyncGenerator[tuple[Stage, Website]]:
    with Website(rule=server) as site:
        spec = ServerSpec(name="far", url=f"{site.url}/sse", **more)
        async with staged(place, spec, egress=PlainEgress(), trusted=trusted) as stage:
            try:
                yield stage, site
            finally:
                server.end()


async def test_it_is_found_out_once_and_used_like_any_other(tmp_path: Path):
    """Part of rows GC-94, OK-138, KV-51."""
    async with far(tmp_path, Streaming()) as (stage, site):
        assert "hello" in inner(await stage.says("far_look"))
        assert "hello" in inner(await stage.says("far_look"))
        tried = [one for one in site.asked if (one.method, one.path) == ("POST", "/sse")]
        assert [json.loads(one.body)["method"] for one in tried] == [
            "server/discover",
            "initialize",
        ]


async def test_a_server_that_has_moved_on_is_spoken_to_as_it_is_now(tmp_path: Path):
    server = Streaming()
    async with far(tmp_path, server) as (stage, site):
        assert "hello" in inner(await stage.says("far_look"))
        await stage.servers.release(stage.job.task)
        newer = Far()

        def moved(asked: Asked) -> Reply | None:
            return Reply(status=405) if asked.method == "GET" else newer(asked)

        site.rule = moved
        for _ in range(2):
            assert "hello" in inner(await stage.says("far_look"))
            await stage.servers.release(stage.job.task)
        streams = [one for one in site.asked if one.method == "GET"]
        begun = [one for one in streams if "mcp-session-id" not in one.headers]
        assert len(begun) == 3, "its stream of 2024 is asked for once more, and then never"


async def test_a_stream_that_ends_ends_the_call_and_the_next_one_begins_anew(tmp_path: Path):
    server = Streaming()

    def ending(_: Any) -> Reply:
        server.end()
        return Reply(body=b"")

    server.answer = ending
    async with far(tmp_path, server, seconds=20.0) as (stage, _):
        outcome = await stage.run("far_look")
        assert isinstance(outcome, Unknown), "it heard the question"
        server.answer = None
        with anyio.fail_after(20):
            assert "hello" in inner(await stage.says("far_look"))


@pytest.mark.parametrize(
    ("server", "words"),
    [
        (Streaming(place="http://127.0.0.1:9/messages"), "another place"),
        (Streaming(place="//elsewhere.example/messages"), "another place"),
        (Streaming(says=b"data: {nonsense\n\n"), "makes no sense"),
        (Streaming(says=b"data: " + b"x" * (9 << 20)), "more than 8 MiB"),
        (Streaming(says=b"data: " + told(9, {}) + b"\n\n"), ""),
    ],
)
async def test_whatever_its_stream_says_first_hurts_nobody(
    tmp_path: Path, server: Streaming, words: str
):
    async with far(tmp_path, server, trusted=False, start_seconds=5.0) as (stage, site):
        with anyio.fail_after(20):
            if not words:
                assert (await stage.servers.inspect("far")).protocol == "2025-06-18"
                return
            with pytest.raises(Unavailable, match=words):
                await stage.servers.inspect("far")
        assert not [one for one in site.asked if one.path == "/messages"]


async def test_a_place_that_is_no_server_at_all_is_told_as_that(tmp_path: Path):
    with Website(rule=lambda asked: Reply(status=404)) as site:
        spec = ServerSpec(name="far", url=f"{site.url}/mcp", effects={"*": EffectClass.READS})
        async with staged(tmp_path, spec, egress=PlainEgress(), trusted=False) as stage:
            with pytest.raises(Unavailable, match="it answers initialize with status 404"):
                await stage.servers.inspect("far")
