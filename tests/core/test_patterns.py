"""What looks like a secret is hidden from models and put back into what they answer."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.message import PersonSaid, Reply, ToolCall
from holdfast.core.patterns import Disguise

SAMPLES = {
    "AWS": "AKIAIOSFODNN7EXAMPLE",
    "GITHUB": "ghp_" + "a1B2" * 9,
    "ANTHROPIC": "sk-ant-api03-" + "x" * 24,
    "SK": "sk-" + "Ab1" * 10,
    "SLACK": "xoxb-1234567890-abcdef",
    "STRIPE": "sk_live_" + "4eC39" * 4,
    "JWT": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0x.c2lnbmF0dXJlLXNpZw",
    "PEM": "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabcd\n-----END RSA PRIVATE KEY-----",
}
INSIDE = {
    "BEARER": ("Authorization: Bearer ", "abcdef0123456789xyz", ""),
    "URL": ("postgres://", "user:hunter2", "@db.test/x"),
    "KEY": ('api_key = "', "0123456789abcdef0", '"'),
    "PASSWORD": ("password: ", "hunter2", ""),
    "SECRET": ('"client_secret": "', "s3cr3t-value", '"'),
}


def disguise() -> Disguise:
    return Disguise(b"k" * 32)


@pytest.mark.parametrize("kind", SAMPLES)
def test_every_kind_is_hidden_and_comes_back(kind: str):
    """Part of row OK-106."""
    mask, text = disguise(), f"use {SAMPLES[kind]} now"
    hidden = mask.masked(text)
    assert SAMPLES[kind] not in hidden
    assert f"<<{kind}_" in hidden
    assert hidden.startswith("use <<")
    assert hidden.endswith(">> now")
    assert mask.bare(hidden) == text


@pytest.mark.parametrize("kind", INSIDE)
def test_of_an_assignment_only_the_value_is_hidden(kind: str):
    """Part of row OK-106."""
    before, secret, after = INSIDE[kind]
    mask = disguise()
    hidden = mask.masked(f"{before}{secret}{after}")
    assert hidden.startswith(f"{before}<<{kind}_")
    assert hidden.endswith(f">>{after}")
    assert mask.bare(hidden) == f"{before}{secret}{after}"


def test_the_same_secret_has_the_same_placeholder_and_others_have_others():
    """Part of row OK-106."""
    mask = disguise()
    one, other = SAMPLES["AWS"], "AKIAIOSFODNN7EXAMPLF"
    first, again, third = (mask.masked(text) for text in (one, one, other))
    assert first == again != third
    assert Disguise(b"z" * 32).masked(one) != first, "of another process: another one"


def test_what_is_no_secret_and_references_stay_as_they_are():
    mask = disguise()
    for text in (
        "the token budget is 100",
        "password: $SECRET{mail/password}",
        "see https://host/path and a@b.test",
        "sk-short AKIA123",
        "<<SK_0123456789ab>> was not ours",
    ):
        assert mask.bare(mask.masked(text)) == text
        assert "<<" not in mask.masked(text.replace("<<", ""))


def test_in_prompts_and_replies_every_text_is_looked_at():
    mask, key = disguise(), SAMPLES["SK"]
    shown = mask.put_on(PersonSaid(text=f"my key is {key}"))
    assert key not in shown.text
    placeholder = shown.text.removeprefix("my key is ")
    call = ToolCall(id="c1", tool="http", arguments={"headers": [placeholder]})  # type: ignore[arg-type]
    reply = mask.take_off(Reply(text=f"I use {placeholder}", calls=(call,)))
    assert reply.text == f"I use {key}"
    assert reply.calls[0].arguments == {"headers": [key]}


@settings(max_examples=100, deadline=None)
@given(size=st.integers(1, 9), around=st.text(max_size=12))
def test_a_placeholder_that_comes_in_pieces_is_put_back(size: int, around: str):
    mask = disguise()
    hidden = mask.masked(f"{SAMPLES['GITHUB']} ")
    text = f"{around} {hidden}{around}"
    told, held = "", ""
    for at in range(0, len(text), size):
        held += text[at : at + size]
        cut = mask.cut(held)
        told, held = told + mask.bare(held[:cut]), held[cut:]
    assert told + mask.bare(held) == f"{around} {SAMPLES['GITHUB']} {around}"
