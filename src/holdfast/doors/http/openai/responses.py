"""`/v1/responses`: made, streamed, found again, cancelled, forgotten."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
from starlette.types import ASGIApp

from holdfast.core.error import HoldfastError, Refused
from holdfast.core.ids import TaskId
from holdfast.core.task import Status
from holdfast.doors.http.sse import attended
from holdfast.runtime import responses as runtime
from holdfast.runtime import tasks

from . import agents, fields, items, kept
from .answering import ready
from .asked import Asked
from .errors import TaskFailed, Wrong
from .kept import Kept, Page
from .stream import Flow, Piece, Work
from .wanted import Answer, Wanted

Said = dict[str, Any]
_NO_TASK = TaskId("")
_TEXT = "response.output_text.delta"
_LONGEST_NUMBER = 15
# OpenAI ends without it, Open Responses with it; every client we know takes both.
_DONE = b"data: [DONE]\n\n"
_RUNNING = {Status.QUEUED: "queued", Status.CANCELED: "cancelled", Status.SUCCEEDED: "completed"}


async def create(asked: Asked) -> Said | ASGIApp:
    body, house = asked.body, asked.house
    own = items.given(body)
    previous = fields.text(body, "previous_response_id")
    said = [*await kept.before(house, previous, asked.by), *own] if previous else own
    wanted = asked.keyed(await items.wanted(body, said, asked.by, asked))
    asked.check_agent(wanted.model)
    name, begun = house.clock.new_id("resp"), house.clock.now() // 1000
    page = Page(name, begun, wanted.model, items.echoed(body, wanted))
    shaped = wanted.shape is not None
    making = Making(asked, page, [dict(item) for item in own], shaped=shaped)
    if fields.flag(body, "background", False):
        return await making.in_background(wanted, store=fields.flag(body, "store", True))
    work = await ready(house, wanted, asked.by)
    if wanted.stream:
        return Flow(work, Events(making), asked.door)
    answer = await attended(asked.request.receive, partial(work, making.hear))
    return await making.ended(answer)


async def show(asked: Asked) -> Said | ASGIApp:
    name, query = asked.request.path_params["id"], asked.request.query_params
    found = await kept.find(asked.house, name, asked.by)
    if query.get("stream") == "true":
        return await _again(asked, found, _last_seen(query.get("starting_after")))
    return await _now(asked, found)


def _last_seen(told: str | None) -> int:
    """The number of the last event that a client has seen; -1 if it has seen none."""
    if told is None:
        return -1
    if not (told.isascii() and told.isdecimal() and len(told) <= _LONGEST_NUMBER):
        what = "'starting_after' must be the number of an event."
        raise Wrong(what, param="starting_after", code="invalid_type")
    return int(told)


async def _again(asked: Asked, found: Kept, after: int) -> ASGIApp:
    """The stream of a response in the background, from behind what was seen of it."""
    if not found.response["background"]:
        what = "'stream': only a response in the background is streamed again."
        raise Wrong(what, param="stream", code="unsupported_parameter")
    await tasks.show(asked.house, found.task)
    making = Making(asked, kept.again(found.response), found.input, shaped=found.shaped)
    if found.status not in {"queued", "in_progress"}:
        making.told = found.response
    events = Events(making, found.task, after)
    return Flow(making.watched(found.task), events, asked.door, at_once=True)


async def show_input(asked: Asked) -> Said:
    name = asked.request.path_params["id"]
    found = await kept.find(asked.house, name, asked.by)
    suffix = name.partition("_")[2]
    told = [
        {"type": "message", "id": f"in_{suffix}_{place}", **item, "content": _content(item)}
        if item.get("type", "message") == "message"
        else {"id": f"in_{suffix}_{place}", **item}
        for place, item in enumerate(found.input)
    ]
    ends = {"first_id": told[0]["id"], "last_id": told[-1]["id"], "has_more": False}
    return {"object": "list", "data": told, **ends}


async def cancel(asked: Asked) -> Said:
    found = await kept.find(asked.house, asked.request.path_params["id"], asked.by)
    if not found.response["background"]:
        what = "Only a response in the background can be cancelled."
        raise Wrong(what, param="id", code="not_in_background")
    try:
        await tasks.cancel(asked.house, found.task, by=asked.by, reason="its client cancelled it")
    except Refused as late:  # it has ended, and that is what is told
        if late.code == "task_not_found":
            raise
    return await _now(asked, found)


async def forget(asked: Asked) -> Said:
    name = asked.request.path_params["id"]
    await runtime.forget(asked.house, name, asked.by)
    return {"id": name, "object": "response", "deleted": True}


def _content(item: Said) -> Any:
    content = item.get("content")
    if not isinstance(content, str):
        return content
    kind = "output_text" if item.get("role") == "assistant" else "input_text"
    return [{"type": kind, "text": content}]


async def _now(asked: Asked, found: Kept) -> Said:
    """How a response stands. One whose task has ended is kept so."""
    if not found.task or found.status not in {"queued", "in_progress"}:
        return found.response
    house, page = asked.house, kept.again(found.response)

    def hear(piece: Piece) -> None:
        page.output.heard(piece)

    row, answer = await agents.so_far(
        house, found.task, found.response["model"], hear, shaped=found.shaped
    )
    status = _RUNNING.get(row.status, "in_progress")
    if answer is not None:
        page.output.ended(answer)
        response = page.ended(answer, row.updated_at // 1000)
    elif row.status in {Status.FAILED, Status.DEAD_LETTER}:
        response = page.failed(TaskFailed(row.fault.message if row.fault else "the task failed"))
    else:
        response = page.told(status)
    if response["status"] not in {"queued", "in_progress"}:
        done = msgspec.structs.replace(found, response=response)
        await runtime.keep(house, page.name, asked.by, done)
    return response


class Making:
    """One response while it is made: what is heard of it, and how it is kept.

    `told`: how it ended before, where it is only told again.
    """

    told: Said | None = None

    def __init__(self, asked: Asked, page: Page, own: list[Said], *, shaped: bool) -> None:
        self._asked, self.page, self._own, self._shaped = asked, page, own, shaped

    def hear(self, piece: Piece) -> None:
        self.page.output.heard(piece)

    async def ended(self, answer: Answer) -> Said:
        """The whole response, kept unless that is not wanted."""
        self.page.output.ended(answer)
        return await self.finish(answer, TaskId(answer.task))

    async def finish(self, answer: Answer, task: TaskId = _NO_TASK) -> Said:
        if self.told is not None:
            return self.told
        response = self.page.ended(answer, self._asked.house.clock.now() // 1000)
        if response["store"]:
            await self._keep(response, task)
        return response

    async def in_background(self, wanted: Wanted, *, store: bool) -> Said | ASGIApp:
        """Told at once; the agent's task goes on whoever leaves."""
        asked = self._asked
        if not wanted.model.startswith(agents.PREFIX):
            hint = f"use {agents.PREFIX}default"
            what = "'background' is for agents: a plain model answers while you wait."
            raise Wrong(what, param="background", code="unsupported_parameter", hint=hint)
        if not store:
            raise Wrong("'background' needs 'store'.", param="store")
        row = await agents.submit(asked.house, wanted, asked.by)
        response = self.page.told("queued")
        await self._keep(response, row.id)
        if not wanted.stream:
            return response
        return Flow(self.watched(row.id), Events(self, row.id), asked.door, at_once=True)

    def watched(self, task: TaskId) -> Work:
        """What becomes of a task in the background."""
        model = self.page.told("queued")["model"]
        return partial(agents.watch, self._asked.house, task, model, shaped=self._shaped)

    async def _keep(self, response: Said, task: TaskId = _NO_TASK) -> None:
        record = Kept(response=response, input=self._own, task=task, shaped=self._shaped)
        await runtime.keep(self._asked.house, self.page.name, self._asked.by, record)


class Events:
    """Tells a response as OpenAI's events, each with its number; of those only what is `after` one.

    A text in the background counts as many as it has characters, so that the numbers say the same
    in whatever pieces it comes, now or over again; an event has the number of its last one.
    """

    def __init__(self, making: Making, task: TaskId = _NO_TASK, after: int = -1) -> None:
        self._making, self._page, self._task, self._after = making, making.page, task, after
        self._number = 0

    def opened(self) -> bytes:
        told = self._page.told("in_progress")
        kinds = ("response.created", "response.in_progress")
        return self._events([{"type": kind, "response": told} for kind in kinds])

    def heard(self, piece: Piece) -> bytes:
        return self._events(self._page.output.heard(piece))

    async def ended(self, answer: Answer) -> bytes:
        events = self._page.output.ended(answer)
        response = await self._making.finish(answer, self._task or TaskId(answer.task))
        kind = f"response.{response['status']}"
        return self._events([*events, {"type": kind, "response": response}]) + _DONE

    def failed(self, error: HoldfastError) -> bytes:
        told = self._page.failed(error)
        return self._events([{"type": "response.failed", "response": told}]) + _DONE

    def _events(self, events: list[Said]) -> bytes:
        return b"".join(map(self._event, events))

    def _event(self, said: Said) -> bytes:
        first, counts = self._number, self._task and said["type"] == _TEXT
        self._number += len(said["delta"]) if counts else 1
        last = self._number - 1
        if last <= self._after:
            return b""
        if counts and first <= self._after:
            said = {**said, "delta": said["delta"][self._after + 1 - first :]}
        told = msgspec.json.encode({**said, "sequence_number": last})
        return b"event: %b\ndata: %b\n\n" % (said["type"].encode(), told)
