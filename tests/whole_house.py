"""A whole house as the assembly builds it, in this process: only its model is a function."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import anyio
import httpx2
from msgspec.structs import replace
from starlette.types import Receive, Scope, Send

from holdfast.adapters.models.catalog import Catalog
from holdfast.adapters.models.connections import SavedConnections
from holdfast.adapters.models.scripted import OneModel, ScriptedModel, tell
from holdfast.adapters.models.settings import ModelsConfig
from holdfast.adapters.vaults.opening import Opened, open_vault
from holdfast.assembly.home import SOCKET, VAULT, prepare
from holdfast.assembly.house import Given, open_house
from holdfast.config import load
from holdfast.core.context import Prompt
from holdfast.core.event import Event
from holdfast.core.ids import TaskId
from holdfast.core.message import Reply
from holdfast.core.task import Task
from holdfast.core.view import questions
from holdfast.doors.http.app import create_app
from holdfast.doors.http.auth import PEER
from holdfast.doors.http.route import Facts
from holdfast.doors.http.serve import serve
from holdfast.engine.clock import SystemClock
from holdfast.ports.model import Delta, ModelFailure, ToolSpec
from holdfast.runtime.house import House

TOKEN = "a-token-for-a-whole-house"
PATIENCE = 400.0
Says = Callable[[Prompt], Reply | ModelFailure | None]
"""A model's turn; for None it thinks for ever."""


class Thinker(ScriptedModel):
    """A scripted model that may have nothing to say."""

    def __init__(self, says: Says) -> None:
        super().__init__(())
        self._says = says

    async def ask(
        self, prompt: Prompt, tools: tuple[ToolSpec, ...], hear: Callable[[Delta], None]
    ) -> Reply:
        said = self._says(prompt)
        if said is None:
            await anyio.sleep_forever()
        if isinstance(said, ModelFailure):
            raise said
        assert said is not None
        reply = replace(said, usage=replace(said.usage, cost=0), model=self.name)
        tell(reply, hear)
        return reply


class Scripted(Catalog):
    """A catalogue of no providers, but for one model that is a function."""

    def __init__(self, told: ModelsConfig, says: Says) -> None:
        super().__init__(told)
        self._only = OneModel(Thinker(says))
        self.find, self.answer = self._only.find, self._only.answer


@dataclass(kw_only=True)
class Inhabited:
    """The house at work, its secrets, and clients at its doors: a token's, and the local one."""

    house: House
    kept: Opened
    tcp: httpx2.AsyncClient
    local: httpx2.AsyncClient

    async def submit(self, prompt: str, **more: Any) -> str:
        answer = await self.tcp.post("/api/v1/tasks", json={"prompt": prompt, **more})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    async def when(self, task: str, true: Callable[[Task], bool]) -> dict[str, Any]:
        """The row of a task once `true` of it. Fails after a while."""
        seen, recorder = TaskId(task), self.house.recorder
        with anyio.move_on_after(PATIENCE) as limit:
            while not true(await recorder.load(seen)):
                bell = recorder.stream(seen).bell
                if not true(recorder.stream(seen).task):
                    await bell.wait()
        task_now = recorder.stream(seen).task
        assert not limit.cancelled_caught, (
            task_now.status,
            task_now.calls,
            task_now.transcript[-2:],
        )
        return cast("dict[str, Any]", (await self.tcp.get(f"/api/v1/tasks/{task}")).json())

    async def until(self, task: str, *statuses: str) -> dict[str, Any]:
        return await self.when(task, lambda one: one.status in statuses)

    async def asks_or_ends(self, task: str) -> dict[str, Any]:
        return await self.when(task, lambda one: one.ended or bool(questions(one)))

    async def ended(self, task: str) -> dict[str, Any]:
        return await self.until(task, "SUCCEEDED", "FAILED", "CANCELED", "DEAD_LETTER")

    async def events(self, task: str) -> list[Event]:
        return [one.event for one in await self.house.journal.read(TaskId(task))]


@asynccontextmanager
async def inhabited(
    home: Path, says: Says, config: str = "", environment: Mapping[str, str] | None = None
) -> AsyncGenerator[Inhabited]:
    """The house of `home`, at work. `config` is its `config.toml`."""
    token = prepare(home)
    (home / "config.toml").write_text(config, encoding="utf-8")
    (home / "config.toml").chmod(0o600)
    around = {"HOLDFAST_HOME": str(home), **(environment or {})}
    loaded, now = load(environment=around), SystemClock().now
    kept = open_vault(home / VAULT, passphrase="", now=now, others=[("token", token)])
    catalog = Scripted(ModelsConfig(vault=kept.house, probe=False), says)
    linked = SavedConnections(catalog, kept.house)
    given = Given(config=loaded, environment=around, catalog=catalog, connections=linked, kept=kept)
    async with open_house(given) as house, anyio.create_task_group() as group:
        await group.start(house.supervisor.run)
        group.start_soon(house.boxes.run)
        facts = Facts(lanes=16, model=lambda: "scripted/script")
        app = create_app(house, token=TOKEN, stop=lambda: None, facts=facts)
        await group.start(partial(serve, app, unix=home / SOCKET, host="127.0.0.1", port=None))
        here = partial(_as_peer, app)
        async with _client(app, TOKEN) as tcp, _client(here, "") as local:
            yield Inhabited(house=house, kept=kept, tcp=tcp, local=local)
        group.cancel_scope.cancel()


async def _as_peer(app: Any, scope: Scope, receive: Receive, send: Send) -> None:
    await app({**scope, "state": {PEER: os.getuid()}}, receive, send)


def _client(app: Any, token: str) -> httpx2.AsyncClient:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    transport = httpx2.ASGITransport(app)
    return httpx2.AsyncClient(
        transport=transport, base_url="http://127.0.0.1:7799", headers=headers
    )
