"""Reading, writing, moving and deleting files: what is done, what is said, what is kept."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.message import Change, Unknown
from tests.adapters.desk import Desk

pytestmark = pytest.mark.anyio

ROOM = 64 << 20


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


async def test_a_text_is_read_as_it_is(desk: Desk):
    """Rows OC-19, KV-24."""
    desk.file("a", "one\r\ntwo\n\nthrée")
    assert await desk.says("read", path="a") == "one\r\ntwo\n\nthrée"
    assert await desk.says("read", path=str(desk.workspace / "a")) == "one\r\ntwo\n\nthrée"
    assert await desk.says("list") == "file\t16\ta"
    assert await desk.says("write", path="b", content="x") == "wrote 1 bytes, 1 line to b"
    assert await desk.says("glob", pattern="*") == "a\nb"


async def test_a_long_text_is_read_through_a_window(desk: Desk):
    """Part of row OL-92."""
    desk.file("a", "".join(f"line {n}\n" for n in range(1, 5001)))
    first = await desk.says("read", path="a")
    assert first.startswith("line 1\nline 2\n")
    assert first.endswith("line 1998\n[lines 1 to 1998, 3,002 more; read on with offset 1999]")
    middle = await desk.says("read", path="a", offset=1999, limit=2)
    assert (
        middle == "line 1999\nline 2000\n[lines 1999 to 2000, 3,000 more; read on with offset 2001]"
    )
    last = await desk.says("read", path="a", offset=5000)
    assert last == "line 5000\n[lines 5000 to 5000, the end]"
    assert await desk.says("read", path="a", offset=5001) == "[the file has only 5000 lines]"
    assert await desk.says("read", path="a", offset=9999) == "[the file has only 5000 lines]"


async def test_a_line_without_end_is_cut_between_characters(desk: Desk):
    """Part of row GC-90c."""
    desk.file("a", "é" * 100_000)
    text = await desk.says("read", path="a")
    assert len(text.encode()) <= 51_200
    assert "\ufffd" not in text
    assert text.endswith("the file has 200,000]")


async def test_a_huge_file_is_windowed_without_being_loaded(desk: Desk):
    path = desk.file("big", "start\n" + "x" * 10_000 + "\n")
    os.truncate(path, 8 << 30)
    text = await desk.says("read", path="big", limit=2)
    assert text.startswith("start\nxxxx")
    assert "at least" in text


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0", "a PNG image"),
        (b"\x7fELF\0", "a program"),
        (b"abc\0def", "binary data"),
        ("text".encode("utf-16"), "UTF-16"),
    ],
)
async def test_what_is_no_text_is_described(content: bytes, word: str, desk: Desk):
    desk.file("a", content)
    text = await desk.says("read", path="a")
    assert word in text
    assert f"{len(content)} bytes" in text


async def test_bytes_that_are_no_utf8_are_shown_as_such(desk: Desk):
    desk.file("a", b"caf\xe9\n")
    assert await desk.says("read", path="a") == "caf\ufffd\n"
    desk.file("empty")
    assert await desk.says("read", path="empty") == "[the file is empty]"


async def test_what_cannot_be_read_is_said(desk: Desk):
    """Part of row OL-92."""
    (desk.workspace / "folder").mkdir()
    os.mkfifo(desk.workspace / "pipe")
    assert await desk.fails("read", path="none") == ("not_found", "there is no none")
    assert await desk.fails("read", path="folder") == ("not_a_file", "folder is a folder")
    assert await desk.fails("read", path="pipe") == ("not_a_file", "pipe is a pipe")
    assert (await desk.fails("read", path="x" * 5000))[0] in {"io_error", "outside_workspace"}


async def test_writing_makes_folders_counts_bytes_and_leaves_nothing_beside(desk: Desk):
    """Rows OC-21, OL-93. Part of row GC-90c."""
    said = await desk.says("write", path="a/b/c.txt", content="é\ntwo\n")
    assert said == "wrote 7 bytes, 2 lines to a/b/c.txt"
    assert (desk.workspace / "a/b/c.txt").read_text() == "é\ntwo\n"
    assert (
        await desk.says("write", path="a/b/c.txt", content="")
        == "wrote 0 bytes, 0 lines to a/b/c.txt"
    )
    assert [path.name for path in (desk.workspace / "a/b").iterdir()] == ["c.txt"]


async def test_writing_keeps_the_mode_of_a_file(desk: Desk):
    path = desk.file("run.sh", "old")
    path.chmod(0o750)
    await desk.says("write", path="run.sh", content="new")
    await desk.says("append", path="run.sh", content="er")
    assert path.stat().st_mode & 0o7777 == 0o750
    assert path.read_text() == "newer"


async def test_a_reader_sees_the_old_file_or_the_new_one(desk: Desk):
    """Part of row GC-90c."""
    path = desk.file("a", "old")
    with path.open() as reader:
        await desk.says("write", path="a", content="new content")
        assert reader.read() == "old"
    assert path.read_text() == "new content"


async def test_what_cannot_be_written_is_said(desk: Desk):
    (desk.workspace / "folder").mkdir()
    desk.file("file", "x")
    assert (await desk.fails("write", path="folder", content=""))[0] == "not_a_file"
    assert (await desk.fails("write", path="file/below", content=""))[0] == "not_a_folder"
    assert (await desk.fails("write", path=".", content=""))[0] == "protected_path"
    assert (await desk.fails("write", path="a", content="\ud800"))[0] == "invalid_text"
    assert (await desk.fails("write", path="n" * 300, content=""))[0] == "io_error"


async def test_appending(desk: Desk):
    """Row OC-22."""
    said = await desk.says("append", path="log", content="one\n")
    assert said == "appended 4 bytes, 1 line to log, now 4 bytes"
    await desk.says("append", path="log", content="two\n")
    assert (desk.workspace / "log").read_text() == "one\ntwo\n"


async def test_deleting(desk: Desk):
    """Row OC-23."""
    desk.file("a", "x")
    desk.file("folder/below/b", "y")
    assert await desk.says("delete", path="a") == "deleted a"
    assert await desk.fails("delete", path="a") == ("not_found", "there is no a")
    assert "nothing to delete" in await desk.says("delete", path="a", missing_ok=True)
    assert (await desk.fails("delete", path="folder"))[0] == "not_a_file"
    assert await desk.says("delete", path="folder", recursive=True) == "deleted folder (1 file)"
    assert (await desk.fails("delete", path=".", recursive=True))[0] == "protected_path"
    assert list(desk.workspace.iterdir()) == []


async def test_moving(desk: Desk):
    """Row OC-24."""
    desk.file("a", "x")
    desk.file("b", "y")
    assert await desk.says("move", **{"from": "a", "to": "deep/a"}) == "moved a to deep/a"
    assert (await desk.fails("move", **{"from": "b", "to": "deep/a"}))[0] == "exists"
    await desk.says("move", **{"from": "b", "to": "deep/a", "overwrite": True})
    assert (desk.workspace / "deep/a").read_text() == "y"
    assert (await desk.fails("move", **{"from": "deep", "to": "deep/er"}))[0] == "not_possible"
    assert await desk.says("move", **{"from": "deep", "to": "new"}) == "moved deep to new (1 file)"
    assert (await desk.fails("move", **{"from": "none", "to": "x"}))[0] == "not_found"
    desk.file("c", "z")
    assert (await desk.fails("move", **{"from": "c", "to": "new"}))[0] == "exists"


async def test_what_a_change_replaces_is_kept_beforehand(desk: Desk):
    desk.file("a", "old").chmod(0o640)
    digest = hashlib.sha256(b"old").hexdigest()
    kept = await desk.tool("write").before({"path": "./x/../a", "content": "new"}, desk.job)
    assert list(kept) == [Change(path="a", before=digest, mode=0o640)]
    assert await desk.blobs.get(digest) == b"old"
    kept = await desk.tool("append").before({"path": "new", "content": "x"}, desk.job)
    assert list(kept) == [Change(path="new")]
    kept = await desk.tool("move").before({"from": "a", "to": "b"}, desk.job)
    assert set(kept) == {Change(path="b"), Change(path="a", before=digest, mode=0o640)}
    assert list(await desk.tool("exec").before({"command": "rm a"}, desk.job)) == []
    assert list(await desk.tool("read").before({"path": "a"}, desk.job)) == []


async def test_links_in_a_deleted_folder_are_kept_as_links(desk: Desk):
    desk.file("folder/a", "x")
    (desk.workspace / "folder" / "link").symlink_to("/etc/passwd")
    kept = await desk.tool("delete").before({"path": "folder", "recursive": True}, desk.job)
    link = next(each for each in kept if each.path == "folder/link")
    assert link.mode == 0o120777
    assert await desk.blobs.get(link.before or "") == b"/etc/passwd"
    assert await desk.says("delete", path="folder", recursive=True) == "deleted folder (2 files)"
    assert Path("/etc/passwd").exists()


@pytest.mark.parametrize("name", ["write", "append", "edit", "move", "delete"])
async def test_a_file_too_large_to_be_kept_is_not_changed(name: str, desk: Desk):
    path = desk.file("big", "start")
    os.truncate(path, ROOM + 1)
    arguments: dict[str, Any] = {
        "write": {"path": "big", "content": "x"},
        "append": {"path": "big", "content": "x"},
        "edit": {"path": "big", "old": "start", "new": "x"},
        "move": {"from": "big", "to": "b"},
        "delete": {"path": "big"},
    }[name]
    assert list(await desk.tool(name).before(arguments, desk.job)) == []
    code, text = await desk.fails(name, **arguments)
    assert code == "too_large"
    assert "67,108,864" in text
    assert path.stat().st_size == ROOM + 1


async def test_a_check_of_what_was_half_done_is_unknown(desk: Desk):
    desk.file("folder/a", "1")
    desk.file("folder/b", "2")
    arguments = {"path": "folder", "recursive": True}
    before = await desk.tool("delete").before(arguments, desk.job)
    (desk.workspace / "folder" / "a").unlink()
    assert isinstance(await desk.tool("delete").check(arguments, before, desk.job), Unknown)


async def test_a_check_of_what_is_refused_anyway_says_that_it_did_not_happen(desk: Desk):
    arguments = {"path": "../a", "content": "x"}
    assert await desk.tool("append").check(arguments, (), desk.job) is None


async def test_every_tool_says_honestly_what_a_second_run_would_do(desk: Desk):
    effects = {
        name: str(desk.tool(name).traits.effect)
        for name in (tool.spec.name for tool in desk.tools.all())
    }
    reads = {name for name, effect in effects.items() if effect == "reads"}
    assert reads == {"read", "list", "glob", "search", "time", "wait", "ask_person"}
    assert effects["write"] == "repeatable"
    assert {effects[name] for name in ("append", "edit", "move", "delete", "exec")} == {"writes"}
    stable = {name for name in effects if desk.tool(name).traits.stable}
    assert stable == {"read", "list", "glob", "search"}
    checkable = {name for name in effects if desk.tool(name).traits.checkable}
    assert checkable == {"write", "append", "edit", "move", "delete"}


async def test_wrong_arguments_are_explained_and_never_run(desk: Desk):
    read = desk.tool("read")
    assert "did you mean `path`" in read.problem({"pth": "a"})
    assert "missing required field `path`" in read.problem({})
    assert "expected `int`" in read.problem({"path": "a", "offset": "1"})
    assert ">= 1" in read.problem({"path": "a", "offset": 0})
    assert "it takes path, offset, limit" in read.problem({"path": 5})
    assert "at most 600" in desk.tool("exec").problem({"command": "true", "timeout": 601})
    assert "empty" in desk.tool("exec").problem({"command": "  "})
    assert "NUL" in desk.tool("exec").problem({"command": "a\0b"})
    assert "too long" in desk.tool("exec").problem({"command": "x" * 200_000})
    assert (await desk.fails("write", path="a"))[0] == "bad_arguments"
    assert list(await desk.tool("write").before({"path": "a"}, desk.job)) == []
