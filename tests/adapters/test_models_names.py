"""What somebody types, and the model that it means."""

from __future__ import annotations

import pytest

from holdfast.adapters.models.known import KNOWN
from holdfast.adapters.models.names import Shelf, resolve
from holdfast.core.error import Invalid

FAKE = Shelf(
    provider="fake", models=("m1", "m2-large", "Mixed-Case"), default="fake/m1", whole=True
)
LAB = Shelf(provider="lab", models=("qwen3", "m2-large"), default="lab/qwen3", whole=True)
ANTHROPIC = Shelf(
    provider="anthropic", models=("claude-sonnet-5-5",), default="anthropic/claude-sonnet-5-5"
)
OPENAI = Shelf(provider="openai", models=("gpt-4.1",), default="openai/gpt-4.1")
ROUTER = Shelf(provider="openrouter", models=("meta-llama/llama-3.3",), whole=True)
OPEN = Shelf(provider="mine", open=True, local=True)
FAR = Shelf(provider="far", open=True)
LOGIN = Shelf(provider="claude", models=("claude-sonnet-5-5", "secret"), automatic=False)


def asked(name: str, *shelves: Shelf) -> str:
    return resolve(name, shelves, tuple(KNOWN))


@pytest.mark.parametrize(
    ("name", "means"),
    [
        ("fake/m1", "fake/m1"),
        ("fake/M1", "fake/m1"),
        ("fake/mixed-CASE", "fake/Mixed-Case"),
        ("fake/m2", "fake/m2-large"),
        ("fake/m1-2026-01-01", "fake/m1"),
        ("fake", "fake/m1"),
        ("qwen3", "lab/qwen3"),
        ("QWEN3", "lab/qwen3"),
        ("qwe", "lab/qwen3"),
        ("m2-large", "fake/m2-large"),
        ("meta-llama/llama-3.3", "openrouter/meta-llama/llama-3.3"),
        ("openrouter/meta-llama/llama-3.3", "openrouter/meta-llama/llama-3.3"),
    ],
)
def test_a_name_may_be_in_another_case_short_or_without_its_provider(name: str, means: str):
    """Row OK-83."""
    assert asked(name, FAKE, LAB, ROUTER) == means


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("fake/m3", "Model 'm3' not found in fake (3 models available).", "holdfast model list"),
        ("fake/mixed-cas3", "not found in fake", "did you mean fake/Mixed-Case?"),
        ("qwen", "", ""),
        ("qwem3", "There is no model 'qwem3'.", "did you mean lab/qwen3?"),
        ("m", "There is no model 'm'.", "there are: fake/m1, "),
        ("opnrouter/x", "There is no model", "did you mean openrouter/x?"),
        ("gpt-9", "There is no model", "holdfast connect openai"),
        ("openai/gpt-9", "There is no model", "holdfast connect openai"),
    ],
)
def test_a_name_that_means_nothing_or_too_much_says_what_there_is(
    name: str, message: str, hint: str
):
    """Part of row OK-83."""
    if not message:
        assert asked(name, FAKE, LAB, ROUTER) == "lab/qwen3"
        return
    with pytest.raises(Invalid) as caught:
        asked(name, FAKE, LAB, ROUTER)
    assert message in str(caught.value)
    assert hint in caught.value.hint
    assert caught.value.hint.count("/") <= 10


@pytest.mark.parametrize(
    ("name", "shelves", "means"),
    [
        ("anthropic/claude-next", (OPENAI, ANTHROPIC), "anthropic/claude-next"),
        ("claude-sonnet-4", (OPENAI, ANTHROPIC), "anthropic/claude-sonnet-4"),
        ("gpt-5-mini", (ANTHROPIC, OPENAI), "openai/gpt-5-mini"),
        ("something", (ANTHROPIC, FAR, OPEN), "mine/something"),
        ("something", (ANTHROPIC, FAR), "far/something"),
        ("claude-sonnet-5-5", (LOGIN, ANTHROPIC), "anthropic/claude-sonnet-5-5"),
    ],
)
def test_without_a_provider_its_maker_then_a_server_here_then_any_with_a_key(
    name: str, shelves: tuple[Shelf, ...], means: str
):
    """Row KV-14."""
    assert asked(name, *shelves) == means


@pytest.mark.parametrize("shelves", [(), (LOGIN,)], ids=["nobody", "only a login"])
def test_a_login_is_never_a_way_out_and_with_nobody_it_says_what_to_do(shelves: tuple[Shelf, ...]):
    """Part of row KV-14."""
    with pytest.raises(Invalid) as caught:
        asked("gpt-5", *shelves)
    assert caught.value.hint == "connect its provider first: holdfast connect openai"


MAKERS = [
    ("claude-x", "anthropic"),
    ("gpt-x", "openai"),
    ("o1-x", "openai"),
    ("o3", "openai"),
    ("o4-mini", "openai"),
    ("text-embedding-3", "openai"),
    ("gemini-3", "google"),
    ("grok-5", "xai"),
    ("moonshot-v1", "moonshot"),
    ("kimi-k2", "moonshot"),
    ("deepseek-chat", "deepseek"),
    ("llama-3.1-8b", "groq"),
]


@pytest.mark.parametrize(("model", "maker"), MAKERS)
def test_a_model_is_known_by_how_its_name_begins(model: str, maker: str):
    """Row OL-27."""
    others = [Shelf(provider=one, models=("z",)) for one in ("zai", maker, "mistral")]
    assert asked(model, *others) == f"{maker}/{model}"
    assert asked(model, OPEN) == f"mine/{model}", "a server of one's own needs no key and no name"
