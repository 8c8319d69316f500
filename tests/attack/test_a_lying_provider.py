"""A provider that counts what cannot be, never stops, leads elsewhere, or writes too much."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import anyio
import pytest

from holdfast.adapters.models.catalog import Catalog
from holdfast.adapters.models.checking import check
from holdfast.adapters.models.failover import Patience
from holdfast.adapters.models.settings import Kind, ModelsConfig, Price, Provider, Timeouts
from holdfast.core.error import HoldfastError
from holdfast.core.message import Reply
from holdfast.ports.embedder import Embedded
from holdfast.ports.model import ModelFailure
from holdfast.testing.embedder_contract import Purse
from holdfast.testing.model_contract import nothing, prompt

# The libraries warn of odd counts, in their own words.
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore:Failed to extract usage"),
]

KEY = "sk-canary-0123456789abcdef"
PRICE = Price(input=10, output=100)
DEEP = b'{"error":' * 20_000 + b"1" + b"}" * 20_000


class Liar:
    """Answers every request with the same status, headers and parts of a body."""

    def __init__(self) -> None:
        self.status, self.kind = 200, "text/event-stream"
        self.headers: dict[str, str] = {}
        self.parts: list[bytes] = []
        self.times = 1
        self.asked = list[dict[str, str]]()
        liar = self

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", "0")))
                liar.asked.append({name.lower(): value for name, value in self.headers.items()})
                self.send_response(liar.status)
                self.send_header("content-type", liar.kind)
                for name, value in liar.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                try:
                    for _ in range(liar.times):
                        for part in liar.parts:
                            self.wfile.write(part)
                except OSError:
                    return

            do_GET = do_POST  # noqa: N815 - as above

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as it is named above
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Liar:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join(5)
        self._server.server_close()

    def counts(self, usage: object) -> None:
        """A good answer with this usage, as JSON or as text."""
        told = usage if isinstance(usage, str) else json.dumps(usage)
        self.parts = [
            event({"delta": {"content": "fine"}, "finish_reason": None}),
            event({"delta": {}, "finish_reason": "stop"}),
            f'data: {{"id":"c","object":"chat.completion.chunk","created":1,"model":"m",'
            f'"choices":[],"usage":{told}}}\n\ndata: [DONE]\n\n'.encode(),
        ]


def event(choice: dict[str, Any]) -> bytes:
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return b"data: " + json.dumps(chunk | {"choices": [{"index": 0} | choice]}).encode() + b"\n\n"


@pytest.fixture
def liar() -> Generator[Liar]:
    with Liar() as running:
        yield running


async def ask(liar: Liar, kind: Kind = "openai-compatible", price: Price | None = PRICE) -> Reply:
    path = "/v1" if kind.startswith("openai") else ""
    provider = Provider(kind=kind, base_url=liar.url + path, api_key=KEY, free=False)
    config = ModelsConfig(
        providers={"here": provider},
        probe=False,
        prices={"here/*": price} if price else {},
        timeouts=Timeouts(connect=5, first=20, idle=20, total=30),
    )
    catalog = Catalog(config)
    try:
        with anyio.fail_after(40):
            return await catalog.find("here/m").ask(prompt("hello"), (), nothing)
    finally:
        await catalog.close()


async def fails(liar: Liar, kind: Kind = "openai-compatible") -> ModelFailure:
    with pytest.raises(ModelFailure) as caught:
        await ask(liar, kind)
    return caught.value


def tokens(given: object, taken: object, **more: object) -> dict[str, object]:
    return {"prompt_tokens": given, "completion_tokens": taken, "total_tokens": 0, **more}


@pytest.mark.parametrize(
    "usage",
    [
        tokens(-1_000_000, -1_000_000),
        tokens(10, -1_000_000),
        tokens(10**12, 10**12),
        tokens(9 * 10**18, 9 * 10**18),
        tokens(10**30, 10**30),
        tokens("many", "7"),
        tokens(None, None),
        tokens(10, 5, prompt_tokens_details={"cached_tokens": -(10**9)}),
        tokens(10, 5, prompt_tokens_details={"cached_tokens": 10**9}),
        '{"prompt_tokens":1e400,"completion_tokens":5,"total_tokens":15}',
    ],
    ids=repr,
)
async def test_a_count_that_cannot_be_neither_gives_money_back_nor_takes_it_all(
    liar: Liar, usage: object
):
    liar.counts(usage)
    reply = await ask(liar)
    assert reply.text == "fine"
    assert 0 < reply.usage.input < 1_000
    assert 0 < reply.usage.output < 1_000
    assert 0 < (reply.usage.cost or 0) < 100_000


async def test_tokens_are_counted_whole(liar: Liar):
    liar.counts(tokens(1.5, 2.5))
    usage = (await ask(liar)).usage
    assert (usage.input, usage.output, usage.cost) == (2, 3, 320)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("kind", ["openai-compatible", "openai-responses", "anthropic", "azure"])
async def test_no_key_follows_a_redirect_and_nothing_was_paid(liar: Liar, kind: Kind, status: int):
    with Liar() as other:
        liar.status = status
        liar.headers = {"location": other.url.replace("127.0.0.1", "localhost") + "/v1"}
        failure = await fails(liar, kind)
        assert other.asked == []
    assert len(liar.asked) == 1
    assert failure.code == "not_found"
    assert not failure.paid
    assert not failure.retryable
    assert "leads to localhost" in str(failure)


@pytest.mark.parametrize("kind", ["text/event-stream", "application/json"])
async def test_a_reply_without_an_end_is_not_read_for_ever(liar: Liar, kind: str):
    liar.kind, liar.parts, liar.times = kind, [b"data: " + b"z" * 1_000_000], 200
    failure = await fails(liar)
    assert failure.code == "malformed"
    assert "more than a reply can be" in str(failure)


async def test_a_refusal_is_read_as_far_as_anybody_would(liar: Liar):
    liar.status, liar.kind, liar.parts, liar.times = 400, "text/plain", [b"z" * 1_000_000], 200
    failure = await fails(liar)
    assert failure.code == "invalid_request"
    assert not failure.paid


@pytest.mark.parametrize("status", [200, 500])
async def test_what_unpacks_to_more_than_a_reply_is_not_kept(liar: Liar, status: int):
    liar.status, liar.kind = status, "application/json"
    liar.headers = {"content-encoding": "gzip"}
    liar.parts = [gzip.compress(b" " * 300_000_000, compresslevel=1)]
    failure = await fails(liar)
    assert failure.code == ("malformed" if status == 200 else "overloaded")


@pytest.mark.parametrize("kind", ["text/event-stream", "application/json"])
async def test_an_answer_nested_without_end_is_malformed(liar: Liar, kind: str):
    liar.kind, liar.parts = kind, [DEEP if kind.endswith("json") else b"data: " + DEEP + b"\n\n"]
    assert (await fails(liar)).code == "malformed"


async def test_what_a_provider_says_of_an_error_can_be_shown_and_kept(liar: Liar):
    liar.status, liar.kind = 400, "application/json"
    liar.parts = [b'{"error":{"message":"no \\ud800\\u0000\\u001b[31m\\u0007 way"}}']
    said = str(await fails(liar))
    assert said.isprintable()
    assert "no [31m way" in said


@pytest.mark.parametrize("parts", [[DEEP], [b"z" * 1_000_000] * 200], ids=["deep", "long"])
async def test_a_server_that_lists_models_so_is_not_connected(liar: Liar, parts: list[bytes]):
    liar.kind, liar.parts = "application/json", parts
    provider = Provider(kind="openai-compatible", base_url=liar.url, api_key=KEY)
    with pytest.raises(HoldfastError) as caught:
        await check("here", provider)
    assert caught.value.code in {"bad_address", "not_checked"}
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/html", b"<html>"),
        ("application/json", DEEP),
        ("application/json", b"z" * 65_000_000),
    ],
    ids=["page", "deep", "long"],
)
async def test_what_comes_in_place_of_vectors_is_a_plain_failure(
    liar: Liar, kind: str, body: bytes
):
    liar.kind, liar.parts = kind, [body]
    with pytest.raises(ModelFailure) as caught:
        await vectors(liar)
    assert caught.value.code == "malformed"


async def test_a_count_of_vectors_that_cannot_be_gives_no_money_back(liar: Liar):
    usage = {"prompt_tokens": -1_000_000, "total_tokens": 0}
    data = [{"object": "embedding", "index": 0, "embedding": [1.0, 2.0]}]
    answer = {"object": "list", "model": "m", "usage": usage, "data": data}
    liar.kind, liar.parts = "application/json", [json.dumps(answer).encode()]
    got = await vectors(liar)
    assert 0 < got.usage.input < 100
    assert (got.usage.cost or 0) > 0


async def vectors(liar: Liar) -> Embedded:
    provider = Provider(kind="openai", base_url=f"{liar.url}/v1", api_key=KEY, free=False)
    config = ModelsConfig(
        providers={"here": provider},
        probe=False,
        prices={"here/*": PRICE},
        patience=Patience(retries=0),
    )
    catalog = Catalog(config)
    try:
        with anyio.fail_after(40):
            return await catalog.embedder.embed("here/text-embedding-m", ["one"], Purse())
    finally:
        await catalog.close()
