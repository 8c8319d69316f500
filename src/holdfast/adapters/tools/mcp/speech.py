"""How requests are worded in the revision that both sides speak: what each says of who asks.

Up to 2025-11-25 a handshake says that once. From 2026-07-28 on there is none: each request says it
again, and over HTTP repeats in headers what it is about, for whoever only passes it on.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from .asked import Host
from .trouble import Odd

US = {"name": "holdfast", "title": "Holdfast", "version": "1"}
STATELESS = "2026-07-28"
LEVEL = "info"
"""From which level on a server's remarks are heard."""
_META = "io.modelcontextprotocol/"
_ABOUT = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
_MARK = "x-mcp-header"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_PLAIN = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?|")
_CODED = ("=?base64?", "?=")
_VALUES = (_MARK, "default", "const", "enum", "examples")
_KINDS: Mapping[str, type] = {"string": str, "integer": int, "boolean": bool}


class Speech:
    """The revision that is spoken; empty until that is known. `listens`: remarks are welcome."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.protocol, self.listens = "", False

    @property
    def stateless(self) -> bool:
        return self.protocol == STATELESS

    def worded(self, params: Mapping[str, Any], token: int | None = None) -> Mapping[str, Any]:
        """With what a request says of itself; `token` is for progress with it."""
        about: dict[str, Any] = {} if token is None else {"progressToken": token}
        if self.stateless:
            about[f"{_META}protocolVersion"] = self.protocol
            about[f"{_META}clientInfo"] = US
            about[f"{_META}clientCapabilities"] = self._host.abilities
            if self.listens:
                about[f"{_META}logLevel"] = LEVEL
        return {**params, "_meta": about} if about else params

    @property
    def header(self) -> dict[str, str]:
        """What every request over HTTP says."""
        return {"MCP-Protocol-Version": self.protocol} if self.protocol else {}

    def about(self, method: str, params: Mapping[str, Any]) -> dict[str, str]:
        """What a request over HTTP says outside of its message about what is in it."""
        if not self.stateless:
            return {}
        field = _ABOUT.get(method)
        named = {"Mcp-Name": coded(str(params.get(field, "")))} if field else {}
        return {"Mcp-Method": method, **named}


def coded(value: str) -> str:
    """A value as it may stand in a header."""
    begin, end = _CODED
    if _PLAIN.fullmatch(value) and not (value.startswith(begin) and value.endswith(end)):
        return value
    return f"{begin}{base64.b64encode(value.encode()).decode()}{end}"


def mirrored(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, str]:
    """The headers that a tool wants some of its arguments repeated in. Raises `Odd`."""
    told: dict[str, str] = {}
    for name, path, kind in mirrors(schema):
        value: Any = arguments
        for step in path:
            value = cast("dict[str, Any]", value).get(step) if isinstance(value, dict) else None
        if isinstance(value, float) and kind == "integer" and value.is_integer():
            value = int(value)
        if type(value) is _KINDS[kind]:
            told[f"Mcp-Param-{name}"] = coded(
                str(value) if kind == "string" else str(value).lower()
            )
    return told


def mirrors(schema: Mapping[str, Any]) -> list[tuple[str, tuple[str, ...], str]]:
    """Which arguments: the header's name, the path of the argument, its type.

    Raises `Odd` for a tool that asks for what may not be asked.
    """
    found: list[tuple[str, tuple[str, ...], str]] = []
    taken = set[str]()
    for node, path in _nodes(schema):
        if _MARK not in node:
            continue
        name, kind = node[_MARK], node.get("type")
        if path is None:
            raise Odd(f"{name!r:.60} is wanted as a header from where arguments are not known")
        if not isinstance(name, str) or not _TOKEN.fullmatch(name):
            raise Odd(f"{name!r:.60} is no name of a header")
        if not isinstance(kind, str) or kind not in _KINDS:
            raise Odd(f"an argument of the type {kind!r:.40} is wanted as the header {name}")
        if name.lower() in taken:
            raise Odd(f"two arguments are wanted as the header {name}")
        taken.add(name.lower())
        found.append((name, path, kind))
    return found


def _nodes(schema: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], tuple[str, ...] | None]]:
    """Every schema in a schema, with the path of the argument that it is about, if it has one."""
    rest: list[tuple[object, tuple[str, ...] | None]] = [(schema, ())]
    while rest:
        node, path = rest.pop()
        if isinstance(node, list):
            rest += [(one, None) for one in cast("list[object]", node)]
        if not isinstance(node, dict):
            continue
        told = cast("dict[str, Any]", node)
        yield told, path or None
        for key, inside in told.items():
            if key == "properties" and isinstance(inside, dict):
                table = cast("dict[str, object]", inside).items()
                rest += [(one, None if path is None else (*path, name)) for name, one in table]
            elif key not in _VALUES:
                rest.append((inside, None))
