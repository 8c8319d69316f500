"""Answers in a wanted shape: where JSON is found, how it is checked, which schemas are taken."""

from __future__ import annotations

import json
import time
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.adapters.models.catalog import Catalog
from holdfast.adapters.models.settings import ModelsConfig, Provider
from holdfast.adapters.models.shapes import check, fit, found
from holdfast.core.agent import Shape
from holdfast.core.context import Prompt
from holdfast.core.error import Invalid
from holdfast.core.message import PersonSaid
from holdfast.testing import model_server as server
from holdfast.testing.model_contract import TOOLS, nothing
from holdfast.testing.model_server import ModelServer

PRICE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "item": {"type": "string", "pattern": "^[a-z]+$"},
        "price": {"type": "number", "minimum": 0},
        "tags": {"type": "array", "items": {"enum": ["new", "old"]}, "uniqueItems": True},
    },
    "required": ["item", "price"],
    "additionalProperties": False,
}
GOOD = '{"item":"pen","price":2}'


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"Here it is:\n```json\n{GOOD}\n```\nEnjoy.",
        f"```\n{{broken\n```\n~~~yaml\n{GOOD}\n~~~",
        f"The answer is {GOOD} as you {{can}} see.",
        f'[1] says {{"item": 3}} but {GOOD}',
        f'```python\nx = {{}}\n```\n{{"item": "a}}"}} {GOOD}',
        f"```json\n{GOOD}",
        f"{'[{' * 50}{GOOD}",
        '{"price": 2, "item": "pen"}',
    ],
)
def test_json_is_found_in_mixed_text_and_made_canonical(text: str):
    """Part of row GC-42."""
    assert fit(text, Shape(schema=PRICE)) == (GOOD, "")


def test_a_json_block_comes_before_other_blocks_and_those_before_words():
    """Part of row GC-42."""
    text = '{"a": 1}\n```\n{"a": 2}\n```\n```json\n{"a": 3}\n```\n'
    assert [value["a"] for value in found(text)] == [3, 2, 1, 2, 3]


def test_an_answer_need_not_be_an_object():
    assert fit(" 42 ", Shape(schema={"type": "integer"})) == ("42", "")
    assert fit("[1, 2]", Shape(schema={"type": "array"})) == ("[1,2]", "")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("no", "no JSON was found in the answer: answer with one JSON value and nothing else"),
        ("{'item': 1}", "no JSON was found in the answer: answer with one JSON value and nothing"),
        ('{"price": NaN}', "no JSON was found"),
        ('{"item": "pen"}', 'at $: "price" missing'),
        ('{"item": 5, "price": 1}', "at $.item: expected a string, found 5"),
        ('{"item": "PEN", "price": 1}', 'at $.item: expected pattern "^[a-z]+$", found "PEN"'),
        ('{"item": "a", "price": -1}', "at $.price: expected minimum 0, found -1"),
        ('{"item": "a", "price": 1, "x": 1}', 'at $: "x" does not belong there'),
        (
            '{"item": "a", "price": 1, "tags": ["new", "odd"]}',
            'at $.tags[1]: expected "new" or "old", found "odd"',
        ),
        (
            '{"item": "a", "price": 1, "tags": ["new", "new"]}',
            'at $.tags: expected uniqueItems true, found ["new","new"]',
        ),
        ("[" * 5000, "no JSON was found"),
        (f"{'[' * 100}{']' * 100}", "the answer is nested deeper than 64 levels"),
    ],
)
def test_what_is_wrong_is_told_with_its_place_and_what_was_expected_and_found(
    text: str, problem: str
):
    """Part of row GC-42."""
    kept, why = fit(text, Shape(schema=PRICE))
    assert kept == text
    assert why.startswith(problem)
    assert len(why) < 400


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "strnig"}, "at #/type: 'strnig' is not"),
        ({"properties": {"a": {"minimum": "1"}}}, "at #/properties/a/minimum: '1' is not of type"),
        ({"$ref": "https://example.com/x.json"}, 'at #/$ref: "https://example.com/x.json" is no'),
        ({"$ref": "#/$defs/gone"}, 'at #/$ref: "#/$defs/gone" is no schema in this document'),
        ({"$ref": "#"}, "at #: it refers to itself and could never be checked"),
        (
            {"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}}},
            "it refers to itself and could never be checked",
        ),
        ({"pattern": "(?=a)"}, "at #: the pattern '(?=a)' is not one of RE2's"),
        ({"patternProperties": {"(a": {}}}, "at #: the pattern '(a' is not one of RE2's"),
        ({"$schema": "https://example.com/own"}, "at #/$schema: unknown: use"),
        ({"enum": ["x" * 70_000]}, "at #: it has 70013 characters, the limit is 65536"),
        ({"unevaluatedProperties": False}, "at #: unevaluatedProperties is not supported"),
        ({"items": {"$id": "x"}}, "at #/items: $id is not supported"),
    ],
)
def test_a_schema_that_no_answer_can_be_held_to_is_refused_with_the_place(
    schema: dict[str, Any], said: str
):
    """Part of row GC-42."""
    with pytest.raises(Invalid) as refused:
        check(schema)
    assert said in str(refused.value)
    assert refused.value.code == "bad_schema"


def test_a_schema_nested_too_deeply_is_refused():
    for depth in (100, 3_000):
        schema: dict[str, Any] = {}
        for _ in range(depth):
            schema = {"items": schema}
        with pytest.raises(Invalid, match="nested"):
            check(schema)


def test_a_schema_may_refer_to_itself_where_it_looks_deeper_and_drafts_differ():
    tree = {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["n"]}
    shape = Shape(schema={"$id": "https://example.com/tree", **tree})
    assert fit('{"n": 1, "next": {"n": 2}}', shape)[1] == ""
    assert fit('{"n": 1, "next": {}}', shape)[1] == 'at $.next: "n" missing'
    seven = "http://json-schema.org/draft-07/schema#"
    assert fit("[1]", Shape(schema={"$schema": seven, "items": [{"type": "string"}]}))[1]


def doubling(levels: int) -> dict[str, Any]:
    """Each level is looked at twice for every time that the one before is."""
    defs: dict[str, Any] = {f"d{levels}": {"type": "integer"}}
    for level in range(levels):
        below = {"$ref": f"#/$defs/d{level + 1}"}
        defs[f"d{level}"] = {"allOf": [below, below]}
    return {"$defs": defs, "$ref": "#/$defs/d0"}


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        (doubling(60), "1"),
        ({"items": {"pattern": "^(a+)+$"}}, json.dumps(["a" * 100_000 + "!"])),
        ({"patternProperties": {"^(a|a)*$": {}}}, json.dumps({"a" * 100_000 + "!": 1})),
        ({"uniqueItems": True}, json.dumps([{"a": n} for n in range(50_000)])),
        ({"anyOf": [{"type": "string", "title": f"{n}"} for n in range(900)]}, f"[{'1,' * 4**9}1]"),
        ({}, "{" * 5_000_000),
        ({}, '{"a": "' * 500_000),
        ({}, "```json\n{\n" * 200_000),
    ],
    ids=["doubling", "pattern", "names", "unique", "any of", "braces", "strings", "fences"],
)  # fmt: skip
def test_a_hostile_schema_or_answer_costs_a_bounded_time(schema: dict[str, Any], text: str):
    """Part of row GC-42."""
    check(schema)
    began = time.process_time()
    fit(text, Shape(schema=schema))
    assert time.process_time() - began < 20


@given(text=st.text(), value=st.recursive(st.none() | st.integers() | st.text(), st.lists))
def test_finding_never_raises_and_finds_what_stands_alone(text: str, value: Any):
    list(found(text))
    list(found(f"{text}{json.dumps([value])}{text}"))
    kept, problem = fit(json.dumps(value), Shape(schema={}))
    assert (json.loads(kept), problem) == (value, "")


def test_a_provider_is_told_the_shape_and_its_answer_comes_back_checked():
    """Part of row GC-42."""
    shape = Shape(schema=PRICE)
    asked = Prompt(system="Be brief.", entries=(PersonSaid(text="hi"),), saw=1, shape=shape)

    async def ask(http: ModelServer) -> list[tuple[str, str]]:
        provider = Provider(kind="openai-compatible", base_url=f"{http.url}/v1")
        catalog = Catalog(ModelsConfig(providers={"here": provider}, probe=False))
        model = catalog.find("here/scripted")
        with anyio.fail_after(20):
            replies = [await model.ask(asked, TOOLS, nothing) for _ in range(3)]
        await catalog.close()
        return [(reply.text, reply.problem) for reply in replies]

    call = server.ScriptedCall(name="read", arguments={"path": "a"})
    said = [
        server.Reply(text=f"<think>{{}}</think>Here: {GOOD}"),
        server.Reply(text='{"item": 1}'),
        server.Reply(text="Let me look.", calls=(call,)),
    ]
    with ModelServer(said) as http:
        first, second, third = anyio.run(ask, http)
        system = http.requests[0].messages[0]["content"]
    assert first == (GOOD, "")
    assert second[1].startswith("at $")
    assert third == ("Let me look.", "")
    assert "one JSON value that fits the JSON Schema" in system
    assert '"additionalProperties":false' in system


def test_the_offline_model_does_not_pass_words_off_as_an_answer_in_shape():
    async def ask() -> str:
        entries = (PersonSaid(text="what can you do?"),)
        asked = Prompt(system="", entries=entries, saw=1, shape=Shape(schema=PRICE))
        catalog = Catalog(ModelsConfig(probe=False))
        return (await catalog.find("").ask(asked, TOOLS, nothing)).problem

    assert anyio.run(ask)
