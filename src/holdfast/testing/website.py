"""A small website on 127.0.0.1, in threads of its own: fixed pages, or what a function says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from msgspec import Struct

_PATIENCE = 10.0


class Asked(Struct, frozen=True, kw_only=True):
    """A request that arrived. Names of headers are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


class Reply(Struct, frozen=True, kw_only=True):
    """What is answered: `body` whole, or in pieces for as long as somebody reads.

    `hold`: nothing is said until the site is left.
    """

    status: int = 200
    headers: Mapping[str, str] = {}
    body: bytes | Callable[[], Iterable[bytes]] = b""
    hold: bool = False


class Website:
    """A context manager, used once. `pages` maps a path to its answer, and the rest is not found.

    What `rule` says comes first. `asked` are the requests that came, oldest first.
    """

    def __init__(
        self,
        pages: Mapping[str, Reply] | None = None,
        rule: Callable[[Asked], Reply | None] | None = None,
    ) -> None:
        self.pages = dict(pages or {})
        self.asked: list[Asked] = []
        self.rule, self._over = rule, threading.Event()

    def __enter__(self) -> Self:
        site = self

        class _Visit(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                self.close_connection = True
                self.raw_requestline = self.rfile.readline(65_537)
                if self.raw_requestline and self.parse_request():
                    site._answer(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
                """Nobody reads it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Visit)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(_PATIENCE)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """The root, without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"

    def _answer(self, visit: BaseHTTPRequestHandler) -> None:
        asked = Asked(
            method=visit.command,
            target=visit.path,
            headers={name.lower(): text for name, text in visit.headers.items()},
            body=visit.rfile.read(int(visit.headers.get("content-length") or 0)),
        )
        self.asked.append(asked)
        reply = (self.rule(asked) if self.rule else None) or self.pages.get(
            asked.path, Reply(status=404, body=b"not here\n")
        )
        if reply.hold:
            self._over.wait(_PATIENCE)
            return
        try:
            _send(visit, reply)
        except (BrokenPipeError, ConnectionResetError):
            return  # whoever asked has heard enough


def _send(visit: BaseHTTPRequestHandler, reply: Reply) -> None:
    visit.send_response(reply.status)
    for name, text in reply.headers.items():
        visit.send_header(name, text)
    whole = reply.body if isinstance(reply.body, bytes) else None
    if whole is not None and "Content-Length" not in reply.headers:
        visit.send_header("Content-Length", str(len(whole)))
    visit.send_header("Connection", "close")
    visit.end_headers()
    if visit.command == "HEAD":
        return
    for piece in [reply.body] if isinstance(reply.body, bytes) else reply.body():
        visit.wfile.write(piece)
