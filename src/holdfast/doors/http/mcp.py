"""The routes about servers of tools: add one, look at it, agree to it, remove it."""

from __future__ import annotations

from typing import Annotated

from msgspec import Struct
from pydantic import Field

from holdfast.core.message import EffectClass
from holdfast.ports.mcp import Inspection, ServerSpec, ServerState, ServerTool
from holdfast.runtime import mcp

from .bodies import Body, Name, NoQuery, Nothing, Patterns
from .route import Ask, Entry

_SERVER = "/api/v1/mcp/{name}"
_Word = Annotated[str, Field(max_length=10_000)]
_Table = Annotated[dict[Name, _Word], Field(max_length=100)]
_Effect = Annotated[EffectClass, Field(strict=False)]


class NewServer(Body):
    """A command that runs in a box, or a url; the keys are those of `[mcp.servers.NAME]`."""

    command: Annotated[tuple[_Word, ...], Field(max_length=200)] = Field(
        default=(), strict=False, description="The program and its arguments."
    )
    url: Annotated[str, Field(max_length=2_000)] = Field(
        default="", description="Or where it is: streamable HTTP."
    )
    headers: _Table = Field(
        default={}, description="Sent to `url`; `$SECRET{name}` is filled in on the way out."
    )
    environment: _Table = Field(default={}, description="Variables of the command.")
    reveal: Patterns = Field(
        default=(), strict=False, description="Secrets that the command may see."
    )
    agents: Patterns = Field(default=("*",), strict=False, description="Who may use it: patterns.")
    tools: Patterns = Field(default=("*",), strict=False, description="Which tools: patterns.")
    effects: Annotated[dict[Name, _Effect], Field(max_length=200)] = Field(
        default={}, description="Pattern of tools -> reads, writes or repeatable; else: writes."
    )
    believe_hints: bool = Field(default=False, description="Believe the server's own hints.")
    timeout_seconds: float = Field(default=60.0, ge=0.1, le=3_600)
    prefix: Annotated[str, Field(max_length=40)] | None = None
    description: Annotated[str, Field(max_length=500)] = ""
    read_only: Patterns = Field(default=(), strict=False, description="Paths shown in its box.")
    shared: bool = Field(default=False, description="One process for all tasks.")
    private: bool = Field(default=False, description="`url` may lead to a private address.")


class ToTrust(Body):
    """What is agreed to: the digest of what was shown."""

    digest: Annotated[str, Field(min_length=64, max_length=64)]


class ServerList(Struct, frozen=True, kw_only=True):
    """All servers, and how they stand."""

    servers: tuple[ServerState, ...]


class ServerTools(Struct, frozen=True, kw_only=True):
    """The tools of one server that were agreed to."""

    server: str
    tools: tuple[ServerTool, ...]


class Removed(Struct, frozen=True, kw_only=True):
    """It is gone."""

    name: str


async def server_list(ask: Ask[NoQuery, Nothing]) -> ServerList:
    return ServerList(servers=tuple(mcp.servers(ask.house)))


async def server_add(ask: Ask[NoQuery, NewServer]) -> ServerState:
    told = ask.body.model_dump(exclude={"timeout_seconds"})
    spec = ServerSpec(name=ask.path("name"), seconds=ask.body.timeout_seconds, **told)
    return await mcp.add(ask.house, spec, by=ask.by)


async def server_inspect(ask: Ask[NoQuery, Nothing]) -> Inspection:
    return await mcp.inspect(ask.house, ask.path("name"))


async def server_trust(ask: Ask[NoQuery, ToTrust]) -> ServerState:
    return await mcp.trust(ask.house, ask.path("name"), ask.body.digest, by=ask.by)


async def server_remove(ask: Ask[NoQuery, Nothing]) -> Removed:
    name = ask.path("name")
    await mcp.remove(ask.house, name, by=ask.by)
    return Removed(name=name)


async def server_tools(ask: Ask[NoQuery, Nothing]) -> ServerTools:
    name = ask.path("name")
    return ServerTools(server=name, tools=tuple(mcp.tools(ask.house, name)))


MCP_ROUTES: tuple[Entry, ...] = (
    Entry("GET", "/api/v1/mcp", server_list, "Which servers of tools there are.", ServerList),
    Entry(
        "POST",
        _SERVER,
        server_add,
        "Add a server. Nothing of it is offered before somebody agrees to what it is.",
        ServerState,
        body=NewServer,
        errors=(409, 503),
    ),
    Entry("GET", f"{_SERVER}/tools", server_tools, "What was agreed to of a server.", ServerTools),
    Entry(
        "POST",
        f"{_SERVER}/inspect",
        server_inspect,
        "Connect to a server and see what it offers; one that has changed is quarantined.",
        Inspection,
        errors=(503,),
    ),
    Entry(
        "POST",
        f"{_SERVER}/trust",
        server_trust,
        "Agree to what was seen of a server: its tools are offered from now on.",
        ServerState,
        body=ToTrust,
        errors=(409, 503),
    ),
    Entry(
        "POST",
        f"{_SERVER}/remove",
        server_remove,
        "Forget a server that was added.",
        Removed,
        errors=(409, 503),
    ),
)
