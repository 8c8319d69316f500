"""JSON-RPC over a WebSocket: every route by name, and what happens as it happens."""

from .names import methods
from .socket import Sockets

__all__ = ["Sockets", "methods"]
