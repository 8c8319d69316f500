"""Holdfast inside other programs: the bridge that they start, and what their files need."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import anyio

from .mcp_bridge import Bridge, Ends
from .stop import OK, READER_GONE, Stop
from .surroundings import python

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .desk import Desk, Given

_LINE = 10_000_001


def mcp_serve(desk: Desk, given: Given) -> int:
    """Until the host closes its end. Nothing but messages goes to stdout."""
    source, target = sys.stdin.buffer, sys.stdout.buffer
    query = _query(given)
    desk.daemon.start()

    def read() -> bytes:
        line = source.readline(_LINE)
        rest = line
        while len(rest) == _LINE and not rest.endswith(b"\n"):
            rest = source.readline(_LINE)  # what is too long is passed over, and refused once
        return line

    def write(line: bytes) -> None:
        target.write(line)
        target.flush()

    bridge = Bridge(desk.daemon.socket, query, desk.daemon.start, Ends(read, write))
    code = OK
    try:
        anyio.run(bridge.run)
    except* BrokenPipeError:
        code = READER_GONE
    return code


def _query(given: Given) -> str:
    pairs = [("tools", one) for one in given.many("tools")]
    if folder := given.one("workspace"):
        path = Path(folder).expanduser().absolute()
        if not path.is_dir():
            raise Stop(f"there is no folder {path}", hint="--workspace is where tasks work")
        pairs.append(("workspace", str(path)))
    return f"?{urlencode(pairs)}" if pairs else ""


def mcp_config(desk: Desk, given: Given) -> int:
    """What a client's file needs, on stdout; where it goes, on stderr."""
    name = given.word()
    if name not in _CLIENTS:
        known = ", ".join(_CLIENTS)
        raise Stop(f"there is no snippet for {name!r}", hint=f"there are: {known}", name="usage")
    where, key, extra = _CLIENTS[name]
    found = shutil.which("holdfast")
    words = [found] if found else [*python(), "-m", "holdfast.doors.cli"]
    words += ["mcp", "serve", *_passed_on(given)]
    server: dict[str, Any] = {**extra, "command": words[0], "args": words[1:]}
    desk.screen.answer(json.dumps({key: {"holdfast": server}}, indent=2))
    if not given.has("json"):
        desk.screen.note(f"put this into {where}")
    return OK


def _passed_on(given: Given) -> list[str]:
    words: list[str] = []
    for name in ("home", "workspace"):
        if given.has(name):
            words += [f"--{name}", str(Path(given.one(name)).expanduser().absolute())]
    for pattern in given.many("tools"):
        words += ["--tools", pattern]
    return words


_CLIENTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "claude-desktop": ("claude_desktop_config.json (Settings, Developer)", "mcpServers", {}),
    "claude-code": (".mcp.json of the project", "mcpServers", {"type": "stdio"}),
    "cursor": ("~/.cursor/mcp.json, or .cursor/mcp.json of the project", "mcpServers", {}),
    "vscode": (".vscode/mcp.json of the project", "servers", {"type": "stdio"}),
    "windsurf": ("~/.codeium/windsurf/mcp_config.json", "mcpServers", {}),
    "zed": ("settings.json of Zed", "context_servers", {"source": "custom"}),
}
