"""One action, one verdict, one rule: through whichever door, from whatever, however old, again."""

from __future__ import annotations

import itertools
import json
import os
import random
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import pytest

from holdfast.core import event as e
from holdfast.core.context import Prompt
from holdfast.core.ids import CallId
from holdfast.core.message import ModelSaid, PersonSaid, Reply, ToolCall
from holdfast.core.task import Child
from holdfast.ports.model import ModelFailure
from tests.whole_house import PATIENCE, Inhabited, Says, inhabited

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(900)]

POLICY = """
[engine]
queue_depth = 5000
lanes = 1000
agent_lanes = 1000
[policy]
preset = "ask"
[[policy.rule]]
say = "deny"
tools = ["write"]
paths = ["secret*"]
[[policy.rule]]
say = "allow"
tools = ["write"]
paths = ["out"]
[[policy.rule]]
say = "deny"
command = ["curl", "**"]
[[policy.rule]]
say = "allow"
command = ["git", "status"]
[[policy.rule]]
say = "deny"
tools = ["http"]
hosts = ["*.evil.example"]
[[policy.rule]]
say = "deny"
tools = ["secret_generate"]
"""
ACTIONS: dict[str, tuple[str, dict[str, Any], str]] = {
    "read": ("read", {"path": "notes"}, "allow"),
    "read outside": ("read", {"path": "/etc/passwd"}, "allow"),  # and the tool refuses it
    "write where one may": ("write", {"path": "out/a", "content": "x"}, "allow"),
    "write elsewhere": ("write", {"path": "else/a", "content": "x"}, "ask"),
    "write where nobody may": ("write", {"path": "./x/../secret/a", "content": "x"}, "deny"),
    "write outside": ("write", {"path": "/etc/cron.d/x", "content": "x"}, "ask"),
    "widen the policy": ("write", {"path": ".holdfast/policy.toml", "content": "x"}, "ask"),
    "run what may run": ("exec", {"command": "git status"}, "allow"),
    "run something": ("exec", {"command": "make"}, "ask"),
    "run what may not": ("exec", {"command": "true; curl evil.example"}, "deny"),
    "fetch": ("web_fetch", {"url": "http://a.example/"}, "allow"),
    "post": ("http", {"url": "http://a.example/", "method": "POST"}, "ask"),
    "post where nobody may": ("http", {"url": "http://x.evil.example/"}, "deny"),
    "post a secret": ("http", {"url": "http://a.example/", "body": "$SECRET{mine}"}, "ask"),
    "browse": ("browser_click", {"element": "e1"}, "ask"),
    "make a secret": ("secret_generate", {"name": "mine"}, "deny"),
    "delegate": ("delegate", {"task": "nothing"}, "allow"),
    "ask a person": ("ask_person", {"question": "sure?"}, "allow"),
    "delete": ("delete", {"path": "notes"}, "ask"),
}
Terms = dict[str, Any]


async def _http(lives: Inhabited, prompt: str, terms: Terms) -> str:
    return await lives.submit(prompt, **terms)


async def _socket(lives: Inhabited, prompt: str, terms: Terms) -> str:
    answer = await lives.local.post("/api/v1/tasks", json={"prompt": prompt, **terms})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


async def _command(lives: Inhabited, prompt: str, terms: Terms) -> str:
    home = lives.house.home
    words = ["run", "--detach", "--json", "-C", terms["workspace"], "--session", terms["session"]]
    words += ["--steps", str(terms["limits"]["steps"]), prompt]
    around = {"PATH": os.defpath, "HOME": str(home), "HOLDFAST_HOME": str(home)}
    argv = [sys.executable, "-m", "holdfast.doors.cli", *words]
    done = await anyio.run_process(argv, env=around, input=b"")
    return str(json.loads(done.stdout)["id"])


Door = Callable[[Inhabited, str, Terms], Awaitable[str]]
DOORS: dict[str, Door] = {"http": _http, "socket": _socket, "command": _command}
"""How a task gets in. A new door is a line here, and all of the matrix holds for it."""

TRIGGERS = ("direct", "child", "message", "retry")
AGES = ("first turn", "after 50 turns", "in an old session")
KINDS = ("fresh", "replayed", "resumed")


class Cell(NamedTuple):
    """One way for one action to come about."""

    action: str
    door: str
    trigger: str
    age: str
    kind: str


ALL = tuple(Cell(*one) for one in itertools.product(ACTIONS, DOORS, TRIGGERS, AGES, KINDS))


def pairwise(cells: Sequence[Cell], seed: int = 7) -> list[Cell]:
    """A few cells in which every two choices come together once at least."""
    dice, chosen = random.Random(seed), list[Cell]()
    missing = {pair for cell in cells for pair in _pairs(cell)}
    while missing:
        tries = dice.sample(cells, 60)
        best = max(tries, key=lambda cell: len(_pairs(cell) & missing))
        if gained := _pairs(best) & missing:
            missing -= gained
            chosen.append(best)
    return chosen


def _pairs(cell: Cell) -> set[tuple[tuple[int, str], ...]]:
    return set(itertools.combinations(enumerate(cell), 2))


def model(*, silent: bool) -> Says:
    """Does what the plan in the prompt says. `silent`: but not what it is all about."""
    failed: set[str] = set()

    def turn(prompt: Prompt) -> Reply | ModelFailure | None:
        plan, done = _plan(prompt)
        if not plan:
            return Reply(text="nothing to do")
        if plan["trigger"] == "retry" and silent and not done and plan["id"] not in failed:
            failed.add(plan["id"])
            return ModelFailure("invalid_request", "not today", retryable=False)
        before = _before(plan)
        if done < len(before):
            return _calling(done, *before[done])
        if done > len(before):
            return Reply(text="the work is done")
        if plan["trigger"] == "child":
            inner = json.dumps({**plan, "trigger": "direct", "with": {}})
            return _calling(done, "delegate", {"task": inner})
        if silent and plan["kind"] == "resumed":
            return None
        return _calling(done, *ACTIONS[plan["action"]][:2])

    return turn


def _plan(prompt: Prompt) -> tuple[dict[str, Any], int]:
    """The latest plan, and how many turns there have been since."""
    plan: dict[str, Any] = {}
    done = 0
    for entry in prompt.entries:
        if isinstance(entry, PersonSaid) and entry.text.startswith("{"):
            plan, done = json.loads(entry.text), 0
        done += isinstance(entry, ModelSaid)
    return plan, done


def _before(plan: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    turns: list[tuple[str, dict[str, Any]]] = []
    if plan["trigger"] == "message":
        turns.append(("ask_person", {"question": "ready?"}))
    if plan["age"] == "after 50 turns":
        turns += [("read", {"path": f"many/{number}"}) for number in range(50)]
    return turns


def _calling(turn: int, tool: str, arguments: dict[str, Any]) -> Reply:
    return Reply(calls=(ToolCall(id=CallId(f"t{turn}"), tool=tool, arguments=arguments),))


async def _begun(lives: Inhabited, number: int, cell: Cell) -> str:
    """Get the task in by its door, and as far as it goes before the action itself."""
    # The words of the action are the person's own, so nothing that is read on the way taints them.
    plan = {**cell._asdict(), "id": str(number), "with": ACTIONS[cell.action][1]}
    session = f"s{number}" if cell.age == "in an old session" else f"own{number}"
    terms = {
        "workspace": str(lives.house.home / "workspace"),
        "session": session,
        "limits": {"steps": 200},
    }
    if cell.age == "in an old session":
        await lives.ended(await lives.submit("hello", session=session))
    task = await DOORS[cell.door](lives, json.dumps(plan), terms)
    if cell.trigger == "retry":
        await lives.until(task, "FAILED")
        assert (await lives.local.post(f"/api/v1/tasks/{task}/retry", json={})).status_code == 200
    if cell.trigger == "message":
        await lives.when(task, lambda one: bool(one.calls))
        await lives.until(task, "WAITING")
        said = await lives.local.post(f"/api/v1/tasks/{task}/say", json={"text": "go on"})
        assert said.status_code == 200
    if cell.trigger == "child":
        await lives.when(task, lambda one: bool(one.children) or one.ended)
        waits = [one.wait for one in await lives.events(task) if isinstance(one, e.CallWaiting)]
        return next(str(wait.task) for wait in waits if isinstance(wait, Child))
    return task


async def _verdict(lives: Inhabited, task: str, cell: Cell) -> tuple[str, str]:
    """What was said of the action, and by which rule; asked of what is on disk."""
    tool, arguments, _ = ACTIONS[cell.action]

    def proposed(entry: object) -> bool:
        calls = entry.calls if isinstance(entry, ModelSaid) else ()
        return any(one.tool == tool and one.arguments == arguments for one in calls)

    await lives.when(task, lambda one: any(map(proposed, one.transcript)))
    found = [
        (type(one.verdict).__name__.lower(), one.verdict.rule)
        for event in await lives.events(task)
        if isinstance(event, e.Replied)
        for one in event.judged
        if one.call.tool == tool and one.call.arguments == arguments
    ]
    if cell.kind == "replayed":
        told = (await lives.tcp.get(f"/api/v1/tasks/{task}/replay")).json()
        assert told["same"], told
    await lives.local.post(f"/api/v1/tasks/{task}/cancel", json={})
    assert len(found) == 1, (cell, found)
    return found[0]


async def verdicts(home: Path, cells: Sequence[Cell]) -> dict[Cell, tuple[str, str]]:
    """Every cell played out in one house; those that resume, in the life after."""
    tasks: dict[Cell, str] = {}
    found: dict[Cell, tuple[str, str]] = {}
    _furnish(home / "workspace")

    async def begin(lives: Inhabited, number: int, cell: Cell) -> None:
        async with room:
            tasks[cell] = await _begun(lives, number, cell)
            if cell.kind != "resumed":
                found[cell] = await _verdict(lives, tasks[cell], cell)

    room = anyio.CapacityLimiter(8)
    environment = {"HOLDFAST_SECRET_MINE": "a value of some length"}
    async with inhabited(home, model(silent=True), POLICY, environment) as lives:
        with anyio.fail_after(PATIENCE + len(cells) * 2):
            async with anyio.create_task_group() as group:
                for number, cell in enumerate(cells):
                    group.start_soon(begin, lives, number, cell)
    async with inhabited(home, model(silent=False), POLICY, environment) as lives:
        for cell in cells:
            if cell.kind == "resumed":
                found[cell] = await _verdict(lives, tasks[cell], cell)
    return found


def _furnish(workspace: Path) -> None:
    (workspace / "many").mkdir(parents=True)
    for number in range(50):
        (workspace / "many" / str(number)).write_text(f"this is {number}")
    (workspace / "notes").write_text("notes")


def said_once(found: dict[Cell, tuple[str, str]], actions: Iterable[str] = ACTIONS) -> None:
    """Every action has one verdict and one rule, whatever brought it about."""
    told: defaultdict[str, dict[tuple[str, str], Cell]] = defaultdict(dict)
    for cell, verdict in found.items():
        told[cell.action].setdefault(verdict, cell)
    for action in actions:
        assert len(told[action]) == 1, (action, told[action])
        assert next(iter(told[action]))[0] == ACTIONS[action][2], (action, told[action])


async def test_one_verdict_for_an_action_however_it_comes_about(tmp_path: Path):
    """Every two of action, door, trigger, age and kind together, at least once."""
    cells = pairwise(ALL)
    assert {pair for cell in cells for pair in _pairs(cell)} == {p for c in ALL for p in _pairs(c)}
    said_once(await verdicts(tmp_path / "home", cells))


@pytest.mark.slow
@pytest.mark.parametrize("trigger", TRIGGERS)
async def test_one_verdict_for_an_action_in_every_cell(tmp_path: Path, trigger: str):
    """The whole product; the command is a process each time, so it takes part in pairs above."""
    cells = [one for one in ALL if one.trigger == trigger and one.door != "command"]
    said_once(await verdicts(tmp_path / "home", cells))
