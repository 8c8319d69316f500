"""One event of every kind, with every field filled: what the golden files hold."""

from holdfast.core import event as e
from holdfast.core.agent import Agent
from holdfast.core.budget import Limits, Reservation, Spent
from holdfast.core.gate.policy import Allow, Ask, Deny, Leave, Rule, Say
from holdfast.core.ids import CallId, SessionId, TaskId
from holdfast.core.message import (
    Change,
    EffectClass,
    Failed,
    HouseSaid,
    ModelSaid,
    PersonSaid,
    Refused,
    Returned,
    Thought,
    ToolAnswered,
    ToolCall,
    Unknown,
    Usage,
)
from holdfast.core.task import Child, Fault, JudgedCall, Parent, Request, Timer

AT = 1_800_000_000_123
CALL = CallId("c1_1")
FAULT = Fault(code="rate_limited", message="429: slow down", fingerprint="0123456789abcdef")
READ = ToolCall(
    id=CALL,
    tool="read",
    arguments={"path": "a.txt", "lines": [1, 20], "deep": {"x": None, "y": 1.5, "z": True}},
    effect=EffectClass.READS,
    target="a.txt",
    stable=True,
    signature="sig",
)
PAY = ToolCall(id=CallId("c1_2"), tool="pay", arguments={}, target="bob", checkable=True)
ODD = ToolCall(id=CallId("c1_3"), tool="bomb", arguments={}, problem="no such tool")
JUDGED = (
    JudgedCall(call=READ, verdict=Allow(rule="preset: reading is allowed")),
    JudgedCall(call=PAY, verdict=Ask(rule="ask pay *", question="May I pay bob?", until=AT)),
    JudgedCall(call=ODD, verdict=Deny(rule="deny bomb *", reason="no bombs")),
)
TOP_UP = JudgedCall(
    call=ToolCall(
        id=CallId("top_up1"),
        tool="top_up",
        arguments={"budget": "agent/default/day/2027-01-15", "cost": 1_000_000},
        effect=EffectClass.REPEATABLE,
        target="agent/default/day/2027-01-15",
    ),
    verdict=Ask(rule="budget", question="May I spend more?", until=AT),
)
SAID = ModelSaid(
    text="Zwölf Boxkämpfer",
    thoughts=(Thought(text="hm", signature="s", provider="p"),),
    calls=(READ, PAY, ODD),
)
REQUEST = Request(
    prompt="pay the bill",
    agent=Agent(
        name="clerk",
        instructions="You are a clerk.",
        model="p/m",
        tools=("read", "pay"),
        limits=Limits(
            steps=9,
            tokens=1_000,
            cost=5_000,
            seconds=60,
            calls=7,
            attempts=2,
            attempt_seconds=30,
            check_rounds=1,
        ),
        lanes=2,
        context_chars=9_000,
    ),
    by="ann",
    session=SessionId("chat_1"),
    parent=Parent(task=TaskId("task_0"), call=CallId("c9_1")),
    workspace="/home/ann/bills",
    priority=5,
    leave=Leave(preset="ask", allow=("exec:make *",), deny=("write",), unattended=True),
    checks=("make test",),
    until="DONE",
    deliver=("mail",),
    key="bill-7",
)
HISTORY = (
    PersonSaid(text="hi", by="ann"),
    SAID,
    ToolAnswered(call_id=CALL, tool="read", outcome=Returned(text="x"), note="again"),
    HouseSaid(text="go on"),
)
RESERVE = Reservation(tokens=900, cost=50)
USAGE = Usage(input=10, output=5, cache_read=4, cache_write=3, reasoning=2, cost=1)
CHANGES = (Change(path="a.txt", before="ab" * 32, mode=0o600), Change(path="new.txt"))
GRANT = Rule(say=Say.ALLOW, tool="pay", effect="*", target="*", reason="r", name="granted")

EVENTS: dict[str, e.Event] = {
    type(event).__name__: event
    for event in (
        e.Submitted(id=TaskId("task_1"), request=REQUEST, at=AT),
        e.Claimed(owner="worker_1", fence=3),
        e.Started(attempt=2, at=AT, policy="7", history=HISTORY),
        e.AskBegun(reserve=RESERVE),
        e.AskReleased(),
        e.Replied(said=SAID, judged=JUDGED, usage=USAGE, model="p/m", saw=4),
        e.CallStarted(call_id=CALL, before=CHANGES),
        e.CallWaiting(call_id=CALL, wait=Child(task=TaskId("task_2"))),
        e.CallApproved(call_id=CALL, by="ann", digest="ab" * 32, grant=GRANT),
        e.CallCleared(call_id=CALL, reason="safe to repeat"),
        e.CallDoubted(call_id=CALL),
        e.CallSettled(
            call_id=CALL,
            outcome=Returned(text="x", artifact="out.txt", reused=True),
            note="twice now",
            spent=Spent(steps=1, tokens=2, cost=3, milliseconds=4, calls=5, unpriced=6),
        ),
        e.Nudged(text="go on"),
        e.ContextCut(chars=40_000),
        e.TopUpRequested(judged=(TOP_UP,)),
        e.ChecksDue(answer="fixed", judged=JUDGED[:1]),
        e.ChecksFailed(report="2 failed"),
        e.Said(text="in French", by="bob"),
        e.Released(at=AT),
        e.Woken(at=AT),
        e.Recovered(reason="the daemon died", at=AT),
        e.AttemptFailed(fault=FAULT, at=AT, retry_at=AT + 1_000),
        e.Requeued(at=AT),
        e.Retried(by="ann", at=AT),
        e.Finished(answer="done", at=AT, checks=2),
        e.Failed(fault=FAULT, at=AT),
        e.DeadLettered(reason="poison_pill"),
        e.Canceled(by="ann", at=AT, reason="changed my mind"),
        e.ChildStopped(child=TaskId("task_2")),
        e.Delivered(channel="mail"),
        e.DeliveryFailed(channel="mail", error="no route", retry_at=AT),
    )
}

VARIANTS: tuple[e.Event, ...] = (
    e.CallSettled(call_id=CALL, outcome=Failed(text="no", code="exit", artifact="f")),
    e.CallSettled(call_id=CALL, outcome=Refused(reason="no", rule="human")),
    e.CallSettled(call_id=CALL, outcome=Unknown(reason="cut off")),
    e.CallWaiting(call_id=CALL, wait=Timer(until=AT)),
)
