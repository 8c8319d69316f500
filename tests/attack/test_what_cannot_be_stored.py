"""What no journal can hold, from a model or from a folder: one task's trouble, nobody else's."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from holdfast.adapters.blobs.memory import MemoryBlobs
from holdfast.adapters.stores.memory import MemoryJournal
from holdfast.adapters.telemetry.logs import start_logging
from holdfast.adapters.tools.builtin import builtin_tools
from holdfast.adapters.tools.output import Spool
from holdfast.core.message import (
    Change,
    EffectClass,
    Failed,
    Outcome,
    Reply,
    Returned,
    Thought,
    ToolAnswered,
    ToolCall,
)
from holdfast.core.task import Status, Task
from holdfast.engine.clock import SystemClock
from holdfast.ports.model import Delta
from holdfast.ports.tools import Job
from holdfast.testing.engine import ObedientModel, ObedientTool, calls, engine
from holdfast.testing.fake_box import FakeBoxes

pytestmark = pytest.mark.anyio
HALF = json.loads('"half a pair: \\ud800"')


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """What is logged here is not Unicode either, and xdist cannot carry it."""
    caplog.set_level(logging.CRITICAL, logger="holdfast.engine")


def outcomes(task: Task) -> list[Outcome]:
    return [entry.outcome for entry in task.transcript if isinstance(entry, ToolAnswered)]


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


async def ended(answer: Reply, *tools: ObedientTool) -> Task:
    """A task whose model says `answer` first, and another one that runs after it."""
    model = ObedientModel([answer, "done", "the other too"])
    async with engine(MemoryJournal(), model, *tools) as house:
        task = await house.until(await house.submit(), Status.SUCCEEDED, Status.FAILED)
        other = await house.until(await house.submit("another"), Status.SUCCEEDED)
    assert other.answer
    return task


@pytest.mark.parametrize("kind", [Returned, Failed])
async def test_a_result_that_is_not_unicode_is_recorded_with_a_mark(
    kind: type[Returned | Failed],
) -> None:
    tool = ObedientTool(name="look", act=lambda _: kind(text="a\udcffb"))
    assert outcomes(await ended(calls("look"), tool)) == [kind(text="a?b")]


async def test_a_tool_error_that_is_not_unicode_is_recorded_with_a_mark() -> None:
    def act(_arguments: Mapping[str, Any]) -> Outcome:
        raise ValueError("no such file: \udcff")

    task = await ended(calls("look"), ObedientTool(name="look", act=act))
    assert outcomes(task) == [Failed(text="ValueError: no such file: ?", code="tool_error")]


async def test_the_words_of_a_model_that_are_not_unicode_are_recorded_with_a_mark() -> None:
    task = await ended(Reply(text=HALF, thoughts=(Thought(text=HALF),)))
    assert task.answer == "half a pair: ?"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [({"path": HALF}, "Unicode"), ({HALF: 1}, "Unicode"), (nested(5_000), "nested")],
)
async def test_arguments_that_cannot_be_stored_are_refused_to_the_model(
    arguments: dict[str, Any], why: str
) -> None:
    tool = ObedientTool(name="look")
    (outcome,) = outcomes(await ended(calls(("look", arguments)), tool))
    assert isinstance(outcome, Failed)
    assert outcome.code == "invalid_call"
    assert why in outcome.text
    assert not tool.ran


async def test_an_unknown_tool_whose_name_is_not_unicode_is_refused_to_the_model() -> None:
    (outcome,) = outcomes(await ended(calls(HALF)))
    assert isinstance(outcome, Failed)
    assert "there is no tool" in outcome.text


async def test_a_piece_of_a_reply_that_is_not_unicode_can_be_sent_on() -> None:
    model = ObedientModel([Reply(text=HALF)])
    model.hold = anyio.Event()
    async with engine(MemoryJournal(), model) as house:
        task_id = await house.submit()
        with house.live.watching(task_id) as watcher:
            model.hold.set()
            await house.until(task_id, Status.SUCCEEDED)
            deltas = [one for one in await watcher.take() if isinstance(one, Delta)]
    assert [delta.text for delta in deltas] == ["half a pair: ?"]


class Breaking(ObedientTool):
    """Fails in a way that nobody foresaw, before it has begun."""

    async def before(self, arguments: Mapping[str, Any], job: Job) -> Sequence[Change]:
        raise ValueError("unforeseen: \udcff")


class Renaming(ObedientTool):
    """Is about to change a file whose name is not Unicode."""

    async def before(self, arguments: Mapping[str, Any], job: Job) -> Sequence[Change]:
        return (Change(path="a\udcffb"),)


async def test_a_bug_in_a_tool_costs_its_task_a_try_and_no_other_task_anything() -> None:
    model = ObedientModel(lambda prompt: _first(prompt.entries[0]))
    async with engine(MemoryJournal(), model, Breaking(name="break")) as house:
        broken = await house.submit("break")
        task = await house.until(broken, Status.RETRY_WAIT)
        assert task.fault
        assert task.fault.message == "ValueError: unforeseen: ?"
        assert (await house.until(await house.submit("fine"), Status.SUCCEEDED)).answer


def _first(entry: object) -> Reply:
    wants_trouble = getattr(entry, "text", "") == "break"
    return calls("break") if wants_trouble else Reply(text="all is well")


async def test_a_change_of_a_file_whose_name_cannot_be_noted_is_not_made() -> None:
    tool = Renaming(name="rename")
    (outcome,) = outcomes(await ended(calls("rename"), tool))
    assert isinstance(outcome, Failed)
    assert outcome.code == "not_kept"
    assert "a?b" in outcome.text
    assert not tool.ran


async def test_what_cannot_be_recorded_at_all_ends_its_task(tmp_path: Path) -> None:
    """Larger than any event may be: it would be tried again and again for ever."""
    huge = ObedientTool(
        name="look", effect=EffectClass.READS, act=lambda _: Returned(text="x" * (65 << 20))
    )
    task = await ended(calls("look"), huge)
    assert task.status is Status.FAILED
    assert task.fault
    assert task.fault.code == "event_too_large"


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("list", {}),
        ("glob", {"pattern": "*.txt"}),
        ("search", {"pattern": "secret"}),
        ("search", {"pattern": "secret", "glob": "*.txt"}),
    ],
)
async def test_a_folder_with_a_name_that_is_not_unicode_can_be_looked_at(
    tmp_path: Path, tool: str, arguments: dict[str, Any]
) -> None:
    Path(str(tmp_path / "caf\udce9.txt")).write_text("secret")
    clock, spool = SystemClock(), tmp_path / "spool"
    tools = builtin_tools(
        boxes=FakeBoxes(), blobs=MemoryBlobs(), clock=clock, spool=Spool(spool, str)
    )
    proposed = Reply(calls=(ToolCall(id=calls("x").calls[0].id, tool=tool, arguments=arguments),))
    async with engine(MemoryJournal(), [proposed, "done"], *tools.all()) as house:
        task_id = await house.submit(workspace=str(tmp_path))
        (outcome,) = outcomes(await house.until(task_id, Status.SUCCEEDED))
    assert isinstance(outcome, Returned)
    assert "caf?.txt" in outcome.text


def test_a_log_line_that_is_not_unicode_is_written_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        start_logging(tmp_path, level="info", as_json=True, also_stderr=False, redact=str)
        logging.getLogger("holdfast.test").info("a file: caf\udce9")
    finally:
        for handler in root.handlers:
            handler.close()
        root.handlers, root.level = handlers, level
    assert json.loads((tmp_path / "holdfast.log").read_bytes())["message"] == "a file: caf\udce9"
    assert not capsys.readouterr().err
