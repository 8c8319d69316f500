"""Failover over real HTTP: for each fault who was asked when and why, and what a watcher heard.

What is seen here is the table in docs/guides/failover.md; HOLDFAST_GOLDEN=write renews it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import anyio.abc
import pytest

from holdfast.adapters.models.catalog import Catalog
from holdfast.adapters.models.failover import EMPTY, LONGEST_PAUSE, PAUSES, RULES
from holdfast.adapters.models.settings import Kind, ModelsConfig, Provider, Timeouts
from holdfast.core.message import Reply, Try
from holdfast.ports.model import Delta, ModelFailure
from holdfast.testing.model_contract import prompt
from holdfast.testing.model_server import ModelServer
from holdfast.testing.model_server import Reply as Say
from tests.adapters.payers import Book

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "failover.md"
SHORT = Timeouts(connect=0.4, first=0.4, idle=0.4, total=10)
LONG = Timeouts(connect=5, first=5, idle=5, total=10)
WORDS = "All is well here, thank you."
GOOD = Say(text=WORDS, chunks=5)
KINDS: tuple[Kind, ...] = ("openai-compatible", "anthropic")
OVERFLOW = "This model's maximum context length is 8 tokens."


@dataclass(frozen=True)
class Fault:
    """What goes wrong with the first model: a scripted reply, or a port where it is not."""

    name: str
    says: Say | None = None
    port: str = ""
    heard: bool = False


FAULTS = (
    Fault("400", Say(status=400)),
    Fault("401", Say(status=401)),
    Fault("402", Say(status=402)),
    Fault("403", Say(status=403)),
    Fault("404", Say(status=404)),
    Fault("408", Say(status=408)),
    Fault("429", Say(status=429)),
    Fault("429, Retry-After: 2", Say(status=429, retry_after=2)),
    Fault("429, Retry-After: 90", Say(status=429, retry_after=90)),
    Fault("500", Say(status=500)),
    Fault("502", Say(status=502)),
    Fault("503", Say(status=503)),
    Fault("503, Retry-After: 2", Say(status=503, retry_after=2)),
    Fault("529", Say(status=529)),
    Fault("connection refused", port="closed"),
    Fault("accepts and never answers", port="mute"),
    Fault("stall before the first token", Say(text=WORDS, chunks=5, cut=0, stall=True)),
    Fault("stall in the stream", Say(text=WORDS, chunks=5, cut=3, stall=True), heard=True),
    Fault("stream cut off", Say(text=WORDS, chunks=5, cut=3), heard=True),
    Fault(
        "stream cut off politely", Say(text=WORDS, chunks=5, cut=3, cut_cleanly=True), heard=True
    ),
    Fault("what is no JSON", Say(text=WORDS, malformed=True)),
    Fault("an empty answer", Say()),
    Fault("context overflow", Say(status=400, text=OVERFLOW, error="context_length_exceeded")),
    Fault("content filter", Say(text="Once", finish="content_filter"), heard=True),
)


@dataclass
class Outcome:
    """What came of one call, and all that was seen on the way."""

    came: Reply | ModelFailure
    pauses: list[float]
    left_alone: float
    heard: list[Delta]
    book: Book = field(default_factory=Book)

    @property
    def tried(self) -> Sequence[Try]:
        return self.came.tried


@pytest.fixture(scope="module")
def pair() -> Generator[tuple[ModelServer, ModelServer]]:
    with ModelServer() as first, ModelServer() as second:
        yield first, second


@contextmanager
def place(fault: Fault, server: ModelServer, *says: Say) -> Generator[str]:
    """The address of the first model: of `server`, which then says this, or of a port."""
    server.reset()
    server.load(*says)
    if not fault.port:
        yield server.url
        return
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        if fault.port == "mute":
            bound.listen(64)
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


def asked(kind: Kind, first: str, second: str = "") -> Outcome:
    """One call to the first model, with the second to stand in for it, if there is one."""

    def provider(url: str, timeouts: Timeouts) -> Provider:
        path = "/v1" if kind == "openai-compatible" else ""
        return Provider(kind=kind, base_url=url + path, api_key="key", timeouts=timeouts)

    providers = {"first": provider(first, SHORT)}
    if second:
        providers["second"] = provider(second, LONG)
    config = ModelsConfig(
        providers=providers,
        default="first/scripted",
        probe=False,
        fallback={"first/scripted": ("second/scripted",) if second else ()},
    )
    outcome = Outcome(Reply(), [], 0, [])

    async def pause(seconds: float) -> None:
        outcome.pauses.append(seconds)

    async def call() -> None:
        catalog = Catalog(config, now=lambda: 1_800_000_000_000, sleep=pause)
        try:
            with anyio.fail_after(30):
                outcome.came = await catalog.answer(
                    "", prompt("How are you?"), (), outcome.heard.append, outcome.book
                )
        except ModelFailure as failure:
            outcome.came = failure
        finally:
            await catalog.close()
        (health,) = [one for one in catalog.health() if one.model == "first/scripted"] or [None]
        outcome.left_alone = health.cooldown_remaining if health else 0

    anyio.run(call)
    check(outcome)
    return outcome


def check(outcome: Outcome) -> None:
    """What holds for every call: no half answer is left standing, every hold is ended once."""
    resets = [place for place, delta in enumerate(outcome.heard) if delta.reset]
    after = outcome.heard[resets[-1] + 1 :] if resets else outcome.heard
    words = outcome.came.text if isinstance(outcome.came, Reply) else ""
    assert "".join(delta.text for delta in after) == words
    real = [one for one in outcome.tried if one.code != "skipped"]
    assert len(outcome.book.ends) == len(real)
    assert outcome.book.open == 0
    assert outcome.book.most_open == 1


@pytest.fixture(scope="module")
def table() -> Generator[dict[str, str]]:
    """The rows that were seen; complete ones are compared with the guide."""
    seen: dict[str, str] = {}
    yield seen
    if seen.keys() >= {fault.name for fault in FAULTS}:
        head = "| what happens | code | with another model | alone | left alone for |\n"
        rows = "".join(seen[fault.name] for fault in FAULTS)
        assert_in_guide("faults", f"{head}|---|---|---|---|---|\n{rows}")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_each_fault_has_its_place_in_the_table(
    fault: Fault, kind: Kind, pair: tuple[ModelServer, ModelServer], table: dict[str, str]
):
    """Row OL-33. Part of rows OL-30, OL-32, OK-86, GC-34."""
    first, second = pair
    says = [fault.says] if fault.says else []
    second.reset()
    second.load(GOOD)
    with place(fault, first, *says, GOOD) as url:
        chain = asked(kind, url, second.url)
        assert len(first.requests) == len(says)
    with place(fault, first, *says, GOOD) as url:
        alone = asked(kind, url)
    code = chain.tried[0].code
    rule = RULES[code]
    assert chain.tried[0].model == "first/scripted"
    if rule.worth == "nothing":
        assert isinstance(chain.came, ModelFailure)
        assert second.requests == []
        assert chain.left_alone == 0
    else:
        assert isinstance(chain.came, Reply)
        assert (chain.came.text, chain.came.model) == (WORDS, "second/scripted")
        assert len(second.requests) == 1
        assert 0 < chain.tried[1].first <= LONG.first * 1000
        assert chain.tried[1].after >= chain.tried[0].took
    resets = [delta.model for delta in chain.heard if delta.reset]
    successor = "" if rule.worth == "nothing" else "second/scripted"
    assert resets == ([successor] if fault.heard else [])
    row = (fault.name, f"`{code}`", _path(chain), _path(alone), _time(chain.left_alone))
    line = f"| {' | '.join(row)} |\n"
    assert table.setdefault(fault.name, line) == line, "each kind of provider is treated alike"


def _path(outcome: Outcome) -> str:
    """What was done, in words."""
    retries = sum(one.next == "retry" for one in outcome.tried)
    if any(one.next == "failover" for one in outcome.tried):
        return "goes on to it at once"
    if isinstance(outcome.came, Reply) and not retries:
        return "is the answer"
    if isinstance(outcome.came, ModelFailure) and not retries:
        later = outcome.came.retry_after
        return f"fails; the task waits {later:g} s" if later else "fails at once"
    if isinstance(outcome.came, Reply):
        return f"asked again after {_about(outcome.pauses[0])}"
    return f"asked again {retries} times, then fails"


def _about(pause: float) -> str:
    near = [one for one in PAUSES if 0.8 * one <= pause <= 1.2 * one]
    return f"about {near[0]:g} s" if near else f"{pause:g} s"


def _time(seconds: float) -> str:
    return f"{seconds:g} s" if seconds else "—"


def test_the_guide_has_the_rules_as_they_are():
    worth = {"nothing": "fails at once", "another": "another model", "both": "another, or again"}
    cooling = {
        "none": "—",
        "growing": "60, 300, 1500 s …",
        "told": "as it says, else 60, 120 s",
        "long": "3600 s",
    }
    rows = "".join(
        f"| `{code}` | {worth[rule.worth]} | {cooling[rule.cooling]} | {rule.why} |\n"
        for code, rule in RULES.items()
    )
    head = "| code | worth trying | left alone for | because |\n|---|---|---|---|\n"
    assert_in_guide("rules", head + rows)
    assert f"up to {LONGEST_PAUSE:g} seconds" in GUIDE.read_text("utf-8")
    assert EMPTY in RULES


def assert_in_guide(name: str, text: str) -> None:
    page = GUIDE.read_text("utf-8")
    before, begin, rest = page.partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition(f"<!-- /{name} -->")
    fresh = f"{before}{begin}{text}{end}{after}"
    if os.environ.get("HOLDFAST_GOLDEN") == "write":
        GUIDE.write_text(fresh, "utf-8")
    assert begin
    assert end
    assert page == fresh or os.environ.get("HOLDFAST_GOLDEN") == "write", "HOLDFAST_GOLDEN=write"


TOO_LONG = (
    "prompt is too long: 208310 tokens > 200000 maximum",
    "Tokens too long for this model",
    "This model's maximum context length is 8192 tokens, however you requested 9000",
    "context_length_exceeded",
    "The input exceeds the maximum number of tokens allowed (1048576)",
    "Input is too long for requested model.",
    "Validation error: expected maxTokens to be smaller",
    "Please reduce the length of the messages or completion.",
    "Too many tokens in the request",
    "You exceeded the token limit of this model",
    "larger than the context window of 4096",
    "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000",
    "the messages leave no room for max_tokens",
    "content_length_limit reached",
    "Request too large for this model",
)


@pytest.mark.parametrize("kind", KINDS)
def test_a_conversation_that_is_too_long_is_known_by_any_of_its_names(
    kind: Kind, pair: tuple[ModelServer, ModelServer]
):
    """Part of row OK-19."""
    server, second = pair
    for words in TOO_LONG:
        server.reset()
        server.load(Say(status=400, text=words))
        second.reset()
        outcome = asked(kind, server.url, second.url)
        assert outcome.tried[0].code == "context_overflow", words
        assert second.requests == []
    for words in ("max_tokens is too large: 9000", "tools must be an array"):
        server.load(Say(status=400, text=words))
        assert asked(kind, server.url).tried[0].code == "invalid_request", words
    server.load(Say(status=500, text="the request exceeds the available context size"))
    assert asked(kind, server.url).tried[0].code == "context_overflow"


# What a single provider sees


@pytest.mark.parametrize(
    ("script", "requests", "good"),
    [
        ([500, 500, 200], 3, True),
        ([503, 503, 200], 3, True),
        ([500, 503, 429, 500, 200], 4, False),
        ([429, 200], 2, True),
    ],
)
def test_a_failing_provider_is_asked_four_times_at_most(
    script: list[int], requests: int, good: bool
):
    """Rows OL-70, OC-60. Part of row KV-23."""
    says = [GOOD if status == 200 else Say(status=status) for status in script]
    with ModelServer(says) as server:
        outcome = asked("openai-compatible", server.url)
        assert len(server.requests) == requests
    assert isinstance(outcome.came, Reply) == good


def test_a_provider_that_says_when_to_come_back_is_asked_then():
    """Row OK-87."""
    with ModelServer([Say(status=429, retry_after=1), GOOD]) as server:
        outcome = asked("openai-compatible", server.url)
        assert isinstance(outcome.came, Reply)
        assert outcome.pauses == [1.1]
        server.reset()
        server.load(Say(status=503), Say(status=503), GOOD)
        assert isinstance(asked("openai-compatible", server.url).came, Reply)


def test_after_a_silence_the_same_model_is_asked_on_a_new_connection():
    """Row KV-23."""
    seen: list[int] = []

    async def serve(stream: anyio.abc.SocketStream) -> None:
        number = len(seen)
        seen.append(0)
        async with stream:
            while True:
                try:
                    await stream.receive()
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    return
                seen[number] += 1
                if number == 1:
                    continue  # it took the second request and never answers
                await stream.send(ANSWER)

    async def play() -> None:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with listener, anyio.create_task_group() as group:
            group.start_soon(listener.serve, serve)
            provider = Provider(kind="openai-compatible", base_url=f"http://127.0.0.1:{port}/v1")
            config = ModelsConfig(providers={"here": provider}, probe=False, timeouts=SHORT)
            pauses: list[float] = []

            async def pause(seconds: float) -> None:
                pauses.append(seconds)

            catalog = Catalog(config, sleep=pause)
            with anyio.fail_after(20):
                replies = [
                    await catalog.answer("here/m", prompt("hello"), (), lambda _: None, Book())
                    for _ in range(2)
                ]
            await catalog.close()
            assert [reply.text for reply in replies] == ["Hello."] * 2
            assert [one.next for one in replies[1].tried] == ["retry", ""]
            assert replies[1].tried[0].code == "timeout"
            group.cancel_scope.cancel()

    anyio.run(play)
    assert len(seen) == 3, "the third request came on a connection that nobody had used"


EVENT = (
    b'data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":'
    b'[{"index":0,"delta":{"role":"assistant","content":"Hello."},"finish_reason":"stop"}]}\n\n'
    b"data: [DONE]\n\n"
)
ANSWER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(EVENT), EVENT)
)


def test_each_provider_has_deadlines_of_its_own():
    late = Say(text=WORDS, delay=0.7)
    with ModelServer([late]) as first, ModelServer([late]) as second:
        outcome = asked("openai-compatible", first.url, second.url)
    assert [one.code for one in outcome.tried] == ["timeout", ""]
    assert outcome.tried[1].first >= 700
