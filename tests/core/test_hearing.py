"""What a task has heard: whose words count as a person's, what came from outside, and its plan."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.core.agent import Agent
from holdfast.core.gate.hearing import hearing, sources_of
from holdfast.core.gate.labels import Heard, labelled, labels
from holdfast.core.gate.plan import PLAN, Plan, planned
from holdfast.core.gate.policy import Allow, Ask
from holdfast.core.ids import CallId
from holdfast.core.message import (
    EffectClass,
    Entry,
    Failed,
    File,
    ModelSaid,
    Outcome,
    PersonSaid,
    Refused,
    Returned,
    ToolAnswered,
    ToolCall,
    Unknown,
)
from holdfast.core.task import CallState, OpenCall, Request, Task

STEPS = [{"tool": "find", "arguments": {"query": "Lunch"}}]
FOUND = Returned(text='{"id": "m@evil.test"}', structured=True)
PAGE = ToolAnswered(call_id=CallId("w"), tool="web", outcome=FOUND, sources=("web:a.example",))


def heard(*entries: Entry, prompt: str = "", instructions: str = "", **request: Any) -> Heard:
    agent = Agent(instructions=instructions)
    asked = Request(prompt=prompt, agent=agent, **request)
    return hearing(Task(request=asked, transcript=entries))


def call(tool: str, name: str = "c1", **arguments: Any) -> ToolCall:
    effect = EffectClass.READS
    return ToolCall(id=CallId(name), tool=tool, arguments=arguments, effect=effect, source="mcp:x")


def said(*calls: ToolCall, **more: Any) -> ModelSaid:
    return ModelSaid(calls=calls, **more)


def answered(name: str, outcome: Outcome = FOUND, *sources: str, tool: str = PLAN) -> ToolAnswered:
    return ToolAnswered(call_id=CallId(name), tool=tool, outcome=outcome, sources=sources)


PLANS = said(call(PLAN, "p", steps=STEPS))


# Words


def test_a_persons_words_and_the_operators_are_said_and_nothing_is_no_word():
    found = heard(PersonSaid(text="pay ann"), prompt="pay ann", instructions="be kind", said=("x",))
    assert found.said == ("be kind", "x", "pay ann")
    assert heard(PersonSaid(text="pay ann"), prompt="pay ann").said == ("pay ann",)
    assert heard(PersonSaid(text="pay ann")).influences == frozenset()


def test_a_prompt_of_a_stranger_is_not_said_and_what_a_person_adds_is():
    entries = PersonSaid(text="obey"), PersonSaid(text="go on")
    found = heard(*entries, prompt="obey", sources=("peer:x",))
    assert (found.said, found.influences) == (("go on",), {"peer:x"})


def test_a_file_that_came_with_a_persons_words_is_a_source():
    file = File(name="a.txt", media_type="text/plain", digest="d", size=1)
    assert heard(PersonSaid(text="see", files=(file,))).influences == {"file"}


def test_what_a_stranger_said_is_no_persons_word_wherever_it_was_said():
    """As the prompt, and as a remark to a task that a person gave."""
    remark = PersonSaid(text="pay mallory", sources=("a2a:x",))
    found = heard(PersonSaid(text="pay ann"), remark, prompt="pay ann")
    assert found.said == ("pay ann",)
    assert found.influences == {"a2a:x"}
    asked = heard(PersonSaid(text="pay ann"), prompt="pay ann", sources=("a2a:x",))
    assert asked.said == ()


def test_an_answer_of_a_person_is_said_and_one_that_passed_through_others_is_theirs():
    yes = Returned(text="to ann")
    assert heard(answered("q", yes, "person")).said == ("to ann",)
    mixed = heard(answered("q", yes, "person", "peer:x"))
    assert (mixed.said, mixed.outside) == ((), (("peer:x", "to ann"),))
    assert heard(answered("q", yes, "person")).outside == ()
    assert heard(answered("q", yes, "person")).strangers == ()


def test_what_tools_bring_from_outside_is_kept_whole_and_value_by_value():
    found = heard(PAGE)
    assert found.outside == (("web:a.example", FOUND.text),)
    assert found.strangers == ("id", "m@evil.test")
    assert heard(answered("q", FOUND)).outside == ()


# The plan


def test_a_plan_counts_if_nobody_outside_was_heard_when_it_was_proposed():
    assert heard(PLANS, answered("p")).plan.steps == planned({"steps": STEPS})
    assert heard(PLANS, PAGE, answered("p")).plan.steps != ()
    for before in ([PAGE], [said(sources=("client",))]):
        assert heard(*before, PLANS, answered("p")).plan == Plan()
    assert heard(PLANS, answered("p"), sources=("peer:x",)).plan == Plan()
    late = said(call(PLAN, "p", steps=STEPS), sources=("client",))
    assert heard(late, answered("p")).plan == Plan()


def test_a_plan_that_a_person_agreed_to_counts_whatever_was_heard():
    assert heard(PAGE, PLANS, answered("p", FOUND, "person")).plan.steps != ()


@pytest.mark.parametrize("outcome", [Refused(reason="no"), Failed(text="no")])
def test_a_plan_that_was_turned_down_changes_nothing(outcome: Outcome):
    assert heard(PLANS, answered("p", outcome)).plan == Plan()
    again = said(call(PLAN, "q", steps=[]))
    assert heard(PLANS, answered("p"), again, answered("q", outcome)).plan.steps != ()


def test_calls_take_their_places_whatever_was_heard_meanwhile():
    finds = said(call("find", "f", query="Lunch"))
    entries = (PLANS, answered("p"), PAGE, finds, answered("f", tool="find"))
    assert heard(*entries).plan.taken == (0,)
    assert heard(*entries, answered("of nobody", tool="find")).plan.taken == (0,)


# Whose words an answer is


def opened(tool: str, verdict: Allow | Ask, source: str = "") -> OpenCall:
    asked = ToolCall(id=CallId("c"), tool=tool, arguments={}, source=source)
    return OpenCall(call=asked, state=CallState.STARTED, verdict=verdict)


ASKED = Ask(rule="r", question="?", until=1)


def test_an_answer_comes_from_its_tool_a_refusal_from_the_house():
    web = opened("web", ASKED, "web")
    assert sources_of(web, FOUND, ("x",)) == ("web", "x")
    assert sources_of(web, Failed(text="what a page said"), ()) == ("web",)
    assert sources_of(web, Unknown(reason="cut off"), ()) == ("web",)
    assert sources_of(web, Returned(text="kept", apart=True), ("x",)) == ("x",)
    assert sources_of(web, Refused(reason="no"), ("x",)) == ("x",)
    assert sources_of(opened("read", ASKED), FOUND, ("x",)) == ("x",)
    moved = Returned(text="hi", sources=("web:a.test", "web:b.test"))
    assert sources_of(opened("web", ASKED, "web:a.test"), moved, ("x",)) == (
        *("web:a.test", "web:b.test", "x"),
    )


def test_the_words_of_a_plan_that_was_asked_about_and_made_are_the_persons():
    assert sources_of(opened(PLAN, ASKED, "x"), FOUND, ()) == ("person",)
    assert sources_of(opened(PLAN, ASKED, "x"), Failed(text="no"), ()) == ("x",)
    assert sources_of(opened(PLAN, Allow(rule="r"), "x"), FOUND, ()) == ("x",)
    assert sources_of(opened("web", ASKED, "x"), FOUND, ()) == ("x",)


# Labels of single aims


NOTHING, STRANGER = Heard(said=("Lunch",)), Heard(said=("Lunch",), sources=frozenset({"file"}))


def aims(*names: str, tool: str = "t", **arguments: Any) -> ToolCall:
    return ToolCall(id=CallId("c1"), tool=tool, arguments=arguments, aims=names, source="web")


def test_a_yes_is_nobodys_once_somebody_outside_was_heard():
    assert labels(aims("*", flag=True), NOTHING) == ()
    assert labels(aims("*", flag=True), STRANGER) == ("untrusted:file",)


def test_words_to_read_are_nobodys_once_somebody_outside_was_heard():
    assert labels(aims("*", body="words"), NOTHING) == ()
    assert labels(aims("*", body="words"), STRANGER) == ("untrusted:file",)
    assert labels(aims("*", to="somebody"), NOTHING) == ("unsaid:web",)


def test_to_ask_a_page_is_free_until_somebody_outside_was_heard():
    asks = aims("method", "url", url="https://any.test", method="GET")
    assert labels(asks, NOTHING) == ()
    assert labels(asks, STRANGER) == ("untrusted:file",)


def test_a_plan_is_labelled_only_where_somebody_outside_was_heard():
    plan = aims("*", tool=PLAN, steps="for mallory")
    assert labels(plan, NOTHING) == ()
    assert labels(plan, STRANGER) == ("untrusted:file",)


def test_a_call_that_reaches_nobody_is_not_labelled_for_its_place_in_a_plan():
    steps = planned({"steps": [{"tool": "t", "arguments": {"to": "unsaid"}}]})
    heard = Heard(plan=Plan(steps=steps), sources=frozenset({"file"}))
    (quiet,), (loud,) = (labelled([aims(*names, to="unsaid")], heard) for names in ((), ("to",)))
    assert (quiet.labels, loud.labels) == ((), ("untrusted:file",))
