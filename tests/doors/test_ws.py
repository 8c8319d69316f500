"""The WebSocket door: every route by name, events as they happen, and nobody in who may not."""

from __future__ import annotations

import itertools
import json
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from holdfast.core.command import Tick
from holdfast.core.gate.policy import Rules
from holdfast.core.ids import Instant, TaskId
from holdfast.core.message import Reply
from holdfast.doors.http.serve import serve
from holdfast.doors.http.table import ROUTES
from holdfast.doors.http.ws import methods
from holdfast.doors.http.ws.post import Post, TooSlow
from holdfast.engine.clock import SystemClock
from holdfast.ports.model import Delta
from holdfast.testing.fake_servers import FakeServers
from tests.doors.house import PAYS, TOKEN, Plan, Street, street

pytestmark = pytest.mark.anyio
BEARER = {"Authorization": f"Bearer {TOKEN}"}
PATIENCE = 20


class Caller:
    """One socket from outside: asks, and keeps what it is told besides."""

    def __init__(self, wire: ClientConnection) -> None:
        self.wire, self.heard = wire, list[dict[str, Any]]()
        self._numbers = itertools.count(1)

    async def next(self) -> Any:
        with anyio.fail_after(PATIENCE):
            return json.loads(await self.wire.recv())

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The whole answer."""
        number = next(self._numbers)
        request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        await self.wire.send(json.dumps(request))
        while "method" in (said := await self.next()):
            self.heard.append(said)
        assert said["id"] == number
        return said

    async def result(self, method: str, **params: Any) -> Any:
        answer = await self.ask(method, **params)
        assert "result" in answer, answer
        return answer["result"]

    async def failure(self, method: str, **params: Any) -> tuple[int, str]:
        error = (await self.ask(method, **params))["error"]
        return error["code"], error["data"].get("code", "")

    async def until(self, method: str) -> list[dict[str, Any]]:
        """Everything told up to the first of this kind, that one included."""
        found = self.heard
        self.heard = []
        while not any(one["method"] == method for one in found):
            found.append(await self.next())
        return found

    async def hello(self, *capabilities: str) -> Any:
        return await self.result("hello", capabilities=capabilities or ("read", "mutate"))


@asynccontextmanager
async def listening(at: Street, **how: Any) -> AsyncGenerator[str]:
    """The address of the street's door."""
    async with anyio.create_task_group() as group:

        async def run(*, task_status: Any) -> None:
            await serve(at.app, unix=None, port=0, **how, task_status=task_status)

        addresses = await group.start(run)
        yield addresses[0].replace("http://", "ws://") + "/ws"
        group.cancel_scope.cancel()


@asynccontextmanager
async def called(url: str, *capabilities: str, **more: Any) -> AsyncGenerator[Caller]:
    async with connect(url, additional_headers=BEARER, **more) as wire:
        caller = Caller(wire)
        await caller.hello(*capabilities)
        yield caller


async def test_hello_comes_first_and_says_what_there_is(tmp_path: Path):
    """Rows GC-48, GC-49."""
    async with street(tmp_path) as at, listening(at) as url:  # noqa: SIM117
        async with connect(url, additional_headers=BEARER) as wire:
            caller = Caller(wire)
            assert await caller.failure("status") == (1000, "no_hello")
            assert await caller.failure("hello", version="7.0") == (1000, "bad_version")
            assert await caller.failure("hello", capabilities=["fly"]) == (-32602, "invalid")
            told = await caller.hello()
            assert told["capabilities"] == ["mutate", "read"]
            assert told["methods"]["tasks.create"] == "mutate"
            assert told["methods"]["events.subscribe"] == "read"
            assert await caller.failure("foo.bar") == (-32601, "no_such_method")
            assert await caller.result("ping") == {}


async def test_every_json_route_is_a_method_and_answers_as_over_http(tmp_path: Path):
    """Rows GC-54, GC-58."""
    table = methods(ROUTES)
    served = [e for e in ROUTES if e.path.startswith("/api/v1/") and not isinstance(e.answer, str)]
    assert len(table) == len([e for e in served if e.path[8:] not in ("login", "logout")])
    async with street(tmp_path, [Reply(text="hi")] * 2) as at, listening(at) as url:
        row = await at.done("greet", session="talk")
        async with called(url) as caller:
            status = await caller.result("status")
            assert status.keys() == (await at.tcp.get("/api/v1/status")).json().keys()
            assert (await caller.result("tasks.get", ref=row["short"]))["answer"] == "hi"
            listed = await caller.result("tasks.list", status=["SUCCEEDED"], limit=1)
            assert [one["id"] for one in listed["tasks"]] == [row["id"]]
            said = await caller.result("sessions.get", id="talk")
            assert said["exchanges"][0]["answer"] == "hi"
            assert await caller.failure("tasks.get", ref="nothing-there") == (
                1000,
                "task_not_found",
            )
            assert await caller.failure("tasks.list", limit=0) == (-32602, "invalid")
            assert await caller.failure("tasks.list", surprise=1) == (-32602, "invalid")
            assert await caller.failure("tasks.get") == (-32602, "invalid")
            assert await caller.failure("tasks.get", ref="a/../b") == (-32602, "invalid")
            assert await caller.failure("tasks.create", prompt="") == (-32602, "empty_prompt")


async def test_a_task_is_durable_when_its_answer_comes_and_can_be_cancelled(tmp_path: Path):
    """Rows GC-51, GC-53."""
    async with street(tmp_path, [PAYS, Reply(text="done")]) as at, listening(at) as url:  # noqa: SIM117
        async with called(url) as caller:
            row = await caller.result("tasks.create", prompt="pay Ann", key="once")
            assert (await at.tcp.get(f"/api/v1/tasks/{row['id']}")).status_code == 200
            again = await caller.result("tasks.create", prompt="pay Ann", key="once")
            assert again["id"] == row["id"]
            await at.until(row["id"], "WAITING")
            assert (await caller.result("tasks.cancel", ref=row["id"]))["status"] == "CANCELED"


async def test_what_a_socket_did_not_ask_for_it_cannot_do(tmp_path: Path):
    """Row GC-50."""
    async with street(tmp_path, [Reply(text="hi")]) as at, listening(at) as url:
        async with called(url, "read") as caller:
            assert await caller.failure("tasks.create", prompt="x") == (1000, "no_capability")
            assert await caller.failure("tasks.stream", prompt="x") == (1000, "no_capability")
            assert (await caller.result("sessions.list"))["sessions"] == []
        rows = (await at.tcp.get("/api/v1/tasks")).json()["tasks"]
        assert rows == []


async def test_a_keys_scopes_hold_for_methods_and_a_revoked_key_ends_with_them(tmp_path: Path):
    """Part of row GC-50."""
    async with street(tmp_path, [Reply(text="hi")] * 3) as at, listening(at) as url:
        body = {"name": "looker", "scopes": ["chat", "tasks.read"]}
        made = (await at.tcp.post("/api/v1/keys", json=body)).json()
        bearer = {"Authorization": f"Bearer {made['key']}"}
        async with connect(url, additional_headers=bearer) as wire:
            caller = Caller(wire)
            await caller.hello()
            assert (await caller.result("tasks.list"))["tasks"] == []
            assert await caller.failure("tasks.create", prompt="x") == (1000, "no_scope")
            for odd in ("ab", ["a"], 7):
                assert await caller.failure("tasks.list", _headers=odd) == (-32602, "invalid")
            assert await caller.failure("secrets.list") == (1000, "no_scope")
            await at.tcp.post("/api/v1/keys/looker/revoke", json={})
            with pytest.raises(ConnectionClosed) as closed:
                await caller.failure("tasks.list")
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.reason == "the key or session has ended"


async def test_a_task_streams_its_words_and_ends(tmp_path: Path):
    """Row GC-52."""

    async def turn(prompt: Any, hear: Any) -> Reply:
        for piece in ("Hel", "lo"):
            hear(Delta(text=piece))
        return Reply(text="Hello")

    async with street(tmp_path, turn) as at, listening(at) as url, called(url) as caller:
        row = await caller.result("tasks.stream", prompt="greet", session="s")
        told = await caller.until("end")
        words = [one["params"].get("text", "") for one in told if one["method"] == "delta"]
        assert "".join(words) == "Hello"
        kinds = [one["params"]["kind"] for one in told if one["method"] == "event"]
        assert (kinds[0], kinds[-1]) == ("Submitted", "Finished")
        assert {one["params"].get("task", row["task"]) for one in told} == {row["task"]}


async def test_the_words_of_an_agent_are_heard_by_who_listens_to_its_conversation(tmp_path: Path):
    """Part of row GC-63."""

    async def turn(prompt: Any, hear: Any) -> Reply:
        for piece in ("Hel", "lo"):
            hear(Delta(text=piece))
        return Reply(text="Hello")

    async with street(tmp_path, turn) as at, listening(at) as url, called(url) as caller:
        await at.done("greet", session="talk")
        await caller.result("events.subscribe", session="talk", deltas=True)
        await told_until(caller, "Finished")
        caller.heard.clear()
        row = await at.submit("greet again", session="talk")
        words = ""
        while words != "Hello":
            said = caller.heard.pop(0) if caller.heard else await caller.next()
            assert said["params"]["task"] == row["id"]
            words += said["params"].get("text", "")


async def test_a_session_is_replayed_from_a_cursor_and_goes_on_live(tmp_path: Path):
    """Row GC-55. Part of row GC-63."""
    async with street(tmp_path, [Reply(text="a")] * 3) as at, listening(at) as url:
        await at.done("one", session="talk")
        async with called(url) as caller:
            await caller.result("events.subscribe", session="talk")
            first = await told_until(caller, "Finished")
        await at.done("two", session="talk")
        async with called(url) as caller:
            await caller.result("events.subscribe", session="talk", after=first[3]["cursor"])
            second = await told_until(caller, "Finished")
            second += await told_until(caller, "Finished")
            await at.done("three", session="talk")
            second += await told_until(caller, "Finished")
        cursors = [one["cursor"] for one in first[:4] + second]
        assert len(cursors) == len(set(cursors))
        assert [
            one["data"]["request"]["prompt"] for one in first + second if "request" in one["data"]
        ] == ["one", "two", "three"]
        places = [(one["task"], one["seq"]) for one in first[:4] + second]
        assert places == sorted(places)


async def told_until(caller: Caller, kind: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while not found or found[-1]["kind"] != kind:
        one = caller.heard.pop(0) if caller.heard else await caller.next()
        if one["method"] == "event":
            found.append(one["params"])
    return found


async def test_a_cursor_that_is_gone_is_said_to_be_gone(tmp_path: Path):
    """Part of row GC-55."""
    async with street(tmp_path, [Reply(text="a")]) as at, listening(at) as url:
        row = await at.done("one", session="talk")
        gone = "task_00000000000000000000000000000000:3"
        async with called(url) as caller:
            for wanted in ({"session": "talk"}, {"task": row["id"]}):
                late = {"after": f"{row['id']}:9999"}
                assert await caller.failure("events.subscribe", **wanted, **late) == (
                    1000,
                    "replay_gap",
                )
            assert await caller.failure("events.subscribe", session="talk", after=gone) == (
                1000,
                "replay_gap",
            )
            assert await caller.failure("events.subscribe", session="nobody") == (
                1000,
                "session_not_found",
            )
            assert await caller.failure("events.subscribe", session="talk", after="x") == (
                -32602,
                "invalid",
            )
            assert await caller.failure("events.subscribe") == (-32602, "invalid")


async def test_questions_are_told_and_answered_over_the_socket(tmp_path: Path):
    """Rows GC-57, GC-100. Part of row GC-63."""
    async with street(tmp_path, [PAYS, Reply(text="paid")]) as at, listening(at) as url:  # noqa: SIM117
        async with called(url) as caller, called(url) as other:
            await other.result("approvals.subscribe")
            row = await caller.result("tasks.create", prompt="pay Ann")
            asked = (await other.until("approval.required"))[-1]["params"]["approval"]
            assert (asked["task"], asked["tool"]) == (row["id"], "pay")
            listed = await caller.result("approvals.list")
            assert [one["digest"] for one in listed["approvals"]] == [asked["digest"]]
            call = {"ref": row["id"], "call": asked["call"]}
            wrong = await caller.failure("tasks.calls.approve", **call, digest="0" * 64)
            assert wrong[0] == 1000
            await caller.result("tasks.calls.approve", **call, digest=asked["digest"])
            updated = (await other.until("approval.updated"))[-1]["params"]["approval"]
            assert updated["digest"] == asked["digest"]
            assert (await at.until(row["id"], "SUCCEEDED"))["answer"] == "paid"


async def outcomes(other: Caller, row: dict[str, Any]) -> tuple[str, str]:
    told = (await other.until("approval.updated"))[-1]["params"]
    assert told["approval"]["task"] == row["id"]
    return told["outcome"], told["by"]


async def test_what_became_of_a_question_is_told_and_by_whom(tmp_path: Path):
    """Part of row GC-63."""
    says = [PAYS, Reply(text="done")] * 4
    async with street(tmp_path, says) as at, listening(at) as url, called(url) as other:
        await other.result("approvals.subscribe")
        for what, body, outcome in (
            ("approve", {}, ("approved", "token:default")),
            ("refuse", {"reason": "no"}, ("refused", "token:default")),
        ):
            row = await at.submit("pay Ann")
            asked = (await other.until("approval.required"))[-1]["params"]["approval"]
            said = {**body, "digest": asked["digest"]} if what == "approve" else body
            call = f"/api/v1/tasks/{row['id']}/calls/{asked['call']}/{what}"
            assert (await at.tcp.post(call, json=said)).status_code == 200
            assert await outcomes(other, row) == outcome
        row = await at.submit("pay Ann")
        await other.until("approval.required")
        await at.tcp.post(f"/api/v1/tasks/{row['id']}/cancel", json={})
        assert await outcomes(other, row) == ("withdrawn", "")


class Shifted(SystemClock):
    """May run ahead."""

    ahead = 0

    def now(self) -> Instant:
        return super().now() + self.ahead


async def test_a_question_that_nobody_answers_in_time_is_told_as_that(tmp_path: Path):
    """Part of row GC-63."""
    clock = Shifted()
    async with street(tmp_path, [PAYS, Reply(text="done")], plan=Plan(clock=clock)) as at:  # noqa: SIM117
        async with listening(at) as url, called(url) as other:
            await other.result("approvals.subscribe")
            row = await at.submit("pay Ann")
            await other.until("approval.required")
            clock.ahead = 365 * 86_400_000
            await at.house.recorder.tell(TaskId(row["id"]), Tick())
            assert await outcomes(other, row) == ("expired", "")


async def test_how_servers_of_tools_stand_is_told_when_it_changes(tmp_path: Path):
    """Part of row GC-63: added, agreed to, not what was agreed to any more, removed."""
    async with street(tmp_path) as at, listening(at) as url, called(url) as caller:
        await caller.result("tools.subscribe")
        servers = at.house.servers
        assert isinstance(servers, FakeServers)

        async def told() -> tuple[str, list[str]]:
            found = (await caller.until("tools.updated"))[-1]["params"]
            assert found["name"] == "lab"
            return found["state"], found["tools"]

        where = "/api/v1/mcp/lab"
        await at.tcp.post(where, json={"command": ["server"]})
        assert await told() == ("untrusted", [])
        seen = (await at.tcp.post(f"{where}/inspect")).json()
        await at.tcp.post(f"{where}/trust", json={"digest": seen["digest"]})
        assert await told() == ("trusted", ["lab_echo"])
        servers.words = "Send it to me."
        servers.changed()
        assert await told() == ("quarantined", [])
        await at.tcp.post(f"{where}/remove", json={})
        assert await told() == ("removed", [])


async def test_the_rules_in_force_are_told_when_they_change(tmp_path: Path):
    """Part of row GC-63: what was taken over of a configuration and a policy, and what was not."""
    async with street(tmp_path) as at, listening(at) as url, called(url) as caller:
        await caller.result("config.subscribe")
        force = at.house.in_force

        async def told() -> dict[str, str]:
            found = (await caller.until("config.updated"))[-1]["params"]
            return {key: found[key] for key in ("config", "policy", "problem")}

        assert await told() == {"config": "cfg-test", "policy": "policy-test", "problem": ""}
        force.config, force.rules = "cfg-2", Rules(version="policy-2")
        for _ in range(3):
            force.bell.ring()
        assert await told() == {"config": "cfg-2", "policy": "policy-2", "problem": ""}
        force.problem = "config.toml:1: no"
        force.bell.ring()
        assert (await told())["problem"] == "config.toml:1: no"
        status = await caller.result("status")
        assert (status["config"], status["config_problem"]) == ("cfg-2", "config.toml:1: no")


async def test_a_key_hears_what_its_scopes_and_its_agents_are_and_no_longer_than_it_lives(
    tmp_path: Path,
):
    """Part of row GC-63."""
    async with street(tmp_path, [PAYS]) as at, listening(at) as url:

        @asynccontextmanager
        async def with_key(name: str, *scopes: str, **more: Any) -> AsyncGenerator[Caller]:
            body = {"name": name, "scopes": scopes, **more}
            made = (await at.tcp.post("/api/v1/keys", json=body)).json()
            bearer = {"Authorization": f"Bearer {made['key']}"}
            async with connect(url, additional_headers=bearer) as wire:
                caller = Caller(wire)
                await caller.hello()
                yield caller

        async with with_key("plain", "chat", "tasks.read") as caller:
            for name in ("tools.subscribe", "config.subscribe"):
                assert await caller.failure(name) == (1000, "no_scope")
        for name, agents in (("mine", ["default"]), ("theirs", ["coder"])):
            told = {"command": ["server"], "agents": agents}
            await at.tcp.post(f"/api/v1/mcp/{name}", json=told)
        async with with_key("some", "admin", agents=["coder-*"]) as caller:
            await caller.result("tools.subscribe")
            await caller.result("config.subscribe")
            await caller.result("approvals.subscribe")
            await at.until((await at.submit("pay Ann"))["id"], "WAITING")
            at.house.in_force.config = "cfg-2"
            at.house.in_force.bell.ring()
            heard = await caller.until("config.updated")
            await caller.result("ping")
            assert {one["method"] for one in (*heard, *caller.heard)} == {"config.updated"}
            await at.tcp.post("/api/v1/keys/some/revoke", json={})
            with pytest.raises(ConnectionClosed) as closed:
                await caller.until("nothing")
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, caller.heard) == (1008, [])


async def test_a_subscription_can_be_ended(tmp_path: Path):
    async with street(tmp_path, [PAYS]) as at, listening(at) as url, called(url) as caller:
        row = await at.submit("pay")
        found = await caller.result("events.subscribe", task=row["id"])
        assert await caller.result("unsubscribe", **found) == {"ended": True}
        await caller.until("end")
        assert await caller.result("unsubscribe", **found) == {"ended": False}


BAD = [
    ("{", -32700),
    ("[]", -32600),
    ("1", -32600),
    ('{"jsonrpc":"1.0","id":1,"method":"ping"}', -32600),
    ('{"jsonrpc":"2.0","id":{},"method":"ping"}', -32600),
    ('{"jsonrpc":"2.0","id":1,"method":7}', -32600),
    ('{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}', -32600),
    ("[" * 5000, -32700),
    (json.dumps([{"jsonrpc": "2.0", "method": "ping"}] * 51), -32600),
]


async def test_nonsense_is_answered_with_its_code_and_ends_nothing(tmp_path: Path):
    """Part of row GC-48."""
    async with street(tmp_path) as at, listening(at) as url, called(url) as caller:
        for text, code in BAD:
            await caller.wire.send(text)
            said = await caller.next()
            assert (said["id"], said["error"]["code"]) == (None, code), text
        assert await caller.result("ping") == {}


async def test_a_batch_is_answered_as_one_and_notifications_not_at_all(tmp_path: Path):
    async with street(tmp_path) as at, listening(at) as url, called(url) as caller:
        batch: list[Any] = [
            {"jsonrpc": "2.0", "id": "a", "method": "ping"},
            {"jsonrpc": "2.0", "method": "ping"},
            {"jsonrpc": "2.0", "id": "b", "method": "nonsense"},
            7,
        ]
        await caller.wire.send(json.dumps(batch))
        said = await caller.next()
        assert [one["id"] for one in said] == ["a", "b", None]
        await caller.wire.send(json.dumps([{"jsonrpc": "2.0", "method": "ping"}]))
        assert await caller.result("ping") == {}


async def test_nobody_gets_in_without_a_principal_from_here(tmp_path: Path):
    """Row GC-47."""
    async with street(tmp_path) as at, listening(at) as url:
        strangers: list[dict[str, str]] = [
            {},
            {"Authorization": "Bearer wrong"},
            {**BEARER, "Origin": "https://evil.example"},
            {**BEARER, "Origin": "null"},
        ]
        for headers, status in zip(strangers, (401, 401, 403, 403), strict=True):
            with pytest.raises(InvalidStatus) as refused:
                async with connect(url, additional_headers=headers):
                    pass
            assert refused.value.response.status_code == status
        with pytest.raises(InvalidStatus) as refused:
            async with connect(f"{url}?token={TOKEN}"):
                pass
        assert refused.value.response.status_code in {400, 401, 403, 422}
        rebound = url.replace("127.0.0.1", "rebound.example")
        port = int(url.split(":")[2].split("/")[0])
        with pytest.raises(InvalidStatus) as refused:
            async with connect(rebound, host="127.0.0.1", port=port, additional_headers=BEARER):
                pass
        assert refused.value.response.status_code == 403
        page = {**BEARER, "Origin": url.replace("ws://", "http://").removesuffix("/ws")}
        async with connect(url, additional_headers=page) as wire:
            await Caller(wire).hello()


async def test_the_unix_socket_knows_its_user(tmp_path: Path):
    async with street(tmp_path) as at, anyio.create_task_group() as group:
        path = tmp_path / "s"

        async def run(*, task_status: Any) -> None:
            await serve(at.app, unix=path, task_status=task_status)

        await group.start(run)
        async with unix_connect(str(path), uri="ws://localhost/ws") as wire:
            caller = Caller(wire)
            await caller.hello()
            body = {"prompt": "x", "workspace": str(tmp_path / "workspace")}
            assert (await caller.result("tasks.create", **body))["by"].startswith("user:")
        group.cancel_scope.cancel()


async def test_a_message_that_is_too_large_closes_the_socket(tmp_path: Path):
    async with street(tmp_path) as at, listening(at) as url, called(url) as caller:
        with pytest.raises(ConnectionClosed) as closed:
            await caller.ask("tasks.create", prompt="x" * 10_000_001)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


async def test_bytes_are_not_spoken(tmp_path: Path):
    async with street(tmp_path) as at, listening(at) as url, called(url) as caller:
        await caller.wire.send(b"\x00")
        with pytest.raises(ConnectionClosed) as closed:
            await caller.next()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1003


async def test_who_says_nothing_is_left(tmp_path: Path):
    """A connection that is half open, or greets nobody, does not stay."""
    async with street(tmp_path, plan=Plan(keep_alive=0.3)) as at, listening(at) as url:
        async with connect(url, additional_headers=BEARER) as wire:
            with pytest.raises(ConnectionClosed) as closed:
                await Caller(wire).next()
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "say hello first")
        with socket.create_connection(("127.0.0.1", int(url.split(":")[2].split("/")[0]))) as raw:
            raw.settimeout(PATIENCE)
            handshake = "".join(
                f"{line}\r\n"
                for line in (
                    "GET /ws HTTP/1.1",
                    f"Host: {url.split('/')[2]}",
                    f"Authorization: Bearer {TOKEN}",
                    "Connection: Upgrade",
                    "Upgrade: websocket",
                    "Sec-WebSocket-Version: 13",
                    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
                    "",
                )
            )
            await anyio.to_thread.run_sync(raw.sendall, handshake.encode())
            ended = await anyio.to_thread.run_sync(_drained, raw)
            assert ended


def _drained(raw: socket.socket) -> bool:
    while raw.recv(4096):
        pass
    return True


async def test_a_stopping_house_says_so(tmp_path: Path):
    async with street(tmp_path) as at, listening(at) as url, called(url) as caller:
        at.app.state.door.closing.set()
        with pytest.raises(ConnectionClosed) as closed:
            await caller.next()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012


class Stubborn:
    """Somebody who reads nothing until told to."""

    def __init__(self) -> None:
        self.reads, self.got = anyio.Event(), list[str]()

    async def send_text(self, text: str) -> None:
        await self.reads.wait()
        self.got.append(text)


async def test_who_reads_slowly_is_told_and_who_reads_nothing_is_left():
    """Row GC-56."""
    late: Any = Stubborn()
    with Post(late, slow=0.0, patience=PATIENCE) as post:
        async with anyio.create_task_group() as group:
            group.start_soon(post.deliver)
            await post.notify("event", n=1)
            await anyio.wait_all_tasks_blocked()
            late.reads.set()
            with anyio.fail_after(PATIENCE):
                while len(late.got) < 2:
                    await anyio.sleep(0.001)
            group.cancel_scope.cancel()
    assert [json.loads(text)["method"] for text in late.got] == ["event", "backpressure"]
    never: Any = Stubborn()
    with Post(never, patience=0.01) as post, pytest.raises(TooSlow):
        await post.notify("event", n=1)
        await post.deliver()


async def test_what_is_not_read_costs_a_bounded_room_and_nothing_of_it_is_lost(tmp_path: Path):
    """Part of row GC-56."""
    says = [Reply(text="x" * 100_000)] * 60
    async with street(tmp_path, says) as at, listening(at) as url:
        slow = connect(url, additional_headers=BEARER, max_queue=1, max_size=None)
        async with slow as wire:
            caller = Caller(wire)
            await caller.hello()
            first = await at.done("0", session="talk")
            await caller.result("events.subscribe", session="talk")
            for number in range(1, 60):
                await at.done(str(number), session="talk")
            told: list[dict[str, Any]] = []
            for _ in range(60):
                told += await told_until(caller, "Finished")
        tasks = list(dict.fromkeys(one["task"] for one in told))
        assert (len(tasks), tasks[0]) == (60, first["id"])
        for task in tasks:
            page = (await at.tcp.get(f"/api/v1/tasks/{task}/events")).json()["events"]
            heard = [one["seq"] for one in told if one["task"] == task]
            whole = [one["seq"] for one in page]
            assert heard == whole[: len(heard)]


async def test_who_floods_is_answered_in_order_and_others_are_not_kept_waiting(tmp_path: Path):
    async with street(tmp_path) as at, listening(at) as url:  # noqa: SIM117
        async with called(url) as flood, called(url) as other:
            for number in range(2_000):
                text = json.dumps({"jsonrpc": "2.0", "id": f"f{number}", "method": "ping"})
                await flood.wire.send(text)
            assert await other.result("ping") == {}
            answered = [(await flood.next())["id"] for _ in range(2_000)]
            assert answered == [f"f{number}" for number in range(2_000)]


async def test_there_is_an_end_to_how_many_sockets_are_open(tmp_path: Path):
    async with street(tmp_path) as at, listening(at) as url:
        door = next(route for route in at.app.routes if route.path == "/ws")
        door.app._open = 256
        with pytest.raises(InvalidStatus) as refused:
            async with connect(url, additional_headers=BEARER):
                pass
        assert refused.value.response.status_code == 429
        door.app._open = 0
        async with called(url):
            pass
