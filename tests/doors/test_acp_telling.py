"""What an editor is shown of a reply is the reply, however it came."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from holdfast.doors.acp import calls
from holdfast.doors.acp.daemon import Item
from holdfast.doors.acp.telling import Telling

PIECES = st.lists(st.text(min_size=1, max_size=8), max_size=8)


def telling() -> Telling:
    return Telling("task_123456789012345", "/work", lambda _: None)


def last_message(told: list[dict[str, Any]]) -> str:
    """The words of the message that came last."""
    chunks = [one for one in told if one["sessionUpdate"] == "agent_message_chunk"]
    number = chunks[-1]["messageId"] if chunks else ""
    return "".join(str(one["content"]["text"]) for one in chunks if one["messageId"] == number)


@given(broken=st.lists(PIECES, max_size=3), heard=PIECES, missed=st.text(max_size=8))
def test_the_last_message_is_the_whole_reply_whatever_broke_off_before(
    broken: list[list[str]], heard: list[str], missed: str
) -> None:
    shown, told = telling(), list[dict[str, Any]]()
    for pieces in broken:
        for piece in pieces:
            told += shown.told(Item(kind="delta", data={"text": piece}))
        told += shown.told(Item(kind="delta", data={"reset": "other/model"}))
    for piece in heard:
        told += shown.told(Item(kind="delta", data={"text": piece}))
    whole = "".join(heard) + missed
    before = len([one for one in told if one["sessionUpdate"] == "agent_message_chunk"])
    told += shown.told(Item(kind="Replied", data={"said": {"text": whole}}))
    if whole.strip() and (before or whole):
        assert last_message(told).strip() == whole.strip()


def test_a_reply_that_is_not_what_was_heard_is_shown_again_whole() -> None:
    shown = telling()
    shown.told(Item(kind="delta", data={"text": "Hallo"}))
    told = shown.told(Item(kind="Replied", data={"said": {"text": "Hello"}}))
    assert last_message(told) == "Hello"


def test_a_link_out_of_the_folder_is_not_looked_at(tmp_path: Path) -> None:
    work, secret = tmp_path / "work", tmp_path / "secret.txt"
    work.mkdir()
    secret.write_text("mine")
    (work / "link.txt").symlink_to(secret)
    (work / "plain.txt").write_text("ours")
    look = calls.looking(str(work))
    assert look("plain.txt") == "ours"
    assert [look(name) for name in ("link.txt", "../secret.txt", str(secret), "none", ".")] == [
        None
    ] * 5


def test_a_difference_is_shown_for_every_way_to_change_a_text() -> None:
    held = {"a.txt": "one\n"}
    ways: list[tuple[str, dict[str, str], tuple[str | None, str]]] = [
        ("write", {"path": "a.txt", "content": "two\n"}, ("one\n", "two\n")),
        ("append", {"path": "a.txt", "content": "two\n"}, ("one\n", "one\ntwo\n")),
        ("edit", {"path": "a.txt", "old": "one", "new": "two"}, ("one", "two")),
        ("write", {"path": "b.txt", "content": "new\n"}, (None, "new\n")),
    ]
    for tool, arguments, (old, new) in ways:
        call = {"tool": tool, "arguments": arguments}
        found = calls.changes(call, "/work", held.get)
        assert [(one["oldText"], one["newText"]) for one in found] == [(old, new)]
    patch = {"tool": "edit", "arguments": {"path": "a.txt", "patch": "-one\n+two"}}
    assert "```diff" in calls.changes(patch, "/work", held.get)[0]["content"]["text"]
    assert calls.changes({"tool": "exec", "arguments": {"command": "x"}}, "/work", held.get) == []


def test_a_plan_is_shown_and_its_steps_move_with_the_calls() -> None:
    steps = [
        {"tool": "read", "arguments": {"path": "a.txt"}},
        {"tool": "mail_send", "arguments": {"to": {"from": 1, "field": "mail"}}},
    ]
    shown = telling()

    def told(kind: str, **data: Any) -> list[list[tuple[str, str]]]:
        updates = shown.told(Item(kind=kind, data=data))
        plans = [one["entries"] for one in updates if one["sessionUpdate"] == "plan"]
        return [[(entry["content"], entry["status"]) for entry in plan] for plan in plans]

    def call(number: str, tool: str, **arguments: Any) -> list[dict[str, Any]]:
        return [{"call": {"id": number, "tool": tool, "arguments": arguments}, "verdict": {}}]

    for nonsense in ({}, {"steps": 7}, {"steps": [7]}, {"steps": [{"tool": 1}]}):
        assert told("Replied", judged=call("n", "plan", **nonsense)) == []
    mail = 'mail_send {"from": 1, "field": "mail"}'
    first = told("Replied", judged=call("p", "plan", steps=steps))
    assert first == [[("read a.txt", "pending"), (mail, "pending")]]
    assert told("CallSettled", call_id="p", outcome={}) == []
    assert told("Replied", judged=call("r", "read", path="a.txt")) == []
    assert told("CallStarted", call_id="r")[0][0] == ("read a.txt", "in_progress")
    assert told("CallSettled", call_id="r", outcome={"type": "returned"}) == [
        [("read a.txt", "completed"), (mail, "pending")]
    ]
