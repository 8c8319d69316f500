"""The paths under `/v1`, and what is said under all others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.routing import Route

from holdfast.doors.http.route import Door

from . import responses, uploads
from .asked import Asked, Endpoint, FormEndpoint, Run
from .chat import complete
from .embeddings import embed
from .errors import WrongPath
from .models import listed, shown

ROOT = "/v1/"
_METHODS = ("GET", "POST", "DELETE", "PUT", "PATCH")
TABLE: tuple[tuple[str, str, Run], ...] = (
    ("POST", "/v1/chat/completions", complete),
    ("GET", "/v1/models", listed),
    ("GET", "/v1/models/{id:path}", shown),
    ("POST", "/v1/embeddings", embed),
    ("POST", "/v1/responses", responses.create),
    ("GET", "/v1/responses/{id}", responses.show),
    ("DELETE", "/v1/responses/{id}", responses.forget),
    ("POST", "/v1/responses/{id}/cancel", responses.cancel),
    ("GET", "/v1/responses/{id}/input_items", responses.show_input),
    ("GET", "/v1/files", uploads.listed),
    ("GET", "/v1/files/{id}", uploads.show),
    ("GET", "/v1/files/{id}/content", uploads.content),
    ("DELETE", "/v1/files/{id}", uploads.forget),
)


def routes(door: Door) -> list[Route]:
    made = [Route(path, Endpoint(door, run), methods=[method]) for method, path, run in TABLE]
    made.append(Route("/v1/files", FormEndpoint(door, uploads.create), methods=["POST"]))
    return [*made, Route("/v1/{rest:path}", Endpoint(door, _nothing(made)), methods=[*_METHODS])]


def _nothing(made: Sequence[Route]) -> Run:
    async def nothing(asked: Asked) -> dict[str, Any]:
        where, how = asked.request.url.path, asked.request.method
        there = [route for route in made if route.path_regex.match(where)]
        allow = ", ".join(sorted({name for route in there for name in route.methods or ()}))
        what = f"{how} is not allowed for {where}" if allow else f"there is nothing at {where}"
        raise WrongPath(f"{what}.", allow=allow)

    return nothing
