"""An approval is for one question: no two for one hash, and none that the rules deny by now."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from holdfast.core import event as e
from holdfast.core.command import Approve, Claim, HearReply, Release, Start, Submit
from holdfast.core.decide import decide
from holdfast.core.error import Refused
from holdfast.core.evolve import fold
from holdfast.core.gate.policy import Allow, Rule, Rules, Say
from holdfast.core.ids import CallId, TaskId
from holdfast.core.message import Reply, ToolCall
from holdfast.core.task import CallState, OpenCall, Request, Task, bound
from holdfast.core.view import questions, wake_at
from tests.core.given import HOUSE_RULES, NOW, Story, call, pay, running

OTHER = Rules(layers=HOUSE_RULES.layers, version="8")


def at_work(name: str, by: str, rules: Rules, *wanted: ToolCall) -> Task:
    """A task of its own that asks about these calls."""
    commands: tuple[Any, ...] = (
        Submit(id=TaskId(name), request=Request(prompt="x", by=by)),
        Claim(owner="w"),
        Start(),
        HearReply(reply=Reply(calls=wanted), saw=1),
        Release(),
    )
    task = Task()
    for command in commands:
        task = fold(decide(task, command, rules=rules, now=NOW), task)
    return task


@pytest.mark.parametrize("vouch", [False, True])
def test_a_yes_makes_values_a_persons_own_only_where_it_says_so(vouch: bool):
    """Exactly what nobody had said of this call, and nothing for a yes to the call alone."""
    whom = replace(pay("p1", "mallory"), aims=("to",), arguments={"to": "mallory", "cents": 5})
    task = at_work("task_1", "me", HOUSE_RULES, whom)
    task = replace(task, request=replace(task.request, sources=("a2a:x",)))
    (question,) = questions(task)
    command = Approve(call_id=question.call, digest=question.digest, by="ann", vouch=vouch)
    (approved, *_) = decide(task, command, rules=HOUSE_RULES, now=NOW)
    assert isinstance(approved, e.CallApproved)
    assert approved.vouched == (("mallory",) if vouch else ())


WANTED = st.lists(st.sampled_from(["ann", "bob"]), min_size=1, max_size=3)


@given(
    calls=st.lists(WANTED, min_size=1, max_size=3),
    by=st.lists(st.sampled_from(["me", "you"]), min_size=3, max_size=3),
    rules=st.lists(st.sampled_from([HOUSE_RULES, OTHER]), min_size=3, max_size=3),
    answers=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8), st.booleans()), max_size=24),
)
def test_no_two_approvals_for_one_hash(
    calls: list[list[str]],
    by: list[str],
    rules: list[Rules],
    answers: list[tuple[int, int, bool]],
):
    """Whatever is asked alike, in one turn or in several tasks, and however it is answered."""
    tasks = [
        at_work(f"task_{n}", by[n], rules[n], *(pay(f"p{i}", to) for i, to in enumerate(wanted)))
        for n, wanted in enumerate(calls)
    ]
    shown = [(n, question) for n, task in enumerate(tasks) for question in questions(task)]
    hashes = [question.digest for _, question in shown]
    assert len(set(hashes)) == len(hashes), "two questions look alike to an answer"
    counted: Counter[str] = Counter()
    for about, told, whole in answers:
        (n, question), digest = shown[about % len(shown)], hashes[told % len(hashes)]
        command = Approve(call_id=question.call, digest=digest, by="ann", whole_task=whole)
        asked = {q.call: q.digest for q in questions(tasks[n])}
        try:
            events = decide(tasks[n], command, rules=rules[n], now=NOW)
        except Refused:
            continue
        assert digest == question.digest, "an answer to one question counted for another"
        counted.update(asked[x.call_id] for x in events if isinstance(x, e.CallApproved))
        tasks[n] = fold(events, tasks[n])
    assert max(counted.values(), default=0) <= 1


@pytest.mark.parametrize(
    "other",
    [
        Task(id=TaskId("task_2"), policy="7", request=Request(prompt="x", by="me")),
        Task(id=TaskId("task_1"), policy="8", request=Request(prompt="x", by="me")),
        Task(id=TaskId("task_1"), policy="7", request=Request(prompt="x", by="you")),
    ],
)
def test_an_approval_is_bound_to_the_task_its_rules_and_who_wants_it(other: Task):
    mine = Task(id=TaskId("task_1"), policy="7", request=Request(prompt="x", by="me"))
    opened = OpenCall(call=pay("p"), state=CallState.ASKED, verdict=Allow(rule="r"))
    assert bound(mine, opened) != bound(other, opened)
    assert bound(mine, opened) != bound(mine, replace(opened, call=pay("q")))
    assert bound(mine, opened) != bound(mine, replace(opened, call=pay("p", "eve")))
    assert bound(mine, opened) != bound(mine, None)


DENIES = Rules(
    layers=((Rule(say=Say.DENY, tool="pay", target="eve", reason="not her"),), *HOUSE_RULES.layers),
    version="8",
)


def asks(*wanted: ToolCall) -> Story:
    return running().replies(*wanted).when(Release())


def test_nobody_can_say_yes_to_what_the_rules_have_come_to_deny():
    story = asks(pay("p", "eve"))
    (question,) = questions(story.task)
    story.rules = DENIES
    yes = Approve(call_id=question.call, digest=question.digest, by="ann")
    with pytest.raises(Refused, match="call p is denied by now: not her") as refused:
        decide(story.task, yes, rules=DENIES, now=NOW)
    assert refused.value.code == "approval_denied"


def test_a_yes_for_the_whole_task_leaves_out_what_the_rules_have_come_to_deny():
    story = asks(pay("p"), pay("q", "eve"), pay("r"))
    first = questions(story.task)[0]
    story.rules = DENIES
    story.when(Approve(call_id=first.call, digest=first.digest, by="ann", whole_task=True))
    assert [question.call for question in questions(story.task)] == ["q"]


def test_a_yes_for_the_whole_task_is_for_one_tool():
    both = Rules(layers=((Rule(say=Say.ASK, tool="pay"), Rule(say=Say.ASK, tool="book")),))
    story = running(rules=both).replies(pay("p"), pay("q", "eve"), call("b", "book"))
    first = questions(story.task)[0]
    story.when(Approve(call_id=first.call, digest=first.digest, by="ann", whole_task=True))
    assert [question.call for question in questions(story.task)] == ["b"]


def test_an_answer_must_come_within_the_time_that_the_rule_gives():
    hasty = Rules(
        layers=((Rule(say=Say.ASK, tool="pay", target="ann", expires=600), *HOUSE_RULES.layers[0]),)
    )
    story = running(rules=hasty).replies(pay("p", "ann"), pay("q", "bob"))
    until = {question.call: question.until - NOW for question in questions(story.task)}
    assert until == {"p": 600_000, "q": 86_400_000}
    assert wake_at(story.task) == NOW + 600_000


def test_a_question_of_the_house_itself_is_answered_whatever_the_rules_say_of_tools():
    """`top_up` is no tool of the model's: rules about tools do not judge it."""
    top_up = ToolCall(id=CallId("t"), tool="top_up", arguments={})
    asked = at_work("task_1", "me", Rules(layers=((Rule(say=Say.ASK, tool="*"),),)), top_up)
    (question,) = questions(asked)
    yes = Approve(call_id=question.call, digest=question.digest, by="ann")
    assert decide(asked, yes, rules=Rules(), now=NOW)
