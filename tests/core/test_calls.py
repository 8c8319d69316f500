"""Single calls: judged, asked about, run, answered once."""

from typing import Any

import pytest
from msgspec.structs import replace

from holdfast.core import event as e
from holdfast.core.budget import Limits, Spent
from holdfast.core.command import (
    Approve,
    ClearCall,
    HearReply,
    Refuse,
    Release,
    Say,
    SettleCall,
    StartCall,
    SuspendCall,
    Tick,
)
from holdfast.core.effect import AskModel
from holdfast.core.gate.policy import Allow, Ask, Deny, Leave, Rule, Rules
from holdfast.core.gate.policy import Say as RuleSays
from holdfast.core.gate.presets import PRESETS
from holdfast.core.ids import CallId
from holdfast.core.message import (
    Change,
    EffectClass,
    Failed,
    Refused,
    Reply,
    Returned,
    ToolAnswered,
)
from holdfast.core.task import CallState, Human, Status, Timer
from holdfast.core.view import Question, questions, summary, wake_at
from tests.core.given import (
    HOUR,
    NOW,
    Story,
    again,
    busy,
    call,
    pay,
    read,
    running,
    seal,
    shell,
    write,
)

P = CallId("p")
DAY = 24 * HOUR


def asked(**fields: Any) -> Story:
    return running(**fields).replies(pay("p"))


def yes(name: str = "p", whom: str = "bob", *, whole_task: bool = False) -> Approve:
    return Approve(
        call_id=CallId(name), digest=seal(pay(name, whom)), by="ann", whole_task=whole_task
    )


# Verdicts


def test_every_call_is_recorded_together_with_its_verdict():
    story = running().replies(read("r"), pay("p"), call("b", "bomb"))
    (replied,) = story.happened(e.Replied)
    assert [type(judged.verdict) for judged in replied.judged] == [Allow, Ask, Deny]
    assert replied.said.calls == tuple(judged.call for judged in replied.judged)


def test_an_allowed_call_is_due_at_once_and_the_model_only_when_all_are_answered():
    story = running().replies(read("r"), write("w"))
    assert [effect.key for effect in story.due] == ["run r", "run w"]
    assert [effect.key for effect in story.runs("w").due] == ["run r"]
    assert story.runs("r").due == (AskModel(),)


def test_a_denied_call_is_answered_without_being_run():
    story = running().replies(call("b", "bomb"))
    assert story.answer("b") == Refused(reason="no bombs", rule="deny bomb *")
    assert story.due == (AskModel(),)
    story.refuses(StartCall(call_id=CallId("b")), "call_not_open")


def test_a_call_with_bad_arguments_is_not_run_and_the_model_is_told_why():
    """Row GC-33. Row OL-71."""
    story = running().replies(write("w", problem="`path` is missing"), pay("p", problem="no"))
    assert story.answer("w") == Failed(text="`path` is missing", code="invalid_call")
    assert story.answer("p") == Failed(text="no", code="invalid_call")
    assert story.due == (AskModel(),)


def test_a_failed_tool_is_an_answer_to_the_model_and_not_the_end():
    """Row OL-71."""
    story = running().replies(shell("s")).runs("s", Failed(text="exit 2", code="exit"))
    assert story.task.transcript[-1] == ToolAnswered(
        call_id=CallId("s"), tool="exec", outcome=Failed(text="exit 2", code="exit")
    )
    assert story.due == (AskModel(),)


def test_with_nobody_there_to_ask_the_answer_is_no():
    story = asked(leave=Leave(unattended=True))
    answer = story.answer("p")
    assert isinstance(answer, Refused)
    assert "nobody is there to ask" in answer.reason


def test_the_submitter_may_allow_and_deny_for_one_task():
    leave = Leave(allow=("pay:bob",), deny=("write",))
    story = running(leave=leave).replies(pay("p"), pay("q", "eve"), write("w"))
    assert [effect.key for effect in story.due] == ["run p"]
    assert story.task.calls[CallId("q")].state is CallState.ASKED
    assert story.answer("w") == Refused(reason="denied by rule: --deny write", rule="--deny write")


def test_the_submitter_may_choose_another_preset_below_the_house_rules():
    story = running(leave=Leave(preset="read-only")).replies(read("r"), write("w"), pay("p"))
    assert story.answer("w") == Refused(
        reason="the preset is read-only", rule="preset read-only: nothing may be changed"
    )
    assert isinstance(story.answer("p"), Refused)
    assert [effect.key for effect in story.due] == ["run r"]


# Starting and settling


def test_the_intent_is_recorded_before_the_act_with_what_was_there():
    before = (Change(path="a.txt", before="ab" * 32), Change(path="b.txt"))
    story = running().replies(write("w"))
    story.when(StartCall(call_id=CallId("w"), before=before))
    story.then(e.CallStarted(call_id=CallId("w"), before=before))
    assert story.task.calls[CallId("w")].before == before
    later = (Change(path="a.txt", before="cd" * 32), Change(path="c.txt"))
    story.settles("w").replies(write("v")).when(StartCall(call_id=CallId("v"), before=later))
    assert story.task.changes == (*before, Change(path="c.txt"))


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (StartCall(call_id=CallId("started")), "call_started"),
        (StartCall(call_id=CallId("asked")), "call_asked"),
        (StartCall(call_id=CallId("nowhere")), "call_not_open"),
        (SettleCall(call_id=CallId("allowed"), outcome=Returned(text="")), "call_allowed"),
        (SettleCall(call_id=CallId("asked"), outcome=Returned(text="")), "call_asked"),
        (SuspendCall(call_id=CallId("allowed"), wait=Timer(until=1)), "call_allowed"),
        (ClearCall(call_id=CallId("started")), "call_started"),
        (Approve(call_id=CallId("allowed"), digest="", by="ann"), "call_allowed"),
        (Approve(call_id=CallId("child"), digest="", by="ann"), "call_waiting"),
        (Refuse(call_id=CallId("timer"), by="ann"), "call_not_asked"),
        (Refuse(call_id=CallId("started"), by="ann"), "call_started"),
    ],
)
def test_a_call_takes_only_the_steps_its_state_allows(command: StartCall, code: str):
    busy().refuses(command, code)


def test_a_settled_call_is_not_settled_again():
    story = running().replies(read("r"), write("w")).runs("r")
    again_told = SettleCall(call_id=CallId("r"), outcome=Returned(text="again"))
    story.refuses(again_told, "call_not_open")


# Approval


def test_a_call_that_asks_waits_for_a_person_and_says_what_it_wants():
    story = asked().when(Release())
    (question,) = questions(story.task)
    assert question == Question(
        call=P,
        tool="pay",
        target="bob",
        question="May I pay bob?",
        digest=seal(pay("p")),
        until=NOW + DAY,
    )
    assert summary(story.task).questions == (question,)
    assert (story.status, story.due, wake_at(story.task)) == (Status.WAITING, (), NOW + DAY)


def test_an_approval_wakes_the_task_and_the_call_runs():
    story = asked().when(Release()).when(yes(), after=HOUR)
    approved = e.CallApproved(call_id=P, by="ann", digest=pay("p").key, policy="7")
    story.then(approved, e.Woken(at=NOW + HOUR))
    assert [effect.key for effect in again(story).due] == ["run p"]


def test_an_approval_is_for_exactly_the_arguments_that_were_shown():
    asked().refuses(yes(whom="eve"), "approval_mismatch")


def test_an_approval_counts_once():
    story = asked().when(yes())
    story.refuses(yes(), "call_allowed")
    story.runs("p").refuses(yes(), "call_not_open")
    story.replies(pay("q"))
    assert story.task.calls[CallId("q")].state is CallState.ASKED


def test_an_approval_comes_too_late_once_its_time_is_over():
    """Part of rows GC-100, OL-53: nobody answers in time, and that is a no."""
    story = asked().when(Release()).when(Tick(), after=DAY - 1).then()
    story.now += 1
    story.refuses(yes(), "approval_expired")
    story.when(Tick())
    assert story.answer("p") == Refused(reason="nobody answered in time", rule="approval expired")
    assert story.status is Status.QUEUED
    story.refuses(yes(), "call_not_open")


def test_an_approval_for_the_whole_task_answers_every_open_question_about_that_tool():
    story = running().replies(pay("p"), pay("q", "eve"))
    story.when(yes(whole_task=True))
    assert [approved.call_id for approved in story.happened(e.CallApproved)] == ["p", "q"]
    story.runs("p").runs("q").replies(pay("r", "joe"))
    assert [effect.key for effect in story.due] == ["run r"]


def test_a_grant_does_not_beat_a_deny_rule():
    rules = Rules(layers=((Rule(say=RuleSays.DENY, tool="pay", target="eve"),), PRESETS["ask"]))
    story = running(rules=rules).replies(pay("p"))
    (question,) = questions(story.task)
    story.when(replace(yes(whole_task=True), digest=question.digest)).runs("p")
    assert isinstance(story.replies(pay("q", "eve")).answer("q"), Refused)


def test_one_yes_of_two_wakes_the_task_for_that_call_alone():
    story = running().replies(pay("p"), pay("q", "eve")).when(Release(), yes())
    again(story)
    assert [effect.key for effect in story.due] == ["run p"]
    assert story.runs("p").due == ()
    assert story.when(Release()).status is Status.WAITING


def test_a_refused_call_is_answered_and_the_model_is_asked_again():
    story = asked().when(Release())
    story.when(Refuse(call_id=P, by="ann", reason="too much"))
    refused = Refused(reason="ann said no: too much", rule="human")
    story.then(e.CallSettled(call_id=P, outcome=refused, by="ann"), e.Woken(at=NOW))
    assert again(story).due == (AskModel(),)


def test_a_refusal_needs_no_reason():
    story = asked().when(Refuse(call_id=P, by="ann"))
    assert story.answer("p") == Refused(reason="ann said no", rule="human")


# Questions to a person


def questioned() -> Story:
    return running().replies(call("h", "ask_person")).suspends("h", Human(question="which one?"))


def test_a_question_is_answered_by_what_the_person_says_and_the_task_wakes():
    story = questioned().when(Release())
    (question,) = questions(story.task)
    assert (question.question, question.free_text, question.until) == ("which one?", True, 0)
    story.when(Say(text="the red one", by="ann", answers=CallId("h")))
    assert story.answer("h") == Returned(text="the red one")
    assert [one.by for one in story.happened(e.CallSettled)] == ["ann"]
    assert story.status is Status.QUEUED
    assert again(story).due == (AskModel(),)


@pytest.mark.parametrize("answers", ["", "another"])
def test_who_did_not_know_of_a_question_has_not_answered_it(answers: str):
    """A remark on its way while the question came up: nobody looked whether its speaker may."""
    story = questioned().when(Say(text="the red one", by="eve", answers=CallId(answers)))
    story.then(e.Said(text="the red one", by="eve"))
    assert [one.question for one in questions(story.task)] == ["which one?"]
    story.when(Say(text="the blue one", by="ann", answers=CallId("h")))
    assert story.answer("h") == Returned(text="the blue one")


def test_a_remark_is_never_the_answer_of_a_call_that_asks_nobody():
    story = running().replies(read("r")).starts("r")
    story.when(Say(text="it says 5", by="eve", answers=CallId("r")))
    story.then(e.Said(text="it says 5", by="eve"))


def test_a_question_may_be_answered_with_a_plain_yes_or_no():
    approved = questioned().when(Approve(call_id=CallId("h"), digest="", by="ann"))
    assert approved.answer("h") == Returned(text="approved by ann")
    refused = questioned().when(Refuse(call_id=CallId("h"), by="ann"))
    assert refused.answer("h") == Refused(reason="ann said no", rule="human")


# Limits


def test_a_task_asked_for_so_many_calls_makes_no_more():
    """Row OC-59."""
    story = running(limits=Limits(calls=3)).replies(read("a", "1"), read("b", "2"))
    story.runs("a").runs("b").replies(read("c", "3"), read("d", "4"))
    assert [effect.key for effect in story.due] == ["run c"]
    assert story.answer("d") == Refused(reason="only 3 tool calls were asked for", rule="limit")


def test_every_call_needs_an_id_of_its_own():
    twice = HearReply(reply=Reply(calls=(read("r"), read("r", "b.txt"))), saw=1)
    running().refuses(twice, "call_id_taken")
    old = HearReply(reply=Reply(calls=(read("r"),)), saw=3)
    running().replies(read("r")).runs("r").refuses(old, "call_id_taken")


def test_a_call_settled_before_it_could_wait_waits_for_nothing():
    story = running().replies(call("d", "delegate", EffectClass.READS)).runs("d")
    late = SuspendCall(call_id=CallId("d"), wait=Timer(until=NOW))
    story.refuses(late, "call_not_open")


# What is nobody's business


def test_a_child_may_answer_before_its_call_waits_for_it_and_only_a_child():
    """After a crash the child is there already when its call is run again."""
    story = running().replies(call("d", "delegate", EffectClass.READS))
    answer = SettleCall(call_id=CallId("d"), outcome=Returned(text="found"))
    story.refuses(answer, "call_allowed")
    story.when(replace(answer, spent=Spent(steps=1)))
    assert story.answer("d") == Returned(text="found")


def test_a_check_is_not_answered_before_it_runs_by_whoever_it_is():
    story = running(checks=("make",)).replies(text="done")
    (name,) = story.task.calls
    answer = SettleCall(call_id=name, outcome=Returned(text="ok"), spent=Spent(steps=1))
    story.refuses(answer, "call_allowed")


def test_what_checks_say_again_is_not_remarked_upon():
    same = call("s", "exec", target="make", arguments={"command": "make"})
    story = running(checks=("make",)).replies(same).runs("s", Returned(text="ok"))
    story.replies(text="done")
    (name,) = story.task.calls
    story.runs(name, Returned(text="ok"))
    assert [one.note for one in story.happened(e.CallSettled)] == ["", ""]


def test_a_yes_for_the_whole_task_is_no_second_yes_to_what_runs_already():
    rules = Rules(layers=((Rule(say=RuleSays.ASK, tool="pay", target="bob"),), PRESETS["open"]))
    story = running(rules=rules).replies(pay("p"), pay("q", "ann")).starts("q")
    story.when(replace(yes(whole_task=True), digest=questions(story.task)[0].digest))
    assert [one.call_id for one in story.happened(e.CallApproved)] == [P]


def test_a_no_to_one_of_two_questions_wakes_nobody():
    story = running().replies(pay("p"), pay("q", "ann")).when(Release())
    story.when(Refuse(call_id=P, by="ann"))
    assert story.status is Status.WAITING
    assert story.happened(e.Woken) == []


def test_checks_that_fail_are_told_though_a_message_has_come_since():
    story = running(checks=("make",)).replies(text="done")
    (name,) = story.task.calls
    story.when(Say(text="also the docs", by="bob")).runs(name, Failed(text="2 failed"))
    assert len(story.happened(e.ChecksFailed)) == 1
    assert story.happened(e.Nudged) == []
