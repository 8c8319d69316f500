"""An issuer of logins over real HTTP, and the provider behind it that takes only its tokens.

    with LoginServer() as server:
        server.approve()            # what the person does at the device page
        server.expire()             # every access token is over now

It speaks GitHub's device flow and Copilot's exchange, OpenAI's device flow, authorization codes
with PKCE (S256), refresh with rotation, and revocation. A refresh token counts once: used again,
the whole login is void, as at a strict issuer.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from .login_issuer import Answer, Issuer, signed
from .login_provider import provider_answer

Fields = dict[str, str]


class LoginServer:
    """On 127.0.0.1, in threads of its own; a context manager, used once."""

    def __init__(self, *, lifetime: int = 3600, interval: int = 0) -> None:
        self.issuer = Issuer(lifetime=lifetime, interval=interval)
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self._held = threading.Event()
        self._held.set()

    def __enter__(self) -> Self:
        outer = self

        class Desk(_Desk):
            server_desk = outer

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Desk)
        self._http.daemon_threads = True
        self.issuer.url = self.url
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._held.set()
        self._http.shutdown()
        self._thread.join(10)
        self._http.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    def approve(self) -> None:
        """The person types every code that is open."""
        self.issuer.decide("approved")

    def deny(self) -> None:
        self.issuer.decide("denied")

    def log_in(self, url: str) -> str:
        """The person opens the address and logs in; gives what they bring back: `code#state`."""
        return self.issuer.authorize(dict(parse_qsl(urlsplit(url).query)))

    def expire(self) -> None:
        """Every access token is refused from now on."""
        self.issuer.live.clear()

    def hold(self) -> None:
        """Token requests wait until `release`."""
        self._held.clear()

    def release(self) -> None:
        self._held.set()

    def asked(self, path: str) -> list[Any]:
        """The bodies of the requests to a path."""
        return [body for _, at, _, body in self.requests if at == path]

    def answer(self, method: str, path: str, headers: dict[str, str], data: bytes) -> Answer:
        fields = _fields(headers.get("content-type", ""), data)
        self.requests.append((method, path, headers, fields))
        if path.endswith("/token"):
            self._held.wait(10)
        found = self.issuer.answer(path, headers, fields)
        return found or provider_answer(self.issuer, method, path, headers)


class _Desk(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_desk: LoginServer

    def do_GET(self) -> None:
        self._serve("GET", b"")

    def do_POST(self) -> None:
        self._serve("POST", self.rfile.read(int(self.headers.get("content-length") or 0)))

    def _serve(self, method: str, data: bytes) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        path = urlsplit(self.path).path
        status, kind, body = self.server_desk.answer(method, path, headers, data)
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Quiet."""


def _fields(kind: str, data: bytes) -> Any:
    if kind.startswith("application/json"):
        return json.loads(data or b"{}")
    return dict(parse_qsl(data.decode()))


def jwt(**claims: Any) -> str:
    """A token that says something about itself, signed by nobody."""
    return signed(claims | {"jti": secrets.token_hex(8), "iat": time.time()})
