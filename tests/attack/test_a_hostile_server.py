"""A server of tools that does what none should: nobody suffers but the call, and not for long."""

from __future__ import annotations

import resource
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import anyio
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from msgspec import Raw
from msgspec.structs import replace

from holdfast.adapters.blobs.memory import MemoryBlobs
from holdfast.adapters.tools.mcp import messages, results
from holdfast.adapters.tools.mcp.events import Ear
from holdfast.adapters.tools.mcp.schemas import plain
from holdfast.adapters.tools.mcp.trouble import Odd, Trouble
from holdfast.core.error import Unavailable
from holdfast.core.message import EffectClass, Failed, Returned
from holdfast.ports.box import Box, BoxSpec
from holdfast.testing.plain_boxes import PlainBoxes
from tests.adapters.mcp_stage import inner, scripted, staged

pytestmark = pytest.mark.anyio
ALL_READ = {"*": EffectClass.READS}


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("pages", "its list of tools has more than 50 pages"),
        ("many", "it offers more than 300 tools"),
        ("twins", "it offers two tools called t"),
        ("deep", "the schema of t is larger than one may be"),
        ("long", "the description of t has 100,000 characters"),
        ("names", "is no name of a tool"),
        ("old", "it speaks version '1999-01-01'"),
        ("silent", "no answer to initialize within 0.5 s"),
        ("dead", "it has ended: no such file: settings.json"),
    ],
)
async def test_an_offer_beyond_bounds_is_no_offer(tmp_path: Path, mode: str, words: str):
    spec = scripted(mode, start_seconds=0.5 if mode == "silent" else 20.0)
    async with staged(tmp_path, spec, trusted=False) as stage:
        with anyio.fail_after(30), pytest.raises(Unavailable) as told:
            await stage.servers.inspect("lab")
        assert words in str(told.value)
        assert list(stage.servers.usable()) == []


async def test_a_banner_is_passed_over(tmp_path: Path):
    async with staged(tmp_path, scripted("banner")) as stage:
        assert inner(await stage.says("lab_echo", text="hello")) == "hello"


@pytest.mark.parametrize(
    ("tool", "words"),
    [
        ("huge", "it sent a message of more than 8 MiB"),
        ("endless", "it sent a message of more than 8 MiB"),
        ("nonsense", "it writes what is no message, again and again"),
        ("chatter", "it says more than anybody asked for"),
        ("questions", "it "),
        ("odd", "its answer makes no sense"),
        ("stall", "no answer to tools/call within 2 s"),
    ],
)
async def test_an_answer_beyond_bounds_ends_the_call_and_the_house_goes_on(
    tmp_path: Path, tool: str, words: str
):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with staged(tmp_path, scripted(seconds=2.0, effects=ALL_READ)) as stage:
        with anyio.fail_after(20):
            code, text = await stage.fails(f"lab_{tool}")
        assert words in text, (code, text)
        other = await stage.run("lab_echo", task="task_2", text="still here")
        assert isinstance(other, Returned)
        assert inner(other.text) == "still here"
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10
    assert grown < 150, f"{grown} MiB for one answer"


class SurprisingBoxes(PlainBoxes):
    """Boxes of which nobody foresaw how they fail, once `broken`."""

    broken = False

    @asynccontextmanager
    async def lend(self, owner: str, spec: BoxSpec) -> AsyncGenerator[Box]:
        if self.broken:
            raise KeyError("nobody thought of this")
        async with super().lend(owner, spec) as box:
            yield box


async def test_what_nobody_foresaw_ends_one_conversation_and_not_the_house(tmp_path: Path):
    boxes = SurprisingBoxes()
    specs = scripted(effects=ALL_READ), replace(scripted(effects=ALL_READ), name="other")
    async with staged(tmp_path, *specs, boxes=boxes) as stage:
        assert isinstance(await stage.run("other_echo", text="hello"), Returned)
        boxes.broken = True
        code, text = await stage.fails("lab_echo", text="hello")
        assert (code, "daemon's log" in text) == ("mcp_failed", True)
        assert isinstance(await stage.run("other_echo", text="hello"), Returned)
        boxes.broken = False
        with anyio.fail_after(20):
            assert isinstance(await stage.run("lab_echo", text="hello"), Returned)


async def test_while_a_server_floods_the_house_answers_others(tmp_path: Path):
    async with staged(tmp_path, scripted(seconds=2.0, effects=ALL_READ)) as stage:
        waits: list[float] = []

        async def watch() -> None:
            while True:
                began = anyio.current_time()
                await anyio.sleep(0.01)
                waits.append(anyio.current_time() - began)

        async with anyio.create_task_group() as group:
            group.start_soon(watch)
            for tool in ("chatter", "nonsense", "questions", "endless"):
                await stage.run(f"lab_{tool}", task=f"task_{tool}")
            group.cancel_scope.cancel()
        assert max(waits) < 1.0


async def test_what_a_server_plants_for_programs_of_the_host_is_gone_with_it(tmp_path: Path):
    async with staged(tmp_path, scripted()) as stage:
        (stage.workspace / ".git" / "hooks").mkdir(parents=True)
        (stage.workspace / ".git" / "config").write_text("[core]\n")
        (stage.workspace / ".envrc").write_text("export A=1\n")
        assert inner(await stage.says("lab_plant")) == "planted"
        await stage.servers.release(stage.job.task)
        assert not (stage.workspace / ".git/hooks/post-checkout").exists()
        assert (stage.workspace / ".envrc").read_text() == "export A=1\n"


async def test_servers_at_work_are_counted(tmp_path: Path):
    async with staged(tmp_path, scripted(effects=ALL_READ), boxes=PlainBoxes()) as stage:
        outcomes = [await stage.run("lab_echo", task=f"task_{n}", text="x") for n in range(18)]
        assert [type(one) for one in outcomes[:16]] == [Returned] * 16
        assert isinstance(outcomes[17], Failed)
        assert outcomes[17].code == "too_many_servers"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inside: (
        st.lists(inside, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["id", "method", "params", "result", "error", "content", "type", "text"]
            ),
            inside,
            max_size=5,
        )
    ),
    max_leaves=12,
)


_NUMBER = {"type": "number"}
_DATA = {"const", "default", "enum", "examples"}
_WORDS = """$ref $defs type properties required items anyOf enum additionalProperties minimum
description default pattern uniqueItems not const allOf examples minLength exclusiveMaximum"""
_KEYWORDS = tuple(_WORDS.split())
_SCHEMA = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["#/$defs/a", "#/properties/a", "#/", "string", "object", "array", "a"]),
    lambda inside: (
        st.lists(inside, max_size=3)
        | st.dictionaries(st.sampled_from([*_KEYWORDS, "a", "b"]), inside, max_size=4)
    ),
    max_leaves=15,
)


@settings(max_examples=300)
@given(data=st.binary(max_size=60) | _JSON.map(msgspec.json.encode))
def test_no_bytes_are_more_than_odd(data: bytes):
    try:
        found = messages.heard(data)
    except Odd:
        return
    assert isinstance(found, list)


@settings(max_examples=200)
@given(value=_JSON)
def test_no_result_is_more_than_odd(value: object):
    async def read() -> None:
        try:
            await results.outcome(Raw(msgspec.json.encode(value)), MemoryBlobs(), "salt")
        except Trouble:
            return

    anyio.run(read)


@settings(max_examples=300)
@given(schema=st.dictionaries(st.sampled_from(_KEYWORDS), _SCHEMA, max_size=6))
def test_whatever_a_schema_is_what_agents_get_is_plain(schema: dict[str, Any]):
    told = plain(schema)
    Draft202012Validator.check_schema(told)
    assert "$ref" not in {key for key, _ in keywords(told)}
    assert isinstance(told["properties"], dict)
    assert len(msgspec.json.encode(told)) < 1 << 20


def keywords(node: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for key, value in cast("dict[str, Any]", node).items():
            yield key, value
            inside = list(value.values()) if key == "properties" else value
            yield from keywords(inside if key not in _DATA else None)
    elif isinstance(node, list):
        for one in cast("list[Any]", node):
            yield from keywords(one)


def test_references_are_written_out_and_end():
    whole = {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/A"}, "b": {"$ref": "https://evil.example/x"}},
        "required": ["a", 5],
        "$defs": {
            "A": {"type": "object", "properties": {"again": {"$ref": "#/$defs/A"}, "n": _NUMBER}}
        },
    }
    told = plain(whole)
    assert told["properties"]["a"]["properties"] == {"again": {}, "n": _NUMBER}
    assert (told["properties"]["b"], told["required"]) == ({}, ["a"])
    bomb: dict[str, Any] = {"$defs": {"d0": _NUMBER}, "properties": {"x": {"$ref": "#/$defs/d30"}}}
    for level in range(1, 31):
        inner = {"$ref": f"#/$defs/d{level - 1}"}
        bomb["$defs"][f"d{level}"] = {"anyOf": [inner, inner]}
    assert plain(bomb) == {"type": "object", "properties": {}}
    chain: dict[str, Any] = {"$defs": {}, "properties": {"x": {"$ref": "#/$defs/d0"}}}
    for level in range(5_000):
        chain["$defs"][f"d{level}"] = {"$ref": f"#/$defs/d{level + 1}"}
    assert plain(chain) == {"type": "object", "properties": {}}


def test_a_message_of_lines_without_words_has_an_end():
    ear = Ear(1, lambda _: None)
    with pytest.raises(Odd, match="more than 8 MiB"):
        for _ in range(2_000):
            ear.hear(b"data:\n" * 1_000)


@pytest.mark.parametrize("depth", [100_000, 2_000_000])
def test_a_nest_without_end_is_odd(depth: int):
    for data in (
        b'{"id":1,"result":' + b"[" * depth + b"]" * depth + b"}",
        b'{"method":"a","params":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}",
    ):
        with pytest.raises(Odd):
            messages.heard(data)
