"""Servers whose tools agents may use: add one, look at it, agree to what it offers, remove it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import anyio
from msgspec import Struct

from holdfast.core.error import HoldfastError, Unavailable
from holdfast.core.mcp import ServerSpec
from holdfast.ports.mcp import (
    Inspection,
    ServerLogin,
    ServerQuestion,
    ServerRemark,
    ServerState,
    ServerTool,
)

from .house import House

_log = logging.getLogger("holdfast.mcp")
_AT_ONCE, _PATIENCE = 4, 30


def servers(house: House) -> Sequence[ServerState]:
    """How they all stand, by name."""
    return house.servers.all()


def tools(house: House, name: str) -> Sequence[ServerTool]:
    """What was agreed to of one server."""
    return house.servers.tools(name)


async def add(house: House, spec: ServerSpec, *, by: str) -> ServerState:
    """Keep a server. Nothing of it is offered before somebody agrees to what it is."""
    made = await house.servers.add(spec)
    _log.info("the server %s was added by %s: %s", spec.name, by, made.where)
    return made


async def inspect(house: House, name: str) -> Inspection:
    """Connect to a server and see what it offers; one that has changed is quarantined by that."""
    return await house.servers.inspect(name)


class Looked(Struct, frozen=True, kw_only=True):
    """How a server came up just now; `problem` says why it did not, `hint` what to do."""

    name: str
    milliseconds: int = 0
    tools: int = 0
    trusted: bool = False
    problem: str = ""
    hint: str = ""


async def look_at_all(house: House) -> list[Looked]:
    """Have every server come up, a few at once; one that does not keeps no other from it."""
    found: dict[str, Looked] = {}
    few = anyio.CapacityLimiter(_AT_ONCE)

    async def look(name: str) -> None:
        async with few:
            found[name] = await _looked(house, name)

    async with anyio.create_task_group() as group:
        for one in servers(house):
            group.start_soon(look, one.name)
    return [found[name] for name in sorted(found)]


async def _looked(house: House, name: str) -> Looked:
    try:
        with anyio.fail_after(_PATIENCE):
            seen = await inspect(house, name)
    except TimeoutError:
        problem = f"it did not say what it offers within {_PATIENCE} s"
        return Looked(name=name, problem=problem, hint=f"holdfast mcp log {name}")
    except HoldfastError as error:
        return Looked(name=name, problem=str(error), hint=error.hint)
    took, count = seen.milliseconds, len(seen.tools)
    return Looked(name=name, milliseconds=took, tools=count, trusted=seen.trusted)


async def trust(house: House, name: str, digest: str, *, by: str) -> ServerState:
    """Agree to what was seen of a server: from now on its tools are offered."""
    state = await house.servers.trust(name, digest)
    _log.info("the server %s is trusted by %s: %s tools", name, by, state.tools)
    return state


async def remove(house: House, name: str, *, by: str) -> None:
    """Forget a server that was added, and what was agreed to."""
    await house.servers.remove(name)
    _log.info("the server %s was removed by %s", name, by)


async def resources(house: House, name: str) -> Mapping[str, Any]:
    """What can be read from a server, and the patterns of addresses that it knows."""
    found = await house.servers.ask(name, "resources/list", {})
    try:
        more = await house.servers.ask(name, "resources/templates/list", {})
    except Unavailable:  # many have none, and say that they do not know the question
        return found
    return {**found, **more}


async def resource(house: House, name: str, uri: str) -> Mapping[str, Any]:
    """What one resource holds."""
    return await house.servers.ask(name, "resources/read", {"uri": uri})


async def prompts(house: House, name: str) -> Mapping[str, Any]:
    """The prompts that a server has for people."""
    return await house.servers.ask(name, "prompts/list", {})


async def prompt(
    house: House, name: str, wanted: str, arguments: Mapping[str, str]
) -> Mapping[str, Any]:
    """One prompt, filled in."""
    params = {"name": wanted, "arguments": dict(arguments)}
    return await house.servers.ask(name, "prompts/get", params)


def remarks(house: House, name: str) -> Sequence[ServerRemark]:
    """What a server said lately without being asked."""
    return house.servers.remarks(name)


def questions(house: House) -> Sequence[ServerQuestion]:
    """What servers ask the persons of tasks, and wait for."""
    return house.servers.questions()


def answer(
    house: House, question: str, content: Mapping[str, Any] | None, *, by: str
) -> ServerQuestion:
    """Answer a server's question; with None, say no."""
    asked = house.servers.answer(question, content)
    said = "no" if content is None else "yes"
    _log.info("%s said %s to a question of the server %s", by, said, asked.server)
    return asked


async def logins(house: House) -> Sequence[ServerLogin]:
    """How we are logged in to the servers that have a login, or want one."""
    return await house.servers.logins.all()


async def log_in(house: House, name: str, redirect: str, *, by: str) -> ServerLogin:
    """Begin a login that a person finishes in a browser, or make one that needs nobody."""
    begun = await house.servers.logins.begin(name, redirect)
    _log.info("a login to the server %s was begun by %s", name, by)
    return begun


async def logged_in(house: House, attempt: str, answer: str, *, by: str) -> ServerLogin:
    """Finish a login with the address that the browser ended at."""
    made = await house.servers.logins.finish(attempt, answer)
    _log.info("%s is logged in to the server %s", by, made.server)
    return made


async def log_out(house: House, name: str, *, local_only: bool, by: str) -> bool:
    """Forget a login; whether its issuer has taken it back."""
    revoked = await house.servers.logins.forget(name, local_only=local_only)
    _log.info("the login to the server %s was forgotten by %s", name, by)
    return revoked
