"""What happens when the money does not reach."""

import pytest
from msgspec.structs import replace

from holdfast.core import event as e
from holdfast.core.agent import Agent, Shape
from holdfast.core.budget import Limits, Reservation
from holdfast.core.command import (
    Approve,
    BeginAsk,
    Cancel,
    HearReply,
    Refuse,
    Release,
    RequestTopUp,
    ResumeAsking,
    Retry,
    Say,
    Submit,
    Tick,
)
from holdfast.core.effect import AskModel, RunTool
from holdfast.core.gate.policy import Leave
from holdfast.core.ids import CallId, TaskId
from holdfast.core.message import Refused, Reply, Returned, ToolCall, Usage
from holdfast.core.task import Parent, Request, Status
from holdfast.core.view import questions
from tests.core.given import HOUR, NOW, TASK, Story, again, ask, pay, running

DAILY = "agent/default/day/2027-01-15"
SHORT = RequestTopUp(budget=DAILY, text="the day's $5 are spent", more={"cost": 5_000_000})
TOP_UP = CallId("top_up1")


def short(**limits: int) -> Story:
    """A task whose own limit is too low for the next turn."""
    return running(limits=Limits(**limits)).when(ask(tokens=600, cost=600))


def the_call(story: Story) -> ToolCall:
    (opened,) = story.task.calls.values()
    return opened.call


def yes(story: Story) -> Story:
    return story.when(Approve(call_id=TOP_UP, digest=questions(story.task)[0].digest, by="ann"))


@pytest.mark.parametrize(
    ("limits", "question"),
    [
        (
            {"tokens": 500},
            "tokens: 0 used and up to 600 needed, limit 500. "
            "Raise the limit of this task to 1000 tokens?",
        ),
        (
            {"tokens": 100},
            "tokens: 0 used and up to 600 needed, limit 100. "
            "Raise the limit of this task to 600 tokens?",
        ),
        (
            {"cost": 500},
            "money: $0.0000 used, up to $0.0006 needed, limit $0.0005. "
            "Raise the limit of this task to $0.0010?",
        ),
    ],
)
def test_a_person_is_asked_before_a_task_goes_beyond_its_limit(
    limits: dict[str, int], question: str
):
    story = short(**limits)
    assert story.question == question
    assert story.due == ()
    assert story.when(Release()).status is Status.WAITING


def test_a_yes_raises_the_limit_once_the_house_has_done_it_and_the_task_goes_on():
    story = yes(short(tokens=500, cost=500).when(Release()))
    story = again(story)
    (effect,) = story.due
    assert isinstance(effect, RunTool)
    story.runs(TOP_UP, Returned(text="raised"))
    assert story.task.limits == Limits(tokens=1_000, cost=1_000)
    assert story.due == (AskModel(),)
    story.when(ask(tokens=600, cost=600)).replies(text="done")
    assert story.status is Status.SUCCEEDED
    assert [type(entry).__name__ for entry in story.task.transcript] == ["PersonSaid", "ModelSaid"]


def test_a_no_ends_the_task_at_its_next_turn():
    story = short(tokens=500).when(Release(), Refuse(call_id=TOP_UP, by="ann", reason="enough"))
    again(story).when(ask(tokens=600))
    assert (story.status, story.fault) == (Status.FAILED, "budget_exceeded")


def test_no_answer_in_time_is_a_no():
    story = short(tokens=500).when(Release()).when(Tick(), after=25 * HOUR)
    assert isinstance(story.answer(TOP_UP), Refused)
    again(story).when(ask(tokens=600))
    assert story.fault == "budget_exceeded"


def test_a_person_who_says_something_may_be_asked_again():
    story = short(tokens=500).when(Release(), Refuse(call_id=TOP_UP, by="ann"))
    story.when(Say(text="well, go on", by="ann"))
    assert "Raise the limit" in again(story).when(ask(tokens=600)).question
    assert list(story.task.calls) == [CallId("top_up2")]


@pytest.mark.parametrize("command", [ask(tokens=600), SHORT])
def test_where_nobody_can_be_asked_the_task_fails(command: BeginAsk | RequestTopUp):
    alone = running(limits=Limits(tokens=500), leave=Leave(unattended=True)).when(command)
    assert alone.fault == "budget_exceeded"
    parent = Parent(task=TaskId("task_0"), call=CallId("c1_1"))
    child = running(limits=Limits(tokens=500), parent=parent).when(command)
    assert child.fault == "budget_exceeded"


def test_more_money_is_not_offered_where_it_is_no_help():
    assert short(steps=0, tokens=500).fault == "budget_exceeded"
    unpriced = running(limits=Limits(cost=500)).when(ask(tokens=600, cost=None))
    assert unpriced.fault == "budget_exceeded"


def test_a_budget_above_the_task_is_raised_by_the_house_and_not_by_the_task():
    story = running().when(SHORT)
    assert story.question == f"the day's $5 are spent. Raise the budget {DAILY} by $5.0000?"
    limits = story.task.limits
    again(yes(story.when(Release()))).runs(TOP_UP)
    assert story.task.limits == limits
    assert story.due == (AskModel(),)


def test_what_has_no_price_may_be_used_all_the_same():
    story = running().when(RequestTopUp(budget="price/far/model", text="far/model has no price"))
    assert story.question == "far/model has no price. Go on all the same (price/far/model)?"


def test_a_task_that_waits_for_a_budget_goes_on_when_there_may_be_money_again():
    for budget in ("", DAILY):
        story = running().when(SHORT, Release()).when(ResumeAsking(budget=budget))
        assert story.status is Status.QUEUED
        assert again(story).due == (AskModel(),)
    others = running().when(SHORT, Release())
    others.when(ResumeAsking(budget="team/x/day")).then()
    running(limits=Limits(tokens=500)).when(ask(tokens=600)).when(ResumeAsking()).then()
    running().replies(pay("p")).when(ResumeAsking()).then()


def test_a_budget_that_begins_anew_is_as_good_as_a_yes():
    tomorrow = replace(SHORT, back_at=NOW + 5 * HOUR)
    story = running().when(tomorrow).when(Release()).when(Tick(), after=5 * HOUR)
    assert isinstance(story.answer(TOP_UP), Returned)
    assert again(story).due == (AskModel(),)
    late = running().when(replace(SHORT, back_at=NOW + 99 * HOUR)).when(Release())
    late.when(Tick(), after=25 * HOUR)
    assert isinstance(late.answer(TOP_UP), Refused)


def test_nobody_is_asked_for_money_while_calls_are_open():
    running().replies(pay("p")).refuses(SHORT, "calls_open")


def test_the_question_is_answered_when_the_task_is_canceled():
    story = running().when(SHORT).when(Cancel(by="ann"))
    assert isinstance(story.answer(TOP_UP), Refused)


def test_a_try_under_higher_limits_is_a_new_one():
    story = running(limits=Limits(tokens=500), leave=Leave(unattended=True)).when(ask(tokens=600))
    story.when(Retry(by="ann", limits=Limits(tokens=5_000)), Tick())
    again(story).when(ask(tokens=600))
    assert story.task.reserved == Reservation(tokens=600)
    again_failed = story.replies(text="done")
    assert again_failed.status is Status.SUCCEEDED


def shaped(retries: int = 2, *, strict: bool = True) -> Story:
    shape = Shape(schema={"type": "object"}, retries=retries, strict=strict)
    wanted = Request(prompt="do it", agent=Agent(shape=shape), by="ann")
    return again(Story().when(Submit(id=TASK, request=wanted)))


def says(story: Story, text: str, problem: str = "") -> Story:
    reply = Reply(text=text, problem=problem, usage=Usage(cost=0))
    return story.when(HearReply(reply=reply, saw=story.shown))


def test_an_answer_without_its_shape_is_sent_back_with_what_is_wrong_with_it():
    """Part of row GC-42."""
    story = says(shaped(), "Here you are: {", problem="$.name is missing")
    text = "$.name is missing. Answer again, with nothing but JSON of the wanted shape."
    assert story.events[-1] == e.Nudged(text=text, shape=True)
    assert says(story, '{"name":"x"}').task.answer == '{"name":"x"}'


def test_it_is_sent_back_only_so_often():
    """Part of row GC-42."""
    strict, loose = shaped(retries=1), shaped(retries=1, strict=False)
    for story in (strict, loose):
        says(says(story, "no", problem="not JSON"), "no", problem="not JSON")
    assert (strict.status, strict.fault) == (Status.FAILED, "invalid_output")
    assert (loose.status, loose.task.answer) == (Status.SUCCEEDED, "no")
