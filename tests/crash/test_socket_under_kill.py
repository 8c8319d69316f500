"""A client at the WebSocket that comes back after every kill sees every event once, in order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest
from websockets.asyncio.client import unix_connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from holdfast.testing.daemon import Daemon, stage, use_model
from holdfast.testing.model_server import ModelServer, Reply, ScriptedCall

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
TASKS = 6
PATIENCE = 120
_AWAY = (ConnectionClosed, InvalidHandshake, InvalidMessage, OSError, EOFError)


class Watching:
    """Follows one session through every break."""

    def __init__(self, home: Path) -> None:
        self._path = str(home / "run" / "holdfast.sock")
        self.seen: list[tuple[str, int, str]] = []
        self.cursor = ""
        self.breaks = 0
        self.moved = anyio.Event()

    async def follow(self) -> None:
        while True:
            try:
                await self._once()
            except _AWAY:
                self.breaks += 1
                await anyio.sleep(0.01)

    async def _once(self) -> None:
        async with unix_connect(self._path, uri="ws://localhost/ws", open_timeout=5) as wire:
            await self._say(wire, 1, "hello", {})
            after = {"after": self.cursor} if self.cursor else {}
            await self._say(wire, 2, "events.subscribe", {"session": "talk", **after})
            while True:
                said = json.loads(await wire.recv())
                assert "error" not in said, said
                if said.get("method") == "event":
                    one = said["params"]
                    self.seen.append((one["task"], one["seq"], one["kind"]))
                    self.cursor = one["cursor"]
                    self.moved.set()

    async def _say(self, wire: Any, number: int, method: str, params: dict[str, Any]) -> None:
        request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        await wire.send(json.dumps(request))

    @property
    def ends(self) -> int:
        return sum(kind == "Finished" for _, _, kind in self.seen)


async def test_every_event_of_a_session_is_seen_once_and_in_order_through_kills() -> None:
    """Part of row GC-55."""
    call = ScriptedCall(name="write", arguments={"path": "a.txt", "content": "a"})
    script = [reply for _ in range(3 * TASKS) for reply in (Reply(calls=(call,)), Reply(text="ok"))]
    with stage("ws") as path, ModelServer(script) as model, Daemon(path / "home") as daemon:
        work = path / "work"
        work.mkdir()
        use_model(daemon.home, model.url)
        await anyio.to_thread.run_sync(daemon.start)
        tasks = [daemon.submit(f"task {n}", work, session="talk") for n in range(TASKS)]
        watching = Watching(daemon.home)
        last: list[tuple[str, int, str]] = []
        async with anyio.create_task_group() as group:
            group.start_soon(watching.follow)
            with anyio.fail_after(PATIENCE):
                while watching.ends < TASKS:
                    watching.moved = anyio.Event()
                    with anyio.move_on_after(0.5):
                        await watching.moved.wait()
                    if daemon.lives < TASKS and watching.ends >= daemon.lives - 1:
                        daemon.kill()
                        await anyio.to_thread.run_sync(daemon.start)
            last = await anyio.to_thread.run_sync(_events, daemon, tasks)
            with anyio.fail_after(PATIENCE):
                while len(watching.seen) < len(last):
                    await anyio.sleep(0.01)
            group.cancel_scope.cancel()
        assert watching.breaks >= TASKS - 2
        assert watching.seen == last


def _events(daemon: Daemon, tasks: list[str]) -> list[tuple[str, int, str]]:
    found: list[tuple[str, int, str]] = []
    for task in tasks:
        page = daemon.get(f"/api/v1/tasks/{task}/events?limit=5000")
        found += [(task, one["seq"], one["kind"]) for one in page["events"]]
    return found
