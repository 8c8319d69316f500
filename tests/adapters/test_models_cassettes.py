"""What real providers have sent is read whole, in any pieces, and never half when it is cut."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import cast

import anyio
import httpx2
import pytest

from holdfast.adapters.models.catalog import Catalog
from holdfast.adapters.models.settings import Flavour, Kind, ModelsConfig, Provider
from holdfast.core.context import Prompt
from holdfast.core.message import Reply
from holdfast.ports.model import ModelFailure
from holdfast.testing.model_contract import nothing, prompt

from .recorded import Cutting, Exchange, Said, exchanges, recordings, replaying

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(recordings() is None, reason="the recordings are not here"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

ASKED, OTHERS = exchanges()
STREAMED = tuple(one for one in ASKED if one.streamed and one.status == 200 and not one.failed)


@asynccontextmanager
async def opened(url: str, wanted: Iterable[Exchange]) -> AsyncGenerator[Catalog]:
    """A provider for each file and protocol."""
    providers = {
        _name(one): Provider(
            kind=cast("Kind", one.kind),
            base_url=one.base_url(url),
            api_key="none",
            flavour=cast("Flavour", one.flavour),
        )
        for one in wanted
    }
    catalog = Catalog(ModelsConfig(providers=providers, probe=False))
    try:
        yield catalog
    finally:
        await catalog.close()


def _name(one: Exchange) -> str:
    return f"p{abs(hash((one.file, one.kind, one.prefix)))}"


async def asked(catalog: Catalog, one: Exchange) -> Reply | ModelFailure:
    question = prompt("hello")
    question = Prompt(
        system="", entries=question.entries, saw=question.saw, stream=one.streamed, tools=False
    )
    with anyio.fail_after(30):
        try:
            return await catalog.find(f"{_name(one)}/{one.model}").ask(question, (), nothing)
        except ModelFailure as failure:
            return failure


def said(reply: Reply, *, counted: bool) -> Said:
    usage = reply.usage
    return Said(
        text=reply.text,
        thought="".join(thought.text for thought in reply.thoughts),
        calls=tuple((call.tool, call.arguments) for call in reply.calls),
        usage=(usage.input, usage.output, usage.cache_read, usage.cache_write) if counted else None,
    )


def wrong(one: Exchange, heard: Reply | ModelFailure) -> list[str]:
    """What is not as it was recorded."""
    why = _wrong(one, heard)
    return [f"{one}: {why}"] if why else []


def _wrong(one: Exchange, heard: Reply | ModelFailure) -> str:
    if one.status != 200 or one.failed:
        return "" if isinstance(heard, ModelFailure) else "an error was taken for a reply"
    if isinstance(heard, ModelFailure):
        return f"{heard.code}: {heard}"
    there = one.said
    here = said(heard, counted=there.usage is not None)
    return "" if here == there else f"\n  recorded {there}\n  heard    {here}"


def test_what_is_no_question_to_a_model_is_left_out_and_counted():
    """Answers in the background, things kept at a provider, files, counting and embedding."""
    reasons = Counter(why for _, why in OTHERS)
    assert sum(reasons.values()) == len(OTHERS)
    assert all(reasons)
    for _, why in OTHERS:
        assert why.endswith(("kept at the provider", "no question to a model", "fetched later"))


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "pieces", [0, *(pytest.param(size, marks=pytest.mark.slow) for size in (7, 1))]
)
async def test_every_recorded_answer_is_read_as_it_was_said(pieces: int):
    options = ("--chunk", str(pieces)) if pieces else ()
    problems: list[str] = []
    with replaying(*options) as url:
        async with opened(url, ASKED) as catalog:
            for one in ASKED:
                problems += wrong(one, await asked(catalog, one))
    assert not problems, f"{len(problems)} of {len(ASKED)}:\n" + "\n".join(problems)


def cuts(one: Exchange) -> list[int]:
    """After each quarter, just before the last events, and short of the end by a little."""
    body, size = one.body, len(one.body)
    last = body.rstrip().rfind(b"\n\n") + 2
    before = body.rfind(b"\n\n", 0, last - 2) + 2
    places = {size // 4, size // 2, size * 3 // 4, before, last, size - 1, size - 2, size - 20}
    return sorted(place for place in places if 0 < place < size)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_recorded_stream_that_is_cut_is_a_failure_or_whole_never_half():
    problems: list[str] = []
    outcomes: Counter[str] = Counter()
    with Cutting() as server, httpx2.Client() as plain:
        async with opened(server.url, STREAMED) as catalog:
            for one in STREAMED:
                for place in cuts(one):
                    server.rewind()
                    server.cut_after(0)
                    _skip(plain, server.url, one)
                    server.cut_after(place)
                    heard = await asked(catalog, one)
                    if isinstance(heard, ModelFailure):
                        outcomes[heard.code] += 1
                        continue
                    outcomes["whole"] += 1
                    there = one.said
                    here = said(heard, counted=False)
                    if (here.text, here.thought, here.calls) != (
                        there.text,
                        there.thought,
                        there.calls,
                    ):
                        problems.append(f"{one} cut after {place} of {len(one.body)}: {here}")
    assert not problems, "\n".join(problems)
    assert outcomes.keys() <= {"whole", "incomplete", "malformed"}, outcomes
    assert outcomes["incomplete"], "the cuts must have been noticed"


def _skip(plain: httpx2.Client, url: str, one: Exchange) -> None:
    """Take the answers that come before this one in its file."""
    ends = {
        "openai": "/chat/completions",
        "openai-compatible": "/chat/completions",
        "openai-responses": "/responses",
        "anthropic": "/v1/messages",
        "google": f"/v1beta/models/{one.model}:streamGenerateContent",
        "bedrock": f"/model/{one.model}/converse-stream",
    }
    for _ in range(one.turn):
        plain.post(f"{one.base_url(url)}{ends[one.kind]}", json={"stream": True})
