"""Brings tasks so far that each is inside a tool call, says so, and waits to be killed."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio

from benchmarks.ours import Note, Tools, engine
from holdfast.adapters.stores.sqlite import open_sqlite
from holdfast.core.agent import Agent
from holdfast.core.message import Returned
from holdfast.core.task import Request
from holdfast.engine.clock import SystemClock


class Endless(Note):
    """The one tool, but it never comes back."""

    def __init__(self, count: int) -> None:
        self._left = count
        self.all_inside = anyio.Event()

    async def run(self, _arguments: object, _job: object) -> Returned:
        self._left -= 1
        if not self._left:
            self.all_inside.set()
        await anyio.sleep_forever()
        return Returned(text="")


async def main(count: int, database: Path) -> None:
    clock, tool = SystemClock(), Endless(count)
    async with (
        open_sqlite(database, now=clock.now()) as journal,
        engine(journal, count, Tools(tool)) as (supervisor, _, _),
    ):
        for _ in range(count):
            agent = Agent(lanes=count)
            request = Request(prompt="Keep a note.", workspace="/tmp", agent=agent)
            await supervisor.submit(clock.new_id("task"), request)
        await tool.all_inside.wait()
        print("all inside", flush=True)
        await anyio.sleep_forever()


if __name__ == "__main__":
    anyio.run(main, int(sys.argv[1]), Path(sys.argv[2]), backend_options={"use_uvloop": True})
