"""Servers of tools that pretend: each has one tool, and is what was agreed to until told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from holdfast.core.error import Invalid, NotAllowed, NotFound, Refused, Unavailable
from holdfast.core.gate.servers import problems
from holdfast.core.ids import digest
from holdfast.core.mcp import ServerSpec
from holdfast.core.message import EffectClass
from holdfast.ports.mcp import (
    Inspection,
    ServerLogin,
    ServerQuestion,
    ServerRemark,
    ServerState,
    ServerTool,
)


class FakeLogins:
    """Implements `ports.ServerLogins`: who brings back `ok` is logged in."""

    def __init__(self, find: Callable[[str], ServerSpec]) -> None:
        self._find = find
        self._in: dict[str, ServerLogin] = {}

    async def all(self) -> Sequence[ServerLogin]:
        return [self._in[name] for name in sorted(self._in)]

    async def begin(self, name: str, redirect: str = "") -> ServerLogin:
        if not self._find(name).url:
            raise Invalid(f"{name} is a command", code="no_login")
        where = redirect or "http://127.0.0.1:7898/callback"
        url = f"https://issuer.example/authorize?redirect_uri={where}"
        return ServerLogin(server=name, state="begun", attempt=name, url=url, redirect=where)

    async def finish(self, attempt: str, answer: str) -> ServerLogin:
        if not answer.endswith("code=ok"):
            raise NotAllowed("its state is another", code="mcp_login_failed")
        issuer = "https://issuer.example"
        self._in[attempt] = ServerLogin(server=attempt, state="in", issuer=issuer, scopes=("read",))
        return self._in[attempt]

    async def forget(self, name: str, *, local_only: bool) -> bool:
        self._find(name)
        return self._in.pop(name, None) is not None and not local_only


class FakeServers:
    """Implements `ports.ToolServers`. `words` is what every server says of its tool; those that are
    `broken` do not come up, with these words; `changed` is called when something about them is
    another."""

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        self.words, self.changed = "Say it back.", changed
        self.broken: dict[str, str] = {}
        self.asked: dict[str, ServerQuestion] = {}
        self.said: list[ServerRemark] = []
        self.answers: dict[str, Mapping[str, Any] | None] = {}
        self.logins = FakeLogins(self._spec)
        self._specs: dict[str, ServerSpec] = {}
        self._trusted: dict[str, str] = {}

    def all(self) -> Sequence[ServerState]:
        return [self._state(name) for name in sorted(self._specs)]

    def tools(self, name: str) -> Sequence[ServerTool]:
        return self._tools(name) if self._spec(name).name in self._trusted else ()

    async def inspect(self, name: str) -> Inspection:
        self._spec(name)
        if name in self.broken:
            raise Unavailable(self.broken[name], hint=f"holdfast mcp test {name}")
        seen, agreed = digest(self.words), self._trusted.get(name)
        return Inspection(
            name=name,
            title="fake",
            version="1",
            protocol="2025-11-25",
            milliseconds=1,
            tools=tuple(self._tools(name)),
            digest=seen,
            trusted=agreed == seen,
            changes=("echo: its description changed",) if agreed not in (None, seen) else (),
        )

    async def trust(self, name: str, digest: str) -> ServerState:
        if digest != (await self.inspect(name)).digest:
            raise Refused(f"{name} is not what was shown any more", code="mcp_not_seen")
        self._trusted[name] = digest
        self.changed()
        return self._state(name)

    async def add(self, spec: ServerSpec) -> ServerState:
        if wrong := list(problems(spec)):
            raise Invalid("; ".join(wrong), code="bad_server")
        if spec.name in self._specs:
            raise Refused(f"there is a server {spec.name} already", code="mcp_exists")
        self._specs[spec.name] = spec
        self.changed()
        return self._state(spec.name)

    async def remove(self, name: str) -> None:
        self._spec(name)
        del self._specs[name]
        self._trusted.pop(name, None)
        self.changed()

    def remarks(self, name: str) -> Sequence[ServerRemark]:
        self._spec(name)
        return tuple(self.said)

    async def ask(self, name: str, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        self._spec(name)
        return {"asked": method, **params}

    def questions(self) -> Sequence[ServerQuestion]:
        return list(self.asked.values())

    def answer(self, question: str, content: Mapping[str, Any] | None) -> ServerQuestion:
        if question not in self.asked:
            raise NotFound(f"nobody asks {question}", code="no_question")
        self.answers[question] = content
        return self.asked.pop(question)

    def _spec(self, name: str) -> ServerSpec:
        if name not in self._specs:
            raise NotFound(f"there is no server {name}", code="mcp_server_not_found")
        return self._specs[name]

    def _tools(self, name: str) -> list[ServerTool]:
        writes = EffectClass.WRITES
        return [ServerTool(name="echo", tool=f"{name}_echo", effect=writes, description=self.words)]

    def _state(self, name: str) -> ServerState:
        spec = self._specs[name]
        state = ServerState(
            name=name,
            kind="url" if spec.url else "command",
            where=spec.url or " ".join(spec.command),
            state="untrusted",
            source="added",
            agents=spec.agents,
        )
        if (agreed := self._trusted.get(name)) is None:
            return state
        same = agreed == digest(self.words)
        return replace(state, state="trusted" if same else "quarantined", tools=1)
