"""Every tool for the web keeps every promise of a tool."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from holdfast.core.ids import CallId, TaskId
from holdfast.ports.egress import Answer
from holdfast.ports.tools import Job
from holdfast.testing.fake_egress import FakeEgress
from holdfast.testing.tool_contract import CLAUSES, Clause
from tests.adapters.surfing import Surfer

_TEXT = Answer(status=200, headers={"Content-Type": "text/plain"}, body=b"words", url="")
ANSWERS = {
    "https://x.test/": _TEXT,
    "https://html.duckduckgo.com/html/": Answer(
        status=200, headers={}, body=b"<div class='no-results'>No results.</div>", url=""
    ),
}
CASES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "http": ("http", {"url": "https://x.test/", "method": "GET", "headers": {"A": "b"}}),
    "http to nowhere": ("http", {"url": "https://gone.test/"}),
    "fetch": ("web_fetch", {"url": "https://x.test/", "max_chars": 100}),
    "fetch nothing": ("web_fetch", {"url": "https://gone.test/"}),
    "search": ("web_search", {"query": "tea", "max_results": 2}),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("clause", CLAUSES, ids=lambda clause: clause.__name__)
def test_a_tool_keeps_its_promise(clause: Clause, case: str, tmp_path: Path):
    name, arguments = CASES[case]
    surfer = Surfer(FakeEgress(ANSWERS))
    job = Job(task=TaskId("task_1"), call=CallId("c1_1"), workspace=tmp_path)
    anyio.run(clause, surfer.tool(name), arguments, job)


def test_every_tool_is_tried():
    assert set(Surfer(FakeEgress()).tools) == {name for name, _ in CASES.values()}
