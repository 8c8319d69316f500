"""The tree of resources: tasks with their events, results and bundles, conversations, the house."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote, unquote, urlsplit

import anyio.to_thread
import mcp_types as types

from .caller import Caller, Declined

_JSON, _MARKDOWN, _ZIP = "application/json", "text/markdown", "application/zip"
_TASK = "/api/v1/tasks"
_PAGE = 50


class _Fixed(NamedTuple):
    """One that is always there."""

    uri: str
    title: str
    target: str


FIXED: tuple[_Fixed, ...] = (
    _Fixed("holdfast://status", "How the daemon is", "/api/v1/status"),
    _Fixed("holdfast://approvals", "What waits for a person", "/api/v1/approvals"),
    _Fixed("holdfast://sessions", "Conversations", "/api/v1/sessions"),
    _Fixed(
        "holdfast://costs", "Costs of this month by model", "/api/v1/costs?since=month&by=model"
    ),
    _Fixed("holdfast://budgets", "How budgets stand", "/api/v1/budgets"),
    _Fixed("holdfast://policy", "The policy in force", "/api/v1/policy"),
)

TEMPLATES: tuple[types.ResourceTemplate, ...] = tuple(
    types.ResourceTemplate(uri_template=uri, name=name, title=title, mime_type=kind)
    for uri, name, title, kind in (
        ("task://{task}", "task", "A task as it is now", _JSON),
        ("task://{task}/events{?after}", "events", "What happened in a task, in order", _JSON),
        ("task://{task}/result", "result", "A task's answer", _MARKDOWN),
        ("task://{task}/transcript", "transcript", "A task's conversation", _MARKDOWN),
        ("task://{task}/bundle", "bundle", "Everything about a task, as a zip", _ZIP),
        ("task://{task}/bundle/{file}", "bundled", "One file of a task's bundle", "text/plain"),
        ("session://{session}", "session", "A conversation", _JSON),
    )
)


async def listed(caller: Caller, cursor: str) -> types.ListResourcesResult:
    """The fixed ones first, then tasks, newest first."""
    before = f"&before={quote(cursor, safe='')}" if cursor else ""
    page = await caller.ask("GET", f"{_TASK}?limit={_PAGE}{before}")
    found = [_task(row) for row in page["tasks"]]
    always = [
        types.Resource(uri=one.uri, name=one.uri, title=one.title, mime_type=_JSON) for one in FIXED
    ]
    return types.ListResourcesResult(
        resources=found if cursor else [*always, *found], next_cursor=page["next"]
    )


def _task(row: dict[str, Any]) -> types.Resource:
    title = f"{row['status']}: {row.get('title', '')}"
    return types.Resource(uri=f"task://{row['id']}", name=row["id"], title=title, mime_type=_JSON)


async def read(caller: Caller, uri: str) -> types.ReadResourceResult:
    """Raises `Declined` for what is not there."""
    fixed = next((one for one in FIXED if one.uri == uri), None)
    if fixed is not None:
        return _text(uri, await caller.fetch("GET", fixed.target), _JSON)
    parts = urlsplit(uri)
    name, path = unquote(parts.netloc), parts.path
    if parts.scheme == "session" and name:
        rest = quote(name + unquote(path), safe="")
        return _text(uri, await caller.fetch("GET", f"/api/v1/sessions/{rest}"), _JSON)
    leaf = _LEAVES.get(path)
    if parts.scheme != "task" or not name or "/" in name:
        raise _nothing(uri)
    task = f"{_TASK}/{quote(name, safe='')}"
    if leaf is not None:
        return await leaf(caller, task, uri)
    if path.startswith("/bundle/"):
        return _text(uri, await _bundled(caller, task, unquote(path[8:]), uri), "text/plain")
    raise _nothing(uri)


def task_of(uri: str) -> str:
    """The task that a resource is about; empty if it is about none."""
    parts = urlsplit(uri)
    known = parts.path in _LEAVES or parts.path.startswith("/bundle/")
    return unquote(parts.netloc) if parts.scheme == "task" and known else ""


async def transcript(caller: Caller, task: str) -> types.TextResourceContents:
    uri = f"task://{quote(task, safe='')}/transcript"
    found = (await read(caller, uri)).contents[0]
    assert isinstance(found, types.TextResourceContents)  # noqa: S101 - Markdown is text
    return found


async def _whole(caller: Caller, task: str, uri: str) -> types.ReadResourceResult:
    return _text(uri, await caller.fetch("GET", task), _JSON)


async def _events(caller: Caller, task: str, uri: str) -> types.ReadResourceResult:
    """From `after` on; nothing else of what an address may hold is for a resource to say."""
    after = parse_qs(urlsplit(uri).query).get("after", ["0"])[-1]
    told = f"{task}/events?after={quote(after, safe='')}"
    return _text(uri, await caller.fetch("GET", told), _JSON)


async def _result(caller: Caller, task: str, uri: str) -> types.ReadResourceResult:
    row = await caller.ask("GET", task)
    fault: dict[str, Any] = row.get("fault") or {}
    none: str = f"The task is {row['status']}: there is no result yet."
    answer: str = row.get("answer") or fault.get("message") or none
    return _text(uri, answer.encode(), _MARKDOWN)


async def _transcript(caller: Caller, task: str, uri: str) -> types.ReadResourceResult:
    return _text(uri, await _bundled(caller, task, "transcript.md", uri), _MARKDOWN)


async def _bundle(caller: Caller, task: str, uri: str) -> types.ReadResourceResult:
    data = base64.b64encode(await caller.fetch("GET", f"{task}/bundle")).decode()
    blob = types.BlobResourceContents(uri=uri, blob=data, mime_type=_ZIP)
    return types.ReadResourceResult(contents=[blob])


_Leaf = Callable[[Caller, str, str], Awaitable[types.ReadResourceResult]]
_LEAVES: dict[str, _Leaf] = {
    "": _whole,
    "/events": _events,
    "/result": _result,
    "/transcript": _transcript,
    "/bundle": _bundle,
}


async def _bundled(caller: Caller, task: str, name: str, uri: str) -> bytes:
    data = await caller.fetch("GET", f"{task}/bundle")
    found = await anyio.to_thread.run_sync(_unzipped, data, name)
    if found is None:
        raise _nothing(uri)
    return found


def _unzipped(data: bytes, name: str) -> bytes | None:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.read(name) if name in archive.namelist() else None


def _text(uri: str, data: bytes, kind: str) -> types.ReadResourceResult:
    text = data.decode("utf-8", "replace")
    if kind == _JSON:
        text = json.dumps(json.loads(text), ensure_ascii=False, indent=1)
    contents = types.TextResourceContents(uri=uri, text=text, mime_type=kind)
    return types.ReadResourceResult(contents=[contents])


def _nothing(uri: str) -> Declined:
    return Declined(404, "no_such_resource", f"there is no resource {uri[:200]}")
