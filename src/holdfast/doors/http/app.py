"""Puts the door together: the guard, the gate, the table of routes."""

from __future__ import annotations

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Route

from holdfast.runtime.house import House

from .a2a.routes import CARDS, a2a_routes
from .agui.running import agui_routes
from .auth import Gate
from .errors import Guard, wrong_path
from .route import Door, Endpoint, Facts
from .table import ROUTES

_KEEP_ALIVE = 15.0


def create_app(
    house: House,
    *,
    token: str,
    stop: Callable[[], None],
    facts: Facts | None = None,
    keep_alive: float = _KEEP_ALIVE,
) -> Starlette:
    """The app. `stop` asks the daemon to end and must return at once; `serve` serves it."""
    door = Door(house=house, stop=stop, facts=facts or Facts(), keep_alive=keep_alive)
    public = frozenset({*CARDS, *(entry.path for entry in ROUTES if entry.public)})
    app = Starlette(
        routes=[
            *(Route(entry.path, Endpoint(door, entry), methods=[entry.method]) for entry in ROUTES),
            *a2a_routes(door),
            *agui_routes(door),
        ],
        middleware=[
            Middleware(Guard, redact=house.secrets.redact),
            Middleware(Gate, token=token, public=public),
        ],
        exception_handlers={HTTPException: wrong_path},
    )
    app.state.door = door
    return app
