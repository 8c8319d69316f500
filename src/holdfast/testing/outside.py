"""The world outside, which no crash undoes: what really happened there, against what is claimed."""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from holdfast.adapters.stores.sqlite import open_sqlite
from holdfast.core.event import CallSettled, Replied
from holdfast.core.ids import CallId, TaskId
from holdfast.core.message import Outcome, Returned, Unknown
from holdfast.engine.clock import SystemClock
from holdfast.ports.journal import Journal

from .crash import came_to_its_end, wrong_answers

_MARK = re.compile(r"echo (\S+) >>")


class Found(Struct, frozen=True, kw_only=True):
    """What an examination found. All lists are empty when everything held.

    `unknown` counts calls that were cut off and are honestly said to be unknown.
    """

    acknowledged: int = 0
    lost: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()
    untrue: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    refolds: tuple[str, ...] = ()
    chains: tuple[str, ...] = ()
    calls: int = 0
    unknown: int = 0
    events: int = 0

    @property
    def holds(self) -> bool:
        lists = (self.lost, self.repeated, self.untrue, self.answers, self.refolds, self.chains)
        return not any(lists)


class Outside:
    """A workspace. Every command adds one line of its own to the ledger, each time it runs."""

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        self.ledger = workspace / "ledger"
        workspace.mkdir(parents=True, exist_ok=True)

    def happened(self) -> Counter[str]:
        if not self.ledger.exists():
            return Counter()
        return Counter(self.ledger.read_text(encoding="utf-8").split())

    def work(self, name: str, dice: random.Random, calls: int = 3) -> str:
        """A prompt of tool directives: commands that must not repeat, and changes of files."""
        lines = [_tool("exec", command=_command(f"{name}.{n}", dice)) for n in range(calls)]
        lines.append(_tool("append", path=f"notes/{name}", content=f"{name}\n"))
        lines.append(_tool("write", path=f"files/{name}", content=f"{name}\n"))
        dice.shuffle(lines)
        return "\n".join(lines)

    def doubled_notes(self) -> list[str]:
        """Files of appended notes that hold their one line more than once."""
        notes = sorted((self.workspace / "notes").glob("*"))
        return [path.name for path in notes if path.read_text(encoding="utf-8").count("\n") > 1]


def _command(mark: str, dice: random.Random) -> str:
    before, after = dice.uniform(0, 0.04), dice.uniform(0, 0.04)
    return f"sleep {before:.3f}; echo {mark} >> ledger; sleep {after:.3f}"


def _tool(tool: str, **arguments: str) -> str:
    return f"/tool {tool} {msgspec.json.encode(arguments).decode()}"


async def examine(database: Path, acknowledged: Mapping[str, str], outside: Outside) -> Found:
    """Compare the journal of a stopped daemon with what was promised and what happened."""
    happened = await asyncio.to_thread(outside.happened)
    lost, answers, untrue, calls, unknown = list[str](), list[str](), list[str](), 0, 0
    repeated = [f"{mark}: {n} times" for mark, n in happened.items() if n > 1]
    repeated += await asyncio.to_thread(outside.doubled_notes)
    async with open_sqlite(database, now=SystemClock().now()) as journal:
        for name, text in acknowledged.items():
            task = TaskId(text)
            row = await journal.summary(task)
            if row is None or not came_to_its_end(row):
                lost.append(f"{name}: {row.status if row else 'gone'}")
            if row is None:
                continue
            answers += await wrong_answers(journal, task)
            claims = await _claims(journal, task)
            calls += len(claims)
            unknown += sum(isinstance(outcome, Unknown) for _, outcome in claims)
            untrue += [f"{mark}: {o}" for mark, o in claims if not _true(mark, o, happened)]
        health = await journal.verify()
    refolds = tuple(p for p in health.problems if "summary" in p)
    return Found(
        acknowledged=len(acknowledged),
        lost=tuple(lost),
        repeated=tuple(repeated),
        untrue=tuple(untrue),
        answers=tuple(answers),
        refolds=refolds,
        chains=tuple(p for p in health.problems if p not in refolds),
        calls=calls,
        unknown=unknown,
        events=health.events,
    )


async def _claims(journal: Journal, task: TaskId) -> list[tuple[str, Outcome]]:
    """What the journal says of each command: its mark in the ledger, and its outcome."""
    marks: dict[CallId, str] = {}
    claims: list[tuple[str, Outcome]] = []
    for recorded in await journal.read(task):
        match recorded.event:
            case Replied(judged=judged):
                marks |= {j.call.id: _mark(str(j.call.arguments.get("command"))) for j in judged}
            case CallSettled(call_id=call, outcome=outcome):
                claims.append((marks.get(call, ""), outcome))
            case _:
                pass
    return claims


def _mark(command: str) -> str:
    found = _MARK.search(command)
    return found[1] if found else ""


def _true(mark: str, outcome: Outcome, happened: Counter[str]) -> bool:
    """What is said to have returned has happened, once. An unknown one may have or not."""
    if mark and isinstance(outcome, Returned):
        return happened[mark] == 1
    return True
