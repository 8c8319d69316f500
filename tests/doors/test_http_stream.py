"""Following a task: complete, in order, resumable, and never at anybody's expense."""

import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import httpx2
import pytest

from holdfast.core.context import Prompt
from holdfast.core.ids import TaskId
from holdfast.core.message import Reply
from holdfast.doors.http.serve import serve
from holdfast.ports.model import Delta
from holdfast.runtime import tasks
from tests.doors.house import PAYS, Plan, Street, street

pytestmark = pytest.mark.anyio

HELLO = Reply(text="hello")


@pytest.fixture(params=[True, False], ids=["uvloop", "asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


class Heard(NamedTuple):
    """One event of a stream; a comment has kind ":"."""

    kind: str
    data: Any
    id: str = ""


@asynccontextmanager
async def listening(at: Street, home: Path) -> AsyncGenerator[httpx2.AsyncClient]:
    """The street's app on a real socket."""
    socket = home / "run" / "s.sock"
    transport = httpx2.AsyncHTTPTransport(uds=str(socket))
    async with anyio.create_task_group() as group:

        async def served(*, task_status: Any) -> None:
            await serve(at.app, unix=socket, task_status=task_status)

        await group.start(served)
        async with httpx2.AsyncClient(transport=transport, base_url="http://holdfast") as client:
            yield client
        group.cancel_scope.cancel()


async def heard(answer: httpx2.Response) -> AsyncIterator[Heard]:
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line.startswith(":"):
            yield Heard(":", line)
        elif line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields:
            if "event" in fields:
                yield Heard(fields["event"], json.loads(fields["data"]), fields.get("id", ""))
            fields = {}


async def follow(client: httpx2.AsyncClient, task: str, **headers: str) -> list[Heard]:
    """Everything until the end."""
    accept = {"Accept": "text/event-stream", **headers}
    with anyio.fail_after(10):
        async with client.stream("GET", f"/api/v1/tasks/{task}/events", headers=accept) as answer:
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            return [item async for item in heard(answer)]


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(5):
        while not condition():
            await anyio.sleep(0.005)


async def test_a_half_answer_is_void_before_the_next_one_comes(tmp_path: Path):
    """Part of row OL-33."""

    watched: list[Callable[[], bool]] = []

    async def turn(_: Prompt, hear: Callable[[Delta], None]) -> Reply:
        await until(lambda: bool(watched) and watched[0]())
        hear(Delta(text="hel"))
        await anyio.sleep(0.1)
        hear(Delta(text="lo you"))
        hear(Delta(reset=True, model="b/2"))
        hear(Delta(text="hello"))
        return HELLO

    async with street(tmp_path, turn) as at, listening(at, tmp_path) as client:
        row = await at.submit()
        watched.append(lambda: at.house.live.watched(TaskId(row["id"])))
        told = await follow(client, row["id"])
        deltas = [item.data for item in told if item.kind == "delta"]
        assert "".join(one.get("text", "") for one in deltas[:-2]).startswith("hel")
        assert deltas[-2:] == [{"reset": "b/2"}, {"text": "hello"}]


async def test_a_stream_tells_everything_in_order_and_ends_with_the_summary(tmp_path: Path):
    """Row GC-72."""
    async with street(tmp_path, [HELLO]) as at, listening(at, tmp_path) as client:
        row = await at.done()
        told = await follow(client, row["id"])
        kinds = [item.kind for item in told]
        assert kinds == ["Submitted", "Claimed", "Started", "Replied", "Finished", "end"]
        assert [item.id for item in told[:-1]] == ["1", "2", "3", "4", "5"]
        page = (await at.tcp.get(f"/api/v1/tasks/{row['id']}/events")).json()
        assert [item.data for item in told[:-1]] == page["events"]
        assert told[-1].data == (await at.tcp.get(f"/api/v1/tasks/{row['id']}")).json()


async def test_a_stream_that_breaks_is_taken_up_where_it_broke(tmp_path: Path):
    """Row OC-69."""
    plan = Plan(keep_alive=0.05)
    async with street(tmp_path, [PAYS, HELLO], plan=plan) as at, listening(at, tmp_path) as client:
        row = await at.submit("pay Ann")
        path, seen = f"/api/v1/tasks/{row['id']}", list[Heard]()
        async with client.stream("GET", f"{path}/events?follow=true") as answer:
            async for item in heard(answer):
                seen.append(item)
                if item.kind == ":":
                    break  # all is quiet: the task waits, and the heartbeat shows the line is up
        question = (await at.until(row["id"], "WAITING"))["questions"][0]
        approve = f"{path}/calls/{question['call']}/approve"
        await at.tcp.post(approve, json={"digest": question["digest"]})
        events = [item for item in seen if item.id]
        rest = await follow(client, row["id"], **{"Last-Event-ID": events[-1].id})
        told = [item.data for item in events + [item for item in rest if item.id]]
        assert [one["seq"] for one in told] == list(range(1, len(told) + 1))
        assert told == (await at.tcp.get(f"{path}/events")).json()["events"]
        assert (rest[-1].kind, rest[-1].data["status"]) == ("end", "SUCCEEDED")


@pytest.mark.parametrize("odd", ["x", "-1", "9" * 30])
async def test_an_odd_last_event_id_is_refused(tmp_path: Path, odd: str):
    async with street(tmp_path, [HELLO]) as at:
        row = await at.done()
        headers = {"Accept": "text/event-stream", "Last-Event-ID": odd}
        answer = await at.tcp.get(f"/api/v1/tasks/{row['id']}/events", headers=headers)
        assert answer.status_code == 422


async def test_a_stream_of_no_task_is_an_error_and_no_stream(tmp_path: Path):
    async with street(tmp_path) as at:
        headers = {"Accept": "text/event-stream"}
        answer = await at.tcp.get("/api/v1/tasks/task_nothing/events", headers=headers)
        assert answer.status_code == 404
        assert answer.json()["code"] == "task_not_found"


async def test_pieces_of_a_reply_are_gathered_and_lose_nothing(tmp_path: Path):
    begun, go = anyio.Event(), anyio.Event()

    async def turn(prompt: Prompt, hear: Callable[[Delta], None]) -> Reply:
        begun.set()
        await go.wait()
        hear(Delta(thought="hm"))
        for number in range(200):
            hear(Delta(text=f"{number} "))
            await anyio.sleep(0.001)
        hear(Delta(call="pay"))
        hear(Delta(call="pay"))
        return HELLO

    async with street(tmp_path, turn) as at, listening(at, tmp_path) as client:
        row = await at.submit()
        await begun.wait()
        told: list[Heard] = []
        start = anyio.current_time()
        async with anyio.create_task_group() as group:

            async def read() -> None:
                told.extend(await follow(client, row["id"]))

            group.start_soon(read)
            await until(lambda: at.house.live.watched(TaskId(row["id"])))
            go.set()
        seconds = anyio.current_time() - start
        deltas = [item.data for item in told if item.kind == "delta"]
        assert "".join(one.get("text", "") for one in deltas) == "".join(
            f"{n} " for n in range(200)
        )
        assert "".join(one.get("thought", "") for one in deltas) == "hm"
        assert [one["call"] for one in deltas if "call" in one] == ["pay", "pay"]
        assert len([one for one in deltas if "text" in one]) <= 20 * seconds + 2
        kinds = [item.kind for item in told]
        assert kinds.index("delta") < kinds.index("Replied")


async def test_silence_is_filled_with_comments(tmp_path: Path):
    async with (
        street(tmp_path, [PAYS], plan=Plan(keep_alive=0.02)) as at,
        listening(at, tmp_path) as client,
    ):
        row = await at.submit()
        await at.until(row["id"], "WAITING")
        comments = 0
        with anyio.fail_after(5):
            path = f"/api/v1/tasks/{row['id']}/events?follow=true"
            async with client.stream("GET", path) as answer:
                async for item in heard(answer):
                    comments += item.kind == ":"
                    if comments == 3:
                        break


async def test_a_reader_that_goes_leaves_nobody_watching(tmp_path: Path):
    async with street(tmp_path, [PAYS]) as at, listening(at, tmp_path) as client:
        row = await at.submit()
        task = TaskId(row["id"])
        await at.until(row["id"], "WAITING")
        async with client.stream("GET", f"/api/v1/tasks/{task}/events?follow=true") as answer:
            async for item in heard(answer):
                if item.kind == "Released":
                    break
            assert at.house.live.watched(task)
        await until(lambda: not at.house.live.watched(task))


async def test_a_reader_that_does_not_read_delays_nobody_and_still_gets_every_event(
    tmp_path: Path,
):
    begun, go = anyio.Event(), anyio.Event()

    async def turn(prompt: Prompt, hear: Callable[[Delta], None]) -> Reply:
        begun.set()
        await go.wait()
        for _ in range(3000):
            hear(Delta(text="x" * 10_000))
            await anyio.sleep(0)
        return HELLO

    async with street(tmp_path, turn) as at, listening(at, tmp_path) as client:
        row = await at.submit()
        await begun.wait()
        path = f"/api/v1/tasks/{row['id']}/events?follow=true"
        async with client.stream("GET", path) as answer:
            await until(lambda: at.house.live.watched(TaskId(row["id"])))
            go.set()
            assert (await at.until(row["id"], "SUCCEEDED"))["answer"] == "hello"
            with anyio.fail_after(10):
                told = [item async for item in heard(answer) if item.kind != "delta"]
        assert [item.kind for item in told][-2:] == ["Finished", "end"]
        assert [item.id for item in told[:-1]] == ["1", "2", "3", "4", "5"]


async def test_a_stop_ends_open_streams_at_once(tmp_path: Path):
    started, ended = 0.0, list[float]()
    async with street(tmp_path, [PAYS]) as at:
        row = await at.submit()
        await at.until(row["id"], "WAITING")
        async with anyio.create_task_group() as group:

            async def read(client: httpx2.AsyncClient) -> None:
                path = f"/api/v1/tasks/{row['id']}/events?follow=true"
                async with client.stream("GET", path) as answer:
                    kinds = [item.kind async for item in heard(answer)]
                assert "end" not in kinds
                ended.append(anyio.current_time())

            async with listening(at, tmp_path) as client:
                group.start_soon(read, client)
                await until(lambda: at.house.live.watched(TaskId(row["id"])))
                started = anyio.current_time()
                at.app.state.door.closing.set()
                await until(lambda: bool(ended))
        assert ended[0] - started < 1
        assert not at.house.live.watched(TaskId(row["id"]))


async def test_serving_ends_while_a_reader_hangs(tmp_path: Path):
    async def turn(prompt: Prompt, hear: Callable[[Delta], None]) -> Reply:
        while True:
            hear(Delta(text="x" * 100_000))
            await anyio.sleep(0)

    async with street(tmp_path, turn) as at:
        row = await at.submit()
        await at.until(row["id"], "RUNNING")
        async with listening(at, tmp_path):
            stream = await anyio.connect_unix(str(tmp_path / "run" / "s.sock"))
            path = f"/api/v1/tasks/{row['id']}/events?follow=true"
            await stream.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            await until(lambda: at.house.live.watched(TaskId(row["id"])))
            await anyio.sleep(0.2)  # its buffers fill up
            started = anyio.current_time()
        assert anyio.current_time() - started < 4
        await stream.aclose()
        assert not at.house.live.watched(TaskId(row["id"]))


async def test_a_thousand_events_are_repeated_within_half_a_second_of_work(tmp_path: Path):
    """Work of the processor, of both sides together: how busy the machine is does not count."""

    async def never(prompt: Prompt, hear: Callable[[Delta], None]) -> Reply:
        await anyio.sleep_forever()
        raise AssertionError

    async with street(tmp_path, never) as at, listening(at, tmp_path) as client:
        row = await at.submit()
        for number in range(1_000):
            await tasks.say(at.house, TaskId(row["id"]), f"and {number}", by="me")
        seen = list[int]()
        began = time.process_time()
        async with client.stream("GET", f"/api/v1/tasks/{row['id']}/events?follow=1") as answer:
            async for item in heard(answer):
                if item.id:
                    seen.append(int(item.id))
                if len(seen) >= 1_000:
                    break
        assert time.process_time() - began < 0.5
        assert seen == list(range(1, 1_001))
