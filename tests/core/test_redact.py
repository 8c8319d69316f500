"""Known secrets are taken out of whatever is said, however they are spelled and cut."""

from __future__ import annotations

import base64
import html
import json
import textwrap
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.agent import Agent
from holdfast.core.command import SettleCall
from holdfast.core.ids import CallId
from holdfast.core.message import Returned, ToolCall
from holdfast.core.redact import SHORTEST, Flow, Redactor

VALUE = "p@ss/w\"ord+'é=1&?x"
LONG = "sk-" + "0aZ9_bY8-cX7dW6" * 12
KNOWN = Redactor([("db", VALUE), ("api", LONG)])
SECRETS = st.text(min_size=SHORTEST, max_size=80).filter(lambda s: len(s.strip()) >= SHORTEST)


def b64(text: str, before: str = "", after: str = "") -> str:
    return base64.b64encode(f"{before}{text}{after}".encode()).decode()


SPELLINGS: tuple[Callable[[str], str], ...] = (
    lambda value: value,
    lambda value: json.dumps(value)[1:-1],
    lambda value: json.dumps(value, ensure_ascii=False)[1:-1],
    lambda value: json.dumps(json.dumps({"a": value})),
    lambda value: quote(value, safe=""),
    quote,
    quote_plus,
    html.escape,
    lambda value: value.encode().hex(),
    lambda value: value.encode().hex().upper(),
    lambda value: "\n".join(textwrap.wrap(value.encode().hex(), 60)),
)


@pytest.mark.parametrize("value", [VALUE, LONG])
@pytest.mark.parametrize("spell", SPELLINGS)
def test_every_usual_spelling_is_found(value: str, spell: Callable[[str], str]):
    spelled = spell(value)
    told = KNOWN.text(f"before {spelled} after")
    assert spelled not in told
    assert told.startswith("before ")
    assert told.endswith(" after")
    assert "<<SECRET_" in told


@pytest.mark.parametrize("value", [VALUE, LONG])
@pytest.mark.parametrize("before", ["", "u", "u:", "us:", "user:"])
@pytest.mark.parametrize("after", ["", "\n", "x", "and more"])
def test_base64_is_found_wherever_it_begins(value: str, before: str, after: str):
    for coded in (
        b64(value, before, after),
        b64(value, before, after).translate(str.maketrans("+/", "-_")),
        "\n".join(textwrap.wrap(b64(value, before, after), 76)),
    ):
        told = KNOWN.text(f"Basic {coded}.")
        assert "<<SECRET_" in told
        left = told.replace("<<SECRET_db>>", "").replace("<<SECRET_api>>", "")
        assert len(left) <= len("Basic .") + len(b64(before)) + len(b64(after)) + 8


def test_what_is_no_secret_stays_the_very_same():
    text = "nothing here " * 1000
    assert KNOWN.text(text) is text
    settle = SettleCall(call_id=CallId("c1"), outcome=Returned(text=text))
    assert KNOWN.clean(settle) is settle


def test_a_short_value_is_let_through():
    assert Redactor([("pin", "12345")]).text("12345") == "12345"


def test_the_short_last_line_of_a_wrapped_key_is_found_alone():
    lines = [("QUJD" * 16)[:64], "Zm9vYmFyMTIz"]
    pem = "\n".join(["-----BEGIN PRIVATE KEY-----", *lines, "-----END PRIVATE KEY-----"])
    assert lines[1] not in Redactor([("pem", pem)]).text(f"key.pem:3: {lines[1]}\n")
    settings = f"key={'x' * 70}\nregion=north"
    assert Redactor([("file", settings)]).text("region=north") == "region=north"


def test_lines_of_a_longer_text_are_found_alone():
    lines = [("QUJD" * 16)[:64], ("Zm9v" * 16)[:64]]
    pem = "\n".join(["-----BEGIN PRIVATE KEY-----", *lines, "-----END PRIVATE KEY-----"])
    known = Redactor([("pem", pem)])
    assert lines[1] not in known.text(f"    {lines[1]}\n")
    assert known.text(f"x {pem} y") == "x <<SECRET_pem>> y"
    assert known.text("-----BEGIN PRIVATE KEY-----") == "-----BEGIN PRIVATE KEY-----"


def test_the_longer_of_two_secrets_is_taken_out_whole():
    known = Redactor([("short", "abcdef"), ("long", "abcdefghij")])
    assert known.text("abcdefghij abcdef") == "<<SECRET_long>> <<SECRET_short>>"


def test_texts_everywhere_in_a_value_are_redacted_and_ids_stay():
    known = Redactor([("x", "canary-1")])
    arguments = {"a": ["canary-1", {"canary-1": 1}]}
    call = ToolCall(id=CallId("canary-1"), tool="t", arguments=arguments)
    told = known.clean(call)
    assert told.id == "canary-1"
    assert known.clean(Agent(name="canary-1", instructions="canary-1")) == Agent(
        name="canary-1", instructions="<<SECRET_x>>"
    ), "names by which things are found stay: a plain word may be somebody's password"
    assert told.arguments == {"a": ["<<SECRET_x>>", {"<<SECRET_x>>": 1}]}


@settings(max_examples=150, deadline=None)
@given(
    secrets=st.lists(SECRETS, min_size=1, max_size=4),
    parts=st.lists(st.text(max_size=20), min_size=1, max_size=6),
    data=st.data(),
)
def test_whatever_is_said_no_secret_is_in_it(
    secrets: list[str], parts: list[str], data: st.DataObject
):
    known = Redactor((f"s{n}", value) for n, value in enumerate(secrets))
    said = "".join(part + data.draw(st.sampled_from(secrets)) for part in parts)
    told = known.text(said)
    for value in secrets:
        assert value.strip() not in told


@settings(max_examples=150, deadline=None)
@given(
    secrets=st.lists(SECRETS, min_size=1, max_size=3),
    parts=st.lists(st.text(max_size=9), max_size=4),
    data=st.data(),
)
def test_in_pieces_the_same_is_found_as_in_one(
    secrets: list[str], parts: list[str], data: st.DataObject
):
    known = Redactor((f"s{n}", value) for n, value in enumerate(secrets))
    said = "".join(part + data.draw(st.sampled_from(secrets)) for part in parts)
    flow, told, at = Flow(lambda: known), "", 0
    while at < len(said):
        size = data.draw(st.integers(1, 7))
        told += flow.more(said[at : at + size])
        at += size
    told += flow.rest()
    for value in secrets:
        assert value.strip() not in told


def test_what_begins_like_a_secret_and_is_none_comes_through():
    known = Redactor([("x", "abcdef")])
    flow = Flow(lambda: known)
    assert flow.more("say abc") == "say "
    assert flow.more("d or not, ab") == "abcd or not, "
    assert flow.rest() == "ab"
