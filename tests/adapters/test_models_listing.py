"""What providers say of their models, when they are asked, and what is made of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from holdfast.adapters.models.catalog import Catalog
from holdfast.adapters.models.choosing import SavedChoices
from holdfast.adapters.models.listing import cards_of
from holdfast.adapters.models.settings import ModelsConfig, Provider, Role
from holdfast.core.error import Invalid, Unavailable
from holdfast.ports.choosing import Card
from holdfast.testing.model_server import Catalogue, ModelServer

HOUR = 3_600_000


class Hours:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.at = 1_700_000_000_000

    def now(self) -> int:
        return self.at


def told(server: ModelServer, folder: Path | None, **more: Any) -> ModelsConfig:
    provider = Provider(kind="openai-compatible", base_url=f"{server.url}/v1", api_key="k")
    more = {"lists": folder, "probe": False, **more}
    return ModelsConfig(providers={"lab": provider}, **more)


def test_providers_are_asked_once_an_hour_and_again_when_they_shall_be(tmp_path: Path):
    """Row OK-82."""
    clock = Hours()

    async def start(server: ModelServer, *, fresh: bool = False) -> list[str]:
        catalog = Catalog(told(server, tmp_path / "lists"), now=clock.now)
        try:
            return [card.name for card in await catalog.cards(fresh=fresh)]
        finally:
            await catalog.close()

    with ModelServer(catalogue=Catalogue(models=("m1", "ft:mine", "m2"))) as server:
        names = ["lab/m1", "lab/m2", "offline/rules"]
        assert anyio.run(start, server) == names
        assert anyio.run(start, server) == names
        assert len(server.probes) == 1, "the second start within an hour asks nobody"
        clock.at += HOUR + 1
        assert anyio.run(start, server) == names
        assert len(server.probes) == 2

        async def refreshed() -> None:
            await start(server, fresh=True)

        anyio.run(refreshed)
        assert len(server.probes) == 3
    (kept,) = (tmp_path / "lists").iterdir()
    assert kept.name == "lab.json"
    assert "k" not in json.loads(kept.read_text())


def test_an_empty_list_and_a_damaged_file_are_none(tmp_path: Path):
    """Part of row OK-82."""
    clock = Hours()

    async def names(server: ModelServer) -> list[str]:
        catalog = Catalog(told(server, tmp_path), now=clock.now)
        found = [card.name for card in await catalog.cards(fresh=False)]
        found += [card.name for card in await catalog.cards(fresh=False)]
        await catalog.close()
        return found

    with ModelServer(catalogue=Catalogue(models=())) as server:
        assert anyio.run(names, server) == ["offline/rules"] * 2
        assert len(server.probes) == 1, "who has just said nothing is left alone for a minute"
        clock.at += 61_000
        (tmp_path / "lab.json").write_text("{")
        anyio.run(names, server)
        assert len(server.probes) == 2


def test_a_listed_model_is_found_by_a_short_name_and_a_wrong_one_is_refused():
    """Part of row OK-83."""

    async def ask(server: ModelServer) -> None:
        catalog = Catalog(told(server, None))
        assert catalog.find("lab/M1").name == "lab/M1", "nothing is known yet"
        await catalog.cards(fresh=False)
        assert catalog.find("lab/M1").name == "lab/m1"
        assert catalog.find("m1").name == "lab/m1"
        assert catalog.find("").name == "lab/m1", "the first that it lists is its default"
        with pytest.raises(Invalid, match=r"not found in lab \(2 models available\)"):
            catalog.find("lab/zzz")
        await catalog.close()

    with ModelServer(catalogue=Catalogue(models=("m1", "other"))) as server:
        anyio.run(ask, server)


ROWS: list[tuple[Mapping[str, Any], Card]] = [
    (
        {
            "id": "a/b",
            "context_length": 200_000,
            "top_provider": {"max_completion_tokens": 64_000},
            "pricing": {"prompt": "0.000003", "completion": "0.000015"},
            "supported_parameters": ["tools", "reasoning"],
            "architecture": {"input_modalities": ["text", "image"]},
        },
        Card(
            name="a/b",
            window=200_000,
            output=64_000,
            input_price=3_000_000,
            output_price=15_000_000,
            tools=True,
            thinking=True,
            vision=True,
        ),
    ),
    (
        {
            "name": "models/gemini-x",
            "inputTokenLimit": 1_048_576,
            "outputTokenLimit": 65_536,
            "supportedGenerationMethods": ["generateContent"],
            "thinking": True,
        },
        Card(name="gemini-x", window=1_048_576, output=65_536, thinking=True),
    ),
    (
        {
            "id": "mistral-x",
            "max_context_length": 131_072,
            "capabilities": {"function_calling": True, "vision": False},
        },
        Card(name="mistral-x", window=131_072, tools=True, vision=False),
    ),
    (
        {
            "id": "claude-x",
            "max_input_tokens": 200_000,
            "max_tokens": 64_000,
            "capabilities": {"thinking": {"supported": True}, "image_input": {"supported": True}},
        },
        Card(name="claude-x", window=200_000, output=64_000, thinking=True, vision=True),
    ),
    (
        {"id": "m", "max_model_len": 32_768, "pricing": {"input": 0.2, "output": 0.6}},
        Card(name="m", window=32_768, input_price=200_000, output_price=600_000),
    ),
    ({"id": "odd", "context_window": "many", "pricing": {"prompt": "-1"}}, Card(name="odd")),
]


@pytest.mark.parametrize(("row", "card"), ROWS, ids=[card.name for _, card in ROWS])
def test_what_a_provider_says_of_a_model_is_understood(row: Mapping[str, Any], card: Card):
    """Part of row OK-82."""
    assert tuple(cards_of((row,))) == (card,)


@pytest.mark.parametrize(
    "row",
    [
        {"id": "ft:gpt-4o:mine"},
        {"id": "text-embedding-3-large"},
        {"name": "models/aqa", "supportedGenerationMethods": ["generateAnswer"]},
        {"id": "a\x1b[31m"},
        {"id": 7},
        {},
    ],
    ids=str,
)
def test_what_cannot_be_asked_for_words_is_not_listed(row: Mapping[str, Any]):
    assert tuple(cards_of((row,))) == ()


def test_a_window_is_what_is_configured_then_listed_then_usual():
    """Part of row GC-38."""
    key = {"ANTHROPIC_API_KEY": "k", "OPENAI_API_KEY": "k", "GEMINI_API_KEY": "k"}
    far = Provider(kind="openai-compatible", base_url="http://far.test/v1", window=9_000)
    here = Provider(kind="openai-compatible", base_url="http://127.0.0.1:1/v1")
    config = ModelsConfig(
        env=key,
        probe=False,
        providers={"far": far, "here": here},
        windows={"openai/gpt-4o": 4_000, "special": 5_000, "far/m": 6_000},
    )
    catalog = Catalog(config)
    windows = {
        "google/gemini-2.5-pro": 1_048_576,
        "anthropic/claude-sonnet-5-5": 200_000,
        "openai/gpt-4o": 4_000,
        "openai/gpt-4o-mini": 128_000,
        "openai/o1": 128_000,
        "openai/special": 5_000,
        "openai/never-heard-of": 128_000,
        "far/m": 6_000,
        "far/llama-3.1-70b": 9_000,
        "here/llama-3.1-70b": 0,
    }
    assert {name: catalog.find(name).window for name in windows} == windows


def test_a_choice_counts_at_once_and_at_the_next_start_and_the_configuration_goes_before_it(
    tmp_path: Path,
):
    path = tmp_path / "models.json"
    key = {"ANTHROPIC_API_KEY": "k", "OPENAI_API_KEY": "k"}

    async def play() -> None:
        catalog = Catalog(ModelsConfig(env=key, probe=False))
        choices = SavedChoices(catalog, path)
        assert catalog.find("").name == "anthropic/claude-sonnet-5-5"
        made = await choices.choose("gpt-5", "executor")
        assert (made.model, made.note) == ("openai/gpt-5", "")
        assert catalog.find("").name == "openai/gpt-5"
        await choices.choose("openai", "planner")
        assert choices.roles()["planner"] == catalog.find("@planner").name == "openai/gpt-4.1"

        again = Catalog(ModelsConfig(env=key, probe=False))
        SavedChoices(again, path)
        assert again.find("").name == "openai/gpt-5"
        assert again.find("@planner").name == "openai/gpt-4.1"
        assert again.find("@evaluator").name == "openai/gpt-5", "as the executor"
        again.configure(ModelsConfig(env=key, probe=False))
        assert again.find("").name == "openai/gpt-5", "a changed configuration forgets nothing"

        strict = Catalog(
            ModelsConfig(
                env=key,
                probe=False,
                default="anthropic",
                roles={"planner": Role(fallback=("anthropic",))},
            )
        )
        told = SavedChoices(strict, path)
        assert strict.find("").name == "anthropic/claude-sonnet-5-5"
        assert strict.find("@planner").name == "openai/gpt-4.1", "a role may only have fallbacks"
        assert "models.default" in (await told.choose("gpt-5", "executor")).note

        back = await choices.choose("", "executor")
        assert back.model == catalog.find("").name == "anthropic/claude-sonnet-5-5"

    anyio.run(play)


def test_a_choice_that_cannot_be_is_refused_and_one_that_cannot_be_kept_is_not_made(tmp_path: Path):
    async def play() -> None:
        catalog = Catalog(ModelsConfig(env={"OPENAI_API_KEY": "k"}, probe=False))
        choices = SavedChoices(catalog, tmp_path / "no" / "models.json")
        with pytest.raises(Invalid):
            await choices.choose("zzz", "executor")
        with pytest.raises(Invalid, match="no role 'boss'"):
            await choices.choose("openai", "boss")
        with pytest.raises(Unavailable):
            await choices.choose("gpt-5", "executor")
        assert catalog.find("").name == "openai/gpt-4.1"

    anyio.run(play)


def test_a_damaged_choice_is_as_none(tmp_path: Path):
    path = tmp_path / "models.json"
    for text in ("{", '{"roles": {"boss": "x", "small": ""}}', '{"roles": 1}'):
        path.write_text(text)
        catalog = Catalog(ModelsConfig(env={"OPENAI_API_KEY": "k"}, probe=False))
        SavedChoices(catalog, path)
        assert catalog.find("").name == "openai/gpt-4.1"
