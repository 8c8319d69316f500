"""What a session was told lately, so that a host whose line broke hears the rest."""

from __future__ import annotations

import secrets
from collections import deque

from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp_types import JSONRPCMessage

_MOST = 256
_MOST_BYTES = 1_000_000


class Tape(EventStore):
    """The newest messages of one session, in memory: some hundred, and a megabyte in all."""

    def __init__(self) -> None:
        self._name, self._count, self._size = secrets.token_hex(4), 0, 0
        self._kept: deque[tuple[str, str, JSONRPCMessage | None, int]] = deque()

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        self._count += 1
        name = f"{self._name}-{self._count}"
        size = len(message.model_dump_json()) if message else 0
        self._kept.append((stream_id, name, message, size))
        self._size += size
        while len(self._kept) > _MOST or (self._size > _MOST_BYTES and len(self._kept) > 1):
            self._size -= self._kept.popleft()[3]
        return name

    async def replay_events_after(
        self, last_event_id: str, send_callback: EventCallback
    ) -> str | None:
        kept = list(self._kept)
        found = [place for place, one in enumerate(kept) if one[1] == last_event_id]
        if not found:
            return None
        stream = kept[found[0]][0]
        for one in kept[found[0] + 1 :]:
            if one[0] == stream and one[2] is not None:
                await send_callback(EventMessage(one[2], one[1]))
        return stream
