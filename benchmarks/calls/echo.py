"""Starlette and nothing else: answers what the provider would, so that the server's own cost shows.

Prints its port.
"""

from __future__ import annotations

import json
import socket

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from benchmarks.calls.provider import events, whole

_BODY = whole().partition(b"\r\n\r\n")[2]
_EVENTS = [chunk.partition(b"\r\n")[2][:-2] for chunk in events(8)]


async def answer(request: Request) -> Response:
    if json.loads(await request.body()).get("stream"):
        return StreamingResponse(iter(_EVENTS), media_type="text/event-stream")
    return Response(_BODY, media_type="application/json")


def main() -> None:
    app = Starlette(routes=[Route("/v1/chat/completions", answer, methods=["POST"])])
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(app, log_level="error", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
