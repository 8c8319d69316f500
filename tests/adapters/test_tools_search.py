"""Looking around: list, glob, search."""

from __future__ import annotations

import os
import time
from pathlib import Path

import anyio
import pytest

from tests.adapters.desk import Desk

pytestmark = pytest.mark.anyio


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path)
    desk.file("README.md", "# Title\nneedle here\n")
    desk.file("src/app.py", "import os\n\nneedle = 1\n")
    desk.file("src/deep/er/mod.py", "x = 'needle'\n")
    desk.file(".git/objects/x", "needle\n")
    desk.file(".hidden", "needle\n")
    desk.file("image.bin", b"\0needle\n")
    (desk.workspace / "link").symlink_to("src")
    return desk


async def test_a_folder_is_listed_with_kinds_and_sizes(desk: Desk):
    """Row OC-20. Part of row OL-94."""
    lines = [line.split("\t") for line in (await desk.says("list")).split("\n")]
    assert ["file", "20", "README.md"] in lines
    assert ["dir", "src/"] in [[kind, name] for kind, _, name in lines]
    assert ["link", "link"] in [[kind, name] for kind, _, name in lines]
    assert await desk.says("list", path="src", pattern="*.py") == "file\t22\tsrc/app.py"
    (desk.workspace / "empty").mkdir()
    assert await desk.says("list", path="empty") == "[nothing there]"


async def test_a_long_list_is_cut_at_five_hundred(desk: Desk):
    """Row OL-94. Part of row GC-90c."""
    for number in range(600):
        desk.file(f"many/{number:03}")
    lines = (await desk.says("list", path="many")).split("\n")
    assert len(lines) == 501
    assert "more entries" in lines[-1]
    every = await desk.says("list", recursive=True, pattern="*.py")
    assert [line.split("\t")[2] for line in every.split("\n")] == [
        "src/app.py",
        "src/deep/er/mod.py",
    ]
    assert await desk.fails("list", path="none") == ("not_found", "there is no folder none")
    assert (await desk.fails("list", path="README.md"))[0] == "not_a_folder"


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.md", ["README.md"]),
        ("*.py", []),
        ("**/*.py", ["src/app.py", "src/deep/er/mod.py"]),
        ("src/*.py", ["src/app.py"]),
        ("src/**", ["src/app.py", "src/deep/er/mod.py"]),
        ("src/**/mod.py", ["src/deep/er/mod.py"]),
        ("./src/../src/ap?.py", ["src/app.py"]),
        ("src/[ab]pp.{py,txt}", ["src/app.py"]),
        ("src/[!a]*.py", []),
        ("**/x", []),
        ("a+(b)*", []),
        ("README.md", ["README.md"]),
    ],
)
async def test_files_are_found_by_their_path(pattern: str, found: list[str], desk: Desk):
    """Part of row KV-24."""
    said = await desk.says("glob", pattern=pattern)
    assert said == ("\n".join(found) or "[no file matches]")
    assert said == await desk.says("glob", pattern=f"{desk.workspace}/{pattern}")


@pytest.mark.parametrize("pattern", ["../*", "/etc/*", "src/../../*", "*/../../*", "{..,a}/../*"])
async def test_no_pattern_leads_out(pattern: str, desk: Desk):
    """Part of row KV-24."""
    assert (await desk.fails("glob", pattern=pattern))[0] == "outside_workspace"


async def test_lines_are_found_by_a_regular_expression(desk: Desk):
    """Row OC-26."""
    assert (await desk.says("search", pattern="needle")).split("\n") == [
        ".hidden:1: needle",
        "README.md:2: needle here",
        "src/app.py:3: needle = 1",
        "src/deep/er/mod.py:1: x = 'needle'",
    ]
    assert await desk.says("search", pattern="^NEEDLE", path="src") == "[no match in 2 text files]"
    assert (
        await desk.says("search", pattern="(?i)^NEEDLE", glob="*.py") == "src/app.py:3: needle = 1"
    )
    assert "mod.py" in await desk.says("search", pattern="needle", glob="src/**/mod.py")
    assert await desk.says("search", pattern="Title", path="README.md") == "README.md:1: # Title"
    assert (await desk.fails("search", pattern="x", path="none"))[0] == "not_found"


async def test_a_search_has_bounds(desk: Desk):
    desk.file("long", "needle\n" * 1_000 + "y" * 400_000 + "needle\n")
    desk.file("huge", "needle\n" * 100_000)
    lines = (await desk.says("search", pattern="needle", max_matches=5)).split("\n")
    assert len(lines) == 6
    assert lines[-1] == "[stopped after 5 matches]"
    assert "huge" not in await desk.says("search", pattern="needle", max_matches=900)
    one = await desk.says("search", pattern="needle", max_files=1)
    assert one.split("\n")[-1].startswith("[stopped after 1 files")
    wide = await desk.says("search", pattern="yneedle", path="long")
    assert len(wide) < 400


async def test_no_expression_takes_for_ever(desk: Desk):
    desk.file("evil", "a" * 200_000 + "b\n")
    began = time.monotonic()
    await desk.says("search", pattern="(a+)+$", path="evil")
    await desk.says("search", pattern="(a|a)*c", path="evil")
    assert time.monotonic() - began < 5
    assert "not valid RE2" in desk.tool("search").problem({"pattern": "("})
    assert "not valid RE2" in desk.tool("search").problem({"pattern": r"(a)\1"})


async def test_what_cannot_be_read_is_passed_over(desk: Desk):
    os.mkfifo(desk.workspace / "src" / "pipe")
    desk.file("src/latin", b"caf\xe9 needle\n")
    assert "latin:1: caf\ufffd needle" in await desk.says("search", pattern="needle", path="src")


async def test_a_search_through_much_can_be_cancelled(desk: Desk):
    for number in range(300):
        desk.file(f"many/{number}/file", "x" * 1_000)
    with anyio.fail_after(5), anyio.CancelScope() as scope:
        scope.cancel()
        await desk.says("search", pattern="y")
    assert scope.cancelled_caught
