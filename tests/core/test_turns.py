"""The model's turns: affordable, steered, nudged, checked, done."""

import pytest

from holdfast.core import event as e
from holdfast.core.budget import Limits, Reservation, dollars
from holdfast.core.command import HearReply, Recover, Say, StartCall, SuspendCall, Tick
from holdfast.core.context import prompt
from holdfast.core.effect import AskModel
from holdfast.core.gate.policy import Allow, Leave
from holdfast.core.ids import CallId
from holdfast.core.message import (
    EffectClass,
    Failed,
    HouseSaid,
    ModelSaid,
    PersonSaid,
    Reply,
    Returned,
    ToolAnswered,
    Usage,
)
from holdfast.core.task import Status, Timer
from tests.core.given import (
    NOW,
    Story,
    again,
    ask,
    failing,
    read,
    running,
    write,
)

ALONE = Leave(unattended=True)


def ended(story: Story) -> tuple[Status, str]:
    return story.status, story.fault


# Done


def test_a_reply_in_words_ends_the_task():
    story = running().replies(text="It is 42.")
    assert story.events[-1] == e.Finished(answer="It is 42.", at=NOW)
    assert (story.status, story.task.answer) == (Status.SUCCEEDED, "It is 42.")


def test_a_plain_text_answer_is_kept_as_it_is():
    """Row OL-68."""
    story = running().replies(text='{"result": {"n": 1}}')
    assert story.task.answer == '{"result": {"n": 1}}'


def test_no_reply_is_expected_while_calls_are_open():
    story = running().replies(read("r"))
    story.refuses(HearReply(reply=Reply(text="hm"), saw=2), "calls_open")
    story.refuses(ask(), "calls_open")


def test_a_reply_cannot_have_seen_more_than_there_is():
    for saw in (-1, 2):
        running().refuses(HearReply(reply=Reply(text="hm"), saw=saw), "invalid")


# Budgets


def test_a_model_that_never_stops_calling_tools_is_stopped_at_the_step_limit():
    """Row GC-43. Row OL-68."""
    story = running(limits=Limits(steps=3)).when(ask())
    for step in range(3):
        story.replies(read(f"r{step}", f"{step}")).runs(f"r{step}").when(ask())
    assert ended(story) == (Status.FAILED, "budget_exceeded")
    assert story.task.fault
    assert story.task.fault.message == "steps: 3 of 3 used"
    assert len(story.happened(e.Replied)) == 3


def test_a_turn_that_could_break_the_token_limit_is_not_begun():
    """Row GC-43."""
    story = running(limits=Limits(tokens=1_000), leave=ALONE).when(ask(tokens=600))
    story.replies(read("r"), usage=Usage(input=500, output=50, cost=0)).runs("r")
    story.when(ask(tokens=451))
    assert story.task.fault
    assert story.task.fault.message == "tokens: 550 used and up to 451 needed, limit 1000"
    assert story.happened(e.AskBegun) == [e.AskBegun(reserve=Reservation(tokens=600))]


def test_a_turn_that_just_fits_is_begun():
    story = running(limits=Limits(tokens=1_000, cost=10)).when(ask(tokens=1_000, cost=10))
    assert story.task.reserved == Reservation(tokens=1_000, cost=10)
    story.replies(text="ok", usage=Usage(input=3, cost=2))
    assert (story.task.reserved, story.task.spent.tokens, story.task.spent.cost) == (None, 3, 2)


def test_a_turn_that_could_cost_too_much_is_not_begun():
    story = running(limits=Limits(cost=5_000), leave=ALONE).when(ask(cost=5_001))
    assert ended(story) == (Status.FAILED, "budget_exceeded")
    assert story.task.fault
    assert story.task.fault.message == "money: $0.0000 used, up to $0.005001 needed, limit $0.0050"
    assert dollars(1_234_567) == "$1.234567"


def test_a_money_limit_cannot_hold_for_a_model_without_a_price():
    story = running(limits=Limits(cost=5_000)).when(ask(tokens=10, cost=None))
    assert story.task.fault
    assert "no price is known" in story.task.fault.message
    free = running().when(ask(tokens=10, cost=None)).replies(text="ok", usage=Usage(input=5))
    assert (free.task.spent.cost, free.task.spent.unpriced) == (0, 1)


def test_a_reply_whose_price_stayed_unknown_is_charged_what_was_set_aside():
    story = running(limits=Limits(cost=50)).when(ask(cost=40)).replies(read("r"), usage=Usage())
    assert (story.task.spent.cost, story.task.spent.unpriced) == (40, 1)


def test_a_free_turn_needs_no_reservation():
    running().when(ask()).then()


def test_running_time_is_limited_and_pauses_do_not_count():
    """Row GC-43."""
    story = running(limits=Limits(seconds=10)).when(failing(), after=4_000)
    again(story.when(Tick(), after=60_000)).when(ask(), after=5_999).then()
    story.when(ask(), after=1)
    assert story.task.fault
    assert story.task.fault.message == "time: 10 s of 10 s used"
    assert story.task.spent.milliseconds == 10_000


def test_a_clock_set_back_takes_no_time():
    story = running().when(ask(), after=-5_000)
    assert story.when(failing()).task.spent.milliseconds == 0


# The word that says done


def test_an_answer_counts_only_with_the_word_that_was_agreed():
    """Row GC-43."""
    story = running(until="TASK_COMPLETE").replies(text="I think so.")
    assert story.due == (AskModel(),)
    story.replies(text="Yes. TASK_COMPLETE")
    assert story.status is Status.SUCCEEDED
    assert len(story.happened(e.Replied)) == 2


def test_a_model_that_never_says_the_word_runs_into_its_budget():
    """Row GC-43."""
    story = running(until="DONE", limits=Limits(steps=9))
    while not story.task.ended:
        story.when(ask())
        if not story.task.ended:
            story.replies(text="still at it")
    assert ended(story) == (Status.FAILED, "budget_exceeded")
    assert len(story.happened(e.Replied)) == 9


# Follow-through


@pytest.mark.parametrize(
    "text",
    [
        "Let me check.",
        "Sure, I\u2019ll look into it!",
        "I understand the problem. Now I'm going to fix it.",
        "Next, I open the file.",
        "OK, first let me see:",
        "I will read it. This takes a moment.",
    ],
)
def test_a_promise_without_a_deed_is_sent_back(text: str):
    """Row OC-58."""
    story = running().replies(text=text)
    (nudge,) = story.happened(e.Nudged)
    assert "Do it now" in nudge.text
    assert story.due == (AskModel(),)


def test_a_promise_after_some_work_is_sent_back_too():
    """Row OC-58."""
    story = running().replies(read("r")).runs("r").replies(text="Found it. Let me fix it.")
    assert len(story.happened(e.Nudged)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "Done. Let me know if you want more.",
        "I'll be here if you need me.",
        "Shall I go on? Or let me stop?",
        "It prints `let me in`.",
        "I will not do that.",
        "Let me check. " + "x" * 480,
    ],
)
def test_an_answer_that_only_sounds_like_a_promise_is_an_answer(text: str):
    """Row OC-58."""
    assert running().replies(text=text).status is Status.SUCCEEDED


def test_reporting_what_comes_next_after_work_is_an_answer():
    story = running().replies(read("r")).runs("r")
    story.replies(text="I will summarise.\nThe file holds 3 lines.")
    assert story.status is Status.SUCCEEDED


def test_a_model_that_only_promises_is_believed_after_five_reminders():
    """Row OC-58."""
    story = running()
    for _ in range(6):
        story.replies(text="Let me check.")
    assert len(story.happened(e.Nudged)) == 5
    assert story.status is Status.SUCCEEDED


@pytest.mark.parametrize(("text", "finish"), [("", "stop"), ("  ", "stop"), ("It is", "length")])
def test_a_reply_that_is_empty_or_cut_off_is_sent_back_and_is_never_an_answer(
    text: str, finish: str
):
    story = running()
    for _ in range(6):
        story.replies(text=text, finish=finish)
    assert len(story.happened(e.Nudged)) == 5
    assert ended(story) == (Status.FAILED, "no_answer")


# Checks


def check_of(story: Story) -> str:
    (opened,) = story.task.calls.values()
    return opened.call.id


def test_an_answer_counts_once_its_checks_have_passed():
    story = running(checks=("make test", "make lint")).replies(text="fixed")
    assert story.status is Status.RUNNING
    first, second = story.task.calls.values()
    assert (first.call.target, second.call.target) == ("make test", "make lint")
    assert (first.call.tool, first.call.effect) == ("exec", EffectClass.REPEATABLE)
    assert first.verdict == Allow(rule="a check given with the task")
    story.runs(first.call.id)
    assert story.status is Status.RUNNING
    story.runs(second.call.id)
    assert story.events[-1] == e.Finished(answer="fixed", at=NOW, checks=2)


def test_a_failed_check_sends_the_work_back_with_what_failed():
    story = running(checks=("make test",)).replies(text="fixed")
    story.runs(check_of(story), Failed(text="2 failed"))
    assert story.due == (AskModel(),)
    said = story.task.transcript[-1]
    assert said == HouseSaid(
        text="The work is not done. These checks failed:\n\n$ make test\n2 failed"
    )
    story.replies(text="fixed now")
    story.runs(check_of(story))
    assert (story.status, story.task.answer) == (Status.SUCCEEDED, "fixed now")


def test_checks_send_the_work_back_only_so_often():
    story = running(checks=("make test",), limits=Limits(check_rounds=2))
    for _ in range(2):
        story.replies(text="fixed")
        story.runs(check_of(story), Failed(text="2 failed"))
    assert ended(story) == (Status.FAILED, "checks_failed")
    assert story.task.answer is None


def test_a_check_cut_off_by_a_crash_runs_again():
    story = running(checks=("make test",)).replies(text="fixed")
    name = check_of(story)
    again(story.starts(name).when(Recover(reason="crash")))
    assert [effect.key for effect in story.due] == [f"run {name}"]
    assert story.runs(name).status is Status.SUCCEEDED


def test_a_check_cannot_wait():
    story = running(checks=("make test",)).replies(text="fixed")
    name = CallId(check_of(story))
    story.when(StartCall(call_id=name))
    story.refuses(SuspendCall(call_id=name, wait=Timer(until=NOW)), "check_cannot_wait")


def test_checks_are_not_part_of_the_conversation():
    story = running(checks=("make test",)).replies(text="fixed")
    story.runs(check_of(story))
    assert not any(isinstance(entry, ToolAnswered) for entry in story.task.transcript)


# Steering


def test_a_message_while_the_model_thinks_is_seen_before_the_task_may_end():
    """Row OL-62. Row OL-63."""
    story = running().when(ask(), Say(text="and in French", by="bob"))
    story.replies(text="Hello.", saw=1)
    assert (story.status, story.due) == (Status.RUNNING, (AskModel(),))
    assert prompt(story.task).entries == (
        PersonSaid(text="do it", by="ann"),
        ModelSaid(text="Hello."),
        PersonSaid(text="and in French", by="bob"),
    )
    assert story.replies(text="Bonjour.").task.answer == "Bonjour."


def test_a_message_during_a_tool_round_reaches_the_model_with_the_next_turn():
    """Row OL-63."""
    story = running().replies(read("r"), write("w")).starts("w")
    story.when(Say(text="stop writing", by="bob")).settles("w").runs("r")
    assert [type(entry) for entry in prompt(story.task).entries] == [
        PersonSaid,
        ModelSaid,
        ToolAnswered,
        ToolAnswered,
        PersonSaid,
    ]


def test_a_message_while_the_model_proposes_calls_comes_after_their_answers():
    story = running().when(ask(), Say(text="hurry", by="bob")).replies(read("r"), saw=1).runs("r")
    assert [type(entry) for entry in prompt(story.task).entries] == [
        PersonSaid,
        ModelSaid,
        ToolAnswered,
        PersonSaid,
    ]
    assert story.replies(text="done").status is Status.SUCCEEDED


def test_a_message_during_the_checks_is_seen_before_the_task_may_end():
    """Row OL-63."""
    story = running(checks=("make test",)).replies(text="fixed")
    story.when(Say(text="also the docs", by="bob")).runs(check_of(story))
    assert story.status is Status.RUNNING
    assert story.due == (AskModel(),)
    assert not story.task.checking
    story.replies(text="docs too")
    story.runs(check_of(story))
    assert (story.status, story.task.answer) == (Status.SUCCEEDED, "docs too")


@pytest.mark.parametrize("status", ["queued", "retry_wait"])
def test_a_message_waits_for_a_task_that_is_not_at_work(status: str):
    story = running().when(Recover(reason="x") if status == "queued" else failing())
    story.when(Say(text="more", by="bob")).then(e.Said(text="more", by="bob"))
    assert story.task.unheard


def test_an_empty_message_is_refused():
    running().refuses(Say(text=" \n", by="ann"), "empty_message")


def test_a_message_lets_a_lost_model_begin_afresh():
    story = running()
    for n in range(2):
        story.replies(write(f"w{n}", f"{n}")).runs(f"w{n}", Failed(text="no"))
    assert story.task.habits.recovering
    story.when(Say(text="use the other folder", by="ann"))
    assert not story.task.habits.recovering


def test_a_reused_answer_says_so():
    story = running().replies(read("r")).runs("r", Returned(text="x")).replies(read("s"))
    assert story.answer("s") == Returned(text="x", reused=True)
