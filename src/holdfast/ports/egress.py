"""The one way out for tools and boxes: who may reach what, checked and written down."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from msgspec import Struct


class Allowed(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that may be reached: all fields must match.

    `host` is a name, or `*.name` for all below it. No `methods`: all. `path` is a shell pattern.
    `headers` are put into matching requests on the way out, in place of what was there; their
    values may hold `$SECRET{name}`, which whoever is inside never sees.
    """

    host: str
    port: int = 443
    methods: tuple[str, ...] = ()
    path: str = "*"
    headers: Mapping[str, str] = {}


class Reach(Struct, frozen=True, kw_only=True):
    """Where somebody may go, and how much: the task and agent are who is held to account.

    `web`: every public host besides those allowed; never a private address. `private`: hosts that
    may be at a private address. `intercept`: TLS of allowed hosts is opened to look at paths and to
    put in headers; the box then trusts an authority that exists for it alone.
    """

    task: str
    agent: str
    tool: str = ""
    allowed: tuple[Allowed, ...] = ()
    web: bool = False
    private: tuple[str, ...] = ()
    intercept: bool = False
    requests: int = 1_000
    bytes: int = 1 << 30


class Request(Struct, frozen=True, kw_only=True):
    """One request of our own. `most`: bytes of the body that are kept; `hops`: redirects."""

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = {}
    body: bytes = b""
    seconds: float = 15.0
    most: int = 1 << 20
    hops: int = 10


class Answer(Struct, frozen=True, kw_only=True):
    """What came back. `url` is where it came from after redirects; `cut`: there was more."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str
    cut: bool = False


class Pass(Struct, frozen=True, kw_only=True):
    """What a box needs to use its way out: variables, and the authority's certificate (PEM)."""

    environment: Mapping[str, str]
    authority: bytes = b""


class Egress(Protocol):
    """Checks the name, what it resolves to and each redirect, dials what was checked, writes down
    every request before it is made. What is not allowed raises `NotAllowed` with a stable code.
    """

    def serve(self, listener: socket.socket, reach: Reach) -> AbstractAsyncContextManager[Pass]:
        """A proxy on a listener inside a box, for as long as the context lasts."""
        ...

    async def fetch(self, request: Request, reach: Reach) -> Answer:
        """One request under the same rules. Raises `Unavailable` when the other side fails."""
        ...
