"""Servers of tools that an editor names: written down, used only once a person has agreed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from .daemon import Daemon
from .lines import Fault

_ODD = re.compile(r"[^a-z0-9-]+")


class Pair(Struct, frozen=True):
    """A variable or a header."""

    name: str
    value: str


class Server(Struct, frozen=True):
    """One server, as an editor describes it."""

    name: str
    type: str = "stdio"
    command: str = ""
    args: tuple[str, ...] = ()
    env: tuple[Pair, ...] = ()
    url: str = ""
    headers: tuple[Pair, ...] = ()


async def introduced(daemon: Daemon, servers: Iterable[Server]) -> list[str]:
    """Makes them known; a sentence for each that is not used, with what to do."""
    wanted = list(servers)
    if not wanted:
        return []
    known = {one["name"]: one for one in (await daemon.get("/api/v1/mcp"))["servers"]}
    told: list[str] = []
    for server in wanted:
        name = _ODD.sub("-", server.name.lower()).strip("-")[:32]
        state = known.get(name)
        if state is None:
            try:
                state = await daemon.post(f"/api/v1/mcp/{name}", _described(server))
            except Fault as fault:
                told.append(f"The server {server.name} is not used: {fault}.")
                continue
        if state["where"] != _where(server):
            told.append(f"The server {server.name} is not used: {name} is another one here.")
        elif state["state"] != "trusted":
            told.append(
                f"The server {name} is not used before you agree: holdfast mcp trust {name}"
            )
    return told


def _described(server: Server) -> dict[str, Any]:
    """Raises `Fault`."""
    match server.type:
        case "stdio":
            environment = {one.name: one.value for one in server.env}
            return {"command": [server.command, *server.args], "environment": environment}
        case "http":
            return {"url": server.url, "headers": {one.name: one.value for one in server.headers}}
        case other:
            raise Fault(0, f"{other[:40]!r} is not spoken here; stdio and http are")


def _where(server: Server) -> str:
    return server.url or " ".join((server.command, *server.args))
