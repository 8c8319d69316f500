"""Deciding a recorded task again: the same rules give the same task, other rules say where not."""

import pytest
from msgspec.structs import replace

from holdfast.core import event as e
from holdfast.core.agent import Agent, Shape
from holdfast.core.budget import Limits
from holdfast.core.command import (
    Approve,
    BeginAsk,
    Cancel,
    ClearCall,
    ConfirmDelivery,
    CutContext,
    HearReply,
    Recover,
    Refuse,
    Release,
    ReleaseAsk,
    RequestTopUp,
    ResumeAsking,
    Retry,
    Say,
    StopChild,
    Submit,
    Tick,
)
from holdfast.core.event import Event
from holdfast.core.gate.policy import Allow, Ask, Lease, Leave, Rule, Rules
from holdfast.core.gate.policy import Say as Allows
from holdfast.core.gate.presets import PRESETS
from holdfast.core.ids import CallId, TaskId
from holdfast.core.message import EffectClass, Refused, Reply, Usage
from holdfast.core.replay import Difference, replay
from holdfast.core.task import Child, Human, Request, Status
from tests.core.given import (
    HOUSE_RULES,
    NOW,
    TASK,
    Story,
    again,
    ask,
    busy,
    call,
    failing,
    in_status,
    pay,
    read,
    running,
    seal,
    write,
)

STRICT = Rules(layers=(PRESETS["read-only"],), version="7")


def recorded(story: Story) -> list[tuple[int, Event]]:
    return list(zip(story.times, story.history, strict=True))


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.NEW])
def test_a_recorded_task_is_decided_the_same_way_again(status: Status):
    story = in_status(status)
    assert replay(recorded(story), HOUSE_RULES) == (story.task, ())


def approved() -> Story:
    story = (
        running()
        .replies(pay("p"))
        .when(Approve(call_id=CallId("p"), digest=seal(pay("p")), by="ann", whole_task=True))
    )
    return story.runs("p").replies(text="", finish="length").when(Say(text="go on", by="ann"))


def answered() -> Story:
    story = running().replies(call("h", "ask_person")).suspends("h", Human(question="ok?"))
    return story.when(Release()).when(Approve(call_id=CallId("h"), digest="", by="ann"))


def crashing() -> Story:
    story = running().replies(read("r"), *(write(f"w{n}", checkable=n > 0) for n in range(2)))
    story.starts("r", "w0", "w1").when(Recover(reason="crash"))
    return again(story)


def crash_loop() -> Story:
    story = running().replies(read("r"), write("w"))
    while not story.task.ended:
        if story.task.crashes == 19:
            story.starts("w")
        story.starts("r").when(Recover(reason="crash"))
        if not story.task.ended:
            again(story)
    return story


def misshapen(*, strict: bool) -> Story:
    """An answer without its shape, twice."""
    shape = Shape(schema={}, retries=1, strict=strict)
    wanted = Request(prompt="do it", agent=Agent(shape=shape))
    story = again(Story().when(Submit(id=TASK, request=wanted)))
    for text in ("no", "nor this"):
        reply = Reply(text=text, problem="it is no JSON", usage=Usage(cost=0))
        story.when(HearReply(reply=reply, saw=story.shown))
    return story


def overspent(command: BeginAsk) -> Story:
    """More was used than the limits allow before anything is asked for."""
    story = running(limits=Limits(tokens=100, cost=100)).when(ask(tokens=9, cost=9))
    return story.replies(read("r"), usage=Usage(input=150, cost=150)).runs("r").when(command)


def broke(command: BeginAsk, **limits: int) -> Story:
    return running(limits=Limits(**limits)).when(command)


@pytest.mark.parametrize(
    "story",
    [
        approved(),
        answered(),
        crashing(),
        crash_loop(),
        broke(ask(tokens=101), tokens=100),
        broke(ask(cost=1_001), cost=1_000),
        broke(ask(cost=None), cost=1_000),
        broke(ask(), steps=0),
        broke(ask(tokens=900, cost=900), tokens=100, cost=800),
        broke(ask(tokens=150, cost=90), tokens=100, cost=9),
        running().when(RequestTopUp(budget="team/x/day", text="spent. Really.", more={"cost": 5})),
        running().when(RequestTopUp(budget="price/p/m", text="no price")),
        running(leave=Leave(unattended=True)).when(RequestTopUp(budget="b", text="short")),
        running().when(CutContext(chars=9_000)),
        running().when(RequestTopUp(budget="b", text="short", more={"calls": 2}, back_at=NOW + 9)),
        running().when(RequestTopUp(budget="b", text="short")).when(ResumeAsking(budget="b")),
        overspent(ask()),
        overspent(ask(tokens=9, cost=None)),
        overspent(ask(cost=1)),
        misshapen(strict=True),
        misshapen(strict=False),
        running().when(ask(tokens=9)).when(ReleaseAsk()),
        running().when(ask(tokens=9)).when(failing(retryable=False)),
        busy().when(failing(retryable=False)).when(Retry(by="ann")),
        busy().when(Cancel(by="ann", reason="enough")),
        running().when(failing()).when(Tick(), after=2_000),
    ],
)
def test_every_way_a_task_can_go_is_found_again(story: Story):
    assert replay(recorded(story), HOUSE_RULES) == (story.task, ())


def test_other_rules_are_told_apart_where_they_first_lead_elsewhere():
    story = running(rules=replace(HOUSE_RULES, version="7")).replies(write("w")).runs("w")
    task, differences = replay(recorded(story), STRICT)
    assert task == story.task
    (difference,) = differences
    assert difference.seq == 4
    assert difference.recorded.startswith('Replied.judged.0.verdict: {"rule":"preset open')
    assert difference.decided.startswith('Replied.judged.0.verdict: {"reason":"the preset is')


def test_a_different_word_is_told_where_it_is():
    history = recorded(running().when(failing(retryable=False)))
    (at, failed) = history[-1]
    assert isinstance(failed, e.Failed)
    other = replace(failed, fault=replace(failed.fault, fingerprint="?"))
    (difference,) = replay([*history[:-1], (at, other)], HOUSE_RULES)[1]
    assert difference.recorded == 'Failed.fault.fingerprint: "?"'


def after(story: Story, *events: Event) -> list[Difference]:
    return list(replay([*recorded(story), *((NOW, event) for event in events)], HOUSE_RULES)[1])


def test_a_step_that_would_be_refused_today_is_a_difference():
    odd = e.CallApproved(call_id=CallId("r"), by="ann", digest="")
    (difference,) = after(running().replies(read("r")), odd)
    assert difference.recorded == "CallApproved"
    assert difference.decided == "refused: call r is allowed"


def test_a_step_that_leads_further_today_is_a_difference():
    story = in_status(Status.WAITING)
    refusal = Refused(reason="ann said no", rule="human")
    (difference,) = after(story, e.CallSettled(call_id=CallId("asked"), outcome=refusal))
    assert difference.decided == "CallSettled Woken"


def test_what_no_command_leads_to_is_a_difference():
    (difference,) = after(in_status(Status.SUCCEEDED), e.ChecksFailed(report="?"))
    assert difference.recorded == "ChecksFailed"


def test_what_happens_after_the_end_is_found_again_too():
    story = running(deliver=("mail", "chat")).replies(call("d", "delegate", EffectClass.READS))
    story.suspends("d", Child(task=TaskId("task_2"))).when(Cancel(by="ann"))
    story.when(StopChild(child=TaskId("task_2")))
    story.when(ConfirmDelivery(channel="mail"), ConfirmDelivery(channel="chat", error="no route"))
    assert replay(recorded(story), HOUSE_RULES) == (story.task, ())


def test_a_checked_call_is_found_again():
    story = crashing().when(ClearCall(call_id=CallId("w1")))
    assert replay(recorded(story), HOUSE_RULES) == (story.task, ())


def test_events_of_old_that_say_no_version_replay_the_same():
    story = approved()
    old = [
        replace(event, policy="") if isinstance(event, e.Replied | e.CallApproved) else event
        for event in story.history
    ]
    assert not replay(list(zip(story.times, old, strict=True)), HOUSE_RULES)[1]
    assert replay(list(zip(story.times, old, strict=True)), STRICT)[1]


@pytest.mark.parametrize("tool", ["pay", "exec"])
def test_what_was_leased_replays_the_same_when_the_lease_is_gone(tool: str):
    lease = Lease(id="lease_1", rule=Rule(say=Allows.ALLOW, tools=(tool,), target="a*"), uses=1)
    anything = replace(lease, rule=replace(lease.rule, tools=("exec",), target="*"))
    rules = replace(HOUSE_RULES, layers=(PRESETS["ask"],))
    story = running(rules=replace(rules, leases=(lease if tool == "pay" else anything,)))
    story.replies(pay("q", "b"), call("p", tool, target="ann" if tool == "pay" else "x > $y"))
    replied = story.events[0]
    assert isinstance(replied, e.Replied)
    assert [type(one.verdict) for one in replied.judged] == [Ask, Allow]
    assert replay(recorded(story), rules) == (story.task, ())


def test_older_events_do_not_say_whose_answer_it_is():
    story = in_status(Status.WAITING).when(Refuse(call_id=CallId("asked"), by="ann"))
    history = [
        (at, replace(event, by="") if isinstance(event, e.CallSettled) else event)
        for at, event in recorded(story)
    ]
    assert replay(history, HOUSE_RULES)[1] == ()
