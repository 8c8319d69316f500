"""The protocol itself, loaded for the first socket: many houses have none, and all start fast."""

from __future__ import annotations

import asyncio
import importlib
from typing import Any

_FAREWELL = 2.0


class Speaking(asyncio.Protocol):
    """What uvicorn makes of a connection that became a WebSocket."""

    def __new__(cls, **given: Any) -> asyncio.Protocol:
        found = importlib.import_module("uvicorn.protocols.websockets.websockets_sansio_impl")
        speaking = found.WebSocketsSansIOProtocol(**given)
        speaking.close_timeout = _FAREWELL
        return speaking
