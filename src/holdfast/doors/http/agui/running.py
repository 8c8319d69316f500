"""A run that a page asks for: begun once, or taken up again, and told to its end."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, cast

import msgspec
from starlette.requests import Request as HttpRequest
from starlette.routing import Route
from starlette.types import ASGIApp

from holdfast.core import event as e
from holdfast.core.error import Invalid, NotFound, Refused
from holdfast.core.foreign import NotJson, decoded
from holdfast.core.ids import CallId, SessionId, TaskId
from holdfast.core.message import File
from holdfast.core.task import Request
from holdfast.doors.http.access import grant
from holdfast.doors.http.flow import Flow, data_frame
from holdfast.doors.http.route import Door
from holdfast.runtime import tasks
from holdfast.runtime.following import follow
from holdfast.runtime.house import House
from holdfast.runtime.owners import within_own

from .telling import Telling
from .words import Message, Resume, Run, files_of, text_of

PATH = "/ag-ui"
_NAME = re.compile(r"[\x21-\x7e]{1,200}")


def agui_routes(door: Door) -> list[Route]:
    async def run(request: HttpRequest) -> ASGIApp:
        return await _run(door, request)

    return [Route(path, run, methods=["POST"]) for path in (PATH, f"{PATH}/")]


async def _run(door: Door, request: HttpRequest) -> ASGIApp:
    """The same run again is the same task, told from its beginning."""
    run, asker = _parsed(await request.body()), grant(request.scope)
    asker.check_agent(door.house.agent.name)
    by = asker.by
    if run.resume:
        asker.check("approve")
        task, after = await _resumed(door.house, run.resume, by)
    else:
        task, after = await _begun(door.house, run, by), 1
    return Flow(door, _frames(door.house, run, task, after))


def _parsed(data: bytes) -> Run:
    try:
        run = decoded(data, Run)
    except NotJson as error:
        raise Invalid(f"that is no run: {error}", code="invalid_run") from None
    if not _NAME.fullmatch(run.thread_id) or not _NAME.fullmatch(run.run_id):
        raise Invalid("threadId, runId: expected 1 to 200 printable characters")
    return run


async def _begun(house: House, run: Run, by: str) -> TaskId:
    message = _last(run)
    context = [f"{one.description}: {one.value}" for one in run.context]
    files: list[File] = [
        await tasks.attach(house, one.name, one.media_type, one.data) for one in files_of(message)
    ]
    request = Request(
        prompt="\n\n".join(filter(None, [text_of(message), *context])),
        agent=house.agent,
        by=by,
        session=SessionId(run.thread_id),
        workspace=str(house.home / "workspace"),
        key=f"ag-ui:{run.thread_id}:{run.run_id}",
        files=tuple(files),
    )
    return (await tasks.submit(house, within_own(request))).id


def _last(run: Run) -> Message:
    for told in reversed(run.messages):
        if told.get("role") == "user":
            try:
                return msgspec.convert(told, Message)
            except msgspec.ValidationError as error:
                raise Invalid(f"the last message: {error}", code="invalid_run") from None
    raise Invalid("messages: there is none of a user", code="invalid_run")


async def _resumed(house: House, answers: tuple[Resume, ...], by: str) -> tuple[TaskId, int]:
    """The task that goes on, and after how many events. An answer that it has already is one."""
    task, after = TaskId(""), 0
    for answer in answers:
        named, _, rest = answer.interrupt_id.partition("/")
        digest, _, call = rest.partition("/")
        await _check_mine(house, TaskId(named), by)
        if task and named != task:
            raise Invalid("resume: the answers are to more than one task", code="invalid_run")
        task = TaskId(named)
        events = await house.journal.read(task)
        there = next((one.seq for one in events if _answers(one.event, call)), 0)
        if not after:
            after = there - 1 if there else len(events)
        if not there:
            await _answered(house, task, (call, digest), answer, by)
    return task, after


async def _check_mine(house: House, task: TaskId, by: str) -> None:
    row = await house.journal.summary(task)
    if row is None or row.by != by:
        raise NotFound(f"there is no task {task[:100]}", code="task_not_found")


def _answers(event: e.Event, call: str) -> bool:
    settled = isinstance(event, e.CallApproved | e.CallSettled)
    return settled and event.call_id == call


async def _answered(
    house: House, task: TaskId, which: tuple[str, str], answer: Resume, by: str
) -> None:
    call, digest = which
    asked = {one.call: one for one in await tasks.asked(house, task)}
    payload: Any = answer.payload
    told = cast("dict[str, Any]", payload) if isinstance(payload, dict) else {}
    question = asked.get(CallId(call))
    if question is None:
        raise Refused(f"the call {call[:100]} does not wait for anybody", code="call_not_asked")
    if answer.status == "cancelled":
        await tasks.refuse(house, task, call, by=by, reason="the page took it back")
    elif question.free_text:
        text = payload if isinstance(payload, str) else str(told.get("text", ""))
        await tasks.say(house, task, text, by=by)
    elif told.get("approved") is True:
        yes = tasks.Yes(call=CallId(call), digest=digest, by=by)
        await tasks.approve(house, task, yes)
    else:
        await tasks.refuse(house, task, call, by=by, reason=str(told.get("reason", "")))


async def _frames(house: House, run: Run, task: TaskId, after: int) -> AsyncGenerator[bytes, None]:
    telling: Telling | None = None
    async with aclosing(follow(house, task, after=after)) as moments:
        async for moment in moments:
            if telling is None:
                telling = Telling(run, moment)
                for one in telling.begin(moment.task):
                    yield data_frame(msgspec.json.encode(one))
                continue
            told = list(telling.of(moment))
            ends = [] if moment.heard is not None else list(telling.end(moment.task))
            for one in [*told, *ends]:
                yield data_frame(msgspec.json.encode(one))
            if ends:
                return
