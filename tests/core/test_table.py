"""The two tables: which command makes sense when, and which event moves a task where."""

from itertools import product
from typing import get_args

import pytest

from holdfast.core import event as e
from holdfast.core.budget import Limits, Reservation
from holdfast.core.command import (
    Approve,
    BeginAsk,
    Cancel,
    Claim,
    ClearCall,
    Command,
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
    SettleCall,
    Start,
    StartCall,
    StopChild,
    Submit,
    SuspendCall,
    Tick,
)
from holdfast.core.decide import ACCEPTS, decide
from holdfast.core.error import Broken, Refused
from holdfast.core.evolve import evolve
from holdfast.core.ids import CallId, TaskId
from holdfast.core.machine import MOVES, diagram, moved
from holdfast.core.message import ModelSaid, Reply, Returned
from holdfast.core.task import ENDED, Child, Human, Status, Task, Timer
from tests.core.given import (
    NOW,
    TASK,
    Story,
    again,
    busy,
    failing,
    in_status,
    pay,
    request,
    running,
    seal,
)
from tests.core.samples import EVENTS

ASKED = CallId("asked")
COMMANDS: dict[type[Command], Command] = {
    type(command): command
    for command in (
        Submit(id=TASK, request=request()),
        Claim(owner="w2"),
        Start(),
        Release(),
        Recover(reason="lost"),
        BeginAsk(reserve=Reservation()),
        ReleaseAsk(),
        RequestTopUp(budget="agent/default/day/2027-01-15", text="short", more={"cost": 5}),
        CutContext(chars=9_000),
        ResumeAsking(budget="agent/default/day/2027-01-15"),
        HearReply(reply=Reply(text="hm"), saw=0),
        failing(),
        StartCall(call_id=CallId("allowed")),
        SettleCall(call_id=CallId("child"), outcome=Returned(text="ok")),
        SuspendCall(call_id=CallId("started"), wait=Timer(until=NOW)),
        ClearCall(call_id=CallId("doubted")),
        Approve(call_id=ASKED, digest=seal(pay("asked")), by="ann"),
        Refuse(call_id=ASKED, by="ann"),
        Say(text="hello", by="ann"),
        Tick(),
        Cancel(by="ann"),
        Retry(by="ann"),
        StopChild(child=TaskId("task_2")),
        ConfirmDelivery(channel="mail"),
    )
}

EDGES = {
    (Status.QUEUED, Status.CLAIMED),
    (Status.QUEUED, Status.CANCELED),
    (Status.CLAIMED, Status.RUNNING),
    (Status.CLAIMED, Status.CANCELED),
    (Status.CLAIMED, Status.QUEUED),
    (Status.RUNNING, Status.SUCCEEDED),
    (Status.RUNNING, Status.FAILED),
    (Status.RUNNING, Status.RETRY_WAIT),
    (Status.RUNNING, Status.CANCELED),
    (Status.RUNNING, Status.QUEUED),
    (Status.RETRY_WAIT, Status.QUEUED),
    (Status.RETRY_WAIT, Status.FAILED),
    (Status.RETRY_WAIT, Status.CANCELED),
    (Status.FAILED, Status.DEAD_LETTER),
    (Status.FAILED, Status.RETRY_WAIT),
}
OURS = {
    (Status.NEW, Status.QUEUED),
    (Status.RUNNING, Status.WAITING),
    (Status.WAITING, Status.QUEUED),
    (Status.WAITING, Status.CANCELED),
}


def test_every_command_has_a_sample_here():
    assert set(COMMANDS) == set(get_args(Command))


@pytest.mark.parametrize(("status", "kind"), list(product(Status, COMMANDS)))
def test_a_command_outside_the_table_is_refused_and_changes_nothing(
    status: Status, kind: type[Command]
):
    """Row GC-02."""
    story = in_status(status)
    assert story.status is status
    if kind not in ACCEPTS[status]:
        story.refuses(COMMANDS[kind], f"task_{status.lower()}")


@pytest.mark.parametrize(
    ("status", "kind"),
    [(s, kind) for s, kinds in ACCEPTS.items() for kind in sorted(kinds, key=lambda k: k.__name__)],
)
def test_a_command_in_the_table_is_decided_on_its_merits(status: Status, kind: type[Command]):
    story = in_status(status)
    try:
        events = decide(story.task, COMMANDS[kind], rules=story.rules, now=story.now)
    except Refused as refused:
        assert not refused.code.startswith("task_")
    else:
        for event in events:
            story.task = evolve(story.task, event)


@pytest.mark.parametrize(
    "kind",
    [
        Recover, StartCall, SettleCall, Approve, Refuse, Say, Tick, Cancel, SuspendCall,
    ],
)  # fmt: skip
def test_a_busy_task_obeys(kind: type[Command]):
    story = busy().when(COMMANDS[kind])
    assert story.events or kind is Tick


def test_the_table_of_statuses_is_complete():
    """Row GC-01."""
    public = set(Status) - {Status.NEW}
    assert {status.value for status in public} == {
        *("QUEUED", "CLAIMED", "RUNNING", "RETRY_WAIT", "SUCCEEDED", "FAILED", "CANCELED"),
        *("DEAD_LETTER", "WAITING"),
    }
    assert set(ACCEPTS) == set(Status)


@pytest.mark.parametrize(("a", "b"), list(product(Status, Status)))
def test_a_task_moves_along_the_documented_edges_and_no_other(a: Status, b: Status):
    """Row GC-02."""
    movers = [kind for kind, moves in MOVES.items() if moves.get(a) is b]
    assert bool(movers) is ((a, b) in EDGES | OURS)
    assert len(movers) <= 1


@pytest.mark.parametrize(("kind", "status"), list(product(MOVES, Status)))
def test_an_event_moves_the_task_as_the_table_says_or_is_damage(
    kind: type[e.Event], status: Status
):
    """Row GC-02."""
    event, task = EVENTS[kind.__name__], Task(id=TASK, status=status)
    target = MOVES[kind].get(status)
    assert moved(status, event) is target
    if target is None:
        with pytest.raises(Broken, match=str(status)) as damage:
            evolve(task, event)
        assert damage.value.code == "damaged_stream"
    else:
        assert evolve(task, event).status is target


def test_other_events_leave_the_status_alone():
    for status in Status:
        assert moved(status, e.Replied(said=ModelSaid(text="hm"))) is status


def test_the_diagram_is_drawn_from_the_table():
    lines = diagram().splitlines()
    assert lines[0] == "stateDiagram-v2"
    drawn = {
        tuple(line.strip().split(":")[0].split(" --> ")) for line in lines[1:] if "[*]" not in line
    }
    assert drawn == {(a.value, b.value) for a, b in EDGES | OURS if a is not Status.NEW}
    assert "    [*] --> QUEUED: Submitted" in lines
    final = {line.split(" --> ")[0].strip() for line in lines if line.endswith("--> [*]")}
    assert final == {status for status in ENDED if not any(a is status for a, _ in EDGES)}


def test_a_task_walks_every_edge():
    """Row GC-02."""
    walked: set[tuple[Status, Status]] = set()

    def follow(story: Story) -> None:
        task = Task()
        for event in story.history:
            after = evolve(task, event)
            if after.status is not task.status:
                walked.add((task.status, after.status))
            task = after

    for status in Status:
        follow(in_status(status))
        if Cancel in ACCEPTS[status]:
            follow(in_status(status).when(Cancel(by="ann")))
        if Recover in ACCEPTS[status]:
            follow(in_status(status).when(Recover(reason="lost")))
    woken = running().replies(pay("asked")).when(Release(), COMMANDS[Refuse])
    follow(again(woken))
    follow(in_status(Status.FAILED).when(Retry(by="ann"), Tick()))
    follow(broke_while_paused())
    assert walked == EDGES | OURS


def broke_while_paused() -> Story:
    """A try that failed with the last of its time used: the pause ends in failure."""
    story = running(limits=Limits(seconds=10)).when(failing(), after=11_000)
    return story.when(Tick(), after=2_000)


def test_waits_are_three():
    story = busy()
    waits = {name: opened.wait for name, opened in story.task.calls.items() if opened.wait}
    assert {type(wait) for wait in waits.values()} == {Human, Child, Timer}
