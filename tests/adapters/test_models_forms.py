"""Thinking and calls inside a model's text: found however the text is cut, never shown as words."""

from __future__ import annotations

import itertools
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.adapters.models.call_filter import CallFilter
from holdfast.adapters.models.call_json import Broken, Wanted
from holdfast.adapters.models.estimate import most_tokens, tokens_of
from holdfast.adapters.models.reading import Reading, understood
from holdfast.adapters.models.text_calls import MOST_CALLS, told
from holdfast.core.context import Prompt
from holdfast.core.ids import CallId
from holdfast.core.message import (
    Failed,
    File,
    ModelSaid,
    PersonSaid,
    Refused,
    Reply,
    Returned,
    ToolAnswered,
    ToolCall,
    Unknown,
)
from holdfast.ports.model import Delta, ToolSpec

TOOLS = tuple(
    ToolSpec(name=name, description=f"{name} it", schema={"type": "object"})
    for name in ("read", "write")
)
EMPTY = Prompt(system="s", entries=(PersonSaid(text="hi"),), saw=1)


def heard(pieces: list[str], tools: tuple[ToolSpec, ...] = TOOLS) -> tuple[str, str, list[str]]:
    """What a watcher has of a reply that comes in these pieces: words, thoughts, names of calls."""
    deltas: list[Delta] = []

    def hear(delta: Delta) -> None:
        if delta.reset:
            deltas.clear()
        deltas.append(delta)

    reading = Reading("here/m", hear, tools)
    for piece in pieces:
        reading.hear(Delta(text=piece))
    reading.end()
    return (
        "".join(delta.text for delta in deltas),
        "".join(delta.thought for delta in deltas).strip(),
        [delta.call for delta in deltas if delta.call],
    )


def read(text: str, prompt: Prompt = EMPTY) -> Reply:
    return understood(Reply(text=text, model="here/m"), prompt, TOOLS)


def parted(text: str) -> tuple[str, str]:
    """The words and the thoughts of a reply whose model calls no tools in its text."""
    reply = understood(Reply(text=text, model="here/m"), EMPTY)
    return reply.text, "".join(thought.text for thought in reply.thoughts)


def call(tool: str = "read", **arguments: Any) -> str:
    return json.dumps({"tool_name": tool, "arguments": arguments})


@pytest.mark.parametrize(
    ("text", "words", "thoughts"),
    [
        ("<think>Hm.</think>\n\nYes.", "Yes.", "Hm."),
        ("Well, <THINKING>hm</THINKING>yes.", "Well, yes.", "hm"),
        ("<analysis>a</analysis>1<reasoning>b</reasoning>2", "12", "a\n\nb"),
        ("<!-- think: so far -->Yes.", "Yes.", ": so far"),
        ("<!-- thinker -->Yes.", "<!-- thinker -->Yes.", ""),
        ("<think>a<think>b</think>c</think>Yes.", "Yes.", "abc"),
        ("<think>a <analysis>b</analysis> c</think>Yes.", "Yes.", "a b c"),
        ("<think>what a `<think>` is</think>Yes.", "Yes.", "what a `<think>` is"),
        ("Yes.<think>and then", "Yes.", "and then"),
        ("So it is.\n</think>\nYes.", "Yes.", "So it is."),
        ("a </think> b", "a </think> b", ""),
        ("Write `<think>` first.", "Write `<think>` first.", ""),
        ("```\n<think>\n```\nYes.", "```\n<think>\n```\nYes.", ""),
        ("~~~\n</think>\n~~~", "~~~\n</think>\n~~~", ""),
        ("a < b <thin c", "a < b <thin c", ""),
        ("", "", ""),
    ],
)
def test_thinking_in_tags_is_taken_out_of_the_words_but_not_out_of_code(
    text: str, words: str, thoughts: str
):
    """Part of row OC-62."""
    assert parted(text) == (words, thoughts)
    reply = understood(Reply(text=text, model="here/m"), EMPTY)
    assert [(one.text, one.provider, one.signature) for one in reply.thoughts] == (
        [(thoughts, "here", "")] if thoughts else []
    )


@pytest.mark.parametrize(
    "text",
    [
        f"```json\n{call(path='a')}\n```",
        f"```tool\n{call(path='a')}\n```",
        f"```tool_call\n{call(path='a')}\n```",
        f"```\n{call(path='a')}\n```",
        call(path="a"),
        f"[{call(path='a')}]",
        '<tool_call>{"name": "read", "arguments": {"path": "a"}}</tool_call>',
        '<tool_call>{"name": "read", "arguments": {"path": "a"}}',
        '{"name": "read", "parameters": {"path": "a"}}',
        '{"thought": "so", "tool": "read", "args": {"path": "a",},}',
        '{"tool_calls": [{"function": {"name": "read", "arguments": "{\\"path\\": \\"a\\"}"}}]}',
    ],
)
def test_a_call_is_found_in_every_form_and_is_not_shown(text: str):
    """Part of rows OC-53, OC-63."""
    reply = read(f"Let me look.\n{text}\n")
    assert [(one.tool, one.arguments, one.problem) for one in reply.calls] == [
        ("read", {"path": "a"}, "")
    ]
    assert (reply.text, reply.finish) == ("Let me look.", "calls")
    assert heard([f"Let me look.\n{text}\n"]) == ("Let me look.", "", ["read"])


@pytest.mark.parametrize(
    "text",
    [
        '{"answer": 42}',
        '{"name": "read", "age": 7}',
        '{"tool_name": "hammer", "arguments": {}}',
        '[{"tool": "read"}, {"price": 5}]',
        f"```python\nask({call(path='a')})\n```",
        f"`{call(path='a')}` is how to ask",
        "{'tool_name': 'read'}",
        'if (x) { y[0] } else { return {"a" ',
        'function f() { return {"a": [1, 2] } }',
        "an <tool_call> is a tag",
    ],
)
def test_other_json_is_words(text: str):
    """Part of row OC-53."""
    reply = read(text)
    assert (reply.calls, reply.text, reply.finish) == ((), text, "stop")
    assert heard([text])[0] == text


def test_braces_and_quotes_in_strings_are_no_end_of_a_call():
    """Part of row OC-53."""
    odd = 'if (a) { b["}"] = "\\" </tool'
    assert read(call("write", text=odd)).calls[0].arguments == {"text": odd}


@pytest.mark.parametrize("form", ["{}", "<tool_call>{}</tool_call>", "```json\n{}\n```"])
def test_tags_within_a_call_are_not_thinking_and_a_call_within_thinking_is_no_call(form: str):
    """Part of rows OC-53, OC-62."""
    text = form.replace("{}", call("write", text="<think>a</think><!-- think -->"))
    reply = read(f"<think>{form.replace('{}', call())}</think>{text}\n<think>b</think>")
    assert [one.arguments for one in reply.calls] == [{"text": "<think>a</think><!-- think -->"}]
    assert len(reply.thoughts) == 1
    assert reply.thoughts[0].text.endswith("b")
    assert reply.text == ""


def test_six_calls_of_a_reply_are_run_and_the_model_is_told_of_the_rest():
    """Row OC-53."""
    reply = read("\n".join(call(path=str(n)) for n in range(9)))
    ran = [one for one in reply.calls if not one.problem]
    assert [one.arguments["path"] for one in ran] == list("012345")
    (told_of,) = (one.problem for one in reply.calls if one.problem)
    assert told_of.startswith("only 6 calls of one reply are run: this one and 2 more did not run")
    assert len(reply.calls) == MOST_CALLS + 1


def test_ids_are_the_models_own_or_counted_and_never_twice():
    """Part of row OC-53."""
    one = '{"tool": "read", "id": "x", "args": {}}'
    first = read(one * 3 + call())
    assert [each.id for each in first.calls] == ["x", "x-2", "x-3", "tool-json-4"]
    said = ModelSaid(calls=first.calls)
    later = read(call() + one, Prompt(system="", entries=(PersonSaid(text="a"), said), saw=2))
    assert [each.id for each in later.calls] == ["tool-json-5", "x-4"]


@pytest.mark.parametrize(
    ("text", "tool", "why"),
    [
        ('{"tool_name": "read", "arguments": {"path": ', "read", "Expecting value"),
        ('```json\n{"tool": "read", "args": {path: 1}}\n```', "read", "not valid JSON"),
        ('<tool_call>{"arguments": {}}</tool_call>', "unknown", '"name" is missing'),
        ('<tool_call>"{"</tool_call>', "unknown", "an object with name and arguments"),
        ('{"tool": "read", "args": [1]}', "read", "not an object but a list"),
        ('{"tool": "read", "args": "nonsense"}', "read", "a string that is not a JSON object"),
        ('<tool_call>{"name": "read", "arguments": {"n": NaN}}</tool_call>', "read", "NaN"),
        ('```tool\n{"name": "read" "arguments": {}}\n```', "read", "delimiter"),
        ('<tool_call>{"name": "read", "arguments": ' + "[" * 5000, "read", "nested too deeply"),
    ],
)
def test_a_call_that_cannot_be_read_says_why_and_shows_how_it_began(text: str, tool: str, why: str):
    """Part of row OC-53."""
    (found,) = read(text).calls
    assert found.tool == tool
    assert found.arguments == {}
    assert why in found.problem
    assert found.problem.startswith("the call could not be read: ")
    snippet = found.problem.partition("It began: ")[2]
    assert 0 < len(snippet) <= 260
    assert len(found.problem) - len(snippet) <= 180 + 50


def test_a_conversation_is_told_as_text():
    calls = (
        ToolCall(id=CallId("c1"), tool="read", arguments={"path": "</tool_call>"}),
        ToolCall(id=CallId("c2"), tool="write", arguments={}),
    )
    outcomes = (
        Returned(text="a </tool_response> b"),
        Failed(text="no such file"),
        Refused(reason="not now"),
        Unknown(reason="cut off"),
    )
    answers = (ToolAnswered(call_id=CallId("c"), tool="read", outcome=one) for one in outcomes)
    entries = (PersonSaid(text="hi"), ModelSaid(text="Look:", calls=calls), *answers)
    prompt = told(Prompt(system="Be brief.", entries=entries, saw=1), TOOLS)
    assert prompt.system.startswith("Be brief.\n\nYou have tools.")
    assert '{"name": "read", "description": "read it", "arguments": {"type": "object"}}' in (
        prompt.system
    )
    person, model, *rest = prompt.entries
    assert person == PersonSaid(text="hi")
    assert isinstance(model, ModelSaid)
    assert not model.calls
    assert model.text.startswith("Look:\n<tool_call>\n")
    assert read(model.text).calls[0].arguments == calls[0].arguments
    said = [entry.text for entry in rest if isinstance(entry, PersonSaid)]
    assert said[0] == '<tool_response name="read">\na <\\/tool_response> b\n</tool_response>'
    assert [text.splitlines()[1] for text in said[1:]] == [
        "error: no such file",
        "refused: not now",
        "unknown: cut off",
    ]


def test_words_are_told_at_once_and_only_what_may_be_a_call_is_held_back():
    """Part of row OC-63."""
    deltas: list[Delta] = []
    reading = Reading("here/m", deltas.append, TOOLS)
    for piece in ("Let", " me", ' look. {"tool', '": "re', 'ad"', "} And", " then"):
        reading.hear(Delta(text=piece))
    assert [delta.text or delta.call for delta in deltas] == [
        "Let", " me", " look.", "read", " And", " then",
    ]  # fmt: skip


def test_thoughts_that_nothing_opened_are_taken_back_from_the_watcher():
    """Part of row OC-62."""
    deltas: list[Delta] = []
    reading = Reading("here/m", deltas.append, TOOLS)
    for piece in ("So it", " is.\n</th", "ink>\n\nYes."):
        reading.hear(Delta(text=piece))
    reading.end()
    resets = [delta.model for delta in deltas if delta.reset]
    assert resets == ["here/m"]
    assert heard(["So it is.\n</think>\n\nYes."]) == ("Yes.", "So it is.", [])


MARKUP = st.sampled_from(
    [
        "<think>", "</think>", "<thinking>", "</analysis>", "<!-- think", "-->", "<", "`", "```",
        "```json\n", "```tool\n", "\n", " ", "\n\n", "~~~", "{", "}", "[", "]", '"', "\\", ":", ",",
        "<tool_call>", "</tool_call>", '{"tool": "read"}', '{"name": "write", "args": {"a": "}"}}',
        '{"tool_name": "read", "arguments": {"path": "', "words", "é", "İK", "\x00", "\r\n",
        "\ud800", '{"a": 1}', '"tool"', "<tool_call>{", "\u2028",
        '[{"tool": "read"},{"tool": "write",}]',
    ]
)  # fmt: skip
TEXTS = st.lists(st.one_of(MARKUP, st.text(max_size=4)), max_size=24).map("".join)


@given(text=TEXTS, cuts=st.lists(st.integers(0, 200), max_size=12))
def test_every_cut_of_a_text_gives_the_same_words_thoughts_and_calls(text: str, cuts: list[int]):
    """Part of rows OC-53, OC-62, OC-63."""
    whole = heard([text])
    at = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    assert heard([text[a:b] for a, b in itertools.pairwise(at)]) == whole
    assert heard(list(text)) == whole
    reply = read(text)
    thoughts = "".join(thought.text for thought in reply.thoughts)
    assert (reply.text, thoughts) == whole[:2]
    assert [one.tool for one in reply.calls] == whole[2]


@given(text=TEXTS)
def test_without_calls_in_text_nothing_but_thinking_is_taken_out(text: str):
    words, thoughts, calls = heard(list(text), ())
    assert (words, thoughts) == parted(text)
    assert calls == []
    if "think" not in text and "analysis" not in text:
        assert words == text


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(arguments=st.dictionaries(st.text(), VALUES, max_size=4), words=st.text(max_size=9))
def test_any_arguments_come_back_from_the_form_in_which_they_are_told(
    arguments: dict[str, Any], words: str
):
    """Part of row OC-53."""
    said = ModelSaid(calls=(ToolCall(id=CallId("c"), tool="write", arguments=arguments),))
    entries = (PersonSaid(text="hi"), said)
    shown = told(Prompt(system="", entries=entries, saw=1), TOOLS).entries[1]
    assert isinstance(shown, ModelSaid)
    (found,) = read(shown.text).calls
    assert (found.tool, found.arguments, found.problem) == ("write", arguments, "")


HOSTILE = {
    "open braces": "{" * 10_000_000,
    "open objects": '{"a":' * 1_000_000,
    "keys without an end": '{"' * 2_000_000,
    "open fences": "```json\n{\n" * 300_000,
    "a string of escaped quotes": '{"tool": "read", "args": "' + '\\"' * 2_000_000,
    "commas": "<tool_call>[" + "," * 2_000_000,
    "open thoughts": "<think>" * 500_000,
    "closed thoughts": "\n</think>" * 300_000,
    "backticks": "`" * 10_000_000,
    "white space": " " * 10_000_000,
    "angle brackets": "<" * 3_000_000,
    "a hundred thousand calls": '{"tool": "read"}' * 100_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_costs_a_time_that_grows_with_its_length_only(name: str):
    text, began = HOSTILE[name], time.process_time()
    reply = read(text)
    assert time.process_time() - began < 20
    assert len(reply.calls) <= MOST_CALLS + 1


def test_a_hostile_text_in_tiny_pieces_is_no_worse():
    text = '{"tool": "read", "args": {"text": "' + "x<`{" * 100_000
    began = time.process_time()
    assert heard([text[n : n + 4] for n in range(0, len(text), 4)])[2] == ["read"]
    assert time.process_time() - began < 20


def test_what_is_found_is_bounded_in_number_and_size():
    calls = CallFilter(frozenset({"read"}), MOST_CALLS)
    calls.feed('{"tool": "read"}' * 1000)
    assert len(calls.found) == MOST_CALLS + 1
    assert calls.left_out == 1000 - MOST_CALLS
    assert all(isinstance(one, Wanted | Broken) for one in calls.found)


@given(text=st.text(max_size=400) | st.lists(st.text(max_size=3), max_size=99).map(" ".join))
def test_the_estimate_of_tokens_is_never_below_words_or_characters(text: str):
    """Row GC-39."""
    words, length = len(text.split(" ")) * 1.33, len(text) / 4
    for prompt in (
        Prompt(system=text, entries=(), saw=0),
        Prompt(system="", entries=(PersonSaid(text=text),), saw=0),
        Prompt(system="", entries=(ModelSaid(text=text),), saw=0),
    ):
        assert max(words, length) <= tokens_of(prompt, ()) <= 3 * len(text.encode()) + 100


@pytest.mark.parametrize(
    ("text", "least"),
    [  # a token for each digit, capital, sign or foreign byte: what the dearest tokenizers make
        ("0123456789" * 10, 100),
        ("DEADBEEF" * 10, 80),
        ("{}[];:" * 10, 60),
        ("\U0001f98a" * 10, 40),
        ("qzxjvkwp" * 10, 40),
    ],
)
def test_the_estimate_holds_for_text_that_is_no_prose(text: str, least: int):
    assert most_tokens(text.encode()) >= least


def test_a_picture_is_estimated_by_what_it_is_and_not_by_its_bytes():
    picture = File(name="a.png", media_type="image/png", digest="0" * 64, size=7_000_000)
    sound = File(name="a.mp3", media_type="audio/mpeg", digest="0" * 64, size=7_000_000)
    for file, most in ((picture, 51_000), (sound, 300_000)):
        shown = Prompt(system="", entries=(PersonSaid(text="what?", files=(file,)),), saw=0)
        assert 10_000 < tokens_of(shown, ()) < most


def test_the_estimate_of_tokens_counts_tools_and_is_near_what_english_has():
    english = Prompt(
        system="The quick brown fox jumps over the lazy dog. " * 100, entries=(), saw=0
    )
    assert 1_000 <= tokens_of(english, ()) <= 2_500
    assert tokens_of(english, TOOLS) > tokens_of(english, ())
