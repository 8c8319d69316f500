"""Dying on purpose, anywhere: each boundary of the engine can be the last; what must hold."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

import anyio
import anyio.lowlevel
from msgspec import Struct

from holdfast.adapters.models.paying import asked
from holdfast.adapters.stores.ledger import StoredLedger
from holdfast.adapters.stores.ledger_memory import MemoryPages
from holdfast.core.agent import Agent
from holdfast.core.budget import Limits as TaskLimits
from holdfast.core.budget import Reservation
from holdfast.core.context import Prompt
from holdfast.core.error import Refused as NotNow
from holdfast.core.error import Unavailable
from holdfast.core.event import CallSettled, CallStarted, Event, Replied
from holdfast.core.gate.policy import Rule, Rules, Say
from holdfast.core.gate.presets import PRESETS
from holdfast.core.ids import CallId, Instant, TaskId
from holdfast.core.message import (
    Change,
    EffectClass,
    Failed,
    ModelSaid,
    Outcome,
    Reply,
    Returned,
    ToolCall,
)
from holdfast.core.task import ENDED, Request, Status
from holdfast.core.view import Summary
from holdfast.engine.clock import SystemClock
from holdfast.engine.finish import Finisher
from holdfast.engine.live import Live
from holdfast.engine.perform import Limits, Performer
from holdfast.engine.record import Recorder
from holdfast.engine.supervise import Intake, Supervisor
from holdfast.engine.timekeep import Timekeeper
from holdfast.ports.journal import Cursor, Journal, Query
from holdfast.ports.model import Account, Delta, ToolSpec
from holdfast.ports.tools import Job, Tool, Traits
from holdfast.runtime import tasks
from holdfast.runtime.delegate import Delegate

RULES = Rules(
    layers=(
        (
            Rule(say=Say.ASK, tool="ask"),
            Rule(say=Say.DENY, tool="forbidden", reason="never"),
        ),
        PRESETS["open"],
    ),
    version="crash",
)
Turn = tuple[str, ...]
Script = tuple[Turn, ...]
KINDS = ("read", "put", "pay", "book", "ask", "fail", "forbidden")


class Crash(BaseException):
    """The process is gone. Not an `Exception`: nothing may catch it."""


class Fuse:
    """Counts the moments at which a process can die, and dies at the chosen ones."""

    def __init__(self, *at: int) -> None:
        self.count = 0
        self.burnt = 0
        self._at = frozenset(at)

    def tick(self) -> None:
        self.count += 1
        if self.count in self._at:
            self.burnt += 1
            raise Crash


class World:
    """What has really happened outside, which no crash undoes."""

    def __init__(self) -> None:
        self.done: Counter[tuple[str, str, str]] = Counter()
        self.asked: Counter[tuple[str, int]] = Counter()

    def repeated(self) -> list[tuple[str, str, str]]:
        """Effects that must not repeat and did."""
        return [key for key, n in self.done.items() if n > 1 and key[2] in {"pay", "book"}]


class FragileJournal:
    """A journal that may take the process with it just before or just after an append."""

    def __init__(self, inner: Journal, fuse: Fuse) -> None:
        self._inner, self._fuse = inner, fuse

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def append(
        self,
        task: TaskId,
        after: Cursor,
        events: Sequence[Event],
        summary: Summary,
        *,
        at: Instant,
        fence: int | None = None,
    ) -> Cursor:
        self._fuse.tick()
        cursor = await self._inner.append(task, after, events, summary, at=at, fence=fence)
        self._fuse.tick()
        return cursor


class ScriptedTurns:
    """Proposes the calls of `script`, turn by turn; then answers. Knows the task by its words."""

    name = "scripted/crash"
    window = 0

    def __init__(self, script: Script, fuse: Fuse, world: World) -> None:
        self._script, self._fuse, self._world = script, fuse, world

    def find(self, _name: str) -> ScriptedTurns:
        return self

    async def close(self) -> None:
        """Nothing to close."""

    async def answer(
        self,
        name: str,
        prompt: Prompt,
        tools: tuple[ToolSpec, ...],
        hear: Callable[[Delta], None],
        account: Account,
    ) -> Reply:
        return await asked(self, prompt, tools, hear, account)

    def reserve(self, prompt: Prompt, tools: tuple[ToolSpec, ...]) -> Reservation:
        return Reservation()

    async def ask(
        self,
        prompt: Prompt,
        tools: tuple[ToolSpec, ...],
        hear: Callable[[Delta], None],
    ) -> Reply:
        self._fuse.tick()
        words = next(entry for entry in prompt.entries if not isinstance(entry, ModelSaid))
        turn = sum(isinstance(entry, ModelSaid) for entry in prompt.entries)
        name = getattr(words, "text", "")
        if not name.startswith("child"):  # children of several parents have the same words
            self._world.asked[name, turn] += 1
        await anyio.lowlevel.checkpoint()
        hear(Delta(text="."))
        self._fuse.tick()
        if turn >= len(self._script) or name.startswith("child"):
            return Reply(text=f"the work is done: {name}", model=self.name)
        calls = tuple(
            ToolCall(id=CallId(f"{turn}_{i}"), tool=kind, arguments=_arguments(kind, turn, i))
            for i, kind in enumerate(self._script[turn])
        )
        return Reply(calls=calls, model=self.name)


def _arguments(kind: str, turn: int, index: int) -> dict[str, Any]:
    return {"task": f"child {turn}.{index}"} if kind == "delegate" else {"n": f"{turn}.{index}"}


class WorldTool:
    """A tool that changes the world once for each run, and may die before or after it does."""

    def __init__(self, kind: str, fuse: Fuse, world: World) -> None:
        self._kind, self._fuse, self._world = kind, fuse, world

    @property
    def spec(self) -> ToolSpec:
        return ToolSpec(name=self._kind, description=self._kind, schema={"type": "object"})

    @property
    def traits(self) -> Traits:
        effects = {"read": EffectClass.READS, "put": EffectClass.REPEATABLE}
        effect = effects.get(self._kind, EffectClass.WRITES)
        return Traits(effect=effect, checkable=self._kind == "book", target="n")

    def problem(self, arguments: Mapping[str, Any]) -> str:
        return ""

    async def before(self, arguments: Mapping[str, Any], job: Job) -> Sequence[Change]:
        return ()

    async def run(self, arguments: Mapping[str, Any], job: Job) -> Outcome:
        self._fuse.tick()
        await anyio.lowlevel.checkpoint()
        if self._kind == "fail":
            return Failed(text=f"cannot {arguments['n']}")
        self._world.done[job.task, str(arguments["n"]), self._kind] += 1
        self._fuse.tick()
        return Returned(text=f"{self._kind} {arguments['n']}")

    async def check(
        self,
        arguments: Mapping[str, Any],
        before: Sequence[Change],
        job: Job,
    ) -> Outcome | None:
        self._fuse.tick()
        if self._world.done[job.task, str(arguments["n"]), self._kind]:
            return Returned(text=f"{self._kind} {arguments['n']}: it had happened")
        return None


class WorldTools:
    """The tools of the crash world."""

    def __init__(self, fuse: Fuse, world: World) -> None:
        self._tools: dict[str, Tool] = {
            kind: WorldTool(kind, fuse, world) for kind in (*KINDS, "ask")
        }

    def add(self, tool: Tool) -> None:
        self._tools[tool.spec.name] = tool

    def get(self, name: str) -> Tool | None:
        return self._tools.get(name)

    def all(self) -> Sequence[Tool]:
        return tuple(self._tools.values())


class Story(Struct, frozen=True, kw_only=True):
    """What the tasks of one run do. `names` are the tasks, all with the same script."""

    names: tuple[str, ...] = ("work",)
    script: Script = ()


class Proof(Struct, frozen=True, kw_only=True):
    """What a run came to. All lists are empty when everything held."""

    lives: int
    moments: int
    crashes: int
    lost: tuple[str, ...]
    repeated: tuple[str, ...]
    answers: tuple[str, ...]
    damage: tuple[str, ...]
    extra_asks: int

    @property
    def holds(self) -> bool:
        whole = not (self.lost or self.repeated or self.answers or self.damage)
        return whole and self.extra_asks <= (self.lives - 1) * 16


OpenJournal = Callable[[], AbstractAsyncContextManager[Journal]]


async def survive(open_journal: OpenJournal, story: Story, *at: int) -> Proof:
    """Run `story` to its end, dying at each moment in `at` and starting again; say what held."""
    fuse, world, lives = Fuse(*at), World(), 0
    ids: dict[str, TaskId] = {}
    over = False
    while not over:
        lives += 1
        over = True
        try:
            await _live(open_journal, story, fuse, world, ids)
        except* Crash:
            over = False
    async with open_journal() as journal:
        return await _proved(journal, story, fuse, world, ids, lives)


async def _live(
    open_journal: OpenJournal, story: Story, fuse: Fuse, world: World, ids: dict[str, TaskId]
) -> None:
    async with open_journal() as journal, _engine(journal, story, fuse, world) as engine:
        recorder, supervisor, journal_seen = engine
        for name in story.names:
            await _submit_once(supervisor, journal_seen, name, ids)
        with anyio.fail_after(300):  # a bound, not a promise: hundreds of these run side by side
            while await _approve_all(recorder, journal, ids):
                await anyio.lowlevel.checkpoint()


@asynccontextmanager
async def _engine(
    inner: Journal, story: Story, fuse: Fuse, world: World
) -> AsyncGenerator[tuple[Recorder, Supervisor, Journal], None]:
    journal: Any = FragileJournal(inner, fuse)
    clock, live = SystemClock(), Live()
    recorder = Recorder(journal, clock, live, lambda: RULES)
    tools = WorldTools(fuse, world)
    models: Any = ScriptedTurns(story.script, fuse, world)
    ledger = StoredLedger(MemoryPages(), clock.now)
    performer = Performer(recorder, live, models, lambda _: tools, Limits(), (ledger, clock))
    timekeeper = Timekeeper(journal, recorder, Finisher(recorder, {}, clock), clock)
    intake = Intake(lanes=8, drain=0.0)
    supervisor = Supervisor(journal, recorder, performer, timekeeper, clock, intake)
    tools.add(Delegate(recorder, journal, supervisor.submit))
    async with anyio.create_task_group() as group:
        try:
            await group.start(supervisor.run)
        except Unavailable as failure:
            raise Crash from failure  # it says so and ends; whoever watches it starts it again
        yield recorder, supervisor, journal
        group.cancel_scope.cancel()


async def _submit_once(
    supervisor: Supervisor, journal: Journal, name: str, ids: dict[str, TaskId]
) -> None:
    """As a client does after a lost connection or an error: the same key again."""
    agent = Agent(limits=TaskLimits(steps=200, attempts=50))
    request = Request(prompt=name, workspace="/tmp", key=name, agent=agent)  # noqa: S108 - never opened
    while not (found := await journal.query(Query(key=name, limit=1))):
        with suppress(Unavailable):
            await supervisor.submit(TaskId(SystemClock().new_id("task")), request)
        await anyio.lowlevel.checkpoint()
    ids[name] = found[0].id


async def _approve_all(recorder: Recorder, journal: Journal, ids: dict[str, TaskId]) -> bool:
    """Say yes to whatever is asked; False once every task has ended."""
    for row in await journal.query(Query(asked=True, limit=100)):
        for question in row.questions:
            command = tasks.Approve(call_id=question.call, digest=question.digest, by="person")
            try:
                await recorder.tell(row.id, command)
            except (NotNow, Unavailable):
                continue
    counts = await journal.count()
    return any(counts.get(status, 0) for status in set(Status) - ENDED)


async def _proved(
    journal: Journal,
    story: Story,
    fuse: Fuse,
    world: World,
    ids: dict[str, TaskId],
    lives: int,
) -> Proof:
    lost: list[str] = []
    answers: list[str] = []
    for name in story.names:
        row = await journal.summary(ids[name])
        if row is None or not came_to_its_end(row):
            lost.append(f"{name}: {row.status if row else 'gone'}")
        answers += await wrong_answers(journal, ids[name])
    health = await journal.verify()
    return Proof(
        lives=lives,
        moments=fuse.count,
        crashes=fuse.burnt,
        lost=tuple(lost),
        repeated=tuple(str(key) for key in world.repeated()),
        answers=tuple(answers),
        damage=health.problems,
        extra_asks=sum(n - 1 for n in world.asked.values()),
    )


def came_to_its_end(row: Summary) -> bool:
    """Done; or stopped by its own failing calls, or told that a cut-off call may not have been.

    A task that was set aside, or failed for any reason of the house, counts as lost.
    """
    told = row.fault is not None and row.fault.code in {"needs_guidance", "not_done"}
    return row.status is Status.SUCCEEDED or (row.status is Status.FAILED and told)


async def wrong_answers(journal: Journal, task_id: TaskId) -> list[str]:
    """Calls without exactly one answer, and unsafe calls that were started twice."""
    proposed: set[CallId] = set()
    settled: Counter[CallId] = Counter()
    started: Counter[CallId] = Counter()
    unsafe: set[CallId] = set()
    for recorded in await journal.read(task_id):
        match recorded.event:
            case Replied(judged=judged):
                proposed |= {j.call.id for j in judged}
                unsafe |= {
                    j.call.id
                    for j in judged
                    if j.call.effect is EffectClass.WRITES and not j.call.checkable
                }
            case CallStarted(call_id=call_id):
                started[call_id] += 1
            case CallSettled(call_id=call_id):
                settled[call_id] += 1
            case _:
                pass
    wrong = [
        f"{task_id} {c}: {settled[c]} answers" for c in proposed | set(settled) if settled[c] != 1
    ]
    return wrong + [f"{task_id} {c}: started {started[c]} times" for c in unsafe if started[c] > 1]


def random_story(dice: random.Random) -> Story:
    """A story that `dice` decides: 1-3 tasks, 0-4 turns of 1-3 calls."""
    kinds = ("read", "put", "pay", "book", "ask", "fail", "forbidden", "delegate")
    turns = tuple(
        tuple(dice.choice(kinds) for _ in range(dice.randint(1, 3)))
        for _ in range(dice.randint(0, 4))
    )
    names = tuple(f"work {n}" for n in range(dice.randint(1, 3)))
    return Story(names=names, script=turns)
