"""One action, one verdict, one rule: through whichever door, from whatever, however old, again."""

from __future__ import annotations

import ast
import itertools
import json
import random
import shutil
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import httpx2
import pytest

from holdfast.core.context import Prompt
from holdfast.core.ids import CallId
from holdfast.core.message import ModelSaid, PersonSaid, Reply, ToolCall
from holdfast.ports.model import ModelFailure
from holdfast.testing import tool_server
from holdfast.testing.daemon import Daemon, stage, use_model
from holdfast.testing.model_script import RecordedRequest, ScriptedCall
from holdfast.testing.model_script import Reply as Scripted
from holdfast.testing.model_server import Catalogue, ModelServer
from tests.attack.ways_in import DOORS, PATIENCE, Ask, Json, Place, at_the_socket
from tests.whole_house import Says, inhabited

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(900)]

POLICY = """
[engine]
queue_depth = 5000
lanes = 1000
agent_lanes = 1000
provider_calls = 1000
[limits]
steps = 200
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
[[policy.rule]]
say = "deny"
tools = ["lab_change"]
[chat]
enabled = true
users = ["*"]
persons = ["token:default/*"]
per_minute = 100000
all_per_minute = 100000
own_folders = false
[acp.agents.other]
command = ["/bin/false"]
[a2a.peers.lawyer]
url = "https://lawyer.example/"
[mcp.servers.lab]
command = ["/usr/bin/python3", "SHELF/server.py"]
read_only = ["SHELF"]
effects = { echo = "reads" }
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
    "browse": ("browser_click", {"ref": "e1"}, "ask"),
    "make a secret": ("secret_generate", {"name": "mine"}, "deny"),
    "delegate": ("delegate", {"task": "nothing"}, "allow"),
    "ask a person": ("ask_person", {"question": "sure?"}, "allow"),
    "delete": ("delete", {"path": "notes"}, "ask"),
    "ask an editor's agent": ("ask_other", {"prompt": "nothing"}, "ask"),
    "ask an agent elsewhere": ("ask_lawyer", {"message": "nothing"}, "ask"),
    "read by a server": ("lab_echo", {"text": "x"}, "allow"),
    "write by a server": ("lab_note", {"text": "x"}, "ask"),
    "do what no server may": ("lab_change", {}, "deny"),
}


TRIGGERS = ("direct", "child", "message", "retry", "again")
AGES = ("first turn", "after 50 turns", "in an old session")
KINDS = ("fresh", "replayed", "resumed", "restarted")
KILLED = "restarted"
"""Of a daemon that is killed meanwhile: a process, so these are played apart."""
NOT_THERE = {
    ("chat", "resumed"): "who waits for a chat's answer takes the task along when the house closes"
}


class Cell(NamedTuple):
    """One way for one action to come about."""

    action: str
    door: str
    trigger: str
    age: str
    kind: str


EVERY = [Cell(*one) for one in itertools.product(ACTIONS, DOORS, TRIGGERS, AGES, KINDS)]
THERE = [one for one in EVERY if (one.door, one.kind) not in NOT_THERE]
ALL = [one for one in THERE if one.kind != KILLED]


Meetings = Callable[[Cell], set[tuple[Any, ...]]]


def few(cells: Sequence[Cell], meetings: Meetings, seed: int = 7) -> list[Cell]:
    """A few cells in which everything that can meet does so at least once."""
    dice, chosen = random.Random(seed), list[Cell]()
    missing = {one for cell in cells for one in meetings(cell)}
    while missing:
        tries = dice.sample(cells, min(60, len(cells)))
        best = max(tries, key=lambda cell: len(meetings(cell) & missing))
        if gained := meetings(best) & missing:
            missing -= gained
            chosen.append(best)
    return chosen


def pairs(cell: Cell) -> set[tuple[Any, ...]]:
    return set(itertools.combinations(enumerate(cell), 2))


def ways(cell: Cell) -> set[tuple[Any, ...]]:
    """Every two ways with each other and with each verdict, and each action."""
    return {(cell.action,), *pairs(cell._replace(action=ACTIONS[cell.action][2]))}


Turn = tuple[str, dict[str, Any]]
"""What a model calls, and with what."""


class Mind:
    """Does what the plan in the prompt says. `silent`: but not what it is all about."""

    def __init__(self) -> None:
        self.silent = True
        self._begun: set[str] = set()

    def turn(self, plan: Json, done: int) -> Turn | str | None:
        """The next call, or the last words; None to think for ever. Raises `LookupError`."""
        if not plan:
            return "nothing to do"
        if self.silent and not done and plan["id"] not in self._begun:
            self._begun.add(plan["id"])
            if plan["trigger"] == "retry":
                raise LookupError("not today")
            if plan["trigger"] == "again":
                return "not now"
        before = _before(plan)
        if done < len(before):
            return before[done]
        if done > len(before):
            return "the work is done"
        if plan["trigger"] == "child":
            return "delegate", {"task": json.dumps({**plan, "trigger": "direct", "with": {}})}
        if self.silent and plan["kind"] in {"resumed", KILLED}:
            return None
        return ACTIONS[plan["action"]][:2]

    def here(self, prompt: Prompt) -> Reply | ModelFailure | None:
        """For a house in this process."""
        plan, done = _plan(prompt)
        try:
            match self.turn(plan, done):
                case None:
                    return None
                case str() as text:
                    return Reply(text=text)
                case tool, arguments:
                    call = ToolCall(id=CallId(f"t{done}"), tool=tool, arguments=arguments)
                    return Reply(calls=(call,))
        except LookupError as error:
            return ModelFailure("invalid_request", str(error), retryable=False)

    def far(self, request: RecordedRequest) -> Scripted:
        """For a daemon, over HTTP."""
        plan, done = _far_plan(request.messages)
        try:
            match self.turn(plan, done):
                case None:
                    return Scripted(text="too late", delay=PATIENCE)
                case str() as text:
                    return Scripted(text=text)
                case tool, arguments:
                    return Scripted(calls=(ScriptedCall(name=tool, arguments=arguments),))
        except LookupError as error:
            return Scripted(status=400, text=str(error))


def _plan(prompt: Prompt) -> tuple[Json, int]:
    """The latest plan, and how many turns there have been since."""
    plan: Json = {}
    done = 0
    for entry in prompt.entries:
        if isinstance(entry, PersonSaid) and entry.text.startswith("{"):
            plan, done = json.loads(entry.text), 0
        done += isinstance(entry, ModelSaid)
    return plan, done


def _far_plan(messages: Iterable[Json]) -> tuple[Json, int]:
    plan: Json = {}
    done = 0
    for one in messages:
        if one["role"] == "user" and str(one["content"]).startswith("{"):
            plan, done = json.loads(one["content"]), 0
        done += one["role"] == "assistant"
    return plan, done


def _before(plan: Json) -> list[Turn]:
    turns: list[Turn] = []
    if plan["trigger"] == "message":
        turns.append(("ask_person", {"question": "ready?"}))
    if plan["age"] == "after 50 turns":
        turns += [("read", {"path": f"many/{number}"}) for number in range(50)]
    return turns


async def _begun(place: Place, number: int, cell: Cell) -> str:
    """Get the task in by its door, and as far as it goes before the action itself."""
    # The words of the action are the person's own, so nothing that is read on the way taints them.
    plan = {**cell._asdict(), "id": str(number), "with": ACTIONS[cell.action][1]}
    door, session = DOORS[cell.door], ""
    if cell.age == "in an old session":
        hello = await place.ended(await door.enter(place, Ask("hello", f"old{number}", "")))
        assert hello["status"] == "SUCCEEDED", hello
        session = hello["session"]
    task = await door.enter(place, Ask(json.dumps(plan), f"own{number}", session))
    match cell.trigger:
        case "retry" | "again":
            row = await place.ended(task)
            assert row["status"] == ("FAILED" if cell.trigger == "retry" else "SUCCEEDED"), row
            return str((await place.does(task, "retry"))["id"])
        case "message":
            await place.first(task, lambda kind, _: kind == "CallWaiting")
            await place.does(task, "say", text="go on")
        case "child":

            def waits(kind: str, data: Json) -> bool:
                return kind == "CallWaiting" and data["wait"]["type"] == "child"

            return str((await place.first(task, waits))["wait"]["task"])
        case _:
            pass
    return task


async def _verdict(place: Place, task: str, cell: Cell) -> tuple[str, str]:
    """What was said of the action, and by which rule; asked of what is on disk."""

    def proposed(kind: str, data: Json) -> bool:
        return kind == "Replied" and bool(_judged(data, cell))

    (found,) = _judged(await place.first(task, proposed), cell)
    if cell.kind == "replayed":
        told = (await place.local.get(f"/api/v1/tasks/{task}/replay")).json()
        assert told["same"], told
    await place.local.post(f"/api/v1/tasks/{task}/cancel", json={})
    page = (await place.local.get(f"/api/v1/tasks/{task}/events", params={"limit": 1000})).json()
    replies = [one["data"] for one in page["events"] if one["kind"] == "Replied"]
    assert [one for data in replies for one in _judged(data, cell)] == [found], cell
    return found


def _judged(data: Json, cell: Cell) -> list[tuple[str, str]]:
    tool, arguments, _ = ACTIONS[cell.action]
    return [
        (one["verdict"]["type"], one["verdict"].get("rule", ""))
        for one in data.get("judged", ())
        if one["call"]["tool"] == tool and one["call"]["arguments"] == arguments
    ]


async def _played(
    place: Place, cells: Sequence[Cell], found: dict[Cell, tuple[str, str]]
) -> dict[Cell, str]:
    """All cells of one life: the task of each, and the verdicts that it is not too early for."""
    tasks: dict[Cell, str] = {}
    room = anyio.CapacityLimiter(8)

    async def play(number: int, cell: Cell) -> None:
        async with room:
            tasks[cell] = await _begun(place, number, cell)
            if cell.kind not in {"resumed", KILLED}:
                found[cell] = await _verdict(place, tasks[cell], cell)

    with anyio.fail_after(PATIENCE + len(cells) * 2):
        async with anyio.create_task_group() as group:
            for number, cell in enumerate(cells):
                group.start_soon(play, number, cell)
    return tasks


async def verdicts(home: Path, cells: Sequence[Cell]) -> dict[Cell, tuple[str, str]]:
    """Every cell played out in one house; those that resume, in the life after."""
    found: dict[Cell, tuple[str, str]] = {}
    mind, config = Mind(), _furnish(home)
    async with _at_home(home, mind.here, config) as place:
        await _agree_to_servers(place)
        tasks = await _played(place, cells, found)
    mind.silent = False
    async with _at_home(home, mind.here, config) as place:
        for cell in cells:
            if cell.kind == "resumed":
                found[cell] = await _verdict(place, tasks[cell], cell)
    return found


@asynccontextmanager
async def _at_home(home: Path, says: Says, config: str) -> AsyncGenerator[Place]:
    environment = {"HOLDFAST_SECRET_MINE": "a value of some length"}
    async with (
        inhabited(home, says, config, environment) as lives,
        at_the_socket(home) as local,
        anyio.create_task_group() as room,
    ):
        yield Place(home=home, tcp=lives.tcp, local=local, room=room)
        room.cancel_scope.cancel()


async def _agree_to_servers(place: Place) -> None:
    seen = (await place.local.post("/api/v1/mcp/lab/inspect")).json()
    body = {"digest": seen["digest"]}
    assert (await place.local.post("/api/v1/mcp/lab/trust", json=body)).is_success


async def after_a_kill(home: Path, cells: Sequence[Cell]) -> dict[Cell, tuple[str, str]]:
    """Every cell as far as its action in a daemon that is then killed; the verdict of the next."""
    found: dict[Cell, tuple[str, str]] = {}
    mind, config = Mind(), _furnish(home)
    around = {"HOLDFAST_SERVER_HTTP": "true", "HOLDFAST_SERVER_PORT": "0"}
    around |= {"HOLDFAST_SECRET_MINE": "a value of some length"}
    with (
        ModelServer(rule=mind.far, catalogue=Catalogue(models=("scripted",))) as model,
        Daemon(home, around) as daemon,
    ):
        use_model(home, model.url)
        with (home / "config.toml").open("a") as file:
            file.write(config)
        await anyio.to_thread.run_sync(daemon.start)
        async with _outside(daemon) as place:
            await _agree_to_servers(place)
            tasks = await _played(place, cells, found)
            await anyio.to_thread.run_sync(daemon.kill)
        mind.silent = False
        await anyio.to_thread.run_sync(daemon.start)
        async with _outside(daemon) as place:
            for cell in cells:
                found[cell] = await _verdict(place, tasks[cell], cell)
    return found


@asynccontextmanager
async def _outside(daemon: Daemon) -> AsyncGenerator[Place]:
    (url,) = [one for one in daemon.get("/api/v1/status")["listening"] if "http" in one]
    bearer = {"Authorization": f"Bearer {(daemon.home / 'token').read_text().strip()}"}
    async with (
        httpx2.AsyncClient(base_url=url, headers=bearer, trust_env=False) as tcp,
        at_the_socket(daemon.home) as local,
        anyio.create_task_group() as room,
    ):
        yield Place(home=daemon.home, tcp=tcp, local=local, room=room)
        room.cancel_scope.cancel()


def _furnish(home: Path) -> str:
    """What the house works on, and its configuration."""
    workspace, shelf = home / "workspace", home.parent / "shelf"
    (workspace / "many").mkdir(parents=True)
    for number in range(50):
        (workspace / "many" / str(number)).write_text(f"this is {number}")
    (workspace / "notes").write_text("notes")
    shelf.mkdir()
    shutil.copy(str(tool_server.__file__), shelf / "server.py")
    return _policy(home)


def _policy(home: Path) -> str:
    return POLICY.replace("SHELF", str(home.parent / "shelf"))


def said_once(found: dict[Cell, tuple[str, str]], actions: Iterable[str] = ACTIONS) -> None:
    """Every action has one verdict and one rule, whatever brought it about."""
    told: defaultdict[str, dict[tuple[str, str], Cell]] = defaultdict(dict)
    for cell, verdict in found.items():
        told[cell.action].setdefault(verdict, cell)
    for action in actions:
        assert len(told[action]) == 1, (action, told[action])
        assert next(iter(told[action]))[0] == ACTIONS[action][2], (action, told[action])


async def test_one_verdict_for_an_action_however_it_comes_about():
    """Every two of door, trigger, age, kind and verdict together, and every action."""
    with stage("verdict") as folder:
        said_once(await verdicts(folder / "home", few(ALL, ways)))


async def test_one_verdict_for_a_tool_by_itself_and_in_a_task():
    """`tool use` gives no words to a model, so it cannot be a door of the matrix."""
    actions = [one for one in ACTIONS if one != "delegate"]  # nobody can use that by itself
    with stage("verdict") as folder:
        home = folder / "home"
        cells = [Cell(one, "http", "direct", "first turn", "fresh") for one in actions]
        found = await verdicts(home, cells)
        async with _at_home(home, Mind().here, _policy(home)) as place:
            for action in actions:
                tool, arguments, _ = ACTIONS[action]
                body = {"arguments": arguments}
                used = await place.tcp.post(f"/api/v1/tools/{tool}", json=body)
                assert used.is_success, (action, used.text)
                cell = Cell(action, "tool use", "direct", "first turn", "fresh")
                found[cell] = await _verdict(place, used.json()["task"], cell)
        said_once(found, actions)


@pytest.mark.slow
@pytest.mark.parametrize("door", DOORS)
async def test_one_verdict_for_an_action_through_a_door(door: str):
    """Every two of action, trigger, age and kind together, at each door; where a door is a process
    each time, every two with each verdict."""
    meetings = ways if door in {"command", "editor"} else pairs
    cells = few([one for one in ALL if one.door == door], meetings)
    with stage("verdict") as folder:
        said_once(await verdicts(folder / "home", cells))


@pytest.mark.slow
@pytest.mark.parametrize("trigger", TRIGGERS)
async def test_one_verdict_for_an_action_in_every_cell(trigger: str):
    """The whole product, at the two doors of the house's own interface."""
    cells = [one for one in ALL if one.trigger == trigger and one.door in {"http", "socket"}]
    with stage("verdict") as folder:
        said_once(await verdicts(folder / "home", cells))


FEW = ("read", "write elsewhere", "write where nobody may", "run what may not", "write by a server")


@pytest.mark.slow
async def test_one_verdict_for_an_action_of_a_task_that_outlived_its_daemon():
    """Killed with SIGKILL when the action was about to be proposed."""
    cells = few([one for one in THERE if one.kind == KILLED and one.action in FEW], pairs)
    with stage("verdict") as folder:
        said_once(await after_a_kill(folder / "home", cells), FEW)


SOURCE = Path(__file__).resolve().parents[2] / "src" / "holdfast"
_READS = "lists tasks"
_FORM = "a form in a browser"
OTHERS = {
    "runtime/tasks.py::submit": "what all doors call; it asks the engine",
    "runtime/tasks.py::retry": "the trigger `again`, at every door",
    "runtime/direct.py::use_tool": "one call, said letter for letter: a test of its own, above",
    "runtime/delegate.py::": "names its type",
    "runtime/delegate.py::Delegate.__init__": "the trigger `child`",
    "assembly/house.py::_furnished": "what is given to `delegate`",
    "assembly/house.py::_within": "gives it to `delegate`",
    "engine/supervise.py::Supervisor.submit": "tells the one writer",
    "core/command.py::": "names the command",
    "core/decide.py::": "names the command",
    "core/decide.py::_decided": "decides it",
    "core/rules/life.py::submitted": "decides it",
    "core/replay.py::_candidates": "decides once more what is recorded, and performs nothing",
    "doors/cli/run.py::run": "the door `command`",
    "doors/cli/chat.py::Talk.message": "in a conversation, the same request as the door `command`",
    "doors/cli/chat.py::Talk._of_session": _READS,
    "doors/cli/listing.py::task_list": _READS,
    "doors/cli/live.py::_tasks": _READS,
    "doors/acp/agent.py::Agent.listed": _READS,
    "doors/acp/commands.py::_tasks": _READS,
    "doors/acp/commands.py::_last": _READS,
    "doors/acp/session.py::Session.replay": _READS,
    "doors/acp/session.py::Session.resume": _READS,
    "doors/http/mcp_server/resources.py::": _READS,
    "doors/http/mcp_server/table.py::": "names the route, which the door `mcp` goes through",
    "doors/http/table.py::": "names the function of the route",
    "doors/http/scopes.py::": "says who may",
    "doors/http/openapi.py::": "describes it",
    "adapters/tools/browser/tools.py::Type": _FORM,
    "adapters/tools/browser/tools.py::_Tools.type": _FORM,
}


def begins(node: ast.AST, parents: Sequence[str] = ()) -> Iterator[str]:
    """The functions in which something is submitted, by whatever name it goes."""
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield from begins(child, (*parents, child.name))
                continue
            case ast.Attribute(attr="submit") | ast.Name(id="submit" | "Submit"):
                yield ".".join(parents)
            case ast.ImportFrom(names=names):
                if any(one.asname and one.name in {"submit", "Submit"} for one in names):
                    yield ".".join(parents)
            case ast.Attribute(attr="Submit") | ast.Constant(value="/api/v1/tasks"):
                yield ".".join(parents)
            case _:
                pass
        yield from begins(child, parents)


def test_whoever_begins_a_task_is_a_door_of_the_matrix_or_has_a_reason():
    """Fails for every new way in until it stands in `DOORS`."""
    found = {
        f"{path.relative_to(SOURCE).as_posix()}::{function}"
        for path in sorted(SOURCE.rglob("*.py"))
        if "testing" not in path.relative_to(SOURCE).parts
        for function in begins(ast.parse(path.read_text(encoding="utf-8")))
    }
    known = {place for door in DOORS.values() for place in door.by}
    assert found - known - OTHERS.keys() == set(), "a way in that the matrix does not go"
    assert (known | OTHERS.keys()) - found == set(), "no longer there"
