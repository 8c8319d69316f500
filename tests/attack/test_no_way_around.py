"""No way around the gate: who can act is a list with reasons, and who acts has a verdict."""

from __future__ import annotations

import ast
import itertools
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec import Struct
from msgspec.structs import replace

from holdfast.adapters.boxes.pool import Pool
from holdfast.adapters.egress.gateway import Gateway
from holdfast.adapters.tools.craft import Craft
from holdfast.adapters.tools.registry import Registry
from holdfast.adapters.vaults.keeper import Keeper
from holdfast.core.context import Prompt
from holdfast.core.error import NotAllowed
from holdfast.core.evolve import fold
from holdfast.core.gate.policy import Allow, Deny
from holdfast.core.ids import CallId, TaskId
from holdfast.core.message import ModelSaid, Refused, Reply, ToolCall
from holdfast.core.reach import Reach
from holdfast.core.task import CallState, OpenCall, Request, Task
from holdfast.doors.http.table import ROUTES
from holdfast.ports.box import Box, BoxSpec
from holdfast.ports.egress import Request as Errand
from holdfast.ports.secrets import Terms
from holdfast.ports.tools import Job
from holdfast.runtime.warrants import (
    WarrantedBoxes,
    WarrantedEgress,
    WarrantedSecrets,
    WarrantedTools,
    Warrants,
)
from tests.whole_house import Inhabited, inhabited

pytestmark = pytest.mark.anyio

SOURCE = Path(__file__).resolve().parents[2] / "src" / "holdfast"

# Who touches what acts, and why that is no way around. A new one belongs here with its reason, or
# it does not belong in the house.
TOUCHES: dict[str, dict[str, str]] = {
    "a tool's body": {
        "engine/perform.py::Performer._tried": "after CallStarted is durable",
        "engine/perform.py::Performer._check": "a call that had started and was cut off",
        "engine/perform.py::_kept": "what an allowed call may change, before it starts",
        "runtime/warrants.py::WarrantedTool.before": "asks for the warrant first",
        "runtime/warrants.py::WarrantedTool.check": "asks for the warrant first",
        "runtime/warrants.py::WarrantedTool.run": "asks for the warrant first",
        "adapters/tools/around.py::Around.before": "is itself a tool's body",
        "adapters/tools/around.py::Around.check": "is itself a tool's body",
        "adapters/tools/around.py::Around.run": "is itself a tool's body",
        "adapters/tools/apart.py::KeptApart.check": "is itself a tool's body",
        "adapters/tools/apart.py::KeptApart.run": "is itself a tool's body",
        "adapters/tools/output.py::Fitted.run": "is itself a tool's body",
        "adapters/tools/undo/keeping.py::Kept.check": "is itself a tool's body",
        "adapters/tools/undo/keeping.py::Kept.run": "is itself a tool's body",
        "adapters/stores/sqlite.py::SqliteJournal.work": "a job of the writer's, no tool's",
    },
    "a job, which is what a body is run with": {
        "engine/perform.py::_job": "made of a call of the task",
        "adapters/tools/mcp/servers.py::Servers._looked": "a person looks at a server",
        "adapters/tools/mcp/servers.py::_for_logins.reach": "a person logs in at a server",
        "adapters/tools/a2a/peers.py::SavedPeers.look": "a person looks at an agent elsewhere",
    },
    "a start or a yes": {
        "engine/perform.py::Performer._run": "of a call that the core has allowed",
        "runtime/tasks.py::approve": "a person's, whom the door has authenticated",
        "runtime/leases.py::approve": "a person's, whom the door has authenticated",
        "runtime/approvals.py::approve_alike": "a person's, to a read or what medium trust asks",
        "runtime/approvals.py::_also": "the same person's, to the very same call",
        "core/gate/judge.py::_weighed": "the one function that judges",
        "core/rules/turns.py::_checks": "the submitter's own checks, which no deny rule meets",
    },
    "a box": {
        "runtime/warrants.py::WarrantedBoxes.lend": "asks for the warrant first",
        "adapters/tools/execute.py::exec_tool.do": "a tool's body",
        "adapters/tools/browser/browsers.py::Browsers._local": "begun by a tool's body",
        "adapters/tools/mcp/opening.py::Openings._started": "begun by a tool's body, or a look",
        "adapters/tools/acp/tool.py::AskAgent._started": "a tool's body",
    },
    "a command in a box": {
        "adapters/tools/execute.py::exec_tool.do": "a tool's body",
        "adapters/tools/browser/browsers.py::Browsers._local": "begun by a tool's body",
        "adapters/tools/mcp/opening.py::Openings._started": "begun by a tool's body, or a look",
        "adapters/tools/acp/tool.py::AskAgent._started": "a tool's body",
        "adapters/boxes/connected.py::ConnectedBox.exec": "is itself a box",
        "adapters/boxes/connected.py::ConnectedBox.start": "is itself a box",
        "adapters/boxes/connected.py::connected": "puts the certificate into a box that was lent",
        "adapters/boxes/container/kind.py::ContainerBoxes._tried": "tries the walls: our script",
        "adapters/boxes/docker_sandbox.py::DockerSandboxBoxes._try_walls": "tries the walls",
        "adapters/boxes/microvm/probe.py::try_walls": "tries the walls: our script",
        "adapters/boxes/walls.py::_attempt": "tries the walls: our script",
    },
    "the way out": {
        "adapters/tools/a2a/saying.py::Peer.ask": "a tool's body",
        "adapters/tools/a2a/saying.py::Peer.card": "begun by a tool's body, or a look",
        "runtime/pushes.py::Pushes._brought": "news of a task, where its owner asked for them",
        "runtime/warrants.py::WarrantedEgress.fetch": "asks for the warrant first",
        "runtime/warrants.py::WarrantedEgress.__init__": "the proxy of a box that was lent",
        "adapters/boxes/connected.py::connected": "the proxy of a box that was lent",
        "adapters/tools/web/errand.py::Errands.go": "a tool's body",
        "adapters/tools/mcp/login/asking.py::Asking._asked": "a person's login at a server",
        "adapters/tools/slack/calling.py::Calls._sent": "a tool's body",
        "assembly/webhooks.py::Gatekept.carry": "mail to a place that a person has named",
        "adapters/tools/mcp/opening.py::Openings._way.fetch": "begun by a body, or a look",
    },
    "a secret's value": {
        "runtime/warrants.py::WarrantedSecrets.use": "asks for the warrant first",
        "engine/perform.py::Performer._filled": "after CallStarted, which names it",
        "runtime/post.py::Postman._told": "the house's own: what signs a webhook's mail",
        "assembly/mcp.py::world_of_servers.reveal": "a server's variables, as its owner configured",
        "assembly/mcp.py::servers_for.reveal": "the house's own: a server's login, as configured",
        "assembly/outside.py::Lent.secret": "put into a request by the proxy, never seen inside",
        "assembly/outside.py::browsers_for": "the house's own: the address of a remote browser",
        "assembly/outside.py::tools_of_the_web": "the house's own: the key of a search engine",
    },
    "an undo": {
        "runtime/undo.py::undo": "a person's, whom the door has authenticated, of an ended task",
    },
    "a program": {
        "adapters/boxes": "the kinds of boxes: what they start is the box",
        "doors/cli": "a person at the terminal, with that person's rights",
    },
    "the network": {
        "adapters/egress/outside.py": "dials what the gateway has judged",
        "doors/acp/daemon.py": "an editor's process asks the daemon over its socket",
        "doors/cli/mcp_bridge.py": "a person's process asks the daemon over its socket",
        "adapters/models": "asks models: paid for through an account, no tool",
    },
}


def last_name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name.strip("_")
        case ast.Call(func=made):
            return last_name(made)
        case _:
            return ""


_BODY = {"run", "before", "check"}
_PROGRAM = {
    *("run", "Popen", "call", "check_call", "check_output", "open_process", "run_process"),
    *("create_subprocess_exec", "create_subprocess_shell", "posix_spawn", "posix_spawnp"),
    *("fork", "forkpty", "fork_exec", "system", "popen", "execv", "execve", "execvp"),
    *("execvpe", "execl", "execle", "execlp", "spawnv", "spawnl"),
}
_STARTS = {"anyio", "os", "asyncio", "subprocess", "posixsubprocess"}
_DIALS = {"connect_tcp", "create_connection", "open_connection", "getaddrinfo", "urlopen"}
_CLIENTS = {"AsyncClient", "Client", "ClientSession", "Session", "HTTPConnection"}
_LIBRARIES = {"httpx2", "httpx", "aiohttp", "requests"}


def touched(node: ast.AST) -> Iterator[str]:  # noqa: C901 - a case for each way
    """What of the things that act this piece of source takes hold of."""
    match node:
        case ast.Call(func=ast.Attribute(attr=name), args=given) if (
            name in _BODY and given and last_name(given[-1]) == "job"
        ):
            yield "a tool's body"
        case ast.Attribute(attr=name, value=of) if name in _BODY and last_name(of) == "tool":
            yield "a tool's body"
        case ast.Call(func=ast.Name(id="Job")):
            yield "a job, which is what a body is run with"
        case ast.Call(
            func=ast.Name(id="StartCall" | "Approve" | "CallStarted" | "CallApproved" | "Allow")
        ):
            yield "a start or a yes"
        case ast.Attribute(attr="lend", value=of) if last_name(of).endswith(("boxes", "pool")):
            yield "a box"
        case ast.Attribute(attr="exec" | "start", value=of) if last_name(of).endswith("box"):
            yield "a command in a box"
        case ast.Attribute(attr="fetch" | "serve", value=of) if "egress" in last_name(of):
            yield "the way out"
        case ast.Attribute(attr="undo", value=of) if last_name(of) == "undoing" and not (
            isinstance(of, ast.Name)  # the module: the use case itself
        ):
            yield "an undo"
        case ast.Attribute(attr="use" | "reveal", value=of) if last_name(of) in {
            *("secrets", "safe", "keeper", "vault")
        }:
            yield "a secret's value"
        case ast.Call(func=ast.Attribute(attr=name, value=of)) if last_name(of) in _STARTS:
            if name in _PROGRAM and (last_name(of), name) != ("anyio", "run"):
                yield "a program"
            if name in _DIALS:
                yield "the network"
        case ast.Call(func=ast.Attribute(attr=name, value=of)):
            if name in _DIALS or (name in _CLIENTS and last_name(of) in _LIBRARIES):
                yield "the network"
        case _:
            return


def touches(tree: ast.AST, place: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """(what, dotted function) for all of a module."""
    for node in ast.iter_child_nodes(tree):
        named = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        inside = (*place, node.name) if named else place
        yield from ((what, ".".join(inside)) for what in touched(node))
        yield from touches(node, inside)


def test_whoever_can_act_is_on_the_list_with_a_reason():
    """Fails for every new place that takes hold of a tool body, box, way out or secret."""
    found: dict[str, set[str]] = {what: set() for what in TOUCHES}
    for path in sorted(SOURCE.rglob("*.py")):
        module = path.relative_to(SOURCE).as_posix()
        if module.startswith("testing/"):
            continue  # no part of a house: import-linter keeps it out of the rooms
        for what, function in touches(ast.parse(path.read_text(encoding="utf-8"))):
            listed = TOUCHES[what]
            wide = next(
                (one for one in listed if module.startswith(f"{one}/") or module == one), ""
            )
            found[what].add(wide or f"{module}::{function}")
    for what, listed in TOUCHES.items():
        new, gone = found[what] - set(listed), set(listed) - found[what]
        assert not new, f"{what} is within reach of {sorted(new)}: why is the gate before it?"
        assert not gone, f"{what}: not in the source any more, so take it off: {sorted(gone)}"


def test_the_list_sees_a_new_way_to_each_thing_that_acts():
    ways = {
        "a tool's body": "tools.get('exec').run(arguments, job)",
        "a job, which is what a body is run with": "Job(task=task)",
        "a start or a yes": "StartCall(call_id=call)",
        "a box": "house.boxes.lend(task, spec)",
        "a command in a box": "box.exec(argv)",
        "the way out": "house.egress.fetch(request, reach)",
        "a secret's value": "house.secrets.use(name)",
        "an undo": "house.undoing.undo(task, folder, wish, agreed)",
        "a program": "subprocess.run(argv)",
        "the network": "httpx2.AsyncClient()",
    }
    assert set(ways) == set(TOUCHES)
    for what, line in ways.items():
        assert {one for one, _ in touches(ast.parse(f"def f():\n    {line}"))} == {what}


# What follows watches a house at work, at the lowest place that each thing has.


class Used(Struct, frozen=True):
    """Something that acted, for which task, and how that task stood by the journal just then."""

    what: str
    task: str
    tool: str
    task_then: Task

    @property
    def warranted(self) -> bool:
        """A call is under way that the gate allowed, or a person."""
        return any(
            one.state in {CallState.STARTED, CallState.DOUBTED}
            and not isinstance(one.verdict, Deny)
            and (not self.tool or one.call.tool == self.tool)
            for one in self.task_then.calls.values()
        )


class Watch:
    """Notes every use of what acts, and what the journal on disk said at that moment."""

    def __init__(self) -> None:
        self.used: list[Used] = []
        self.lives: Inhabited | None = None

    async def note(self, what: str, task: str, tool: str = "") -> None:
        assert self.lives is not None
        past = await self.lives.house.journal.read(TaskId(task.partition(" ")[0]))
        self.used.append(Used(what, task, tool, fold(one.event for one in past)))

    @property
    def counts(self) -> Counter[str]:
        return Counter(one.what for one in self.used)


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    seen = Watch()
    craft: Any = Craft
    body = craft.run
    lend, fetch, use = Pool.lend, Gateway.fetch, Keeper.use

    async def run(self: Any, arguments: Any, job: Job) -> Any:
        await seen.note("tool", job.task, self.spec.name)
        return await body(self, arguments, job)

    @asynccontextmanager
    async def lent(self: Any, owner: str, spec: BoxSpec) -> AsyncGenerator[Box]:
        await seen.note("box", owner)
        async with lend(self, owner, spec) as box:
            yield box

    async def fetched(self: Any, request: Errand, reach: Reach) -> Any:
        await seen.note("way out", reach.task, reach.tool)
        return await fetch(self, request, reach)

    async def used(self: Any, name: str, *, agent: str, task: str, tool: str) -> str:
        await seen.note("secret", task, tool)
        return await use(self, name, agent=agent, task=task, tool=tool)

    monkeypatch.setattr(Craft, "run", run)
    monkeypatch.setattr(Pool, "lend", lent)
    monkeypatch.setattr(Gateway, "fetch", fetched)
    monkeypatch.setattr(Keeper, "use", used)
    return seen


PROPOSED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("write", {"path": "made", "content": "x"}),
    ("read", {"path": "made"}),
    ("write", {"path": ".holdfast/policy.toml", "content": "x"}),
    ("write", {"path": "more", "content": "x"}),
    ("read", {"path": "more"}),
    ("write", {"path": "/etc/passwd", "content": "x"}),
    ("list", {}),
    ("delete", {"path": "made"}),
    ("exec", {"command": "echo hello"}),
    ("exec", {"command": "rm -rf /"}),
    ("web_fetch", {"url": "http://127.0.0.1:9/"}),
    ("glob", {"pattern": "*"}),
    ("http", {"url": "http://127.0.0.1:9/", "method": "POST", "headers": {"x": "$SECRET{lent}"}}),
    ("secret_list", {}),
    ("append", {"path": "made", "content": "y"}),
    ("delegate", {"task": "help"}),
    ("no_such_tool", {}),
)
CONFIG = """
[policy]
preset = "open"
[[policy.rule]]
say = "ask"
tools = ["http", "delete"]
[[policy.rule]]
say = "deny"
command = ["rm", "**"]
"""


def obedient(proposed: tuple[tuple[str, dict[str, Any]], ...], prompt: Prompt) -> Reply:
    """Proposes one call after the other, whatever comes of them; a helper just answers."""
    words = getattr(prompt.entries[0], "text", "")
    turn = sum(isinstance(entry, ModelSaid) for entry in prompt.entries)
    if words == "help" or turn >= len(proposed):
        return Reply(text="the work is done")
    tool, arguments = proposed[turn]
    return Reply(calls=(ToolCall(id=CallId(f"c{turn}"), tool=tool, arguments=arguments),))


async def test_every_use_of_what_acts_has_its_verdict_in_the_journal(tmp_path: Path, watch: Watch):
    """Part of rows GC-100, OL-53: a step that needs a person waits, runs on yes, not on no."""
    says = partial(obedient, PROPOSED)
    async with inhabited(tmp_path / "home", says, CONFIG) as lives:
        watch.lives = lives
        await lives.kept.secrets.put("lent", "a value of some length", Terms(grants=("*",)))
        task = await lives.submit("do all of it")
        while (row := await lives.asks_or_ends(task)).get("questions"):
            for question in row["questions"]:
                assert not [one for one in watch.used if one.tool == question["tool"]]
                say = "approve" if question["tool"] == "http" else "refuse"
                told = {"digest": question["digest"]} if say == "approve" else {}
                place = f"/api/v1/tasks/{task}/calls/{question['call']}/{say}"
                assert (await lives.tcp.post(place, json=told)).status_code == 200
        assert row["status"] == "SUCCEEDED", row["fault"]
        events = await lives.events(task)
    denied = [
        judged.call.arguments
        for event in events
        for judged in getattr(event, "judged", ())
        if isinstance(judged.verdict, Deny)
    ]
    assert denied == [{"command": "rm -rf /"}]
    refused = [one for one in events if isinstance(getattr(one, "outcome", None), Refused)]
    assert len(refused) == 2, "what the rule denied and what the person refused"
    assert [one for one in watch.used if not one.warranted] == []
    assert watch.counts["tool"] >= 6
    assert watch.counts["box"] == 1, "one of two commands was denied"
    assert watch.counts["way out"] == 2
    assert watch.counts["secret"] == 1
    assert "delete" not in {one.tool for one in watch.used}


async def test_without_a_call_under_way_nothing_acts_whoever_asks(tmp_path: Path, watch: Watch):
    """What a mistaken part of the house would do: hold a tool and run it."""
    says = partial(obedient, (("delete", {"path": "kept"}),))
    async with inhabited(tmp_path / "home", says, CONFIG) as lives:
        watch.lives, house = lives, lives.house
        task = TaskId(await lives.submit("delete it"))
        await lives.until(task, "WAITING")
        workspace = house.home / "workspace"
        tool, kept = house.tools.get("delete"), workspace / "kept"
        assert tool is not None
        kept.write_text("kept")
        job = Job(task=task, call=CallId("c0"), workspace=workspace)
        for forged in (job, replace(job, call=CallId("c1")), replace(job, task=TaskId("task_x"))):
            for reach in (tool.run, tool.before):
                with pytest.raises(NotAllowed, match="no such call is under way"):
                    await reach({"path": "kept"}, forged)
            with pytest.raises(NotAllowed, match="no such call is under way"):
                await tool.check({"path": "kept"}, (), forged)
        assert kept.read_text() == "kept"
    assert watch.used == []


BODY: dict[str, Any] = {
    "tool": "exec",
    "words": ["touch made"],
    "command": ["touch", "made"],
    "name": "lent",
    "arguments": {"command": "touch made"},
    "prompt": "x",
    "text": "x",
    "digest": "0" * 64,
    "workspace": "/",
    "rule": "exec:*",
    "value": "x",
    "agent": "default",
    "call": "c0",
}


async def test_no_route_of_the_door_leads_to_an_act_by_itself(tmp_path: Path, watch: Watch):
    """Every route, with no body and with words that would be an order somewhere."""
    says = partial(obedient, (("delete", {"path": "kept"}),))
    async with inhabited(tmp_path / "home", says, CONFIG) as lives:
        watch.lives = lives
        task = await lives.submit("delete it")
        await lives.until(task, "WAITING")
        asked = 0
        for entry in ROUTES:
            if entry.path == "/api/v1/stop" or entry.streams:
                continue
            path = entry.path.replace("{ref}", task).replace("{call}", "c0")
            path = (
                path.replace("{name}", "lent").replace("{id:path}", "x").replace("{attempt}", "x")
            )
            for body in ({}, BODY, {"digest": "0" * 64}, {"name": "lent"}):
                sent = body if entry.method == "POST" else None
                answer = await lives.local.request(entry.method, path, json=sent)
                assert answer.status_code < 500 or answer.status_code == 503, (path, answer.text)
                asked += 1
    assert asked > 150
    assert watch.used == []


def standing(state: CallState, **more: Any) -> Task:
    """A task with one call of `exec` in a state."""
    call = ToolCall(id=CallId("c"), tool="exec", arguments={"command": "x", **more})
    opened = OpenCall(call=call, state=state, verdict=Allow(rule="r"))
    return Task(id=TaskId("task_a"), request=Request(prompt="x"), calls={call.id: opened})


@pytest.mark.parametrize("state", CallState)
def test_only_a_call_that_has_started_is_a_warrant(state: CallState):
    warrants = Warrants(lambda _: standing(state, token="$SECRET{mine}"))
    job = Job(task=TaskId("task_a"), call=CallId("c"), workspace=Path("/w"))
    reach = Reach(task="task_a", agent="default", tool="http")
    tries: list[Callable[[], object]] = [
        lambda: warrants.call(job, "exec", CallState.STARTED),
        lambda: warrants.secret("mine", "task_a", "exec"),
        lambda: warrants.task("task_a browser", "a box"),
        lambda: warrants.errand(reach),
        lambda: warrants.errand(replace(reach, tool="mcp:far")),
    ]
    for number, attempt in enumerate(tries):
        good = state is CallState.STARTED or (state is CallState.DOUBTED and number > 1)
        if good:
            attempt()
            continue
        with pytest.raises(NotAllowed) as refused:
            attempt()
        assert refused.value.code == "no_warrant"


def test_a_warrant_is_for_one_tool_and_for_the_secrets_that_its_call_names():
    warrants = Warrants(lambda _: standing(CallState.STARTED, token="$SECRET{mine}"))
    job = Job(task=TaskId("task_a"), call=CallId("c"), workspace=Path("/w"))
    pairs = itertools.product(("mine", "other"), ("exec", "http"))
    for name, tool in pairs:
        if (name, tool) == ("mine", "exec"):
            warrants.secret(name, "task_a", tool)
            continue
        with pytest.raises(NotAllowed):
            warrants.secret(name, "task_a", tool)
    with pytest.raises(NotAllowed):
        warrants.call(job, "http", CallState.STARTED)


def test_a_look_at_a_server_gets_a_box_and_nothing_else():
    warrants = Warrants(lambda _: Task())
    warrants.task("look_1 mcp far", "a box")
    warrants.errand(Reach(task="look_1", agent="default", tool="mcp:far"))
    for owner in ("look_1", "look_1 browser", "task_1 mcp far"):
        with pytest.raises(NotAllowed):
            warrants.task(owner, "a box")
    with pytest.raises(NotAllowed):
        warrants.errand(Reach(task="look_1", agent="default", tool="http"))


def test_a_conversation_that_a_call_began_may_be_ended_after_it():
    task = standing(CallState.STARTED)
    warrants = Warrants(lambda _: task)
    reach = Reach(task="task_a", agent="default", tool="mcp:far")
    warrants.errand(reach)
    task = Task()
    warrants.errand(reach)
    with pytest.raises(NotAllowed):
        warrants.errand(replace(reach, tool="mcp:other"))


@pytest.mark.parametrize("state", CallState)
def test_a_call_that_was_denied_is_no_warrant_in_any_state(state: CallState):
    """No such call ever starts; if one did, it would end here."""
    task = standing(state, token="$SECRET{mine}")
    (opened,) = task.calls.values()
    denied = replace(opened, verdict=Deny(rule="r", reason="no"))
    warrants = Warrants(lambda _: replace(task, calls={denied.call.id: denied}))
    job = Job(task=TaskId("task_a"), call=CallId("c"), workspace=Path("/w"))
    for attempt in (
        lambda: warrants.call(job, "exec", state),
        lambda: warrants.task("task_a browser", "a box"),
        lambda: warrants.errand(Reach(task="task_a", agent="default", tool="mcp:far")),
    ):
        with pytest.raises(NotAllowed) as refused:
            attempt()
        assert refused.value.code == "no_warrant"


class Untouched:
    """Boxes, ways out and secrets in one, which nobody may use."""

    def __getattr__(self, name: str) -> Callable[..., object]:
        def use(*_: object, **__: object) -> object:
            raise AssertionError(f"{name} was used")

        return use


async def test_boxes_the_way_out_and_secrets_ask_for_the_warrant_before_they_are_touched():
    idle, real = Warrants(lambda _: Task()), cast("Any", Untouched())
    spec, reach = BoxSpec(workspace=Path("/w")), Reach(task="task_a", agent="a", tool="http")
    with pytest.raises(NotAllowed):
        WarrantedBoxes(real, idle).lend("task_a", spec)
    with pytest.raises(NotAllowed):
        await WarrantedEgress(real, idle).fetch(Errand(method="GET", url="http://a/"), reach)
    with pytest.raises(NotAllowed):
        await WarrantedSecrets(real, idle).use("mine", agent="a", task="task_a", tool="exec")


def test_a_tool_that_there_is_not_is_none():
    assert WarrantedTools(Registry(()), Warrants(lambda _: Task())).get("nothing") is None


def test_a_secret_is_for_the_call_that_names_it_whatever_runs_beside_it():
    task = standing(CallState.STARTED, token="$SECRET{mine}")
    other = standing(CallState.STARTED).calls[CallId("c")]
    both = replace(task, calls={**task.calls, CallId("d"): other})
    Warrants(lambda _: both).secret("mine", "task_a", "exec")


def test_of_conversations_those_used_last_are_remembered():
    task = standing(CallState.STARTED)
    warrants = Warrants(lambda _: task)
    ways = [Reach(task=f"task_{n}", agent="default", tool="peer:far") for n in range(4096)]
    for reach in ways:
        warrants.errand(reach)
    task = Task()
    for reach in (*ways, ways[0]):
        warrants.errand(reach)
    task = standing(CallState.STARTED)
    warrants.errand(replace(ways[0], task="task_new"))
    task = Task()
    warrants.errand(ways[0])
    warrants.errand(ways[2])
    with pytest.raises(NotAllowed):
        warrants.errand(ways[1])


def test_what_the_watch_would_call_unwarranted_is_not_nothing():
    assert not Used("tool", "t", "exec", Task()).warranted
    assert not Used("tool", "t", "http", standing(CallState.STARTED)).warranted
    assert Used("tool", "t", "exec", standing(CallState.STARTED)).warranted
