"""What a server says in one conversation without being asked: of its tools, a resource, itself."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager

import anyio
from msgspec import Raw, Struct

from holdfast.core.foreign import NotJson, decoded

from .asked import Host
from .messages import Message, shaped
from .trouble import Odd

LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
LISTEN = "subscriptions/listen"
_WATCHED = 64
_LOGGER = re.compile(r"[\w./:-]{1,60}")


class News:
    """Tells who waits for it. `changed` is set when the server says that its tools are others."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.changed = anyio.Event()
        self._watched: dict[str, list[anyio.Event]] = {}

    def take(self, message: Message) -> None:
        """Raises `Odd`."""
        match message.method:
            case "notifications/tools/list_changed":
                self.changed.set()
            case "notifications/resources/updated":
                uri = shaped(message.params, _Updated, "what it says of a resource").uri
                self._note("info", f"the resource {uri[:1_000]} is another now")
                for event in self._watched.get(uri, ()):
                    event.set()
            case "notifications/message":
                self._said(message.params)
            case _:
                pass

    @contextmanager
    def watching(self, uri: str) -> Generator[anyio.Event]:
        """Set once the server says that this resource is another. Raises `Odd` for too many."""
        event = anyio.Event()
        if sum(map(len, self._watched.values())) >= _WATCHED:
            raise Odd(f"more than {_WATCHED} resources of it are watched")
        self._watched.setdefault(uri, []).append(event)
        try:
            yield event
        finally:
            waiting = self._watched[uri]
            waiting.remove(event)
            if not waiting:
                del self._watched[uri]

    def _said(self, params: Raw) -> None:
        told = shaped(params, _Remark, "its remark")
        try:
            plain = decoded(told.data, str)
        except NotJson:
            plain = bytes(told.data)[:10_000].decode(errors="replace")
        by = told.logger if told.logger and _LOGGER.fullmatch(told.logger) else ""
        level = told.level if told.level in LEVELS else "info"
        self._note(level, f"{by}: {plain}" if by else plain)

    def _note(self, level: str, text: str) -> None:
        self._host.heard.add(self._host.spec.name, self._host.job.task, level, text)


class _Updated(Struct, frozen=True):
    uri: str = ""


class _Remark(Struct, frozen=True):
    level: str = "info"
    logger: str | None = None
    data: Raw = Raw(b'""')
