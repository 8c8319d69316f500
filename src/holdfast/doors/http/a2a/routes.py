"""Where other agents find this door: its card, and both of its forms."""

from __future__ import annotations

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from holdfast.doors.http.route import Door

from . import card
from .requests import base_of
from .rest import rest_routes
from .rpc import Rpc

CARDS = ("/.well-known/agent-card.json", "/.well-known/agent.json")
"""For everybody. The second is where it was before version 0.3."""

_A2A = "/a2a"


def a2a_routes(door: Door) -> list[Route]:
    """None of them is there while `[a2a] enabled` says no."""
    rpc = Rpc(door)
    routes = [
        *(Route(path, _Card(door).answer, methods=["GET"]) for path in CARDS),
        *(Route(path, rpc.answer, methods=["POST"]) for path in (_A2A, f"{_A2A}/")),
        *rest_routes(door, _A2A),
    ]
    return [_closable(door, route) for route in routes]


class _Card:
    """The card, as everybody may keep it for a while."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def answer(self, request: Request) -> Response:
        told = card.public(self._door.house, base_of(request, self._door))
        headers = {"Cache-Control": "public, max-age=300", "ETag": card.etag(told), "Vary": "Host"}
        if headers["ETag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(msgspec.json.encode(told), 200, headers, "application/json")


def _closable(door: Door, route: Route) -> Route:
    inner = route.app

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if not door.house.in_force.a2a.enabled:
            raise HTTPException(404, "a2a is switched off")
        await inner(scope, receive, send)

    route.app = app
    return route
