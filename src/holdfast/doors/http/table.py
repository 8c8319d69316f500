"""The table of all ways in: the routes and the document that describes them are made from it."""

from __future__ import annotations

import functools

from starlette.responses import Response

from holdfast.ports.choosing import Choice
from holdfast.ports.connections import Connection, Forgotten, Invitation

from . import answers as a
from . import bodies as b
from . import connections as c
from . import egress as e
from . import money as m
from . import native as n
from .asking import ask_model, choose_model, embed, list_models, refresh_models
from .audit import AUDIT_ROUTES
from .boxes import BoxList, box_list
from .certificate import CERTIFICATE_ROUTES
from .chat import CHAT_ROUTES
from .config import CONFIG_ROUTES
from .keys import KEY_ROUTES
from .mcp import MCP_ROUTES
from .metrics import METRIC_ROUTES
from .openapi import document
from .peers import PEER_ROUTES
from .policy import POLICY_ROUTES
from .route import Ask, Entry
from .secrets import SECRET_ROUTES
from .slack import SLACK_ROUTES
from .tools import TOOL_ROUTES
from .trust import TRUST_ROUTES
from .undo import UNDO_ROUTES
from .webhooks import WEBHOOK_ROUTES

_TASK = "/api/v1/tasks/{ref}"
_CALL = "/api/v1/tasks/{ref}/calls/{call}"
_PROVIDER = "/api/v1/connections/{name}"
_JSON = "application/json"


async def openapi(ask: Ask[b.NoQuery, b.Nothing]) -> Response:
    return Response(_document(ask.house.version), media_type=_JSON)


@functools.cache
def _document(version: str) -> bytes:
    return document(ROUTES, version)


ROUTES: tuple[Entry, ...] = (
    Entry(
        "POST",
        "/api/v1/tasks",
        n.submit,
        "Submit a task. The same Idempotency-Key, or `key`, again is the same task.",
        answer=a.TaskRow,
        body=b.NewTask,
        status=202,
        errors=(409, 429, 503),
        again=False,
    ),
    Entry("GET", "/api/v1/tasks", n.list_tasks, "List tasks.", a.TaskPage, query=b.TaskQuery),
    Entry("GET", _TASK, n.show, "One task.", a.TaskRow, query=b.ShowQuery),
    Entry(
        "GET",
        f"{_TASK}/events",
        n.events,
        "What happened; or, followed, what happens: `id` is the `seq`, `event` the kind, and at "
        "the end comes `end` with the summary. `delta` events are pieces of a reply on its way "
        "and are not repeated; one with `reset` makes all pieces before it void."
        " `Last-Event-ID` goes on where a stream broke.",
        a.EventPage,
        query=b.EventQuery,
        streams=True,
    ),
    Entry(
        "POST",
        f"{_TASK}/cancel",
        n.cancel,
        "Stop a task for good.",
        a.TaskRow,
        body=b.Reason,
        errors=(409,),
    ),
    Entry(
        "POST",
        f"{_TASK}/say",
        n.say,
        "Say something to a task at work.",
        a.TaskRow,
        body=b.Message,
        errors=(409,),
    ),
    Entry(
        "POST",
        f"{_TASK}/retry",
        n.retry,
        "Try it again.",
        a.TaskRow,
        body=b.Again,
        errors=(409, 429),
    ),
    Entry(
        "POST",
        f"{_CALL}/approve",
        n.approve,
        "Say yes to a call with exactly the arguments that the digest names.",
        a.TaskRow,
        body=b.Approval,
        errors=(409,),
    ),
    Entry(
        "POST",
        f"{_CALL}/refuse",
        n.refuse,
        "Say no to a call.",
        a.TaskRow,
        body=b.Reason,
        errors=(409,),
    ),
    Entry("GET", "/api/v1/approvals", n.approvals, "All that waits for a person.", a.Approvals),
    Entry(
        "GET", f"{_TASK}/bundle", n.bundle, "Everything about a task as files.", "application/zip"
    ),
    Entry("GET", f"{_TASK}/verify", n.verify, "Is its history whole?", a.Verified),
    Entry("GET", f"{_TASK}/replay", n.replay, "Decide it again and compare.", a.Replayed),
    Entry("GET", "/api/v1/sessions", n.sessions, "Conversations, newest first.", a.Sessions),
    Entry("GET", "/api/v1/sessions/{id:path}", n.exchanges, "What was said in one.", a.Exchanges),
    Entry("GET", "/api/v1/status", n.status, "How the daemon is.", a.StatusPage),
    Entry(
        "GET",
        "/api/v1/models",
        list_models,
        "The models there are. Providers are asked for theirs at most once an hour.",
        a.ModelList,
    ),
    Entry(
        "POST",
        "/api/v1/models/refresh",
        refresh_models,
        "Ask all providers for their models now.",
        a.ModelList,
    ),
    Entry(
        "POST",
        "/api/v1/models/choose",
        choose_model,
        "Give a role its model, at once and over a restart. The configuration goes before it.",
        Choice,
        body=b.Chosen,
        errors=(503,),
    ),
    Entry(
        "GET",
        "/api/v1/models/health",
        n.model_health,
        "How the models are that were asked lately.",
        a.ModelHealthList,
    ),
    Entry("GET", "/api/v1/budgets", m.budget_list, "How the budgets stand.", m.BudgetList),
    Entry(
        "POST",
        "/api/v1/budgets/raise",
        m.budget_raise,
        "Add to a budget until its period ends.",
        m.Raised,
        body=m.Raise,
        errors=(409, 503),
    ),
    Entry(
        "POST",
        "/api/v1/budgets/settle",
        m.budget_settle,
        "Say what a call cost whose answer never came.",
        m.Settled,
        body=m.Settle,
        errors=(503,),
    ),
    Entry("GET", "/api/v1/costs", m.costs, "Where the money went.", m.CostPage, query=m.CostAsk),
    Entry(
        "GET",
        "/api/v1/egress",
        e.visit_list,
        "Who reached what outside, or was refused it.",
        e.VisitPage,
        query=e.VisitAsk,
    ),
    Entry("GET", "/api/v1/boxes", box_list, "Which boxes there are, and what they use.", BoxList),
    Entry("GET", "/api/v1/connections", c.listed, "Who can be asked.", a.ConnectionList),
    Entry(
        "POST",
        _PROVIDER,
        c.connect,
        "Save a key, or a server that speaks as OpenAI does. It counts at once.",
        Connection,
        body=b.NewConnection,
        errors=(503,),
    ),
    Entry(
        "POST",
        f"{_PROVIDER}/login",
        c.invite,
        "Begin a login that a person finishes elsewhere.",
        Invitation,
        errors=(503,),
    ),
    Entry(
        "POST",
        "/api/v1/logins/{attempt}",
        c.accept,
        "Has the person finished it? Ask as often as `interval` says.",
        a.LoginState,
        body=b.LoginAnswer,
        errors=(503,),
    ),
    Entry(
        "POST",
        f"{_PROVIDER}/disconnect",
        c.disconnect,
        "Forget key, login and server of a provider.",
        Forgotten,
        body=b.Disconnect,
        errors=(503,),
    ),
    Entry(
        "POST",
        "/api/v1/models/ask",
        ask_model,
        "Ask a model, outside any task, under the same budgets and fallbacks. Tool calls are "
        "returned, not run. Streamed: `delta` events, then `reply`, or `error`; an answer that "
        "has not begun fails as any other does.",
        answer=a.Answered,
        body=b.Asked,
        errors=(409, 429, 502, 503, 504),
        streams=True,
    ),
    Entry(
        "POST",
        "/api/v1/models/embed",
        embed,
        "Turn texts into vectors, paid for under the same budgets. No other model stands in.",
        answer=a.Vectors,
        body=b.ToEmbed,
        errors=(409, 429, 502, 503, 504),
        streams=True,
    ),
    *CHAT_ROUTES,
    *UNDO_ROUTES,
    *SECRET_ROUTES,
    *POLICY_ROUTES,
    *MCP_ROUTES,
    *PEER_ROUTES,
    *SLACK_ROUTES,
    *TOOL_ROUTES,
    *AUDIT_ROUTES,
    *TRUST_ROUTES,
    *KEY_ROUTES,
    *CERTIFICATE_ROUTES,
    *WEBHOOK_ROUTES,
    *CONFIG_ROUTES,
    *METRIC_ROUTES,
    Entry(
        "POST",
        "/api/v1/backup",
        n.backup,
        "Copy the journal while it is in use.",
        a.BackupDone,
        body=b.Backup,
        errors=(409, 503),
    ),
    Entry(
        "POST",
        "/api/v1/purge",
        n.purge,
        "Make unreadable for good what ended tasks said.",
        a.Purged,
        body=b.Purge,
        errors=(409,),
    ),
    Entry(
        "POST", "/api/v1/stop", n.stop, "Stop the daemon; Unix socket only.", a.Stopping, status=202
    ),
    Entry("GET", "/healthz", n.healthz, "Is anybody there, and well?", a.Healthy, errors=(503,)),
    Entry("GET", "/openapi.json", openapi, "This document.", _JSON),
)
