"""A run that a page asks for: begun once, or taken up again, and told to its end."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec
from starlette.requests import Request as HttpRequest
from starlette.routing import Route
from starlette.types import ASGIApp

from holdfast.core.error import Invalid
from holdfast.core.foreign import NotJson, decoded
from holdfast.core.ids import SessionId, TaskId
from holdfast.core.message import File
from holdfast.core.task import Request
from holdfast.doors.http.access import grant
from holdfast.doors.http.flow import Flow, data_frame
from holdfast.doors.http.route import Door
from holdfast.runtime import lent, tasks
from holdfast.runtime.following import follow
from holdfast.runtime.house import House
from holdfast.runtime.owners import within_own

from .going import goes_on
from .telling import Telling
from .words import Message, Run, files_of, own_state, text_of

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
    going = await goes_on(door.house, run, by)
    task, after = going or (await _begun(door.house, run, by), 1)
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
    message, key = _last(run), f"ag-ui:{run.thread_id}:{run.run_id}"
    words, shown = text_of(message), _shown(run)
    tools = lent.lend(house, [one.lent() for one in run.tools])
    await lent.abandon(house, SessionId(run.thread_id), by=by, but=key)
    files: list[File] = [
        await tasks.attach(house, one.name, one.media_type, one.data) for one in files_of(message)
    ]
    request = Request(
        prompt="\n\n".join(filter(None, [words, *shown])),
        agent=house.agent,
        by=by,
        session=SessionId(run.thread_id),
        workspace=str(house.home / "workspace"),
        key=key,
        files=tuple(files),
        lent=tools,
        # What a page shows may be anybody's; its user has said only what they said.
        sources=(lent.SOURCE,) if shown else (),
        said=(words,) if shown else (),
    )
    return (await tasks.submit(house, within_own(request))).id


def _shown(run: Run) -> list[str]:
    """What the page lets the agent see besides the words of its user."""
    shown = [f"{one.description}: {one.value}" for one in run.context]
    if state := own_state(run.state):
        shown.append(f"The state of the page: {msgspec.json.encode(state).decode()}")
    return shown


def _last(run: Run) -> Message:
    for told in reversed(run.messages):
        if told.get("role") == "user":
            try:
                return msgspec.convert(told, Message)
            except msgspec.ValidationError as error:
                raise Invalid(f"the last message: {error}", code="invalid_run") from None
    raise Invalid("messages: there is none of a user", code="invalid_run")


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
