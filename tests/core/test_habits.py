"""A task that goes in circles: noticed, warned, blocked, stopped; and reads that need no repeat."""

import pytest

from holdfast.core import event as e
from holdfast.core.budget import Limits
from holdfast.core.command import Recover, Retry, Say
from holdfast.core.context import prompt
from holdfast.core.effect import AskModel
from holdfast.core.ids import CallId, TaskId
from holdfast.core.message import (
    EffectClass,
    Failed,
    HouseSaid,
    Refused,
    Returned,
    ToolCall,
    words,
)
from holdfast.core.task import Child, Status
from tests.core.given import Story, again, ask, call, read, running, shell, write

LONG = Limits(steps=200)


def look(name: str, what: str = "x") -> ToolCall:
    """A read whose result may change by itself: never reused."""
    return call(name, "look", EffectClass.READS, target=what)


# Loops


def test_the_same_result_twice_is_remarked_upon():
    """Row OL-72."""
    story = running().replies(look("a")).runs("a", Returned(text="same"))
    assert story.note("a") == ""
    story.replies(look("b")).runs("b", Returned(text="same"))
    assert "same result 2 times" in story.note("b")


def test_the_same_call_with_new_results_is_no_loop():
    """Row OL-72."""
    story = running(limits=LONG)
    for n in range(20):
        story.replies(look(f"a{n}")).runs(f"a{n}", Returned(text=str(n)))
        assert story.note(f"a{n}") == ""
    assert story.when(ask()).status is Status.RUNNING


def test_the_same_result_four_times_blocks_the_call_until_the_task_is_given_up():
    """Row OL-72."""
    story = running(limits=LONG)
    for n in range(9):
        story.replies(look(f"a{n}"))
        if CallId(f"a{n}") in story.task.calls:
            story.runs(f"a{n}", Returned(text="same"))
    assert len(story.happened(e.CallStarted)) == 4
    assert story.answer("a4") == Refused(
        reason="this same call gave this same result 4 times", rule="loop"
    )
    assert all(isinstance(story.answer(f"a{n}"), Refused) for n in range(4, 9))
    assert (story.status, story.fault) == (Status.FAILED, "loop")
    assert story.task.fault
    assert story.task.fault.message == "the same call was proposed 9 times: look"


def test_a_loop_beside_other_calls_is_a_loop_too():
    """Row OL-72."""
    story = running(limits=LONG)
    for n in range(4):
        story.replies(look(f"a{n}")).runs(f"a{n}", Returned(text="same"))
    for n in range(4, 8):
        story.replies(look(f"a{n}"))
    story.replies(read("r"), look("a8"), write("w"))
    assert (story.status, story.fault) == (Status.FAILED, "loop")
    assert isinstance(story.answer("w"), Refused)


def test_a_denied_call_proposed_again_and_again_ends_the_task():
    """Row OL-72."""
    story = running(limits=LONG)
    for n in range(9):
        story.replies(call(f"b{n}", "bomb"))
    assert (story.status, story.fault) == (Status.FAILED, "loop")


# Reuse


def test_the_same_read_is_done_once():
    """Row OC-55."""
    story = running().replies(read("r")).runs("r", Returned(text="old", artifact="f"))
    story.replies(read("s"))
    assert story.answer("s") == Returned(text="old", artifact="f", reused=True)
    assert story.due == (AskModel(),)
    story.replies(read("t", "other.txt"))
    assert [effect.key for effect in story.due] == ["run t"]


def test_after_a_write_everything_is_read_again():
    """Row OC-55."""
    story = running().replies(read("r")).runs("r").replies(write("w")).runs("w")
    story.replies(read("s"))
    assert [effect.key for effect in story.due] == ["run s"]


def test_a_read_proposed_after_a_write_in_one_breath_is_not_answered_from_before():
    """Row OC-55."""
    story = running().replies(read("r")).runs("r").replies(write("w"), read("s"))
    assert [effect.key for effect in story.due] == ["run w", "run s"]


def test_a_read_proposed_before_a_write_in_one_breath_may_be_reused():
    story = running().replies(read("r")).runs("r").replies(read("s"), write("w"))
    assert [effect.key for effect in story.due] == ["run w"]


def test_what_was_read_while_a_write_was_under_way_is_not_remembered():
    """Row OC-55."""
    story = running().replies(read("r"), write("w")).starts("r", "w")
    story.settles("w").settles("r").replies(read("s"))
    assert [effect.key for effect in story.due] == ["run s"]


def test_what_a_child_did_may_have_changed_everything():
    story = running().replies(read("r")).runs("r")
    story.replies(call("d", "delegate", EffectClass.READS)).suspends(
        "d", Child(task=TaskId("task_2"))
    )
    story.settles("d").replies(read("s"))
    assert [effect.key for effect in story.due] == ["run s"]


@pytest.mark.parametrize("pause", [Say(text="I changed it", by="ann"), Recover(reason="crash")])
def test_after_a_pause_or_a_word_from_a_person_everything_is_read_again(pause: Say):
    story = running().replies(read("r")).runs("r").when(pause)
    if story.status is Status.QUEUED:
        again(story)
    story.replies(read("s"))
    assert [effect.key for effect in story.due] == ["run s"]


def test_a_failed_read_and_an_unsteady_one_are_never_reused():
    """Row OC-55."""
    story = running().replies(read("r")).runs("r", Failed(text="gone")).replies(read("s"))
    assert [effect.key for effect in story.due] == ["run s"]
    other = running().replies(look("a")).runs("a").replies(look("b"))
    assert [effect.key for effect in other.due] == ["run b"]


# Failures in a row


def fails(story: Story, name: str) -> Story:
    return story.replies(shell(name, f"make {name}")).runs(name, Failed(text=f"{name} broke"))


def test_two_failures_in_a_row_bring_a_word_of_advice():
    """Row OC-56."""
    story = fails(running(), "a")
    assert not isinstance(prompt(story.task).entries[-1], HouseSaid)
    note = prompt(fails(story, "b").task).entries[-1]
    assert isinstance(note, HouseSaid)
    assert "try a different way" in note.text


def test_three_more_failures_even_apart_end_the_task_with_a_request_for_guidance():
    """Row OC-56."""
    story = running()
    for name in "abcd":
        fails(story, name)
    story.replies(shell("ok", "true")).runs("ok")
    assert story.when(ask()).status is Status.RUNNING
    fails(story, "e").when(ask())
    assert (story.status, story.fault) == (Status.FAILED, "needs_guidance")
    assert story.task.fault
    for name in "abcde":
        assert f"make {name}" in story.task.fault.message
        assert f"{name} broke" in story.task.fault.message


def test_three_successes_in_a_row_end_the_recovery():
    """Row OC-56."""
    story = fails(fails(running(), "a"), "b")
    for name in "xyz":
        story.replies(shell(name, name)).runs(name)
    assert not story.task.habits.recovering
    for name in "cd":
        fails(story, name)
    assert story.when(ask()).status is Status.RUNNING


def test_a_request_for_guidance_lists_six_failures_at_most_and_cuts_long_ones():
    """Row OC-56."""
    story = running(limits=LONG)
    for n in range(9):
        name = f"f{n}"
        story.replies(shell(name, f"{n}" + "y" * 500)).runs(name, Failed(text="x" * 999))
        for m in range(3) if n < 4 else ():
            story.replies(shell(f"ok{n}{m}", f"true {n} {m}")).runs(f"ok{n}{m}")
    story.when(ask())
    assert story.task.fault
    lines = [line for line in story.task.fault.message.splitlines() if line.startswith("- ")]
    assert len(lines) == 6
    assert all(len(line) < 700 for line in lines)


def test_a_person_who_retries_gives_a_fresh_start():
    story = running()
    for name in "abcde":
        fails(story, name)
    again(story.when(ask()).when(Retry(by="ann"))).when(ask())
    assert story.status is Status.RUNNING


# No progress


def stale(story: Story, turns: int) -> Story:
    for _ in range(turns):
        story.replies(call(f"b{len(story.history)}", "bomb", target=str(len(story.history))))
    return story


def test_six_turns_without_anything_new_turn_the_tools_off():
    """Row OC-57."""
    story = stale(running(), 5)
    assert prompt(story.task).tools
    assert story.due == (AskModel(),)
    stale(story, 1)
    assert story.due == (AskModel(tools=False),)
    shown = prompt(story.task)
    assert not shown.tools
    assert "Tools are off" in words_of(shown.entries[-1])
    assert story.replies(text="I could not do it.").status is Status.SUCCEEDED


def words_of(entry: object) -> str:
    assert isinstance(entry, HouseSaid)
    return entry.text


def test_with_tools_off_a_call_is_refused_and_three_more_end_the_task():
    """Row OC-57."""
    story = stale(running(), 6).replies(read("r"))
    assert words(story.answer("r")) == "tools are off now: give your answer in words"
    story.replies(read("s")).replies(read("t")).when(ask())
    assert (story.status, story.fault) == (Status.FAILED, "no_progress")


def test_something_new_starts_the_count_again():
    """Row OC-57."""
    story = stale(stale(running(), 5).replies(read("r")).runs("r"), 5)
    assert prompt(story.task).tools


def test_a_reused_read_is_nothing_new():
    """Row OC-57."""
    story = stale(running().replies(read("r")).runs("r"), 5).replies(read("s"))
    assert not prompt(story.task).tools
