"""The places that are told about a task: set, looked at, taken away; and what they are told."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import msgspec
from msgspec import UNSET

from holdfast.core.error import NotFound
from holdfast.core.ids import TaskId
from holdfast.runtime.following import Moment
from holdfast.runtime.push import Push, checked

from . import words as w
from .asking import Asking, mine
from .faults import InvalidParams
from .told import Teller


async def create(ask: Asking, config: w.PushConfig) -> w.PushConfig:
    """From now on; told is what comes after this."""
    await mine(ask, config.task_id)
    events = await ask.house.journal.read(TaskId(config.task_id))
    return await keep(ask, config, after=events[-1].seq)


async def keep(ask: Asking, config: w.PushConfig, *, after: int) -> w.PushConfig:
    """Told is what comes after so many events of the task."""
    return _shown(await ask.house.pushes.keep(push_of(ask, config, after=after)))


def push_of(ask: Asking, config: w.PushConfig, *, after: int = 0) -> Push:
    """Raises `Invalid` for what can never be told."""
    authentication = config.authentication
    if authentication is UNSET:
        authentication = w.Authentication()
    push = Push(
        id=config.id or ask.house.clock.new_id("push"),
        task=TaskId(config.task_id),
        url=config.url,
        by=ask.by,
        token=config.token,
        scheme=authentication.scheme,
        credentials=authentication.credentials,
        told=after,
    )
    return checked(push)


async def get(ask: Asking, one: w.OnePush) -> w.PushConfig:
    await mine(ask, one.task_id)
    for push in ask.house.pushes.all(TaskId(one.task_id)):
        if push.id == one.id:
            return _shown(push)
    raise NotFound(f"nobody is told as {one.id[:200]}", code="no_such_push")


async def listing(ask: Asking, wanted: w.Pushes) -> w.PushesListed:
    """There are few: one page has them all."""
    await mine(ask, wanted.task_id)
    if wanted.page_token:
        raise InvalidParams("pageToken: one page has them all")
    found = ask.house.pushes.all(TaskId(wanted.task_id))
    return w.PushesListed(configs=tuple(map(_shown, found)))


async def delete(ask: Asking, one: w.OnePush) -> w.Nothing:
    await mine(ask, one.task_id)
    await ask.house.pushes.drop(TaskId(one.task_id), one.id)
    return w.Nothing()


async def told(before: Moment, moment: Moment) -> AsyncGenerator[bytes, None]:
    """As in a stream, without the pieces of a reply."""
    for one in await Teller(before).of(moment):
        yield msgspec.json.encode(one)


def _shown(push: Push) -> w.PushConfig:
    """Without what it is to be recognized by: that is never said again."""
    scheme = w.Authentication(scheme=push.scheme) if push.scheme else UNSET
    return w.PushConfig(id=push.id, task_id=push.task, url=push.url, authentication=scheme)
