"""Puts the door together: the front, the guard, the gate, the table of routes."""

from __future__ import annotations

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Route, WebSocketRoute

from holdfast.runtime.house import House

from .a2a.routes import a2a_routes
from .access import Access
from .agui.running import agui_routes
from .auth import Gate, Locks
from .cookies import Sessions
from .errors import Guard, wrong_path
from .front import Front
from .mcp_server.door import METHODS, PATH, McpDoor
from .once import Once
from .openai import errors as openai_errors
from .openai.routes import ROOT as OPENAI
from .openai.routes import routes as openai_routes
from .route import Door, Endpoint, Facts
from .scopes import check
from .table import ROUTES
from .ws import Sockets, methods

_KEEP_ALIVE = 15.0


def create_app(
    house: House,
    *,
    token: str,
    stop: Callable[[], None],
    facts: Facts | None = None,
    keep_alive: float = _KEEP_ALIVE,
    access: Access | None = None,
) -> Starlette:
    """The app. `stop` asks the daemon to end and must return at once; `serve` serves it.

    Raises `ValueError` for a route without a scope: what nobody has thought about lets nobody in.
    """
    access = access or Access()
    sessions = Sessions(house.clock.now, access.session_seconds, house.keys.ring)
    locks = Locks(token, house, sessions, access)
    door = Door(
        house=house,
        stop=stop,
        facts=facts or Facts(),
        keep_alive=keep_alive,
        access=access,
        locks=locks,
        sessions=sessions,
        once=Once(house.clock.now),
    )
    mcp = McpDoor(door)
    app = Starlette(
        routes=_routes(door, mcp),
        middleware=[
            Middleware(Front, access=access),
            Middleware(Guard, redact=house.secrets.redact, forms={OPENAI: openai_errors.failure}),
            Middleware(Gate, locks=locks, access=access),
        ],
        exception_handlers={HTTPException: wrong_path},
    )
    check(app.routes)
    app.state.door, app.state.mcp = door, mcp
    return app


def _routes(door: Door, mcp: McpDoor) -> list[BaseRoute]:
    """Every way in, protocol by protocol; they are tried in this order, so the busiest leads."""
    return [
        *openai_routes(door),
        *(Route(entry.path, Endpoint(door, entry), methods=[entry.method]) for entry in ROUTES),
        *a2a_routes(door),
        *agui_routes(door),
        Route(PATH, mcp, methods=METHODS),
        WebSocketRoute("/ws", Sockets(door, methods(ROUTES))),
    ]
