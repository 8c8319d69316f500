"""Servers from the files of other programs: `.mcp.json`, Claude Desktop, Cursor, VS Code."""

from __future__ import annotations

import json
import os
import re
from typing import cast

from .client import quote
from .out import line
from .stop import FAILED, OK, Stop
from .surroundings import variable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .desk import Desk, Given
    from .wire import Json

_USUAL, _SHARED = ".mcp.json", "mcp/servers.json"
_LARGEST = 4 << 20
_KEY = re.compile(r"auth|cookie|key|token|secret|password", re.IGNORECASE)
_VARIABLE = re.compile(r"\$\{(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_ODD = re.compile(r"[^a-z0-9_-]+")


def mcp_import(desk: Desk, given: Given) -> int:
    """Add each server of a file. Nothing of them is offered before somebody agrees to it."""
    path = given.word() or _usual()
    told = _servers(path)
    wanted = given.many("only")
    for name in wanted:
        if name not in told:
            raise Stop(f"{path} has no server {name}", name="usage")
    results: list[Json] = []
    for name, server in told.items():
        if not wanted or name in wanted:
            results.append(_added(desk, given, name, server))
    if given.has("json"):
        desk.screen.json({"servers": results})
    elif not results:
        desk.screen.note(f"{path} has no servers")
    return FAILED if any(one["problem"] for one in results) else OK


def _usual() -> str:
    """The file of this folder, or else the one that programs share."""
    base = variable("XDG_CONFIG_HOME") or f"{variable('HOME') or ''}/.config"
    shared = f"{base}/{_SHARED}"
    return shared if not os.path.exists(_USUAL) and os.path.exists(shared) else _USUAL  # noqa: PTH110


def _added(desk: Desk, given: Given, alias: str, server: Json) -> Json:
    name = _ODD.sub("-", alias.lower()).strip("-_")[:32]
    result: Json = {"name": name, "alias": alias, "added": False, "secrets": [], "problem": ""}
    try:
        if server.get("disabled") is True or server.get("enabled") is False:
            desk.screen.note(f"{line(alias)}: left out, it is switched off there")
            return result
        body, secrets = _described(name, server)
        body["agents"] = given.many("agent") or ["*"]
        body["read_only"] = given.many("read-only") if body.get("command") else []
        for secret, value in secrets.items():
            terms: Json = {"name": secret, "value": value, "grants": body["agents"]}
            desk.daemon.post("/api/v1/secrets", terms, repeatable=True)
        made = desk.daemon.post(f"/api/v1/mcp/{quote(name)}", body)
    except Stop as stop:
        desk.screen.note(f"{line(alias)}: {stop.message}", mark="bad")
        return {**result, "problem": stop.message}
    kept = f"; its keys are kept as {', '.join(secrets)}" if secrets else ""
    desk.screen.note(f"{name} was added: {line(str(made.get('where', '')))}{kept}", mark="good")
    desk.screen.note(f"  to agree to its tools: holdfast mcp trust {name}")
    return {**result, "added": True, "secrets": list(secrets)}


def _servers(path: str) -> dict[str, Json]:
    """By the names that the file gives them. Raises `Stop`."""
    try:
        with open(path, encoding="utf-8-sig") as file:  # noqa: PTH123  pathlib is slow to load
            told: object = json.loads(file.read(_LARGEST))
    except FileNotFoundError:
        hint = "name one, like holdfast mcp import ~/.cursor/mcp.json"
        raise Stop(f"there is no file {path}", hint=hint, name="usage") from None
    except (ValueError, RecursionError) as error:
        raise Stop(f"{path} is no JSON: {error}", name="usage") from None
    for key in ("mcpServers", "servers", "mcp_servers"):
        if found := _object(_object(told).get(key)):
            return {name: _object(one) for name, one in found.items()}
    hint = 'expected {"mcpServers": {"name": {"command": "…", "args": […]}}}'
    raise Stop(f"{path} lists no servers", hint=hint, name="usage")


def _described(name: str, server: Json) -> tuple[Json, dict[str, str]]:
    """The server in our words, and what of it is secret. Raises `Stop`."""
    secrets: dict[str, str] = {}
    kind, url = str(server.get("type") or "").lower(), str(server.get("url") or "")
    body: Json = {"tools": _texts(server, "enabledTools") or ["*"]}
    if isinstance(text := server.get("description"), str):
        body["description"] = text[:500]
    told = (server.get(key) for key in ("toolTimeout", "timeout_seconds", "timeout"))
    if isinstance(seconds := next((one for one in told if one is not None), None), int | float):
        body["timeout_seconds"] = min(max(float(seconds), 0.1), 3_600.0)
    if url:
        if kind == "ws":
            raise Stop("it speaks over WebSocket, which we do not")
        body["url"] = _filled(url)
        body["headers"] = _table(name, server, "headers", secrets)
    else:
        body["command"] = [_filled(one) for one in _command(server)]
        body["environment"] = _table(name, server, "env", secrets)
        body["reveal"] = list(secrets)
    return body, secrets


def _command(server: Json) -> list[str]:
    command = server.get("command")
    if isinstance(command, str) and command:
        return [command, *_texts(server, "args")]
    raise Stop("it has neither a command nor a url")


def _table(name: str, server: Json, key: str, secrets: dict[str, str]) -> dict[str, str]:
    """Variables or headers; what looks like a key is taken out and kept in the vault."""
    told: dict[str, str] = {}
    for word, value in _object(server.get(key)).items():
        filled = _filled(str(value))
        if _KEY.search(word) and filled:
            secret = f"mcp/{name}/{_ODD.sub('-', word.lower()).strip('-')}"
            secrets[secret], filled = filled, f"$SECRET{{{secret}}}"
        told[word] = filled
    return told


def _texts(server: Json, key: str) -> list[str]:
    found = server.get(key)
    words = cast("list[object]", found) if isinstance(found, list) else []
    return [str(one) for one in words]


def _object(told: object) -> Json:
    """What is none in a file that somebody else wrote is an empty one."""
    return cast("Json", told) if isinstance(told, dict) else {}


def _filled(text: str) -> str:
    """`${NAME}` as in this shell, or as the file says for when there is none. Raises `Stop`."""

    def value(found: re.Match[str]) -> str:
        there = variable(found[1])
        if there is None and found[2] is None:
            raise Stop(f"${{{found[1]}}} is not set here", hint="set it, and import once more")
        return found[2] if there is None else there

    return _VARIABLE.sub(value, text)
