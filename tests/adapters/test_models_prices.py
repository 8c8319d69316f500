"""What a call costs: the formula, the list, what a person says, and that a hold is enough."""

from __future__ import annotations

import re

import pytest
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_ai.usage import RequestUsage

from holdfast.adapters.models import prices
from holdfast.adapters.models.prices import Sold
from holdfast.adapters.models.settings import ModelsConfig, Price, Provider

LISTED = [(one.id, model.id) for one in get_snapshot().providers for model in one.models]
BY_HAND = Price(input=0.3, output=1.7, cache_read=0.03, cache_write=0.37, per_call=0.001)


def used(given: int, taken: int, read: int = 0, written: int = 0, thought: int = 0) -> RequestUsage:
    return RequestUsage(
        input_tokens=given,
        output_tokens=taken,
        cache_read_tokens=read,
        cache_write_tokens=written,
        output_reasoning_tokens=thought,
    )


@pytest.mark.parametrize(
    ("kind", "model", "micro"),
    [
        ("openai", "gpt-4o", 3_500),
        ("openai", "gpt-4o-mini", 210),
        ("openai", "gpt-4.1", 2_800),
        ("openai", "gpt-4.1-mini", 560),
        ("openai", "gpt-4.1-nano", 140),
        ("openai", "o3-mini", 1_540),
        ("anthropic", "claude-sonnet-4-5-20250929", 4_500),
        ("google", "gemini-2.5-pro", 2_250),
    ],
)
def test_a_known_usage_has_the_listed_price(kind: str, model: str, micro: int):
    """Rows GC-46, OL-36. Part of row OL-37: prices are those of the maintained list."""
    assert prices.cost(used(1000, 100), Sold(model, kind, "")) == micro


def test_each_class_of_tokens_has_its_own_price():
    """Row OK-22: input, output, cache read (a tenth) and cache write (a quarter more)."""
    sonnet = Sold("claude-sonnet-4-5", "anthropic", "")
    usage = used(10_000, 1_000, read=6_000, written=2_000)
    assert prices.cost(usage, sonnet) == 2_000 * 3 + 6_000 * 0.3 + 2_000 * 3.75 + 1_000 * 15
    assert prices.saved(usage, sonnet) == 6_000 * 3 - 6_000 * 0.3


def test_what_nobody_knows_has_no_price_and_what_a_person_says_counts():
    """Row OL-37: unknown models are told apart from free ones, and both can be configured."""
    unknown = Sold("nobody-knows-me", "openai-compatible", "https://example.invalid/v1")
    assert prices.cost(used(1, 1), unknown) is None
    assert prices.most(1, 1, unknown) is None
    config = ModelsConfig(prices={"lab/big": BY_HAND, "lab/*": Price(input=1, output=2)})
    assert config.price("lab/big") is BY_HAND
    assert config.price("lab/small") == Price(input=1, output=2)
    assert config.price("other/big") is None
    told = unknown._replace(price=config.price("lab/small"))
    assert prices.cost(used(1000, 100, read=400, written=200), told) == 400 + 400 + 250 + 200
    assert prices.cost(used(1000, 100), unknown._replace(price=Price())) == 0
    assert Provider(kind="ollama", base_url="http://127.0.0.1:1/v1").costs_nothing


def test_a_long_prompt_is_held_at_the_price_of_long_prompts():
    gemini = Sold("gemini-2.5-pro", "google", "")
    assert prices.most(200_000, 0, gemini) == 250_000
    assert prices.most(200_001, 0, gemini) == 500_003
    assert prices.cost(used(300_000, 10), gemini) == 300_000 * 2.5 + 10 * 15


sizes = st.one_of(st.integers(0, 2_000), st.integers(0, 1_200_000))


@settings(max_examples=400, deadline=None)
@given(
    model=st.sampled_from(LISTED),
    given_=sizes,
    taken=st.integers(0, 200_000),
    parts=st.tuples(*[st.floats(0, 1)] * 5),
)
def test_what_is_held_is_always_enough(
    model: tuple[str, str], given_: int, taken: int, parts: tuple[float, ...]
):
    """Over every model of the list: usage within the reservation costs no more than was held."""
    sold = _listed(*model)
    most = prices.most(given_, taken, sold)
    sent, out = round(given_ * parts[0]), round(taken * parts[1])
    read = round(sent * parts[2])
    written = round((sent - read) * parts[3])
    real = prices.cost(used(sent, out, read, written, round(out * parts[4])), sold)
    assert (most is None) == (real is None)
    if most is not None and real is not None:
        assert real <= most


@given(given_=sizes, taken=sizes, read=st.floats(0, 1), written=st.floats(0, 1))
def test_so_it_is_for_a_price_that_a_person_sets(
    given_: int, taken: int, read: float, written: float
):
    sold = Sold("m", "openai-compatible", "", BY_HAND)
    most = prices.most(given_, taken, sold)
    cached = round(given_ * read)
    real = prices.cost(used(given_, taken, cached, round((given_ - cached) * written)), sold)
    assert real is not None
    assert most is not None
    assert real <= most


def _listed(provider: str, model: str) -> Sold:
    """The model as its own provider sells it: at an address that the list knows as its."""
    kinds = {"openai": "openai", "anthropic": "anthropic", "google": "google"}
    at = next(one for one in get_snapshot().providers if one.id == provider)
    address = at.api_pattern
    for pattern, plain in [
        (r"\((?:\?:)?(?:[^()]|\([^()]*\))*\)\?", ""),
        (r"\[[^]]*\][+*]", "x"),
        (r"\((?:\?:)?([^()|]*)(?:\|[^()]*)?\)", r"\1"),
        (r"[\\\\$?]", ""),
    ]:
        address = re.sub(pattern, plain, address)
    return Sold(model, kinds.get(provider, "openai-compatible"), address)


def test_the_list_is_found_by_where_a_model_is_sold():
    """So that the law above is about all of it."""
    known = [prices.most(1, 1, _listed(*model)) is not None for model in LISTED]
    assert sum(known) > 0.95 * len(known)
