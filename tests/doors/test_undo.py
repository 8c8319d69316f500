"""Undoing what a task changed: all of it, one call, and the undo itself."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from holdfast.doors.http.mcp_server.table import ROWS
from holdfast.doors.http.table import ROUTES
from holdfast.doors.http.ws.names import methods
from tests.doors.undoing import OPEN, Script, Works, run, write
from tests.whole_house import inhabited

pytestmark = pytest.mark.anyio


@pytest.fixture
async def works(tmp_path: Path) -> AsyncGenerator[Works]:
    script = Script()
    async with inhabited(tmp_path / "home", script, OPEN) as lives:
        yield Works(lives, script)


async def test_what_tools_changed_is_as_before_and_undone_again_as_after(works: Works):
    works.file("a.txt", "one\n").chmod(0o755)
    works.file("old/deep/b.txt", "two\n")
    (works.folder / "old/empty").mkdir()
    (works.folder / "link").symlink_to("a.txt")
    before = works.tree
    task = await works.did(
        write("a.txt", "changed\n"),
        write("made/for/it.txt", "new\n"),
        ("append", {"path": "a.txt", "content": "more\n"}),
        ("edit", {"path": "made/for/it.txt", "old": "new", "new": "newer"}),
        ("move", {"from": "old/deep", "to": "moved"}),
        ("delete", {"path": "old", "recursive": True}),
        ("delete", {"path": "link"}),
    )
    after = works.tree
    assert "old" not in after
    seen = await works.outlook(task)
    assert (seen["id"], works.tree) == ("", after), "looking changes nothing"
    undone = await works.undo(task)
    assert (undone["left"], undone["lasting"], undone["id"]) == ([], [], f"{task}.1")
    assert {(one["path"], one["what"]) for one in undone["files"]} >= {
        ("a.txt", "restored"),
        ("made/for/it.txt", "removed"),
        ("made", "removed"),
        ("old/empty", "recreated"),
        ("link", "recreated"),
    }
    assert undone["files"] == seen["files"]
    assert works.tree == before
    again = await works.undo(undone["id"])
    assert (again["of"], again["left"], works.tree) == (f"{task}.1", [], after)
    third = await works.undo(again["id"])
    assert (third["of"], works.tree) == (f"{task}.2", before)
    nothing = await works.undo(task)
    assert (nothing["files"], nothing["id"], len(nothing["past"])) == ([], "", 3)


async def test_what_a_command_changed_is_undone_too(works: Works):
    works.file("keep.txt", "kept\n")
    works.file("gone.txt", "was here\n")
    works.file("src/main.py", "print(1)\n")
    (works.folder / "way").symlink_to("keep.txt")
    before = works.tree
    task = await works.did(
        run("echo x > made.txt && mkdir -p build/out && echo y > build/out/z"),
        run("rm gone.txt && chmod 700 src/main.py && rm way && ln -s src way"),
        run("echo 'print(2)' > src/main.py; false"),
    )
    after = works.tree
    assert "build/out/z" in after
    undone = await works.undo(task)
    assert (undone["left"], undone["lasting"]) == ([], [])
    assert works.tree == before
    await works.undo(undone["id"])
    assert works.tree == after


async def test_a_file_that_somebody_else_changed_since_is_left_alone_and_named(works: Works):
    works.file("a.txt", "one")
    works.file("b.txt", "one")
    works.file("c.txt", "one")
    task = await works.did(
        write("a.txt", "two"),
        write("b.txt", "two"),
        write("new/d.txt", "two"),
        ("delete", {"path": "c.txt"}),
    )
    works.file("a.txt", "a person's words")
    works.file("c.txt", "a person's, too")
    works.file("new/theirs.txt", "in a folder of the task")
    undone = await works.undo(task)
    assert {one["path"]: one["why"] for one in undone["left"]} == {
        "a.txt": "somebody else has changed it since",
        "c.txt": "somebody else has changed it since",
        "new": "the folder holds something that this task did not make",
    }
    assert [one["path"] for one in undone["files"]] == ["b.txt", "new/d.txt"]
    assert (works.folder / "a.txt").read_text() == "a person's words"
    assert (works.folder / "c.txt").read_text() == "a person's, too"
    assert (works.folder / "b.txt").read_text() == "one"
    works.file("a.txt", "two")
    (works.folder / "new/theirs.txt").unlink()
    rest = await works.undo(task)
    assert [one["path"] for one in rest["files"]] == ["a.txt", "new"]
    assert (works.folder / "a.txt").read_text() == "one"


async def test_a_change_between_two_of_the_task_is_a_wall(works: Works):
    works.file("a.txt", "one")
    task = await works.begun(
        write("a.txt", "two"), ("ask_person", {"question": "go on?"}), write("a.txt", "four")
    )
    row = await works.lives.asks_or_ends(task)
    works.file("a.txt", "three, by hand")
    await works.lives.tcp.post(f"/api/v1/tasks/{task}/say", json={"text": "go on"})
    assert row["questions"]
    await works.lives.ended(task)
    undone = await works.undo(task)
    assert (works.folder / "a.txt").read_text() == "three, by hand"
    assert [one["path"] for one in undone["files"]] == ["a.txt"]
    assert [one["why"] for one in undone["left"]] == ["somebody else has changed it since"]
    await works.undo(undone["id"])
    assert (works.folder / "a.txt").read_text() == "four"


async def test_one_call_is_undone_without_the_others(works: Works):
    works.file("a.txt", "one")
    task = await works.did(write("a.txt", "two"), write("b.txt", "b"), write("a.txt", "three"))
    calls = [
        one["data"]["call_id"]
        for one in (await works.lives.tcp.get(f"/api/v1/tasks/{task}/events")).json()["events"]
        if one["kind"] == "CallStarted"
    ]
    first = await works.undo(task, call=calls[0])
    assert first["left"] == [
        {"path": "a.txt", "why": f"call {calls[2]} of this task changed it later"}
    ]
    second = await works.undo(task, call=calls[1])
    assert [one["path"] for one in second["files"]] == ["b.txt"]
    assert (works.folder / "a.txt").read_text() == "three"
    assert not (works.folder / "b.txt").exists()
    assert await works.refused(task, call="c9") == (404, "call_not_found")
    await works.undo(task)
    assert (works.folder / "a.txt").read_text() == "one"


async def test_a_task_at_work_is_not_undone(works: Works):
    task = await works.begun(write("a.txt", "two"), ("ask_person", {"question": "go on?"}))
    await works.lives.asks_or_ends(task)
    assert await works.refused(task) == (409, "not_ended")
    await works.lives.tcp.post(f"/api/v1/tasks/{task}/cancel", json={})
    assert [one["path"] for one in (await works.undo(task))["files"]] == ["a.txt"]
    assert await works.refused(f"{task}.7") == (404, "undo_not_found")
    assert await works.refused("task_none.1") == (404, "task_not_found")
    assert await works.refused(f"{task}.x") == (404, "task_not_found")
    for none in ("0", "00", "9" * 5_000):
        assert (await works.refused(f"{task}.{none}"))[0] == 404, "nor all that the task did"
    assert await works.refused(f"{task}.1", call="c00") == (422, "undo_is_whole")
    looked = await works.lives.tcp.get(f"/api/v1/tasks/{task}.1/undo", params={"call": "c00"})
    assert (looked.status_code, looked.json()["code"]) == (422, "undo_is_whole")
    assert len((await works.outlook(task))["past"]) == 1


async def test_what_stays_is_said_in_plain_words(works: Works):
    (works.folder / ".git").mkdir()
    works.file(".git/HEAD", "ref: refs/heads/main")
    task = await works.did(
        run("echo x > a.txt"),
        ("http", {"url": "http://127.0.0.1:1/"}),
        ("read", {"path": "a.txt"}),
    )
    told = await works.outlook(task)
    assert [one["path"] for one in told["files"]] == ["a.txt"]
    assert told["apart"] == [".git"]
    assert [(one["tool"], one["target"], one["why"]) for one in told["lasting"]] == [
        ("http", "http://127.0.0.1:1/", "it cannot be undone")
    ]


async def test_an_undo_needs_the_scope_of_a_person_who_approves(works: Works):
    task = await works.did(write("a.txt", "two"))
    url = f"/api/v1/tasks/{task}/undo"
    for scopes, may_look, may_undo in (
        (["tasks.read", "tasks.write"], 200, 403),
        (["status"], 403, 403),
        (["approve", "tasks.read"], 200, 200),
    ):
        body = {"name": "-".join(scopes).replace(".", ""), "scopes": scopes}
        key = (await works.lives.local.post("/api/v1/keys", json=body)).json()["key"]
        headers = {"Authorization": f"Bearer {key}"}
        looked = await works.lives.tcp.get(url, headers=headers)
        undone = await works.lives.tcp.post(url, json={}, headers=headers)
        assert (looked.status_code, undone.status_code) == (may_look, may_undo)
    facts = (await works.lives.tcp.get("/api/v1/audit", params={"kind": "task.undone"})).json()
    (fact,) = [one["fact"] for one in facts["records"]]
    assert (fact["task"], fact["subject"], fact["count"]) == (task, f"{task}.1", 1)
    assert fact["by"] == "key:approve-tasksread"
    assert fact["digest"]


async def test_every_door_has_it_and_no_tool_of_a_model(works: Works):
    """We chose: an undo is what a person does; models have nothing that asks for it."""
    assert {(name, one.verb) for name, one in methods(ROUTES).items() if "undo" in name} == {
        ("tasks.undo", "POST"),
        ("tasks.undo.get", "GET"),
    }
    assert {row.name for row in ROWS if "undo" in row.name} == {"undo_task", "preview_undo"}
    assert not [one.spec.name for one in works.lives.house.tools.all() if "undo" in one.spec.name]


async def test_what_is_purged_can_no_longer_be_undone(works: Works):
    task = await works.did(write("a.txt", "two"))
    written = works.lives.house.home / "undo" / f"{task}.jsonl"
    assert written.stat().st_mode & 0o077 == 0
    body = {"task": task, "reason": "no longer wanted"}
    assert (await works.lives.tcp.post("/api/v1/purge", json=body)).status_code == 200
    assert not written.exists()
    answer = await works.lives.tcp.post(f"/api/v1/tasks/{task}/undo", json={})
    assert answer.status_code in {404, 409, 410}, answer.text
    assert (works.folder / "a.txt").read_text() == "two"


async def test_a_child_is_named_and_undone_by_itself(works: Works):
    works.script.tasks["make b"] = ((write("b.txt", "of the child"),),)
    task = await works.did(write("a.txt", "two"), ("delegate", {"task": "make b"}))
    undone = await works.undo(task)
    (child,) = undone["children"]
    assert [one["path"] for one in undone["files"]] == ["a.txt"]
    assert [one["path"] for one in (await works.undo(child))["files"]] == ["b.txt"]
    assert works.tree == {}
