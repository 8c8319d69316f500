"""The routes about servers of tools: add one, look at it, agree to it, remove it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Struct
from pydantic import Field

from holdfast.core.mcp import LoginSpec, ServerSpec
from holdfast.core.message import EffectClass
from holdfast.ports.mcp import (
    Inspection,
    ServerLogin,
    ServerQuestion,
    ServerRemark,
    ServerState,
    ServerTool,
)
from holdfast.runtime import mcp

from .bodies import Body, Name, NoQuery, Nothing, Patterns
from .route import Ask, Entry

_SERVER = "/api/v1/mcp/{name}"
_Word = Annotated[str, Field(max_length=10_000)]
_Table = Annotated[dict[Name, _Word], Field(max_length=100)]
_Effect = Annotated[EffectClass, Field(strict=False)]


class HowToLogIn(Body):
    """How one logs in to a server; the keys are those of `[mcp.servers.NAME.login]`."""

    grant: Literal["person", "own"] = Field(
        default="person", description="`own`: by ourselves (client credentials)."
    )
    client_id: Annotated[str, Field(max_length=2_000)] = ""
    client_secret: Annotated[str, Field(max_length=300)] = Field(
        default="", description="`$SECRET{name}`."
    )
    client_key: Annotated[str, Field(max_length=300)] = Field(
        default="", description="`$SECRET{name}` of a private key in PEM."
    )
    document: Annotated[str, Field(max_length=2_000)] = Field(
        default="", description="Where we describe ourselves, as a client id."
    )
    redirect: Annotated[str, Field(max_length=2_000)] = Field(
        default="", description="Where a browser ends, if only that is registered."
    )
    scopes: Patterns = Field(default=(), strict=False, description="Asked for besides.")


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
    ask_seconds: float = Field(
        default=0.0, ge=0, le=3_600, description="How long a call may wait for a person; 0: not."
    )
    sampling: Literal["never", "ask", "always"] = Field(
        default="never", description="Whether it may have the task's model asked."
    )
    handshake: bool = Field(
        default=False, description="Speak a revision up to 2025-11-25, even if it knows the newest."
    )
    login: HowToLogIn = Field(default=HowToLogIn(), description="How one logs in to it.")


class ToTrust(Body):
    """What is agreed to: the digest of what was shown."""

    digest: Annotated[str, Field(min_length=64, max_length=64)]


class ServerToLogIn(Body):
    """Where the browser of the person will end: on their own machine."""

    redirect: Annotated[str, Field(max_length=2_000)] = ""


class ServerLoggedIn(Body):
    """The address that the browser ended at."""

    answer: Annotated[str, Field(min_length=1, max_length=20_000)]


class ServerToLogOut(Body):
    """What to do about a login."""

    local_only: bool = Field(default=False, description="Do not ask its issuer to take it back.")


class ResourceToRead(Body):
    """Which resource."""

    uri: Annotated[str, Field(min_length=1, max_length=4_000)]


class PromptToFill(Body):
    """Which prompt, and what is filled in."""

    prompt: Annotated[str, Field(min_length=1, max_length=500)]
    arguments: _Table = Field(default={})


class ServerSaid(Struct, frozen=True, kw_only=True):
    """What a server said, in its own words: a stranger's."""

    server: str
    said: dict[str, Any]


class ServerAnswer(Body):
    """What a person says: the fields of a form, or nothing to a plain question."""

    accept: bool = Field(default=True, description="False: no.")
    content: Annotated[dict[Name, Any], Field(max_length=50)] = Field(
        default={}, description="The fields that are not left to their defaults."
    )


class ServerRemarks(Struct, frozen=True, kw_only=True):
    """What a server said lately without being asked: a stranger's words."""

    server: str
    remarks: tuple[ServerRemark, ...]


class ServerQuestionList(Struct, frozen=True, kw_only=True):
    """What servers ask, and wait for."""

    questions: tuple[ServerQuestion, ...]


class ServerLoginList(Struct, frozen=True, kw_only=True):
    """How we are logged in to servers."""

    logins: tuple[ServerLogin, ...]


class ServerLoggedOut(Struct, frozen=True, kw_only=True):
    """The login is forgotten; `revoked`: its issuer has taken it back."""

    name: str
    revoked: bool


class ServerList(Struct, frozen=True, kw_only=True):
    """All servers, and how they stand."""

    servers: tuple[ServerState, ...]


class ServerTools(Struct, frozen=True, kw_only=True):
    """The tools of one server that were agreed to."""

    server: str
    tools: tuple[ServerTool, ...]


class ServersLooked(Struct, frozen=True, kw_only=True):
    """How each server came up just now."""

    servers: tuple[mcp.Looked, ...]


class Removed(Struct, frozen=True, kw_only=True):
    """It is gone."""

    name: str


async def server_list(ask: Ask[NoQuery, Nothing]) -> ServerList:
    return ServerList(servers=tuple(mcp.servers(ask.house)))


async def server_add(ask: Ask[NoQuery, NewServer]) -> ServerState:
    told = ask.body.model_dump(exclude={"timeout_seconds", "login"})
    login = LoginSpec(**ask.body.login.model_dump())
    seconds = ask.body.timeout_seconds
    spec = ServerSpec(name=ask.path("name"), seconds=seconds, login=login, **told)
    return await mcp.add(ask.house, spec, by=ask.by)


async def server_inspect(ask: Ask[NoQuery, Nothing]) -> Inspection:
    return await mcp.inspect(ask.house, ask.path("name"))


async def server_look(ask: Ask[NoQuery, Nothing]) -> ServersLooked:
    return ServersLooked(servers=tuple(await mcp.look_at_all(ask.house)))


async def server_trust(ask: Ask[NoQuery, ToTrust]) -> ServerState:
    return await mcp.trust(ask.house, ask.path("name"), ask.body.digest, by=ask.by)


async def server_remove(ask: Ask[NoQuery, Nothing]) -> Removed:
    name = ask.path("name")
    await mcp.remove(ask.house, name, by=ask.by)
    return Removed(name=name)


async def server_tools(ask: Ask[NoQuery, Nothing]) -> ServerTools:
    name = ask.path("name")
    return ServerTools(server=name, tools=tuple(mcp.tools(ask.house, name)))


async def resource_list(ask: Ask[NoQuery, Nothing]) -> ServerSaid:
    name = ask.path("name")
    return ServerSaid(server=name, said=dict(await mcp.resources(ask.house, name)))


async def resource_read(ask: Ask[NoQuery, ResourceToRead]) -> ServerSaid:
    name = ask.path("name")
    return ServerSaid(server=name, said=dict(await mcp.resource(ask.house, name, ask.body.uri)))


async def prompt_list(ask: Ask[NoQuery, Nothing]) -> ServerSaid:
    name = ask.path("name")
    return ServerSaid(server=name, said=dict(await mcp.prompts(ask.house, name)))


async def prompt_fill(ask: Ask[NoQuery, PromptToFill]) -> ServerSaid:
    name, wanted = ask.path("name"), ask.body
    said = await mcp.prompt(ask.house, name, wanted.prompt, wanted.arguments)
    return ServerSaid(server=name, said=dict(said))


async def remark_list(ask: Ask[NoQuery, Nothing]) -> ServerRemarks:
    name = ask.path("name")
    return ServerRemarks(server=name, remarks=tuple(mcp.remarks(ask.house, name)))


async def question_list(ask: Ask[NoQuery, Nothing]) -> ServerQuestionList:
    return ServerQuestionList(questions=tuple(mcp.questions(ask.house)))


async def question_answer(ask: Ask[NoQuery, ServerAnswer]) -> ServerQuestion:
    content = ask.body.content if ask.body.accept else None
    return mcp.answer(ask.house, ask.path("question"), content, by=ask.by)


async def login_list(ask: Ask[NoQuery, Nothing]) -> ServerLoginList:
    return ServerLoginList(logins=tuple(await mcp.logins(ask.house)))


async def login_begin(ask: Ask[NoQuery, ServerToLogIn]) -> ServerLogin:
    return await mcp.log_in(ask.house, ask.path("name"), ask.body.redirect, by=ask.by)


async def login_finish(ask: Ask[NoQuery, ServerLoggedIn]) -> ServerLogin:
    return await mcp.logged_in(ask.house, ask.path("attempt"), ask.body.answer, by=ask.by)


async def login_forget(ask: Ask[NoQuery, ServerToLogOut]) -> ServerLoggedOut:
    name, local_only = ask.path("name"), ask.body.local_only
    revoked = await mcp.log_out(ask.house, name, local_only=local_only, by=ask.by)
    return ServerLoggedOut(name=name, revoked=revoked)


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
    Entry(
        "GET",
        f"{_SERVER}/resources",
        resource_list,
        "What can be read from a server.",
        ServerSaid,
        errors=(503,),
    ),
    Entry(
        "POST",
        f"{_SERVER}/resources",
        resource_read,
        "Read one resource of a server.",
        ServerSaid,
        body=ResourceToRead,
        errors=(503,),
    ),
    Entry(
        "GET",
        f"{_SERVER}/prompts",
        prompt_list,
        "The prompts that a server has for people.",
        ServerSaid,
        errors=(503,),
    ),
    Entry(
        "POST",
        f"{_SERVER}/prompts",
        prompt_fill,
        "One prompt of a server, filled in.",
        ServerSaid,
        body=PromptToFill,
        errors=(503,),
    ),
    Entry(
        "GET",
        f"{_SERVER}/remarks",
        remark_list,
        "What a server said lately without being asked.",
        ServerRemarks,
    ),
    Entry(
        "POST",
        "/api/v1/mcp-checks",
        server_look,
        "Have every server come up, and see which do.",
        ServersLooked,
    ),
    Entry(
        "GET",
        "/api/v1/mcp-questions",
        question_list,
        "What servers ask the persons of tasks, and wait for.",
        ServerQuestionList,
    ),
    Entry(
        "POST",
        "/api/v1/mcp-questions/{question}",
        question_answer,
        "Answer what a server asks.",
        ServerQuestion,
        body=ServerAnswer,
    ),
    Entry(
        "GET",
        "/api/v1/mcp-logins",
        login_list,
        "How we are logged in to the servers that have a login, or want one.",
        ServerLoginList,
    ),
    Entry(
        "POST",
        f"{_SERVER}/login",
        login_begin,
        "Begin a login: a person finishes it at the url that this gives.",
        ServerLogin,
        body=ServerToLogIn,
        errors=(403, 503),
    ),
    Entry(
        "POST",
        "/api/v1/mcp-logins/{attempt}",
        login_finish,
        "Finish a login with the address that the browser ended at.",
        ServerLogin,
        body=ServerLoggedIn,
        errors=(403, 503),
    ),
    Entry(
        "POST",
        f"{_SERVER}/logout",
        login_forget,
        "Forget a login.",
        ServerLoggedOut,
        body=ServerToLogOut,
        errors=(503,),
    ),
)
