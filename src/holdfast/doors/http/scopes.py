"""Which scope each path needs: one table for every door, and what is not in it does not start."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute

from holdfast.runtime.scopes import ADMIN, SCOPES

PUBLIC = ""
"""Needs nobody's name."""
ANYBODY = "*"
"""Needs a name, and no scope: about the one who asks."""

_READING = frozenset({"GET", "HEAD", "OPTIONS"})


class Rule(NamedTuple):
    """`reads` is needed to look, `writes` for all else. `*` in the path is any one piece of it."""

    path: str
    reads: str
    writes: str


RULES = (
    Rule("/healthz", PUBLIC, ADMIN),
    Rule("/openapi.json", PUBLIC, ADMIN),
    Rule("/.well-known", PUBLIC, ADMIN),
    Rule("/api/v1/login", PUBLIC, PUBLIC),
    Rule("/api/v1/logout", ANYBODY, ANYBODY),
    Rule("/api/v1/me", ANYBODY, ADMIN),
    Rule("/api/v1/tasks", "tasks.read", "tasks.write"),
    Rule("/api/v1/tasks/*/calls", "tasks.read", "approve"),
    Rule("/api/v1/tasks/*/undo", "tasks.read", "approve"),
    Rule("/api/v1/tools", "tasks.read", "tasks.write"),
    Rule("/api/v1/tool-uses", "tasks.read", ADMIN),
    Rule("/api/v1/approvals", "tasks.read", "approve"),
    Rule("/api/v1/sessions", "tasks.read", "tasks.write"),
    Rule("/api/v1/chat", "relay", "relay"),
    Rule("/api/v1/chat-command", ADMIN, "tasks.write"),
    Rule("/api/v1/models", "models", ADMIN),
    Rule("/api/v1/models/refresh", "models", "models"),
    Rule("/api/v1/models/ask", "models", "models"),
    Rule("/api/v1/models/embed", "models", "models"),
    Rule("/api/v1/status", "status", ADMIN),
    Rule("/api/v1/boxes", "status", ADMIN),
    Rule("/api/v1/budgets", "status", ADMIN),
    Rule("/api/v1/costs", "status", ADMIN),
    Rule("/api/v1/egress", "status", ADMIN),
    Rule("/api/v1/metrics", "status", ADMIN),
    Rule("/metrics", "status", ADMIN),
    Rule("/api/v1/policy", "policy", ADMIN),
    Rule("/api/v1/policy/explain", "policy", "policy"),
    Rule("/api/v1/trust", "policy", ADMIN),
    Rule("/api/v1/secrets", "secrets", "secrets"),
    Rule("/api/v1/vault", "secrets", ADMIN),
    Rule("/api/v1/audit", "audit", "audit"),
    Rule("/api/v1", ADMIN, ADMIN),
    Rule("/v1", "chat", "chat"),
    Rule("/ag-ui", "chat", "chat"),
    Rule("/ws", "chat", "chat"),
    Rule("/mcp", "agents", "agents"),
    Rule("/a2a", "agents", "agents"),
)

_OF_ALL_AGENTS = ("audit", "boxes", "costs", "egress", "metrics", "sessions")


def is_of_all_agents(path: str) -> bool:
    """What shows of every task at once is for no key that is for some agents."""
    pieces = path.strip("/").removeprefix("api/v1/").split("/")
    return pieces[0] in _OF_ALL_AGENTS


def _weight(rule: Rule) -> tuple[int, int]:
    """The longest rule counts; of two, the one that says more exactly what it means."""
    pieces = rule.path.split("/")
    return len(pieces), -pieces.count("*")


_HEAVIEST_FIRST = tuple(
    (rule, tuple(rule.path.strip("/").split("/")))
    for rule in sorted(RULES, key=_weight, reverse=True)
)


def needed(method: str, path: str) -> str | None:
    """The scope that a request needs; None for a path that no rule knows."""
    pieces = path.strip("/").split("/")
    for rule, wanted in _HEAVIEST_FIRST:
        if _leads(wanted, pieces):
            return rule.reads if method in _READING else rule.writes
    return None


def _leads(wanted: Sequence[str], pieces: Sequence[str]) -> bool:
    return len(wanted) <= len(pieces) and all(
        one in (piece, "*") for one, piece in zip(wanted, pieces, strict=False)
    )


def check(routes: Iterable[BaseRoute], before: str = "") -> None:
    """Raises `ValueError` for a route that nobody has said who may use."""
    for route in routes:
        match route:
            case Mount(routes=[]):
                _ruled("POST", f"{before}{route.path}/x")
            case Mount():
                check(route.routes, before + route.path)
            case Route():
                for method in route.methods or {"POST"}:
                    _ruled(method, before + route.path)
            case WebSocketRoute():
                _ruled("GET", before + route.path)
            case _:
                raise ValueError(f"nobody knows what {route!r} lets in")


def _ruled(method: str, path: str) -> None:
    scope = needed(method, path)
    if scope is None or scope not in {*SCOPES, PUBLIC, ANYBODY}:
        raise ValueError(f"{method} {path} has no scope: add a rule for it to scopes.py")
