"""A whole engine in memory: real rules, real supervisor, and a model, tools and clock that obey."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
from msgspec.structs import replace

from holdfast.adapters.models.paying import asked
from holdfast.adapters.stores.ledger import StoredLedger
from holdfast.adapters.stores.ledger_memory import MemoryPages
from holdfast.adapters.tools.lent import lending
from holdfast.core.agent import Agent, Shape
from holdfast.core.budget import Reservation
from holdfast.core.context import Prompt
from holdfast.core.event import Event
from holdfast.core.gate.policy import Rules
from holdfast.core.gate.presets import PRESETS
from holdfast.core.ids import CallId, TaskId
from holdfast.core.message import Change, EffectClass, Outcome, Reply, Returned, ToolCall
from holdfast.core.task import Request, Status, Task, Wait
from holdfast.engine.finish import Finisher
from holdfast.engine.live import Live
from holdfast.engine.perform import Limits, Performer
from holdfast.engine.record import Recorder
from holdfast.engine.supervise import Intake, Supervisor
from holdfast.engine.timekeep import Timekeeper
from holdfast.ports.channel import Channel
from holdfast.ports.journal import Journal
from holdfast.ports.ledger import Budget, Ledger
from holdfast.ports.model import Account, Delta, Model, ModelFailure, ToolSpec
from holdfast.ports.secrets import Secrets
from holdfast.ports.tools import Job, Tool, Traits
from holdfast.runtime.budgets import resume
from holdfast.runtime.delegate import Delegate
from holdfast.runtime.top_up import TopUp
from holdfast.runtime.warrants import WarrantedSecrets, WarrantedTools, Warrants

from .fake_clock import FakeClock

Answer = Reply | ModelFailure | str
Turn = Callable[[Prompt], Answer]
_PATIENCE = 10.0


def calls(*wanted: tuple[str, Mapping[str, Any]] | str) -> Reply:
    """A reply that proposes these calls: `"tool"` or `("tool", {arguments})`."""
    none: Mapping[str, Any] = {}
    pairs = [(one, none) if isinstance(one, str) else one for one in wanted]
    return Reply(
        calls=tuple(
            ToolCall(id=CallId(str(n)), tool=tool, arguments=dict(arguments))
            for n, (tool, arguments) in enumerate(pairs)
        )
    )


class ObedientModel:
    """Says what `turn` says; counts how many ask at once. `hold` keeps every answer back."""

    def __init__(self, turn: Turn | Sequence[Answer], name: str = "fake/model") -> None:
        self._turn: Turn = turn if callable(turn) else _in_order(list(turn))
        self._name = name
        self.prompts: list[Prompt] = []
        self.tools_shown: list[tuple[str, ...]] = []
        self.asking = self.peak = 0
        self.hold: anyio.Event | None = None
        self.asked = anyio.Event()
        self.stopped = 0
        self.reserves = Reservation()

    @property
    def name(self) -> str:
        return self._name

    def find(self, name: str) -> Model:
        return self

    async def check_shape(self, shape: Shape) -> None:
        """Takes any."""

    async def close(self) -> None:
        """Nothing to close."""

    @property
    def window(self) -> int:
        return 0

    def reserve(self, prompt: Prompt, tools: tuple[ToolSpec, ...]) -> Reservation:
        return self.reserves

    async def answer(
        self,
        name: str,
        prompt: Prompt,
        tools: tuple[ToolSpec, ...],
        hear: Callable[[Delta], None],
        account: Account,
    ) -> Reply:
        return await asked(self, prompt, tools, hear, account)

    async def ask(
        self, prompt: Prompt, tools: tuple[ToolSpec, ...], hear: Callable[[Delta], None]
    ) -> Reply:
        self.prompts.append(prompt)
        self.tools_shown.append(tuple(tool.name for tool in tools))
        self.asking += 1
        self.peak = max(self.peak, self.asking)
        self.asked.set()
        try:
            await anyio.lowlevel.checkpoint()
            if self.hold is not None:
                await self.hold.wait()
        except anyio.get_cancelled_exc_class():
            self.stopped += 1
            raise
        finally:
            self.asking -= 1
        answer = self._turn(prompt)
        if isinstance(answer, ModelFailure):
            raise answer
        reply = Reply(text=answer) if isinstance(answer, str) else answer
        hear(Delta(text=reply.text))
        return replace(reply, model=self._name)


def _in_order(script: list[Answer]) -> Turn:
    def turn(_prompt: Prompt) -> Answer:
        return script.pop(0)

    return turn


@dataclass(kw_only=True)
class ObedientTool:
    """Does what `act` does; `ran` is what it was asked to do."""

    name: str
    act: Callable[[Mapping[str, Any]], Outcome | Wait] = lambda _arguments: Returned(text="ok")
    effect: EffectClass = EffectClass.WRITES
    stable: bool = False
    checkable: bool = False
    secrets: tuple[str, ...] = ()
    source: str = ""
    hold: anyio.Event | None = None
    found: Outcome | None = None
    ran: list[Mapping[str, Any]] = field(default_factory=list[Mapping[str, Any]])
    jobs: list[Job] = field(default_factory=list[Job])
    running: anyio.Event = field(default_factory=anyio.Event)
    stopped: int = 0

    @property
    def spec(self) -> ToolSpec:
        return ToolSpec(name=self.name, description=self.name, schema={"type": "object"})

    @property
    def traits(self) -> Traits:
        return Traits(
            effect=self.effect,
            source=self.source,
            stable=self.stable,
            checkable=self.checkable,
            target="path",
            secrets=self.secrets,
        )

    def problem(self, arguments: Mapping[str, Any]) -> str:
        return "there is no argument 'bad'" if "bad" in arguments else ""

    async def before(self, arguments: Mapping[str, Any], job: Job) -> Sequence[Change]:
        return ()

    async def run(self, arguments: Mapping[str, Any], job: Job) -> Outcome | Wait:
        self.ran.append(arguments)
        self.jobs.append(job)
        self.running.set()
        try:
            if self.hold is not None:
                await self.hold.wait()
        except anyio.get_cancelled_exc_class():
            self.stopped += 1
            raise
        return self.act(arguments)

    async def check(
        self,
        arguments: Mapping[str, Any],
        before: Sequence[Change],
        job: Job,
    ) -> Outcome | None:
        return self.found


class Toolbox:
    """Tools by name."""

    def __init__(self, *tools: Tool) -> None:
        self._tools = {tool.spec.name: tool for tool in tools}

    def add(self, tool: Tool) -> None:
        self._tools[tool.spec.name] = tool

    def get(self, name: str) -> Tool | None:
        return self._tools.get(name)

    def all(self) -> Sequence[Tool]:
        return tuple(self._tools.values())


@dataclass(frozen=True, kw_only=True)
class TestEngine:
    """The parts, running, and the few verbs that a test needs."""

    __test__ = False  # not a test, whatever its name says

    journal: Journal
    recorder: Recorder
    supervisor: Supervisor
    live: Live
    clock: FakeClock
    model: ObedientModel
    tools: Toolbox
    ledger: Ledger

    async def submit(self, prompt: str = "do it", **wishes: Any) -> TaskId:
        request = replace(Request(prompt=prompt, workspace="/work"), **wishes)
        task_id = TaskId(self.clock.new_id("task"))
        await self.supervisor.submit(task_id, request)
        return task_id

    async def until(self, task_id: TaskId, *statuses: Status) -> Task:
        """The task once it has one of `statuses`. Raises `TimeoutError` after 10 s."""
        return await self.when(task_id, lambda task: task.status in statuses)

    async def when(self, task_id: TaskId, true: Callable[[Task], bool]) -> Task:
        """The task once `true` of it. Raises `TimeoutError` after 10 s."""
        with anyio.fail_after(_PATIENCE):
            task = await self.recorder.load(task_id)
            stream = self.recorder.stream(task_id)
            while not true(task):
                bell = stream.bell
                task = stream.task
                if not true(task):
                    await bell.wait()
                    task = stream.task
            return task

    async def events(self, task_id: TaskId) -> list[Event]:
        return [recorded.event for recorded in await self.journal.read(task_id)]


@asynccontextmanager
async def engine(  # noqa: PLR0913 - each is a part that a test may choose
    journal: Journal,
    model: ObedientModel | Turn | Sequence[Answer],
    *tools: Tool,
    rules: Rules | None = None,
    intake: Intake | None = None,
    limits: Limits | None = None,
    channels: Mapping[str, Channel] | None = None,
    clock: FakeClock | None = None,
    budgets: Sequence[Budget] = (),
    secrets: Secrets | None = None,
) -> AsyncGenerator[TestEngine, None]:
    """An engine at work on `journal`; everything it started is stopped on leaving."""
    clock, live = clock or FakeClock(), Live()
    rules = rules or Rules(layers=(PRESETS["open"],), version="test")
    obedient = model if isinstance(model, ObedientModel) else ObedientModel(model)
    clean = secrets.clean if secrets else None
    recorder = Recorder(journal, clock, live, lambda: rules, clean)
    box = Toolbox(*tools)
    ledger = StoredLedger(MemoryPages(), clock.now)
    ledger.budgets(budgets)
    pay = (ledger, clock)
    warrants = Warrants(lambda task: recorder.stream(task).task)
    held, safe = WarrantedTools(box, warrants), secrets and WarrantedSecrets(secrets, warrants)
    given = limits or Limits()
    performer = Performer(recorder, live, obedient, lending(held), given, pay, secrets=safe)
    finisher = Finisher(recorder, channels or {}, clock)
    keeper = Timekeeper(journal, recorder, finisher, clock)
    supervisor = Supervisor(
        journal, recorder, performer, keeper, clock, intake or Intake(drain=1.0)
    )
    box.add(Delegate(recorder, journal, supervisor.submit))
    box.add(TopUp(ledger, partial(resume, journal, recorder)))
    async with anyio.create_task_group() as group:
        await group.start(supervisor.run)
        yield TestEngine(
            journal=journal,
            recorder=recorder,
            supervisor=supervisor,
            live=live,
            clock=clock,
            model=obedient,
            tools=box,
            ledger=ledger,
        )
        group.cancel_scope.cancel()


def agent(**limits: Any) -> Agent:
    """The default agent with these limits."""
    plain = Agent()
    return replace(plain, limits=replace(plain.limits, **limits))
