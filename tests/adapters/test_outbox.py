"""Results that become files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from holdfast.adapters.channels.outbox import Outbox, safe
from holdfast.core.error import Unavailable
from holdfast.core.ids import TaskId
from holdfast.core.task import Status
from holdfast.core.view import Summary

pytestmark = pytest.mark.anyio

RESULT = Summary(id=TaskId("task_1"), status=Status.SUCCEEDED, answer="done")


async def test_a_result_is_one_json_file_named_by_its_delivery(tmp_path: Path):
    await Outbox(tmp_path / "out").deliver("task_1-outbox", RESULT)
    files = list((tmp_path / "out").iterdir())
    assert [file.name for file in files] == ["task_1-outbox.json"]
    assert json.loads(files[0].read_text())["answer"] == "done"


async def test_an_id_cannot_lead_out_of_the_folder(tmp_path: Path):
    await Outbox(tmp_path / "out").deliver("../../escaped", RESULT)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("delivery", ["..", ".", "", "a/b", "x" * 500, "\0", "\ud800"])
def test_every_id_has_a_safe_name(delivery: str):
    name = safe(delivery)
    assert name
    assert len(name) < 200
    assert name[0] != "."
    assert name.encode("ascii").isalnum() or not set(name) & set("/\0\\")


async def test_a_folder_that_cannot_be_written_is_tried_again_later(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Unavailable, match="cannot be put"):
        await Outbox(tmp_path / "file").deliver("d1", RESULT)
