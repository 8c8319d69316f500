"""Vectors over real HTTP: who is asked, how it fails, what it costs, and what was recorded once."""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from holdfast.adapters.models.catalog import Catalog
from holdfast.adapters.models.choosing import SavedChoices
from holdfast.adapters.models.failover import Patience
from holdfast.adapters.models.settings import (
    Kind,
    ModelsConfig,
    Price,
    Provider,
    Role,
    Timeouts,
)
from holdfast.adapters.stores.ledger import StoredLedger
from holdfast.adapters.stores.ledger_memory import MemoryPages
from holdfast.core.error import Invalid
from holdfast.engine.clock import SystemClock
from holdfast.engine.direct import DirectAccount
from holdfast.ports.ledger import Budget, CostQuery, Ledger, OverBudget, Payer
from holdfast.ports.model import ModelFailure
from holdfast.testing.embedder_contract import Purse
from holdfast.testing.model_embeddings import vector_of
from holdfast.testing.model_server import Catalogue, ModelServer, Reply, Usage
from tests.adapters.recorded import recordings, replaying

pytestmark = pytest.mark.anyio

KEY = "sk-test-0123456789abcdef"
PATHS: dict[Kind, str] = {"openai": "/v1", "openai-compatible": "/v1", "azure": "", "google": ""}
TEXTS = ("red apples", "green pears", "a blue whale")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def catalog(
    server: ModelServer, kind: Kind = "openai", retries: int = 0, **more: Any
) -> AsyncGenerator[Catalog]:
    """A catalogue whose role `embedder` is a model of that server, which is paid for."""
    here = Provider(
        kind=kind,
        base_url=server.url + PATHS.get(kind, ""),
        api_key=KEY,
        models=("text-embedding-3-small",),
        free=False,
        **more,
    )
    config = ModelsConfig(
        providers={"here": here},
        roles={"embedder": Role(model="here/text-embedding-3-small")},
        prices={"here/*": Price(input=1.0)},
        patience=Patience(retries=retries),
        timeouts=Timeouts(connect=2, first=5, idle=5, total=5),
        probe=False,
    )

    async def at_once(_: float) -> None:
        """No pause between tries."""

    made = Catalog(config, sleep=at_once)
    try:
        yield made
    finally:
        await made.close()


def said(server: ModelServer) -> list[list[str]]:
    """The texts of every request, in order."""
    return [[str(one["content"]) for one in r.messages] for r in server.requests]


async def test_large_batches_are_split_and_their_vectors_come_back_in_order():
    """Answers that number the vectors are read by their numbers."""
    texts = [f"text {number}" for number in range(600)]
    with ModelServer(default=Reply(shuffled=True)) as server:
        async with catalog(server) as models:
            got = await models.embedder.embed("", texts, Purse())
        asked = said(server)
    assert [len(batch) for batch in asked] == [256, 256, 88]
    assert [text for batch in asked for text in batch] == texts
    for place in range(600):
        assert got.vectors[place] == vector_of(texts[place])
    assert got.model == "here/text-embedding-3-small"


async def test_a_batch_is_never_more_bytes_than_a_provider_takes():
    with ModelServer(default=Reply()) as server:
        async with catalog(server) as models:
            await models.embedder.embed("", ["ü" * 60_000] * 5, Purse())
        sizes = [sum(len(text.encode()) for text in batch) for batch in said(server)]
    assert sizes == [240_000, 240_000, 120_000]


WRONG: dict[str, tuple[Reply, str, str]] = {
    "400": (Reply(status=400, text="no such dimension"), "invalid_request", "release"),
    "401": (Reply(status=401, text=f"bad key {KEY}"), "auth", "release"),
    "404": (Reply(status=404, text="no such model"), "not_found", "release"),
    "429": (Reply(status=429, retry_after=2), "rate_limited", "release"),
    "500": (Reply(status=500), "overloaded", "release"),
    "too few vectors": (Reply(vectors=((1.0, 2.0),)), "malformed", "lose"),
    "too many": (Reply(vectors=((1.0,),) * 4), "malformed", "lose"),
    "different lengths": (Reply(vectors=((1.0,), (1.0, 2.0), (1.0,))), "malformed", "lose"),
    "empty vectors": (Reply(vectors=((), (), ())), "malformed", "lose"),
    "cut": (Reply(cut=1), "incomplete", "lose"),
    "not JSON": (Reply(malformed=True), "malformed", "lose"),
    "silence": (Reply(stall=True), "timeout", "lose"),
}


@pytest.mark.parametrize("kind", PATHS)
@pytest.mark.parametrize("fault", WRONG)
async def test_a_fault_is_one_clear_failure_and_what_was_held_is_ended(fault: str, kind: Kind):
    reply, code, end = WRONG[fault]
    purse = Ends()
    with ModelServer([reply]) as server:
        timeouts = Timeouts(connect=2, first=0.3, idle=0.3, total=5)
        async with catalog(server, kind, timeouts=timeouts) as models:
            with pytest.raises(ModelFailure) as failed:
                await models.embedder.embed("", TEXTS, purse)
        assert len(server.requests) == 1, "the library must not ask again by itself"
    failure = failed.value
    assert failure.code == code
    assert "here/text-embedding-3-small" in str(failure)
    assert KEY not in str(failure)
    assert purse.how == [end]
    assert [(one.model, one.code) for one in failure.tried] == [
        ("here/text-embedding-3-small", code)
    ]


class Ends(Purse):
    """How each hold ended."""

    def __init__(self) -> None:
        super().__init__()
        self.how: list[str] = []

    async def release(self) -> None:
        self.how.append("release")

    async def lose(self) -> None:
        self.how.append("lose")


async def test_the_same_model_is_asked_again_and_never_another():
    """Part of row OL-30: embeddings never fail over. What passes is waited out instead."""
    purse = Ends()
    with (
        ModelServer([Reply(status=503), Reply(status=503), Reply()]) as server,
        ModelServer(default=Reply()) as other,
    ):
        async with catalog(server, retries=2) as models:
            config = models.config
            also = Provider(
                kind="openai", base_url=f"{other.url}/v1", api_key=KEY, models=("embed",)
            )
            models.configure(
                ModelsConfig(
                    providers={**config.providers, "also": also},
                    roles=config.roles,
                    fallback={"here/text-embedding-3-small": ("also/embed",)},
                    patience=config.patience,
                    probe=False,
                )
            )
            got = await models.embedder.embed("", TEXTS, purse)
            assert got.vectors == tuple(map(vector_of, TEXTS))
            assert purse.how == ["release", "release"]
            server.load(*[Reply(status=503)] * 3)
            with pytest.raises(ModelFailure) as failed:
                await models.embedder.embed("", TEXTS, purse)
            health = {one.model: one.success_count for one in models.health()}
        assert [one.next for one in failed.value.tried] == ["retry", "retry", "give up"]
        assert len(server.requests) == 6
        assert other.requests == []
        assert health == {"here/text-embedding-3-small": 1}


async def test_requests_that_were_answered_stay_paid_when_a_later_one_fails():
    purse = Ends()
    with ModelServer([Reply(usage=Usage(input=700)), Reply(status=400)]) as server:
        async with catalog(server) as models:
            with pytest.raises(ModelFailure):
                await models.embedder.embed("", ["a"] * 300, purse)
    assert [usage.input for usage in purse.settled] == [700]
    assert purse.how == ["release"]


def _ledger(*budgets: Budget) -> Ledger:
    ledger = StoredLedger(MemoryPages(), SystemClock().now)
    ledger.budgets(budgets)
    return ledger


async def _paid(models: Catalog, ledger: Ledger, texts: Sequence[str]) -> None:
    payer = Payer(by="ann", agent="default", role="embedder")
    async with DirectAccount(ledger, SystemClock(), payer) as account:
        await models.embedder.embed("", texts, account)


async def test_the_ledger_says_what_the_server_counted():
    """Part of row OL-36: a call for embeddings is written down with its exact tokens and price."""
    counts = [1_000, 17, 42, 9]
    with ModelServer([Reply(usage=Usage(input=count)) for count in counts]) as server:
        async with catalog(server) as models:
            ledger = _ledger()
            for text in ("one", "two"):
                await _paid(models, ledger, [text])
            await _paid(models, ledger, ["three"] * 300)
    (cost,) = await ledger.costs(CostQuery(by=("role", "model")))
    assert cost.group == ("embedder", "here/text-embedding-3-small")
    assert (cost.calls, cost.input, cost.output) == (4, sum(counts), 0)
    assert cost.cost == sum(counts)
    assert (cost.held, cost.doubtful) == (0, 0)


async def test_a_budget_turns_a_call_away_before_it_is_sent():
    with ModelServer(default=Reply()) as server:
        async with catalog(server) as models:
            ledger = _ledger(Budget(scope="installation", per="day", cost=100))
            with pytest.raises(OverBudget):
                await _paid(models, ledger, ["x" * 1_000])
            await _paid(models, ledger, ["x" * 50])
            with pytest.raises(OverBudget):
                await _paid(models, ledger, ["x" * 95])
        assert len(server.requests) == 1


async def test_many_at_once_never_spend_more_than_the_budget():
    """Every token costs; the server counts all that was asked for."""
    with ModelServer(default=Reply(usage=Usage(input=20))) as server:
        async with catalog(server) as models:
            ledger = _ledger(Budget(scope="installation", per="day", cost=500))

            async def try_it(number: int) -> None:
                with suppress(OverBudget):
                    await _paid(models, ledger, [f"text {number:02}"])

            with anyio.fail_after(20):
                async with anyio.create_task_group() as group:
                    for number in range(60):
                        group.start_soon(try_it, number)
        (cost,) = await ledger.costs(CostQuery())
        assert cost.cost == 20 * len(server.requests) <= 500
        assert len(server.requests) >= 24


async def test_an_unknown_price_is_asked_about_before_anything_is_sent():
    with ModelServer(default=Reply()) as server:
        async with catalog(server, "openai-compatible") as models:
            models.configure(
                ModelsConfig(
                    providers=models.config.providers, roles=models.config.roles, probe=False
                )
            )
            with pytest.raises(OverBudget) as over:
                await _paid(models, _ledger(), ["a"])
        assert over.value.key == "price/here/text-embedding-3-small"
        assert server.requests == []


async def test_the_public_list_has_prices_of_embeddings():
    key = {"OPENAI_API_KEY": KEY}
    with ModelServer(default=Reply(usage=Usage(input=1_000_000))) as server:
        config = ModelsConfig(
            env={**key, "OPENAI_BASE_URL": f"{server.url}/v1"},
            providers={"openai": Provider(kind="openai", base_url=f"{server.url}/v1", free=False)},
            probe=False,
        )
        models, purse = Catalog(config), Purse()
        got = await models.embedder.embed("openai/text-embedding-3-small", ["a"], purse)
        await models.close()
    assert got.usage.cost == 20_000
    assert purse.held[0].cost == 1


async def test_what_a_provider_does_not_count_is_estimated_by_its_bytes():
    """Gemini does not say what was used."""
    with ModelServer(default=Reply()) as server:
        async with catalog(server, "google") as models:
            purse = Purse()
            got = await models.embedder.embed("", ["x" * 300], purse, "query")
        body = server.requests[0].body
    assert got.usage.input == 102
    assert got.usage.cost == 102
    assert purse.held[0].tokens >= 300
    assert body["requests"][0]["taskType"] == "RETRIEVAL_QUERY"


FOUND: list[tuple[dict[str, str], str]] = [
    ({"OPENAI_API_KEY": KEY}, "openai/text-embedding-3-small"),
    ({"ANTHROPIC_API_KEY": KEY, "GEMINI_API_KEY": KEY}, "google/gemini-embedding-001"),
    ({"GROQ_API_KEY": KEY, "MISTRAL_API_KEY": KEY}, "mistral/mistral-embed"),
    ({"ANTHROPIC_API_KEY": KEY}, ""),
    ({}, ""),
]


@pytest.mark.parametrize(("env", "model"), FOUND)
async def test_the_role_goes_to_the_first_that_embeds(env: dict[str, str], model: str):
    """Part of row OK-85: the embedder has a model and a provider of its own."""
    models = Catalog(ModelsConfig(env=env, probe=False))
    poor = Purse(poor=True)
    names: list[str] = []

    async def note(name: str, _: object) -> None:
        names.append(name)
        raise Invalid("far enough")

    poor.hold = note  # type: ignore[method-assign]
    with pytest.raises(Invalid) as problem:
        await models.embedder.embed("@embedder", ["a"], poor)
    if model:
        assert names == [model]
    else:
        assert "no embedding model" in str(problem.value)
        assert "openai" in problem.value.hint


async def test_a_server_here_embeds_with_what_it_has():
    """Part of row OK-85."""
    has = Catalogue(models=("llama3.3:latest", "mxbai-embed-large:latest", "nomic-embed-text"))
    with ModelServer(default=Reply(), catalogue=has) as server:
        models = Catalog(ModelsConfig(env={"OLLAMA_HOST": server.url}, probe=False))
        await models.detect()
        purse = Purse()
        got = await models.embedder.embed("", ["a"], purse)
        with pytest.raises(Invalid, match="gives vectors"):
            models.find("@embedder")
        await models.close()
    assert got.model == "ollama/nomic-embed-text"
    assert got.usage.cost == 0
    assert server.requests[0].path == "/v1/embeddings"


async def test_the_embedder_can_be_chosen_and_only_from_those_that_embed(tmp_path: Path):
    """Part of row OK-85."""
    models = Catalog(ModelsConfig(env={"OPENAI_API_KEY": KEY, "GROQ_API_KEY": KEY}, probe=False))
    choices = SavedChoices(models, tmp_path / "models.json")
    assert choices.roles()["embedder"] == "openai/text-embedding-3-small"
    made = await choices.choose("openai/text-embedding-3-large", "embedder")
    assert (made.model, made.note) == ("openai/text-embedding-3-large", "")
    assert models.embedder.find("@embedder") == made.model
    with pytest.raises(Invalid, match="groq has no embeddings"):
        await choices.choose("groq", "embedder")
    assert choices.roles()["executor"] == "openai/gpt-4.1"


REFUSED: list[tuple[str, str, str]] = [
    ("anthropic/claude-haiku-4-5", "anthropic has no embeddings", "openai/text-embedding-3-small"),
    ("groq", "groq has no embeddings", "openai/text-embedding-3-small"),
    ("google", "'google' is no provider here", "holdfast connect google"),
    ("mars/one", "'mars' is no provider here", "openai/text-embedding-3-small"),
    ("@executor", "@executor does not embed", "@embedder"),
    ("lab", "No embedding model of lab is known", "lab/<model>"),
    ("keyless/embed", "No API key is configured", "KEYLESS_KEY"),
]


@pytest.mark.parametrize(("name", "says", "hint"), REFUSED)
async def test_who_cannot_embed_is_told_apart_and_another_is_named(name: str, says: str, hint: str):
    lab = Provider(kind="openai-compatible", base_url="http://127.0.0.1:9/v1", models=("llama",))
    keyless = Provider(kind="openai", base_url="https://a.example/v1", key_env="KEYLESS_KEY")
    config = ModelsConfig(
        env={"ANTHROPIC_API_KEY": KEY, "OPENAI_API_KEY": KEY, "GROQ_API_KEY": KEY},
        providers={"lab": lab, "keyless": keyless},
        roles={"embedder": Role(model=name if not name.startswith("@") else "")},
        probe=False,
    )
    models, purse = Catalog(config), Purse()
    with pytest.raises(Invalid) as problem:
        await models.embedder.embed(name, ["a"], purse)
    assert says in str(problem.value)
    assert hint in problem.value.hint
    assert purse.held == []
    if not name.startswith("@"):
        assert [one for one, _ in models.doubts()] == [name]


async def test_recorded_vectors_are_read_exactly():
    """What OpenAI once answered, replayed byte for byte."""
    root = recordings()
    if root is None:
        pytest.skip("the recordings are not here")
    file = "cassettes/test_embeddings/TestOpenAI.test_query.yaml"
    with replaying() as url:
        base = f"{url}/c/{file.replace('/', '%2F')}/v1"
        provider = Provider(kind="openai", base_url=base, api_key=KEY, free=False)
        models = Catalog(ModelsConfig(providers={"openai": provider}, probe=False))
        purse = Purse()
        got = await models.embedder.embed(
            "openai/text-embedding-3-small", ["Hello, world!"], purse, "query"
        )
        await models.close()
    line = next(
        one
        for one in (root / file).read_text().splitlines()
        if one.strip().startswith("- embedding:")
    )
    coded = base64.b64decode(line.partition("embedding:")[2].strip())
    (vector,) = got.vectors
    assert len(vector) == 1536
    assert vector == struct.unpack(f"<{len(coded) // 4}f", coded)
    assert math.isclose(sum(number * number for number in vector), 1.0, rel_tol=1e-4)
    assert (got.usage.input, got.usage.cost) == (4, 1)
    assert json.dumps(vector)
