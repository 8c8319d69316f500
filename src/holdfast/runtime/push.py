"""A place that is told about a task, and the book of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from msgspec import Struct

from holdfast.core.error import Invalid
from holdfast.core.ids import TaskId

MOST = 10
"""How many places may be told about one task."""


class Push(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One place that is told about one task. `told`: after so many events of the task.

    `over`: that was all; `failed` says why it is told nothing any more.
    """

    id: str
    task: TaskId
    url: str
    by: str = ""
    token: str = ""
    scheme: str = ""
    credentials: str = ""
    told: int = 0
    over: bool = False
    failed: str = ""

    def __repr__(self) -> str:
        return f"Push(id={self.id!r}, task={self.task!r})"


class Pushing(Protocol):
    """Every place that is told about a task."""

    async def run(self, house: Any) -> None:
        """Tell all of them what happens in a house, from where it was left, until cancelled."""
        ...

    def all(self, task: TaskId) -> Sequence[Push]: ...

    async def keep(self, push: Push) -> Push:
        """Durable on return; the same id again takes its place. Raises `Refused` for too many."""
        ...

    async def drop(self, task: TaskId, push_id: str) -> None:
        """Nobody minds if there is none."""
        ...


def checked(push: Push) -> Push:
    """Raises `Invalid` for what can never be told."""
    if not push.url.startswith(("https://", "http://")) or len(push.url) > 2_000:
        raise Invalid("url: expected an http or https address", code="bad_push")
    for text in (push.token, push.scheme, push.credentials):
        if not text.isprintable() or not text.isascii() or len(text) > 4_000:
            raise Invalid("token, scheme, credentials: expected printable ASCII", code="bad_push")
    if not 0 < len(push.id) <= 200 or not push.id.isprintable():
        raise Invalid("id: expected 1 to 200 printable characters", code="bad_push")
    return push
