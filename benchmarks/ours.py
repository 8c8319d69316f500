"""Holdfast's engine without its daemon: one round of durable steps, or of whole tasks."""

from __future__ import annotations

import gc
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from benchmarks.measure import Result, Watch, report, round_arguments, spread
from holdfast.adapters.models.paying import asked
from holdfast.adapters.stores.ledger import StoredLedger
from holdfast.adapters.stores.sqlite import open_sqlite
from holdfast.core.agent import Agent
from holdfast.core.budget import Limits as TaskLimits
from holdfast.core.budget import Reservation
from holdfast.core.command import (
    BeginAsk,
    Claim,
    Command,
    HearReply,
    SettleCall,
    Start,
    StartCall,
    Submit,
)
from holdfast.core.context import Prompt
from holdfast.core.gate.policy import Rules
from holdfast.core.gate.presets import PRESETS
from holdfast.core.ids import CallId
from holdfast.core.message import EffectClass, ModelSaid, Reply, Returned, ToolCall
from holdfast.core.task import Request, Task
from holdfast.engine.clock import SystemClock
from holdfast.engine.finish import Finisher
from holdfast.engine.live import Live
from holdfast.engine.perform import Limits, Performer
from holdfast.engine.record import Recorder
from holdfast.engine.supervise import Intake, Supervisor
from holdfast.engine.timekeep import Timekeeper
from holdfast.ports.journal import Journal
from holdfast.ports.model import Account, Delta, ToolSpec
from holdfast.ports.tools import Traits

RULES = Rules(layers=(PRESETS["open"],), version="benchmark")
TURNS = 10


class Model:
    """Calls the one tool, then answers. Free, like the model that Holdfast ships for scripts.

    So nothing is set aside before it is asked; a priced model adds one durable step per turn.
    """

    name = "scripted/benchmark"

    window = 0

    def reserve(self, _prompt: Prompt, _tools: object) -> Reservation:
        return Reservation()

    async def ask(self, prompt: Prompt, _tools: object, _hear: object) -> Reply:
        if any(isinstance(entry, ModelSaid) for entry in prompt.entries):
            return Reply(text="It is done.", model=self.name)
        call = ToolCall(id=CallId(""), tool="note", arguments={"text": "remember this"})
        return Reply(calls=(call,), model=self.name)


class Models:
    """The only model there is."""

    def find(self, _name: str) -> Model:
        return Model()

    async def answer(
        self,
        name: str,
        prompt: Prompt,
        tools: tuple[ToolSpec, ...],
        hear: Callable[[Delta], None],
        account: Account,
    ) -> Reply:
        return await asked(self.find(name), prompt, tools, hear, account)

    async def close(self) -> None: ...


class Note:
    """The one tool: claims to write, so that its intent is on disk before it runs."""

    spec = ToolSpec(name="note", description="Keeps a note.", schema={})
    traits = Traits(effect=EffectClass.WRITES)

    def problem(self, _arguments: object) -> str:
        return ""

    async def before(self, _arguments: object, _job: object) -> tuple[()]:
        return ()

    async def run(self, _arguments: object, _job: object) -> Returned:
        return Returned(text="kept")

    async def check(self, _arguments: object, _before: object, _job: object) -> None:
        return None


class Tools:
    """The only tool there is."""

    def __init__(self, note: Note | None = None) -> None:
        self._note = note or Note()

    def get(self, name: str) -> Note | None:
        return self._note if name == "note" else None

    def all(self) -> list[Note]:
        return [self._note]


async def steps(journal: Journal, lanes: int, count: int) -> Result:
    """Each step is a command that is decided, recorded and on disk before the next is given.

    Every lane plays tasks as the engine would: submit, claim and start, then turn by turn the
    money set aside, the reply heard, the call begun, the call settled.
    """
    clock = SystemClock()
    recorder = Recorder(journal, clock, Live(), lambda: RULES)
    seconds: list[float] = []

    async def lane(left: int) -> None:
        while left > 0:
            task = clock.new_id("task")
            for commands in _script(task)[:left]:
                start = time.perf_counter()
                await recorder.tell(task, *commands)
                seconds.append(time.perf_counter() - start)
                left -= 1

    watch = Watch()
    async with anyio.create_task_group() as group:
        for _ in range(lanes):
            group.start_soon(lane, count // lanes)
    return {**watch.per(len(seconds)), **spread(seconds)}


def _script(task: str) -> list[tuple[Command, ...]]:
    agent = Agent(limits=TaskLimits(tokens=None))
    script: list[tuple[Command, ...]] = [
        (Submit(id=task, request=Request(prompt="Keep notes.", workspace="/tmp", agent=agent)),),
        (Claim(owner="worker"), Start()),
    ]
    for turn in range(TURNS):
        call = ToolCall(id=CallId(f"c{turn}"), tool="note", arguments={"text": f"note {turn}"})
        script += [
            (BeginAsk(reserve=Reservation(tokens=1_000)),),
            (HearReply(reply=Reply(calls=(call,), model="scripted"), saw=1 + 2 * turn),),
            (StartCall(call_id=call.id),),
            (SettleCall(call_id=call.id, outcome=Returned(text=f"kept {turn}")),),
        ]
    return script


async def tasks(journal: Journal, lanes: int, count: int) -> Result:
    """Submit them all, wait until the last has ended. Each: model, tool, model, done."""
    async with engine(journal, lanes, Tools()) as (supervisor, recorder, clock):
        began: dict[str, float] = {}
        seconds: list[float] = []
        done = anyio.Event()
        announce = recorder.changed

        def changed(before: Task, after: Task) -> None:
            announce(before, after)
            if after.ended and not before.ended:
                seconds.append(time.perf_counter() - began[after.id])
                if len(seconds) == count:
                    done.set()

        recorder.changed = changed
        agent = Agent(lanes=lanes)

        async def submit(share: int) -> None:
            for _ in range(share):
                task = clock.new_id("task")
                began[task] = time.perf_counter()
                request = Request(prompt="Keep a note.", workspace="/tmp", agent=agent)
                await supervisor.submit(task, request)

        submitters = 16
        watch = Watch()
        async with anyio.create_task_group() as group:
            for index in range(submitters):
                group.start_soon(submit, len(range(index, count, submitters)))
        with anyio.fail_after(300):
            await done.wait()
        return watch.per(count)


@asynccontextmanager
async def engine(
    journal: Journal, lanes: int, tools: Tools
) -> AsyncGenerator[tuple[Supervisor, Recorder, SystemClock]]:
    clock, live = SystemClock(), Live()
    recorder = Recorder(journal, clock, live, lambda: RULES)
    ledger = StoredLedger(journal.pages(), clock.now)
    performer = Performer(recorder, live, Models(), tools, Limits(), (ledger, clock))
    timekeeper = Timekeeper(journal, recorder, Finisher(recorder, {}, clock), clock)
    intake = Intake(depth=0, lanes=lanes)
    supervisor = Supervisor(journal, recorder, performer, timekeeper, clock, intake)
    async with anyio.create_task_group() as group:
        await group.start(supervisor.run)
        yield supervisor, recorder, clock
        group.cancel_scope.cancel()


async def main(figure: str, lanes: int, count: int, folder: Path) -> None:
    gc.set_threshold(10_000, 10, 10)  # as the daemon does
    measured = {"steps": steps, "tasks": tasks}[figure]
    async with open_sqlite(folder / "journal.db", now=SystemClock().now()) as journal:
        await measured(journal, lanes, max(lanes, count // 10))  # warm: caches, pages, bytecode
        report(await measured(journal, lanes, count))


if __name__ == "__main__":
    wanted = round_arguments()
    anyio.run(
        main,
        wanted.figure,
        wanted.lanes,
        wanted.count,
        wanted.folder,
        backend_options={"use_uvloop": True},
    )
