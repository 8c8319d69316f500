"""Edits: by text, by lines, by patch."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.adapters.tools.beneath import Denied
from holdfast.adapters.tools.edit import Lines, difference, lines_of, relined, replaced
from holdfast.adapters.tools.patch import hunks, patched
from tests.adapters.desk import Desk

pytestmark = pytest.mark.anyio

TEXT = "one\ntwo\nthree\nfour\n"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


async def test_a_piece_that_is_there_once_is_replaced(desk: Desk):
    """Row OC-25. Part of row GC-90c."""
    path = desk.file("a.py", TEXT)
    said = await desk.says("edit", path="a.py", old="two\nthree", new="2")
    assert said == "edited a.py: 2 lines became 1 at line 2; it has 3 lines now"
    assert path.read_text() == "one\n2\nfour\n"
    edits = [{"start_line": 1, "end_line": 1, "new": "1\n"}]
    await desk.says("edit", path="a.py", edits=edits)
    await desk.says("edit", path="a.py", patch="--- a/a.py\n+++ b/a.py\n@@ -3 +3 @@\n-four\n+4\n")
    assert path.read_text() == "1\n2\n4\n"
    problem = desk.tool("edit").problem
    for forms in ({}, {"old": "a", "new": "b", "edits": edits}, {"edits": edits, "patch": "@@"}):
        assert "exactly one of" in problem({"path": "a.py", **forms})


async def test_a_piece_that_is_there_twice_is_not_replaced(desk: Desk):
    """Row GC-90c."""
    path = desk.file("a", "x = 1\ny = 2\nx = 1\n")
    code, text = await desk.fails("edit", path="a", old="x = 1", new="x = 3")
    assert code == "not_unique"
    assert "2 times (lines 1, 3)" in text
    assert path.read_text() == "x = 1\ny = 2\nx = 1\n"
    assert "2 times" in (await desk.fails("edit", path="a", old="x = 1\n", new=""))[1]
    desk.file("b", "aaa")
    assert "2 times" in (await desk.fails("edit", path="b", old="aa", new=""))[1]
    size = 100 * 1024
    desk.file("c", "z" * size)
    assert (await desk.fails("edit", path="c", old="z", new=""))[0] == "not_unique"


async def test_a_piece_that_is_not_there_is_answered_with_what_is(desk: Desk):
    desk.file("a", "def f():\n        return 1\n\ndef other(a, b):\n    return 2\n")
    wrong = await desk.fails("edit", path="a", old="\treturn 1", new="x")
    assert "apart from spaces, at line 2" in wrong[1]
    similar = await desk.fails("edit", path="a", old="def other(a, c):", new="x")
    assert "line 4 is similar: 'def other(a, b):'" in similar[1]
    nothing = await desk.fails("edit", path="a", old="@@@@@", new="x")
    assert "nothing similar" in nothing[1]


async def test_what_makes_no_sense_is_said_before_it_is_run(desk: Desk):
    problem = desk.tool("edit").problem
    assert "go together" in problem({"path": "a", "old": "x"})
    assert "empty" in problem({"path": "a", "old": "", "new": "x"})
    assert "the same" in problem({"path": "a", "old": "x", "new": "x"})
    assert "empty" in problem({"path": "a", "edits": []})
    assert "no hunk" in problem({"path": "a", "patch": "nothing"})
    assert "start_line" in problem({"path": "a", "edits": [{"end_line": 1, "new": ""}]})


async def test_only_a_text_that_is_there_is_edited(desk: Desk):
    desk.file("binary", b"a\0b")
    assert (await desk.fails("edit", path="none", old="a", new="b"))[0] == "not_found"
    assert (await desk.fails("edit", path="binary", old="a", new="b"))[0] == "binary_file"


async def test_the_rest_of_a_file_stays_to_the_byte(desk: Desk):
    path = desk.file("a", b"caf\xe9\r\nx\x0cy\nend")
    await desk.says("edit", path="a", old="x\x0cy", new="z")
    assert path.read_bytes() == b"caf\xe9\r\nz\nend"


def test_windows_line_ends_are_kept():
    text = "one\r\ntwo\r\nthree\r\n"
    assert replaced(text, "one\ntwo", "1\n2") == "1\r\n2\r\nthree\r\n"
    assert relined(text, [Lines(start_line=2, end_line=2, new="2")]) == "one\r\n2\r\nthree\r\n"
    assert patched(text, "@@ -1,2 +1,2 @@\n one\n-two\n+2\n") == "one\r\n2\r\nthree\r\n"


@pytest.mark.parametrize(
    ("edits", "after"),
    [
        ([(2, 3, "x")], "one\nx\nfour\n"),
        ([(1, 0, "zero")], "zero\none\ntwo\nthree\nfour\n"),
        ([(5, 4, "five")], "one\ntwo\nthree\nfour\nfive\n"),
        ([(4, 4, ""), (1, 1, "")], "two\nthree\n"),
        ([(3, 3, "c"), (1, 1, "a\nb")], "a\nb\ntwo\nc\nfour\n"),
        ([(2, 1, "x"), (2, 2, "y")], "one\nx\ny\nthree\nfour\n"),
    ],
)
def test_ranges_of_lines_are_replaced_by_their_old_numbers(
    edits: list[tuple[int, int, str]], after: str
):
    assert relined(TEXT, [Lines(start_line=a, end_line=b, new=new) for a, b, new in edits]) == after


@pytest.mark.parametrize(
    "edits", [[(0, 1)], [(5, 5)], [(3, 1)], [(6, 5)], [(1, 2), (2, 3)], [(2, 2), (2, 2)]]
)
def test_ranges_that_are_not_there_or_overlap_are_refused(edits: list[tuple[int, int]]):
    with pytest.raises(Denied):
        relined(TEXT, [Lines(start_line=a, end_line=b, new="x") for a, b in edits])


def test_a_last_line_without_an_end_stays_so():
    assert relined("a\nb", [Lines(start_line=2, end_line=2, new="c")]) == "a\nc"
    assert relined("a\nb", [Lines(start_line=3, end_line=2, new="c")]) == "a\nb\nc\n"
    assert patched("a\nb", "@@ -1,2 +1,2 @@\n a\n-b\n+c\n") == "a\nc"
    ended = "@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n+b\n"
    assert patched("a\nb", ended) == "a\nb\n"
    unended = "@@ -1,2 +1,2 @@\n a\n-b\n+b\n\\ No newline at end of file\n"
    assert patched("a\nb\n", unended) == "a\nb"


def test_a_patch_finds_lines_that_have_moved_and_forgives_wrong_numbers():
    text = "".join(f"line {n}\n" for n in range(50)) + "target\n" + "tail\n" * 5
    assert "replaced\n" in patched(text, "@@ -3,9 +7,2 @@\n-target\n+replaced\n tail\n")
    twice = "a\nx\nb\nx\nc\nx\n"
    assert patched(twice, "@@ -4 +4 @@\n-x\n+y\n") == "a\nx\nb\ny\nc\nx\n"
    assert patched(TEXT, "@@\n-two\n+2\n") == "one\n2\nthree\nfour\n"
    assert patched("a\n\nb\n", "@@ -1,3 +1,3 @@\n a\n\n-b\n+c\n") == "a\n\nc\n"
    assert patched("a\n", "@@ -0,0 +1 @@\n+first\n") == "first\na\n"


@pytest.mark.parametrize(
    ("patch", "code"),
    [
        ("", "bad_patch"),
        ("--- a\n+++ b\n", "bad_patch"),
        ("@@ -1 +1 @@\n-one\n+1\nodd\n", "bad_patch"),
        (
            "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-one\n+1\n--- a/y\n+++ b/y\n@@ -1 +1 @@\n-a\n+b\n",
            "bad_patch",
        ),
        ("@@ -1 +1 @@\n-not there\n+1\n", "no_match"),
        ("@@ -1 +1 @@\n-two\n+2\n@@ -1 +1 @@\n-one\n+1\n", "no_match"),
    ],
)
def test_a_patch_that_does_not_fit_changes_nothing(patch: str, code: str):
    with pytest.raises(Denied) as caught:
        patched(TEXT, patch)
    assert caught.value.code == code


LINES = st.lists(st.sampled_from(["a\n", "b\n", "\n", "-- c\n", "@ d\n", " e\n"]), max_size=12)


@given(old=LINES, new=LINES)
def test_any_unified_diff_leads_from_the_old_text_to_the_new(old: list[str], new: list[str]):
    diff = list(difflib.unified_diff(old, new, "a", "b"))
    if diff:
        assert patched("".join(old), "".join(diff)) == "".join(new)


@given(old=st.text(alphabet="ab\r\n", max_size=30), new=st.text(alphabet="ab\r\n", max_size=30))
def test_a_difference_is_exact(old: str, new: str):
    first, gone, came = difference(old, new)
    before, after = lines_of(old), lines_of(new)
    assert "".join(before) == old
    assert len(before) - gone == len(after) - came
    middle = after[first - 1 : first - 1 + came]
    assert "".join([*before[: first - 1], *middle, *before[first - 1 + gone :]]) == new


@given(patch=st.text(alphabet="@-+ 12,\n\\ab", max_size=60))
def test_no_patch_breaks_the_reader(patch: str):
    try:
        hunks(patch)
        patched(TEXT, patch)
    except Denied:
        pass
