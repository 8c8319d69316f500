"""Holdfast's own interface: what each path does, and the one table of them all."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio.to_thread
from msgspec.structs import replace
from starlette.background import BackgroundTask
from starlette.responses import Response
from starlette.types import ASGIApp

from holdfast.core.agent import Agent, Shape
from holdfast.core.budget import Limits
from holdfast.core.error import Invalid, NotAllowed, NotFound
from holdfast.core.gate.policy import Leave
from holdfast.core.ids import CallId, SessionId, TaskId
from holdfast.core.task import Request
from holdfast.core.view import Summary
from holdfast.ports.journal import Query
from holdfast.runtime import approvals as asked
from holdfast.runtime import inspect, leases, mcp, tasks, upkeep
from holdfast.runtime.advice import advice
from holdfast.runtime.owners import within_own
from holdfast.runtime.usage import resident, size

from . import answers as a
from . import bodies as b
from .access import EVERY
from .route import Ask, json_answer
from .sse import EventStream

_ALL = 500
_NO_TASK = TaskId("task_none")
_EPOCH = (1980, 1, 1, 0, 0, 0)


async def submit(ask: Ask[b.NoQuery, b.NewTask]) -> Response:
    new, house = ask.body, ask.house
    ask.grant.check_agent(house.agent.name)
    key = ask.request.headers.get("idempotency-key", "")
    if key and new.key and key != new.key:
        raise Invalid("the Idempotency-Key header and `key` differ", code="two_keys")
    if not new.workspace and ask.local:
        raise Invalid("workspace: say in which folder to work", code="no_workspace")
    request = Request(
        prompt=new.prompt,
        agent=_agent(house.agent, new),
        by=ask.by,
        session=SessionId(new.session),
        workspace=new.workspace or str(house.home / "workspace"),
        priority=new.priority,
        leave=Leave(preset=new.preset, allow=new.allow, deny=new.deny, unattended=new.unattended),
        checks=new.checks,
        until=new.until,
        deliver=new.deliver,
        key=new.key or key,
        files=tuple([await tasks.attach(house, f.name, f.media_type, f.data) for f in new.files]),
    )
    if not (ask.grant.may("tasks.read") and ask.grant.may_use(EVERY)):
        # What was said there is shown to the model, and so to whoever reads its answer.
        request = within_own(request)
    row = a.task_row(await tasks.submit(house, request))
    return json_answer(row, 202, {"Location": f"/api/v1/tasks/{row.id}"})


def _agent(agent: Agent, new: b.NewTask) -> Agent:
    style = new.style.model_dump(exclude_none=True) if new.style else {}
    return replace(
        agent,
        model=new.model or agent.model,
        limits=_limits(agent.limits, new.limits),
        style=replace(agent.style, **style),
        shape=_shape(new.shape) if new.shape else agent.shape,
    )


def _shape(new: b.NewShape) -> Shape:
    return Shape(schema=new.schema_, name=new.name, retries=new.retries, strict=new.strict)


def _limits(limits: Limits, new: b.NewLimits | None) -> Limits:
    """What is said in the request, over what is in force."""
    if new is None:
        return limits
    told = new.model_dump(exclude_none=True)
    if "cost_usd" in told:
        told["cost"] = round(told.pop("cost_usd") * 1e6)
    for name in {"tokens", "seconds"} & told.keys():
        told[name] = told[name] or None
    return replace(limits, **told)


async def list_tasks(ask: Ask[b.TaskQuery, b.Nothing]) -> a.TaskPage:
    wanted, house = ask.query, ask.house
    query = Query(
        status=wanted.status,
        session=SessionId(wanted.session) if wanted.session else None,
        parent=await tasks.resolve(house, wanted.parent) if wanted.parent else None,
        asked=wanted.asked,
        limit=wanted.limit + 1,
        before=TaskId(wanted.before) if wanted.before else None,
    )
    rows = await tasks.query(house, query)
    page = rows[: wanted.limit]
    return a.TaskPage(
        tasks=tuple(a.task_row(row) for row in page if ask.grant.may_use(row.agent)),
        next=page[-1].id if len(rows) > len(page) else None,
        counts=house.supervisor.counts,
    )


async def show(ask: Ask[b.ShowQuery, b.Nothing]) -> a.TaskRow:
    row = await tasks.show(ask.house, await ask.task())
    thinking = await tasks.thinking(ask.house, row, ask.query.show_thinking)
    shown = a.task_row(row, thinking, await tasks.heard_from(ask.house, row))
    return replace(shown, advice=await advice(ask.house, row.id)) if ask.query.advice else shown


async def events(ask: Ask[b.EventQuery, b.Nothing]) -> a.EventPage | ASGIApp:
    task, wanted, headers = await ask.task(), ask.query, ask.request.headers
    follows = wanted.follow or "text/event-stream" in headers.get("accept", "")
    if follows and ask.request.method != "HEAD":
        await tasks.events(ask.house, task, limit=1)  # what cannot be read is refused, not streamed
        return EventStream(
            ask.door,
            task,
            after=max(wanted.after, _last_seen(headers.get("last-event-id", ""))),
            show_thinking=wanted.show_thinking,
        )
    found = await tasks.events(ask.house, task, after=wanted.after, limit=wanted.limit)
    last = found[-1].seq if found else wanted.after
    return a.EventPage(events=tuple(map(a.event_row, found)), last=last)


def _last_seen(text: str) -> int:
    if text and not (text.isdecimal() and len(text) < 16):
        raise Invalid(f"Last-Event-ID {text!r} is not the id of an event")
    return int(text or 0)


async def cancel(ask: Ask[b.NoQuery, b.Reason]) -> a.TaskRow:
    task = await ask.task()
    return a.task_row(await tasks.cancel(ask.house, task, by=ask.by, reason=ask.body.reason))


async def say(ask: Ask[b.NoQuery, b.Message]) -> a.TaskRow:
    return a.task_row(await tasks.say(ask.house, await ask.task(), ask.body.text, by=ask.by))


async def retry(ask: Ask[b.NoQuery, b.Again]) -> a.TaskRow:
    task, new = await ask.task(), ask.body.limits
    if new is None:
        return a.task_row(await tasks.retry(ask.house, task, by=ask.by))
    limits = _limits(await tasks.limits(ask.house, task), new)
    return a.task_row(await tasks.retry(ask.house, task, by=ask.by, limits=limits))


async def approve(ask: Ask[b.NoQuery, b.Approval]) -> a.TaskRow:
    task, call, said = await ask.task(), ask.path("call"), ask.body
    if said.lease is not None:
        _check_lease(ask, said.lease)
        lasting = leases.Yes(
            call=CallId(call),
            digest=said.digest,
            by=ask.by,
            rule=said.lease.rule,
            terms=leases.Terms(**said.lease.model_dump(exclude={"rule"})),
        )
        return a.task_row(await leases.approve(ask.house, task, lasting))
    if said.arguments is not None or said.alike:
        return a.task_row(await _answered(ask, task, CallId(call)))
    yes = tasks.Yes(call=CallId(call), digest=said.digest, by=ask.by)
    yes = replace(yes, whole_task=said.whole_task, vouch=said.vouch)
    return a.task_row(await tasks.approve(ask.house, task, yes))


def _check_lease(ask: Ask[b.NoQuery, b.Approval], lease: b.NotAgain) -> None:
    """A key that is for some agents gives no leave that others would have as well."""
    match lease.scope, lease.of:
        case ("task" | "agent", ""):
            return
        case ("agent", agent):
            ask.grant.check_agent(agent)
        case _:
            ask.grant.check_agent(EVERY)


async def _answered(ask: Ask[b.NoQuery, b.Approval], task: TaskId, call: CallId) -> Summary:
    """An edit, or a yes to all that are alike."""
    said, by = ask.body, ask.by
    if said.arguments is None:
        yes = tasks.Yes(call=call, digest=said.digest, by=by)
        return await asked.approve_alike(ask.house, task, yes, ask.grant.may_use)
    wish = asked.Edit(call=call, digest=said.digest, arguments=said.arguments, by=by)
    return await asked.edit(ask.house, task, wish)


async def refuse(ask: Ask[b.NoQuery, b.Reason]) -> a.TaskRow:
    task, call = await ask.task(), ask.path("call")
    row = await tasks.refuse(ask.house, task, call, by=ask.by, reason=ask.body.reason)
    return a.task_row(row)


async def approvals(ask: Ask[b.NoQuery, b.Nothing]) -> a.Approvals:
    rows = await tasks.query(ask.house, Query(asked=True, limit=_ALL))
    pairs = [
        (row, question)
        for row in rows
        if ask.grant.may_use(row.agent)
        for question in row.questions
    ]
    open_ones = [
        a.open_question(row, question, await asked.why(ask.house, row.id, question.call))
        for row, question in pairs
    ]
    return a.Approvals(approvals=tuple(open_ones))


async def bundle(ask: Ask[b.NoQuery, b.Nothing]) -> Response:
    task = await ask.task()
    files = await inspect.bundle(ask.house, task)
    data = await anyio.to_thread.run_sync(_zipped, files)
    headers = {"Content-Disposition": f'attachment; filename="{task}.zip"'}
    return Response(data, 200, headers, "application/zip")


def _zipped(files: Mapping[str, bytes]) -> bytes:
    """The same files give the same bytes."""
    to = io.BytesIO()
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content, zipfile.ZIP_DEFLATED)
    return to.getvalue()


async def verify(ask: Ask[b.NoQuery, b.Nothing]) -> Mapping[str, Any]:
    return await inspect.verify(ask.house, await ask.task())


async def replay(ask: Ask[b.NoQuery, b.Nothing]) -> Mapping[str, Any]:
    return await inspect.replay(ask.house, await ask.task())


async def sessions(ask: Ask[b.NoQuery, b.Nothing]) -> Mapping[str, Any]:
    return {"sessions": await upkeep.sessions(ask.house)}


async def exchanges(ask: Ask[b.NoQuery, b.Nothing]) -> Mapping[str, Any]:
    session = ask.path("id")
    said = await upkeep.exchanges(ask.house, session)
    if not said:
        raise NotFound(f"there is no session {session}", code="session_not_found")
    return {"session": session, "exchanges": said}


async def status(ask: Ask[b.NoQuery, b.Nothing]) -> a.StatusPage:
    house, facts = ask.house, ask.door.facts
    return a.StatusPage(
        version=house.version,
        home=str(house.home),
        pid=os.getpid(),
        listening=tuple(ask.door.listening),
        started_at=house.started_at,
        uptime_seconds=max(0, house.clock.now() - house.started_at) / 1000,
        counts=house.supervisor.counts,
        running=house.supervisor.running,
        lanes=facts.lanes,
        model=facts.model(),
        policy=house.rules.version,
        config=house.in_force.config,
        config_problem=house.in_force.problem,
        statements=getattr(house.journal, "statements", None),
        database_bytes=size(facts.database),
        rss_bytes=resident(),
        servers=tuple(
            f"{one.name} is {one.state}" for one in mcp.servers(house) if one.state != "trusted"
        ),
    )


async def model_health(ask: Ask[b.NoQuery, b.Nothing]) -> a.ModelHealthList:
    return a.ModelHealthList(models=tuple(ask.door.facts.health()))


async def backup(ask: Ask[b.NoQuery, b.Backup]) -> Mapping[str, Any]:
    return await upkeep.backup(ask.house, Path(ask.body.to))


async def purge(ask: Ask[b.NoQuery, b.Purge]) -> a.Purged:
    said, house = ask.body, ask.house
    wanted = (await tasks.resolve(house, said.task),) if said.task else ()
    count = await upkeep.purge(
        house, tasks=wanted, session=said.session, by=ask.by, reason=said.reason
    )
    return a.Purged(purged=count)


async def stop(ask: Ask[b.NoQuery, b.Nothing]) -> Response:
    if not ask.local:
        hint = "holdfast serve stop"
        raise NotAllowed("only this machine's own user may stop it", code="socket_only", hint=hint)

    async def stop_now() -> None:
        ask.door.stop()

    answer = json_answer(a.Stopping(stopping=True), 202)
    answer.background = BackgroundTask(stop_now)
    return answer


async def healthz(ask: Ask[b.NoQuery, b.Nothing]) -> a.Healthy:
    """Raises `Unavailable` when the journal cannot be read: then nothing is well."""
    await ask.house.journal.summary(_NO_TASK)
    return a.Healthy(ok=True, version=ask.house.version)
