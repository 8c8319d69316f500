"""What a key may be for: each scope in a sentence."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.core.error import Invalid

ADMIN = "admin"
SCOPES: dict[str, str] = {
    "tasks.read": "see tasks, conversations and what happened in them",
    "tasks.write": "give tasks, say something to them, cancel and retry them",
    "approve": "answer the questions of tasks, give leases, undo what tasks did",
    "models": "list models, ask one directly, make vectors",
    "chat": "the doors that others speak: OpenAI's /v1, AG-UI and /ws",
    "relay": "bring what people say in other chats, and take the answers back: for bridges",
    "agents": "the doors for other agents: MCP and A2A",
    "status": "see how the daemon is, its boxes, budgets, costs and what went out",
    "policy": "see and explain the policy, and how far agents are trusted",
    "secrets": "put secrets in and list their names; nobody reads one",
    "audit": "read, verify and export the audit",
    ADMIN: "everything, with what changes the installation itself",
}


def checked(scopes: Iterable[str]) -> tuple[str, ...]:
    """Known scopes, each once, in the order of the table. Raises `Invalid`."""
    wanted = set(scopes)
    if unknown := sorted(wanted - SCOPES.keys()):
        hint = f"one of {', '.join(SCOPES)}"
        raise Invalid(f"there is no scope {unknown[0]!r}", code="bad_scope", hint=hint)
    if not wanted:
        hint = f"one of {', '.join(SCOPES)}"
        raise Invalid("a key without a scope opens nothing", code="bad_scope", hint=hint)
    return tuple(name for name in SCOPES if name in wanted)
