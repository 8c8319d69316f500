"""The table of tools: each is a row of Holdfast's own interface, in words for a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import mcp_types as types

from holdfast.doors.http.route import Entry
from holdfast.doors.http.table import ROUTES

from .schemas import given, taken

MOST_SECONDS = 3_600
_READS = types.ToolAnnotations(read_only_hint=True, open_world_hint=False)
_STARTS = types.ToolAnnotations(
    read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=True
)
_SAYS = types.ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False
)
_ENDS = types.ToolAnnotations(
    read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False
)
_WAIT: Mapping[str, Any] = {
    "wait_seconds": {
        "type": "integer",
        "minimum": 0,
        "maximum": MOST_SECONDS,
        "description": "How long to wait for its end before answering with how far it is.",
    }
}


class Row(NamedTuple):
    """One tool. `only` is what it offers of the body or query; `waits` follows the task."""

    name: str
    title: str
    about: str
    method: str
    path: str
    hints: types.ToolAnnotations = _READS
    only: tuple[str, ...] = ()
    waits: bool = False

    @property
    def entry(self) -> Entry:
        return _ENTRIES[self.method, self.path]

    @property
    def tool(self) -> types.Tool:
        return types.Tool(
            name=self.name,
            title=self.title,
            description=self.about,
            input_schema=taken(self.entry, self.only, _WAIT if self.waits else {}),
            output_schema=given(self.entry),
            annotations=self.hints,
        )


_ENTRIES = {(entry.method, entry.path): entry for entry in ROUTES}
_TASK = "/api/v1/tasks/{ref}"
_CALL = "/api/v1/tasks/{ref}/calls/{call}"

_REQUEST = (
    *("prompt", "workspace", "model", "session", "preset", "checks", "limits", "shape"),
    *("unattended", "key"),
)

ROWS: tuple[Row, ...] = (
    Row(
        "submit_task",
        "Submit a task",
        "Have an agent of Holdfast do something. The task is on disk when this answers, survives "
        "restarts, and works within its policy and budget; what it may not do without a person "
        "becomes a question (list_approvals). With wait_seconds it answers with the result if the "
        "task ends in that time. The same key again is the same task, never a second one.",
        "POST",
        "/api/v1/tasks",
        _STARTS,
        _REQUEST,
        waits=True,
    ),
    Row(
        "wait_for_task",
        "Wait for a task",
        "Wait until a task has ended, or needs a person, at most wait_seconds (30). Progress says "
        "what it does meanwhile. `answer` is the result, `questions` is what it waits for.",
        "GET",
        _TASK,
        waits=True,
    ),
    Row(
        "list_tasks",
        "List tasks",
        "List tasks, newest first: their status, answer, cost and open questions.",
        "GET",
        "/api/v1/tasks",
        only=("status", "session", "asked", "limit", "before"),
    ),
    Row("show_task", "Show a task", "One task as it is now.", "GET", _TASK),
    Row(
        "task_events",
        "What a task did",
        "Everything that happened in a task, in order: replies, verdicts, calls, outcomes. "
        "`after` goes on where the page before ended (`last`).",
        "GET",
        f"{_TASK}/events",
        only=("after", "limit"),
    ),
    Row(
        "say_to_task",
        "Say something to a task",
        "Tell a task at work something more, or answer a question that it asked in words.",
        "POST",
        f"{_TASK}/say",
        _SAYS,
        ("text",),
    ),
    Row(
        "cancel_task",
        "Cancel a task",
        "Stop a task for good.",
        "POST",
        f"{_TASK}/cancel",
        _ENDS,
        ("reason",),
    ),
    Row(
        "retry_task",
        "Try a task again",
        "Try a failed task again where it stands, or an ended one anew.",
        "POST",
        f"{_TASK}/retry",
        _STARTS,
        ("limits",),
    ),
    Row(
        "preview_undo",
        "What an undo would do",
        "What undo_task would put back now, what it would leave alone and why, and which effects "
        "of the task cannot be undone. Changes nothing.",
        "GET",
        f"{_TASK}/undo",
        only=("call",),
    ),
    Row(
        "undo_task",
        "Undo a task",
        "Put back the files that an ended task changed, where nobody else has changed them since. "
        "`ref` may be the id of an undo (TASK.1): then that is taken back. Only on a person's "
        "explicit word: never decide this yourself.",
        "POST",
        f"{_TASK}/undo",
        _ENDS,
        ("call",),
    ),
    Row(
        "verify_task",
        "Verify a task's history",
        "Is the recorded history of a task whole and unchanged?",
        "GET",
        f"{_TASK}/verify",
    ),
    Row(
        "list_approvals",
        "What waits for a person",
        "Every call that waits for a person's yes or no, with the digest of its exact arguments.",
        "GET",
        "/api/v1/approvals",
    ),
    Row(
        "approve_call",
        "Approve a call",
        "Say yes to one waiting call, with exactly the arguments that the digest names. Only on a "
        "person's explicit word about this very call: never decide this yourself.",
        "POST",
        f"{_CALL}/approve",
        _STARTS,
        ("digest", "whole_task"),
    ),
    Row(
        "refuse_call",
        "Refuse a call",
        "Say no to one waiting call; the agent is told the reason and goes on without it.",
        "POST",
        f"{_CALL}/refuse",
        _SAYS,
        ("reason",),
    ),
    Row(
        "list_sessions",
        "List conversations",
        "Conversations, newest first: their tasks, tokens and costs.",
        "GET",
        "/api/v1/sessions",
    ),
    Row(
        "show_session",
        "Read a conversation",
        "What was asked and answered in one conversation, oldest first.",
        "GET",
        "/api/v1/sessions/{id:path}",
    ),
    Row(
        "show_costs",
        "Where the money went",
        "Costs and tokens, added up by groups such as model, agent, session or day.",
        "GET",
        "/api/v1/costs",
        only=("by", "since", "until", "task", "session", "agent"),
    ),
    Row(
        "show_budgets",
        "How budgets stand",
        "Every budget: its limit, what is used, held and left.",
        "GET",
        "/api/v1/budgets",
    ),
    Row(
        "show_policy",
        "The policy in force",
        "The rules that agents are under: what is allowed, asked, denied.",
        "GET",
        "/api/v1/policy",
        only=("agent",),
    ),
    Row(
        "explain_policy",
        "Would this be allowed?",
        "What the policy says of a call, and by which rule: of one that nobody made (`tool` and "
        "`words`), or of one of a task (`task` and `call`).",
        "POST",
        "/api/v1/policy/explain",
        only=("tool", "words", "agent", "workspace", "preset", "method", "task", "call"),
    ),
    Row(
        "list_models",
        "Which models there are",
        "The models that can be asked, and what each role has.",
        "GET",
        "/api/v1/models",
    ),
    Row(
        "list_tool_servers",
        "Servers of tools",
        "The MCP servers whose tools agents may use here, and how each stands.",
        "GET",
        "/api/v1/mcp",
    ),
    Row(
        "check_tool_servers",
        "Do the servers come up?",
        "Have every server of tools come up, and see which do; changes nothing of what is agreed.",
        "POST",
        "/api/v1/mcp-checks",
        _SAYS,
    ),
    Row(
        "list_server_logins",
        "Logins to servers of tools",
        "Which servers of tools want a login, and how we are logged in. Holds no token.",
        "GET",
        "/api/v1/mcp-logins",
    ),
    Row(
        "begin_server_login",
        "Begin a login",
        "Begin the login to a server of tools: a person finishes it at the url that this gives, "
        "and gives back the address at which their browser ended.",
        "POST",
        "/api/v1/mcp/{name}/login",
        _SAYS,
    ),
    Row(
        "finish_server_login",
        "Finish a login",
        "Finish a login with the whole address at which the person's browser ended.",
        "POST",
        "/api/v1/mcp-logins/{attempt}",
        _SAYS,
        ("answer",),
    ),
    Row("show_status", "How Holdfast is", "How the daemon is.", "GET", "/api/v1/status"),
)
