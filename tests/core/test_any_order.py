"""Whatever is told to a task in whatever order: only `Refused` is raised, promises hold."""

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

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
    ReleaseAsk,
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
from holdfast.core.gate.policy import Allow, Deny, Leave
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
    bound,
)
from holdfast.core.view import encode, summary, wake_at
from tests.core.given import HOUSE_RULES, NOW, TASK, call, read, request
from tests.core.test_table import COMMANDS, EDGES, OURS

TIMES = st.sampled_from([0, 1, 900, 40_000, 90_000_000])
TEXTS = st.sampled_from(["", "done", "Let me check.", "DONE and more"])
RESULTS: tuple[Outcome, ...] = (
    Returned(text="same"),
    Returned(text="other", artifact="f"),
    Failed(text="no"),
    Refused(reason="no"),
    Unknown(reason="who knows"),
)
PAUSES: tuple[Wait, ...] = (
    Human(question="which?"),
    Child(task=TaskId("child_1")),
    Child(task=TaskId("child_2")),
    Timer(until=NOW + 1_000),
    Timer(until=NOW + 10**12),
)
OUTCOMES: st.SearchStrategy[Outcome] = st.sampled_from(RESULTS)
WAITS: st.SearchStrategy[Wait] = st.sampled_from(PAUSES)
LIMITS = st.builds(
    Limits,
    steps=st.sampled_from([50, 50, 3]),
    tokens=st.sampled_from([None, None, 800, 10_000]),
    cost=st.sampled_from([None, None, 300]),
    seconds=st.sampled_from([None, None, 100]),
    calls=st.sampled_from([None, 4]),
    attempts=st.sampled_from([9, 9, 3, 1]),
    check_rounds=st.sampled_from([3, 1]),
)
REQUESTS = st.builds(
    request,
    st.just("do it"),
    limits=LIMITS,
    parent=st.sampled_from([None, Parent(task=TaskId("task_0"), call=CallId("c"))]),
    leave=st.sampled_from([Leave(), Leave(unattended=True), Leave(preset="ask", deny=("look",))]),
    checks=st.sampled_from([(), ("make test",), ("make test", "make lint")]),
    until=st.sampled_from(["", "DONE"]),
    deliver=st.sampled_from([(), ("mail",)]),
)
PROPOSALS = (
    read("_"),
    call("_", "look", EffectClass.READS),
    call("_", "stamp", EffectClass.REPEATABLE),
    call("_", "write"),
    call("_", "write", target="b.txt", checkable=True),
    call("_", "pay"),
    call("_", "pay", target="eve"),
    call("_", "bomb"),
    call("_", "write", problem="no path"),
)
KINDS = st.sampled_from(PROPOSALS)
USAGES = st.builds(
    Usage,
    input=st.integers(0, 300),
    output=st.integers(0, 300),
    cost=st.one_of(st.integers(0, 200), st.none()),
)
RESERVES = st.builds(
    Reservation,
    tokens=st.integers(0, 400),
    cost=st.one_of(st.integers(0, 150), st.integers(0, 150), st.none()),
)


NTH = st.integers(0, 9)
ERRORS = st.sampled_from(["", "no route"])

running = precondition(lambda self: self.task.status is Status.RUNNING)
alive = precondition(lambda self: not self.task.ended)
ended = precondition(lambda self: self.task.ended)
busy = precondition(lambda self: bool(self.task.calls))


class AnyOrder(RuleBasedStateMachine):
    """Tells one task anything at all and keeps its own, simpler books."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.new_books()

    def new_books(self) -> None:
        self.task = Task()
        self.history: list[e.Event] = []
        self.times: list[Instant] = []
        self.proposed: dict[CallId, JudgedCall] = {}
        self.settled: set[CallId] = set()
        self.approved: set[CallId] = set()
        self.begun: set[CallId] = set()
        self.doubted: set[CallId] = set()
        self.count = 0
        self.tokens = 0
        self.set_aside = 0
        self.children: set[TaskId] = set()
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

    def book_money(self, event: e.Event) -> None:
        """What was set aside is settled, given back, or counts as spent."""
        match event:
            case e.Replied(usage=usage):
                self.tokens, self.set_aside = self.tokens + usage.tokens, 0
            case e.AskReleased():
                self.set_aside = 0
            case e.AskBegun(reserve=reserve):
                self.tokens, self.set_aside = self.tokens + self.set_aside, reserve.tokens
            case e.Recovered() | e.AttemptFailed() | e.Failed() | e.Canceled() | e.Finished():
                self.tokens, self.set_aside = self.tokens + self.set_aside, 0
            case e.CallSettled(spent=Spent(tokens=tokens)):
                self.tokens += tokens
            case _:
                pass

    def book_children(self, event: e.Event) -> None:
        """A child is at work until it has answered or was told to stop."""
        match event:
            case e.CallWaiting(wait=Child(task=child)):
                self.children.add(child)
            case e.ChildStopped(child=child):
                self.children.discard(child)
            case e.CallSettled(call_id=call_id, outcome=outcome):
                wait = self.task.calls[call_id].wait
                if isinstance(wait, Child) and not isinstance(outcome, Refused):
                    self.children.discard(wait.task)
            case _:
                pass

    def book(self, event: e.Event) -> None:
        self.book_money(event)
        self.book_children(event)
        match event:
            case e.Replied(judged=judged, usage=usage):
                self.propose(judged)
                assert [one.call for one in judged] == list(event.said.calls)
                reserved = self.task.reserved or Reservation()
                self.extra_tokens += max(0, usage.tokens - reserved.tokens)
                self.extra_cost += max(0, (usage.cost or 0) - (reserved.cost or 0))
            case e.TopUpRequested(judged=judged):
                self.propose(judged)
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

    def nth_call(self, nth: int) -> CallId:
        names = [*self.task.calls, CallId("nowhere")]
        return names[nth % len(names)]

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

    @initialize(wanted=REQUESTS)
    def submit(self, wanted: Request) -> None:
        self.tell(Submit(id=TASK, request=wanted))
        self.work()

    @ended
    @rule(wanted=REQUESTS, name=st.sampled_from(["mail", "parent", "chat"]), error=ERRORS)
    def another(self, wanted: Request, name: str, error: str) -> None:
        """The books of an ended task are closed, and it is retried, or a new task begins."""
        self.tell(ConfirmDelivery(channel=name, error=error))
        self.tell(StopChild(child=TaskId("child_1")))
        if not self.tell(Retry(by="ann")):
            self.teardown()
            self.new_books()
            self.submit(wanted)

    def work(self) -> None:
        """Time passes until a worker may begin; the task may also have been at work already."""
        if self.task.status is Status.RETRY_WAIT:
            self.now = max(self.now, self.task.retry_at)
            self.tell(Tick())
        self.tell(Claim(owner="w1"))
        self.tell(Start(history=(PersonSaid(text="hi"), ModelSaid(text="hello"))))

    @alive
    @rule(
        kinds=st.lists(KINDS, max_size=3),
        usage=USAGES,
        reserve=st.one_of(st.none(), RESERVES),
        text=TEXTS,
        meanwhile=st.sampled_from(["", "", "faster"]),
        finish=st.sampled_from(["stop", "stop", "stop", "length"]),
    )
    def turn(
        self,
        kinds: list[ToolCall],
        usage: Usage,
        reserve: Reservation | None,
        text: str,
        meanwhile: str,
        finish: str,
    ) -> None:
        self.work()
        if isinstance(next(iter(pending(self.task, self.now)), None), AskModel):
            saw = prompt(self.task).saw
            if reserve is not None:
                self.tell(BeginAsk(reserve=reserve))
            self.tell(Say(text=meanwhile, by="ann"))
            self.tell(HearReply(reply=self.reply(kinds, text, usage, finish), saw=saw))

    @alive
    @rule(outcomes=st.lists(st.one_of(st.none(), OUTCOMES, WAITS), min_size=4, max_size=4))
    def perform(self, outcomes: list[Outcome | Wait | None]) -> None:
        """Whatever is due is begun; it ends, waits, or is still under way."""
        self.work()
        for effect, outcome in zip(pending(self.task, self.now), outcomes, strict=False):
            if not isinstance(effect, RunTool):
                continue
            call_id = effect.open.call.id
            assert self.tell(StartCall(call_id=call_id))
            match outcome:
                case None:
                    pass
                case Human() | Child() | Timer():
                    self.tell(SuspendCall(call_id=call_id, wait=outcome))
                case _:
                    assert self.tell(SettleCall(call_id=call_id, outcome=outcome))

    @busy
    @rule(
        nth=NTH,
        outcome=OUTCOMES,
        tokens=st.sampled_from([0, 0, 70]),
        clear=st.booleans(),
    )
    def settle(self, nth: int, outcome: Outcome, tokens: int, clear: bool) -> None:
        call_id = self.nth_call(nth)
        spent = Spent(tokens=tokens, cost=tokens)
        if clear and self.tell(ClearCall(call_id=call_id)):
            return
        if self.tell(SettleCall(call_id=call_id, outcome=outcome, spent=spent)):
            self.extra_tokens += tokens
            self.extra_cost += tokens

    @running
    @rule(message=st.sampled_from(["", "", "it broke", "something else"]), paid=st.booleans(),
          reserve=RESERVES, likely=st.integers(0, 9))  # fmt: skip
    def trouble(self, message: str, paid: bool, reserve: Reservation, likely: int) -> None:
        """The worker dies or the try fails, perhaps while the model was being asked."""
        if isinstance(next(iter(pending(self.task, self.now)), None), AskModel):
            self.tell(BeginAsk(reserve=reserve))
        if not message:
            self.tell(Recover(reason="the daemon died"))
        else:
            retryable = likely > 0
            if not paid:
                self.tell(ReleaseAsk())
            self.tell(FailAttempt(code="E", message=message, retryable=retryable))

    @rule(
        command=st.sampled_from(list(COMMANDS.values())),
        saw=st.integers(-1, 9),
        stale=st.booleans(),
        rarely=st.integers(0, 9),
    )
    def anything(self, command: Command, saw: int, stale: bool, rarely: int) -> None:
        """A command out of place, or a reply to what was never asked."""
        if isinstance(command, HearReply):
            self.count -= min(self.count, 2) if stale else 0
            reply = self.reply([read("_")], "hm", Usage(), "stop")
            self.tell(HearReply(reply=reply, saw=saw))
        elif rarely == 0 or not isinstance(command, Cancel):
            self.tell(command)

    # What people and time do

    @busy
    @rule(nth=NTH, right=st.sampled_from([True, True, False]), whole=st.booleans())
    def approve(self, nth: int, right: bool, whole: bool) -> None:
        self.tell(Release())
        call_id = self.nth_call(nth)
        opened = self.task.calls.get(call_id)
        digest = bound(self.task, opened) if opened and right else "other"
        told = self.tell(Approve(call_id=call_id, digest=digest, by="ann", whole_task=whole))
        assert not told or right or call_id in self.settled

    @busy
    @rule(nth=NTH, say=st.booleans())
    def answer(self, nth: int, say: bool) -> None:
        self.tell(Release())
        if say:
            self.tell(Say(text="the red one", by="ann", answers=self.nth_call(nth)))
        else:
            self.tell(Refuse(call_id=self.nth_call(nth), by="ann"))

    @rule(after=TIMES)
    def tick(self, after: int) -> None:
        self.now += after
        self.tell(Tick())

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
        limits, spent = self.task.limits, self.task.spent
        assert spent.tokens == self.tokens
        reserved = self.task.reserved or Reservation()
        if limits.tokens is not None:
            assert spent.tokens + reserved.tokens <= limits.tokens + self.extra_tokens
        if limits.cost is not None:
            assert spent.cost + (reserved.cost or 0) <= limits.cost + self.extra_cost

    @invariant()
    def a_limit_is_raised_only_with_an_approval(self) -> None:
        raised = self.task.raised
        assert raised is None or any(call_id.startswith("top_up") for call_id in self.approved)

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
        assert self.children == set(self.task.children)

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


class Walk:
    """The same at random, far deeper: mostly sensible steps, now and then nonsense."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.machine = AnyOrder()
        self.machine.submit(wanted=self.wanted())

    def wanted(self) -> Request:
        pick = self.dice.choice
        limits = Limits(
            steps=pick([5, 60, 60]),
            tokens=pick([None, None, 5_000]),
            cost=pick([None, None, 1_000]),
            seconds=pick([None, None, 100_000]),
            calls=pick([None, None, 9]),
            attempts=pick([2, 9]),
        )
        return request(
            limits=limits,
            parent=pick([None, Parent(task=TaskId("task_0"), call=CallId("c"))]),
            leave=pick([Leave(), Leave(), Leave(unattended=True)]),
            checks=pick([(), ("make test",), ("make test", "make lint")]),
            until=pick(["", "", "DONE"]),
            deliver=pick([(), ("mail",)]),
        )

    def on(self, steps: int) -> None:
        actions = (self.turn, self.turn, self.perform, self.perform, self.people, self.rest)
        for _ in range(steps):
            if self.machine.task.ended:
                error = self.dice.choice(["", "no route"])
                self.machine.another(wanted=self.wanted(), name="mail", error=error)
            else:
                self.dice.choice(actions)()
            for holds in INVARIANTS:
                holds(self.machine)
        self.machine.teardown()

    def turn(self) -> None:
        dice = self.dice
        priced = dice.choice([None, dice.randrange(30), dice.randrange(30)])
        self.machine.turn(
            kinds=dice.choices(PROPOSALS, k=dice.choice([0, 1, 1, 2, 3])),
            usage=Usage(input=dice.randrange(99), output=dice.randrange(99), cost=priced),
            reserve=dice.choice([None, Reservation(tokens=150, cost=dice.choice([0, 20]))]),
            text=dice.choice(["", "done", "done", "Let me check.", "DONE"]),
            meanwhile=dice.choice(["", "", "", "faster"]),
            finish=dice.choice(["stop", "stop", "stop", "length"]),
        )

    def perform(self) -> None:
        choices: list[Outcome | Wait | None] = [*RESULTS, *RESULTS[:2], *PAUSES, None, None]
        self.machine.perform(outcomes=self.dice.choices(choices, k=4))

    def people(self) -> None:
        dice, machine = self.dice, self.machine
        if not machine.task.calls:
            return
        nth = dice.randrange(10)
        match dice.randrange(4):
            case 0:
                machine.approve(nth=nth, right=dice.random() < 0.8, whole=dice.random() < 0.2)
            case 1:
                machine.answer(nth=nth, say=dice.random() < 0.5)
            case _:
                outcome, clear = dice.choice(RESULTS), dice.random() < 0.5
                machine.settle(nth=nth, outcome=outcome, tokens=dice.choice([0, 7]), clear=clear)

    def rest(self) -> None:
        dice, machine = self.dice, self.machine
        match dice.randrange(3):
            case 0 if machine.task.status is Status.RUNNING:
                machine.trouble(
                    message=dice.choice(["", "", "", "it broke", "something else"]),
                    paid=dice.random() < 0.5,
                    reserve=Reservation(tokens=30, cost=3),
                    likely=dice.randrange(9),
                )
            case 1:
                machine.tick(after=dice.choice([0, 1, 900, 40_000, 90_000_000]))
            case _:
                machine.anything(
                    command=dice.choice(list(COMMANDS.values())),
                    saw=dice.randrange(-1, 9),
                    stale=dice.random() < 0.5,
                    rarely=dice.randrange(9),
                )


INVARIANTS = (
    AnyOrder.every_call_is_open_or_has_its_one_answer,
    AnyOrder.the_transcript_holds_one_answer_per_call,
    AnyOrder.a_limit_is_raised_only_with_an_approval,
    AnyOrder.budgets_hold_but_for_what_one_reply_took_beyond_its_reservation,
    AnyOrder.nothing_waits_for_ever,
    AnyOrder.children_at_work_are_known,
    AnyOrder.an_ended_task_asks_nothing_of_models_and_tools,
    AnyOrder.the_prompt_is_what_providers_accept,
)


def tried(examples: int, steps: int) -> Any:
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )


def test_whatever_is_told_in_whatever_order_the_promises_hold():
    run_state_machine_as_test(AnyOrder, settings=tried(60, 40))


@pytest.mark.parametrize("seed", range(10))
def test_on_a_long_random_walk_the_promises_hold(seed: int):
    for number in range(5):
        Walk(seed * 1_000 + number).on(150)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(10, 20))
def test_on_many_random_walks_the_promises_hold(seed: int):
    for number in range(100):
        Walk(seed * 1_000 + number).on(200)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_whatever_is_told_in_whatever_order_the_promises_hold_for_long():
    run_state_machine_as_test(AnyOrder, settings=tried(600, 80))
