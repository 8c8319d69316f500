"""What each route of the native interface is called as a method; made from the one table."""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from holdfast.doors.http.route import Entry

_PREFIX = "/api/v1/"
_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")
_NAMED = {
    ("GET", "/api/v1/status"): "status",
    ("GET", "/api/v1/mcp"): "mcp.list",
    ("GET", "/api/v1/egress"): "egress.list",
    ("GET", "/api/v1/audit"): "audit.list",
}
_LEFT_OUT = frozenset({"/api/v1/login", "/api/v1/logout"})
_SLOW = (
    *("models", "connections", "logins", "mcp", "mcp-checks", "mcp-logins", "audit", "backup"),
    *("slack", "slack-logins"),
)


class Method(Struct, frozen=True, kw_only=True):
    """One method: a route, and where its parameters go. `slow`: others do not wait for it."""

    name: str
    verb: str
    path: str
    pieces: tuple[str, ...]
    query: frozenset[str]
    slow: bool = False

    @property
    def capability(self) -> str:
        return "read" if self.verb == "GET" else "mutate"


def methods(entries: Iterable[Entry]) -> dict[str, Method]:
    """Every route that is answered with JSON."""
    found: dict[str, Method] = {}
    for entry in entries:
        if not entry.path.startswith(_PREFIX) or entry.path in _LEFT_OUT:
            continue
        if isinstance(entry.answer, str):
            continue
        method = _method(entry)
        if method.name in found:
            method = replace(method, name=f"{method.name}.{entry.method.lower()}")
        found[method.name] = method
    return found


def _method(entry: Entry) -> Method:
    words = entry.path.removeprefix(_PREFIX).split("/")
    return Method(
        name=_NAMED.get((entry.method, entry.path)) or _name(entry.method, words),
        verb=entry.method,
        path=entry.path,
        pieces=tuple(_PARAMETER.findall(entry.path)),
        query=frozenset(entry.query.model_fields),
        slow=words[0] in _SLOW or entry.streams or _waits(entry),
    )


def _waits(entry: Entry) -> bool:
    fields = (*entry.query.model_fields, *entry.body.model_fields)
    return any(name.startswith("wait") for name in fields)


def _name(verb: str, words: list[str]) -> str:
    """`tasks.list`, `tasks.create`, `tasks.get`, `tasks.cancel`, `tasks.calls.approve`."""
    plain = [word for word in words if not word.startswith("{")]
    name = ".".join(plain)
    if words[-1].startswith("{"):
        ends = {"GET": "get", "POST": "put", "PUT": "put", "PATCH": "edit", "DELETE": "remove"}
        return f"{name}.{ends[verb]}"
    if len(words) > 1:
        return name if verb in {"GET", "POST"} else f"{name}.{verb.lower()}"
    ends = {"GET": "list" if name.endswith("s") else "get", "POST": "create", "PATCH": "edit"}
    if verb == "POST" and not name.endswith("s"):
        return name
    return f"{name}.{ends.get(verb, verb.lower())}"
