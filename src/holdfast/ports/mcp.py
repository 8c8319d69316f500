"""Servers of the Model Context Protocol: strangers whose tools may be used once a person agreed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from msgspec import Struct

from holdfast.core.ids import Instant
from holdfast.core.mcp import ServerSpec
from holdfast.core.message import EffectClass


class ServerTool(Struct, frozen=True, kw_only=True):
    """A tool of a server: as it calls it, as agents do, what a second run would do (our word), and
    what the server says of it."""

    name: str
    tool: str
    effect: EffectClass
    description: str = ""
    offered: bool = True


class ServerState(Struct, frozen=True, kw_only=True):
    """How a server is. Only the tools of one that is `trusted` are offered.

    `untrusted`: nobody has agreed to what it offers yet; `quarantined`: it is not what was agreed
    to any more, `changes` says how, line by line.
    """

    name: str
    kind: Literal["command", "url"]
    where: str
    state: Literal["trusted", "untrusted", "quarantined"]
    source: Literal["configuration", "added"]
    tools: int = 0
    agents: tuple[str, ...] = ("*",)
    running: int = 0
    problem: str = ""
    changes: tuple[str, ...] = ()


class Inspection(Struct, frozen=True, kw_only=True):
    """What a server said of itself just now. `digest` names exactly this, for agreeing to it."""

    name: str
    title: str
    version: str
    protocol: str
    milliseconds: int
    tools: tuple[ServerTool, ...]
    digest: str
    trusted: bool
    changes: tuple[str, ...] = ()


class ServerLogin(Struct, frozen=True, kw_only=True):
    """How we are logged in to a server, by whom, with which scopes. Holds no secret.

    `begun`: a person finishes `attempt` at `url`, which ends at `redirect`. `over`: only a new
    login helps. `expires_at` is when the token ends; 0 when nobody says.
    """

    server: str
    state: Literal["none", "begun", "in", "over"]
    issuer: str = ""
    scopes: tuple[str, ...] = ()
    expires_at: Instant = 0
    lasts: bool = False
    attempt: str = ""
    url: str = ""
    redirect: str = ""
    note: str = ""


class ServerQuestion(Struct, frozen=True, kw_only=True):
    """What a server asks the person of a task, and waits for. `fields`: those of a form."""

    id: str
    server: str
    task: str
    text: str
    fields: dict[str, dict[str, Any]] = {}


class ServerRemark(Struct, frozen=True, kw_only=True):
    """What a server said without being asked, while it worked for `task`."""

    at: Instant
    task: str
    level: str
    text: str


class ServerLogins(Protocol):
    """Logins to servers: of each that has one or wants one. `answer` is the address that a browser
    ended at; `forget` tells whether the issuer has taken the login back.

    Raises `NotFound`, `NotAllowed` for a refusal, `Unavailable`, and `Invalid`.
    """

    async def all(self) -> Sequence[ServerLogin]: ...
    async def begin(self, name: str, redirect: str = "") -> ServerLogin: ...
    async def finish(self, attempt: str, answer: str) -> ServerLogin: ...
    async def forget(self, name: str, *, local_only: bool) -> bool: ...


class ToolServers(Protocol):
    """All servers. Raises `NotFound` for a name that there is not.

    `tools` are those that were agreed to. `inspect` connects and looks; one that is not what was
    agreed to is quarantined by that. It raises `Unavailable` for one that does not come up, or
    breaks the protocol or its bounds. `trust` agrees to what was last seen; it raises `Refused` if
    that has another digest. `add` is durable on return; it raises `Invalid`, and `Refused` for a
    name that is taken. `remove` forgets a server and what was agreed to; it raises `Refused` for
    one of the configuration. `ask` is for resources and prompts, in the protocol's words. `remarks`
    are the last ones, the oldest first. `answer` with None says no to a question.
    """

    @property
    def logins(self) -> ServerLogins: ...
    def all(self) -> Sequence[ServerState]: ...
    def tools(self, name: str) -> Sequence[ServerTool]: ...
    async def inspect(self, name: str) -> Inspection: ...
    async def trust(self, name: str, digest: str) -> ServerState: ...
    async def add(self, spec: ServerSpec) -> ServerState: ...
    async def remove(self, name: str) -> None: ...
    async def ask(self, name: str, method: str, params: Mapping[str, Any]) -> dict[str, Any]: ...
    def remarks(self, name: str) -> Sequence[ServerRemark]: ...
    def questions(self) -> Sequence[ServerQuestion]: ...
    def answer(self, question: str, content: Mapping[str, Any] | None) -> ServerQuestion: ...
