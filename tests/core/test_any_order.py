"""Whatever is told to a task in whatever order: only `Refused` is raised, promises hold."""

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from holdfast.core import event as e
from holdfast.core.budget import Limits, Reservation, Spent
from holdfast.core.command import (
    Approve,
    BeginAsk,
    Cancel,
    Claim,
    ClearCall,
    Command,
    ConfirmDelivery,
    FailAttempt,
    HearReply,
    Recover,
    Refuse,
    Release,
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
from holdfast.core.context import prompt
from holdfast.core.decide import decide
from holdfast.core.effect import AskModel, RunTool, due, pending
from holdfast.core.error import Refused as NotNow
from holdfast.core.evolve import evolve, fold
from holdfast.core.ids import CallId, Instant, TaskId
from holdfast.core.message import (
    EffectClass,
    Failed,
    ModelSaid,
    Outcome,
    PersonSaid,
    Refused,
    Reply,
    Returned,
    ToolAnswered,
    ToolCall,
    Unknown,
    Usage,
)
from holdfast.core.policy import Allow, Deny, Leave
from holdfast.core.replay import replay
from holdfast.core.task import (
    CallState,
    Child,
    Human,
    JudgedCall,
    Parent,
    Request,
    Status,
    Task,
    Timer,
    Wait,
)
from holdfast.core.view import encode, summary, wake_at
from tests.core.given import HOUSE_RULES, NOW, TASK, call, read, request
from tests.core.test_table import EDGES, OURS

TIMES = st.sampled_from([0, 1, 900, 40_000, 90_000_000])
TEXTS = st.sampled_from(["", "done", "Let me check.", "DONE and more"])
OUTCOMES: st.SearchStrategy[Outcome] = st.sampled_from(
    [
        Returned(text="same"),
        Returned(text="other", artifact="f"),
        Failed(text="no"),
        Refused(reason="no"),
        Unknown(reason="who knows"),
    ]
)
WAITS: st.SearchStrategy[Wait] = st.sampled_from(
    [
        Human(question="which?"),
        Child(task=TaskId("child_1")),
        Child(task=TaskId("child_2")),
        Timer(until=NOW + 1_000),
        Timer(until=NOW + 10**12),
    ]
)
LIMITS = st.builds(
    Limits,
    steps=st.sampled_from([2, 12, 50]),
    tokens=st.sampled_from([None, 500, 10_000]),
    cost=st.sampled_from([None, 0, 300]),
    seconds=st.sampled_from([None, 100]),
    calls=st.sampled_from([None, 4]),
    attempts=st.sampled_from([1, 3, 9]),
    check_rounds=st.sampled_from([1, 3]),
)
REQUESTS = st.builds(
    request,
    st.sampled_from(["do it", " "]),
    limits=LIMITS,
    parent=st.sampled_from([None, Parent(task=TaskId("task_0"), call=CallId("c"))]),
    leave=st.sampled_from([Leave(), Leave(unattended=True), Leave(preset="ask", deny=("look",))]),
    checks=st.sampled_from([(), ("make test",), ("make test", "make lint")]),
    until=st.sampled_from(["", "DONE"]),
    deliver=st.sampled_from([(), ("mail",)]),
)
KINDS = st.sampled_from(
    [
        read("_"),
        call("_", "look", EffectClass.READS),
        call("_", "stamp", EffectClass.REPEATABLE),
        call("_", "write"),
        call("_", "write", target="b.txt", checkable=True),
        call("_", "pay"),
        call("_", "pay", target="eve"),
        call("_", "bomb"),
        call("_", "write", problem="no path"),
    ]
)
USAGES = st.builds(
    Usage,
    input=st.integers(0, 300),
    output=st.integers(0, 300),
    cost=st.one_of(st.none(), st.integers(0, 200)),
)
RESERVES = st.builds(
    Reservation, tokens=st.integers(0, 400), cost=st.one_of(st.none(), st.integers(0, 150))
)


class AnyOrder(RuleBasedStateMachine):
    """Tells one task anything at all and keeps its own, simpler books."""

    def __init__(self) -> None:
        super().__init__()
        self.task = Task()
        self.now = NOW
        self.history: list[e.Event] = []
        self.times: list[Instant] = []
        self.proposed: dict[CallId, JudgedCall] = {}
        self.settled: set[CallId] = set()
        self.approved: set[CallId] = set()
        self.begun: set[CallId] = set()
        self.doubted: set[CallId] = set()
        self.count = 0
        self.extra_tokens = 0
        self.extra_cost = 0

    # Telling

    def tell(self, command: Command) -> bool:
        try:
            events = decide(self.task, command, rules=HOUSE_RULES, now=self.now)
        except NotNow as refused:
            assert refused.code
            return False
        for event in events:
            stored = e.encode(event)
            assert e.decode(type(event).__name__, stored) == event
            self.book(event)
            before = self.task.status
            self.task = evolve(self.task, event)
            after = self.task.status
            assert before is after or (before, after) in EDGES | OURS
        self.history += events
        self.times += [self.now] * len(events)
        return True

    def book(self, event: e.Event) -> None:
        match event:
            case e.Replied(judged=judged, usage=usage):
                self.propose(judged)
                assert [one.call for one in judged] == list(event.said.calls)
                reserved = self.task.reserved or Reservation()
                self.extra_tokens += max(0, usage.tokens - reserved.tokens)
                self.extra_cost += max(0, (usage.cost or 0) - (reserved.cost or 0))
            case e.ChecksDue(judged=judged):
                self.propose(judged)
            case e.CallApproved(call_id=call_id):
                self.approved.add(call_id)
            case e.CallStarted(call_id=call_id):
                self.start(call_id)
            case e.CallDoubted(call_id=call_id):
                assert self.proposed[call_id].call.checkable
                self.doubted.add(call_id)
            case e.CallCleared(call_id=call_id):
                writes = self.proposed[call_id].call.effect is EffectClass.WRITES
                assert not writes or call_id in self.doubted
                self.begun.discard(call_id)
                self.doubted.discard(call_id)
            case e.CallSettled(call_id=call_id):
                assert call_id in self.proposed.keys() - self.settled
                self.settled.add(call_id)
            case e.Finished():
                assert not self.task.unheard
            case _:
                pass

    def propose(self, judged: tuple[JudgedCall, ...]) -> None:
        for one in judged:
            assert one.call.id not in self.proposed
            self.proposed[one.call.id] = one

    def start(self, call_id: CallId) -> None:
        one = self.proposed[call_id]
        assert call_id not in self.begun | self.settled
        assert isinstance(one.verdict, Allow) or call_id in self.approved
        assert not isinstance(one.verdict, Deny)
        assert not one.call.problem
        self.begun.add(call_id)

    def some_call(self, data: st.DataObject) -> CallId:
        return data.draw(st.sampled_from([*self.task.calls, CallId("nowhere")]))

    def reply(self, kinds: list[ToolCall], text: str, usage: Usage, finish: str) -> Reply:
        calls: list[ToolCall] = []
        for kind in kinds:
            self.count += 1
            call_id = CallId(f"c{self.count}")
            calls.append(
                call(
                    call_id,
                    kind.tool,
                    kind.effect,
                    target=kind.target,
                    checkable=kind.checkable,
                    stable=kind.stable,
                    problem=kind.problem,
                )
            )
        return Reply(text=text, calls=tuple(calls), usage=usage, finish=finish)

    # What a worker does

    @rule(wanted=REQUESTS)
    def submit(self, wanted: Request) -> None:
        self.tell(Submit(id=TASK, request=wanted))

    @rule(wanted=REQUESTS)
    def work(self, wanted: Request) -> None:
        self.tell(Submit(id=TASK, request=wanted))
        self.tell(Tick())
        self.tell(Claim(owner="w1"))
        self.tell(Start(history=(PersonSaid(text="hi"), ModelSaid(text="hello"))))

    @rule(kinds=st.lists(KINDS, max_size=3), usage=USAGES, reserve=RESERVES, text=TEXTS)
    def turn(self, kinds: list[ToolCall], usage: Usage, reserve: Reservation, text: str) -> None:
        if AskModel() in pending(self.task, self.now):
            saw = prompt(self.task).saw
            self.tell(BeginAsk(reserve=reserve))
            self.tell(HearReply(reply=self.reply(kinds, text, usage, "stop"), saw=saw))

    @rule(data=st.data())
    def perform(self, data: st.DataObject) -> None:
        for effect in pending(self.task, self.now):
            if isinstance(effect, RunTool):
                assert self.tell(StartCall(call_id=effect.open.call.id))
                outcome = data.draw(OUTCOMES)
                assert self.tell(SettleCall(call_id=effect.open.call.id, outcome=outcome))

    @rule(owner=st.sampled_from(["w1", "w2"]))
    def claim(self, owner: str) -> None:
        self.tell(Claim(owner=owner))

    @rule()
    def begin(self) -> None:
        self.tell(Start())

    @rule()
    def let_go(self) -> None:
        self.tell(Release())

    @rule()
    def crash(self) -> None:
        self.tell(Recover(reason="the daemon died"))

    @rule(reserve=RESERVES)
    def begin_ask(self, reserve: Reservation) -> None:
        self.tell(BeginAsk(reserve=reserve))

    @rule(
        kinds=st.lists(KINDS, max_size=2),
        text=TEXTS,
        finish=st.sampled_from(["stop", "length"]),
        saw=st.integers(-1, 9),
        stale=st.booleans(),
    )
    def hear(self, kinds: list[ToolCall], text: str, finish: str, saw: int, stale: bool) -> None:
        if stale:
            self.count = max(0, self.count - 2)
        self.tell(HearReply(reply=self.reply(kinds, text, Usage(), finish), saw=saw))

    @rule(
        message=st.sampled_from(["it broke", "something else"]),
        retryable=st.booleans(),
        paid=st.booleans(),
    )
    def fail(self, message: str, retryable: bool, paid: bool) -> None:
        self.tell(FailAttempt(code="E", message=message, retryable=retryable, paid=paid))

    @rule(data=st.data())
    def start_call(self, data: st.DataObject) -> None:
        self.tell(StartCall(call_id=self.some_call(data)))

    @rule(data=st.data(), wait=WAITS)
    def suspend(self, data: st.DataObject, wait: Wait) -> None:
        call_id = self.some_call(data)
        self.tell(StartCall(call_id=call_id))
        self.tell(SuspendCall(call_id=call_id, wait=wait))

    @rule(data=st.data(), outcome=OUTCOMES, tokens=st.sampled_from([0, 0, 70]))
    def settle(self, data: st.DataObject, outcome: Outcome, tokens: int) -> None:
        call_id = self.some_call(data)
        spent = Spent(tokens=tokens, cost=tokens)
        if self.tell(SettleCall(call_id=call_id, outcome=outcome, spent=spent)):
            self.extra_tokens += tokens
            self.extra_cost += tokens

    @rule(data=st.data())
    def clear(self, data: st.DataObject) -> None:
        self.tell(ClearCall(call_id=self.some_call(data)))

    # What people and time do

    @rule(data=st.data(), right=st.booleans(), whole=st.booleans())
    def approve(self, data: st.DataObject, right: bool, whole: bool) -> None:
        call_id = self.some_call(data)
        opened = self.task.calls.get(call_id)
        digest = opened.call.key if opened and right else "other"
        told = self.tell(Approve(call_id=call_id, digest=digest, by="ann", whole_task=whole))
        assert not told or right or call_id in self.settled

    @rule(data=st.data())
    def refuse(self, data: st.DataObject) -> None:
        self.tell(Refuse(call_id=self.some_call(data), by="ann"))

    @rule(text=st.sampled_from(["faster", ""]))
    def say(self, text: str) -> None:
        self.tell(Say(text=text, by="ann"))

    @rule(after=TIMES)
    def tick(self, after: int) -> None:
        self.now += after
        self.tell(Tick())

    @rule(likely=st.integers(0, 4))
    def cancel(self, likely: int) -> None:
        if not likely:
            self.tell(Cancel(by="ann"))

    @rule()
    def retry(self) -> None:
        self.tell(Retry(by="ann"))

    @rule(name=st.sampled_from(["mail", "parent", "chat"]), error=st.sampled_from(["", "no"]))
    def confirm(self, name: str, error: str) -> None:
        self.tell(ConfirmDelivery(channel=name, error=error))

    @rule(name=st.sampled_from(["child_1", "child_2", "child_3"]))
    def stop_child(self, name: str) -> None:
        self.tell(StopChild(child=TaskId(name)))

    # What holds

    @invariant()
    def every_call_is_open_or_has_its_one_answer(self) -> None:
        assert self.task.calls.keys() == self.proposed.keys() - self.settled
        if self.task.ended:
            assert not self.task.calls

    @invariant()
    def the_transcript_holds_one_answer_per_call(self) -> None:
        told = [x.call_id for x in self.task.transcript if isinstance(x, ToolAnswered)]
        assert len(told) == len(set(told))

    @invariant()
    def budgets_hold_but_for_what_one_reply_took_beyond_its_reservation(self) -> None:
        limits, spent = self.task.request.agent.limits, self.task.spent
        reserved = self.task.reserved or Reservation()
        if limits.tokens is not None:
            assert spent.tokens + reserved.tokens <= limits.tokens + self.extra_tokens
        if limits.cost is not None:
            assert spent.cost + (reserved.cost or 0) <= limits.cost + self.extra_cost

    @invariant()
    def nothing_waits_for_ever(self) -> None:
        task = self.task
        if task.status is Status.WAITING:
            assert not due(task)
            states = {opened.state for opened in task.calls.values()}
            assert states
            assert states <= {CallState.ASKED, CallState.WAITING}
        started = any(o.state is CallState.STARTED for o in task.calls.values())
        assert not started or task.status is Status.RUNNING
        if task.status is Status.RUNNING and not pending(task, self.now) and not started:
            decide(task, Release(), rules=HOUSE_RULES, now=self.now)

    @invariant()
    def children_at_work_are_known(self) -> None:
        waits = [o.wait for o in self.task.calls.values() if isinstance(o.wait, Child)]
        assert {wait.task for wait in waits} <= set(self.task.children)

    @invariant()
    def an_ended_task_asks_nothing_of_models_and_tools(self) -> None:
        keys = {effect.key.split()[0] for effect in pending(self.task, self.now)}
        assert not self.task.ended or keys <= {"stop", "deliver"}
        wake = wake_at(self.task)
        assert wake is None or self.task.status is not Status.NEW

    @invariant()
    def the_prompt_is_what_providers_accept(self) -> None:
        if not isinstance(next(iter(pending(self.task, self.now)), None), AskModel):
            return
        entries = list(prompt(self.task).entries)
        while entries:
            entry = entries.pop(0)
            assert not isinstance(entry, ToolAnswered)
            if isinstance(entry, ModelSaid):
                for proposed in entry.calls:
                    answer = entries.pop(0)
                    assert isinstance(answer, ToolAnswered)
                    assert answer.call_id == proposed.id

    def teardown(self) -> None:
        half = len(self.history) // 2
        first, second = self.history[:half], self.history[half:]
        assert fold(second, fold(first)) == fold(self.history) == self.task
        stored = [(type(event).__name__, e.encode(event)) for event in self.history]
        again = fold(e.decode(kind, body) for kind, body in stored)
        assert encode(summary(again)) == encode(summary(self.task))
        assert again == self.task
        recorded = list(zip(self.times, self.history, strict=True))
        assert replay(recorded, HOUSE_RULES) == (self.task, ())


def tried(examples: int, steps: int) -> Any:
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )


def test_whatever_is_told_in_whatever_order_the_promises_hold():
    run_state_machine_as_test(AnyOrder, settings=tried(60, 50))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_whatever_is_told_in_whatever_order_the_promises_hold_for_long():
    run_state_machine_as_test(AnyOrder, settings=tried(800, 80))
