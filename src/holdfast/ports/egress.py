"""The one way out of the house for tools and boxes, checked and written down."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol

from msgspec import Struct

from holdfast.core.ids import Instant
from holdfast.core.reach import Allowed, Reach

__all__ = [
    "AUTHORITY",
    "Allowed",
    "Answer",
    "Egress",
    "Pass",
    "Reach",
    "Request",
    "Visit",
    "VisitQuery",
    "Visits",
]


class Request(Struct, frozen=True, kw_only=True):
    """One request of our own. `most`: bytes of the body that are kept; `hops`: redirects.

    `hear` is given each piece of a body as it comes; once it says True, that was enough.
    """

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = {}
    body: bytes = b""
    seconds: float = 15.0
    most: int = 1 << 20
    hops: int = 10
    hear: Callable[[bytes], bool] | None = None


class Answer(Struct, frozen=True, kw_only=True):
    """What came back. `url` is where it came from after redirects, `hops` what led there; `cut`:
    there was more."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str
    cut: bool = False
    hops: tuple[str, ...] = ()


AUTHORITY = "/tmp/.holdfast/authorities.pem"  # noqa: S108 - a place in the box
"""Where a box finds whom to trust: the system's authorities and its own."""


class Pass(Struct, frozen=True, kw_only=True):
    """What a box needs to use its way out: variables, and the authority's certificate (PEM)."""

    environment: Mapping[str, str]
    authority: bytes = b""


class Egress(Protocol):
    """Checks the name, what it resolves to and each redirect, dials what was checked, writes down
    every request before it is made. What is not allowed raises `NotAllowed` with a stable code.
    """

    def serve(
        self, listener: socket.socket, reach: Reach, *, port: int = 0
    ) -> AbstractAsyncContextManager[Pass]:
        """A proxy on a listener inside a box, for as long as the context lasts.

        `port`: how the box finds it on its 127.0.0.1, where that is not the listener's own.
        """
        ...

    async def fetch(self, request: Request, reach: Reach) -> Answer:
        """One request under the same rules. Raises `Unavailable` when the other side fails."""
        ...


class Visit(Struct, frozen=True, kw_only=True):
    """One request that somebody made, or wanted to: then `code` says why not.

    `path` has no query, `secrets` are names. Bytes: `sent` and `received` by who is inside. Until
    `ended_at` is set nobody knows how it ended.
    """

    id: str
    at: Instant
    task: str
    agent: str
    tool: str
    kind: Literal["proxy", "fetch"]
    method: str
    host: str
    port: int
    path: str = ""
    address: str = ""
    code: str = ""
    status: int = 0
    sent: int = 0
    received: int = 0
    secrets: tuple[str, ...] = ()
    ended_at: Instant | None = None


class VisitQuery(Struct, frozen=True, kw_only=True):
    """Which ones, newest first; `before` is the id that the page before ended with."""

    task: str = ""
    agent: str = ""
    host: str = ""
    refused: bool = False
    limit: int = 50
    before: str = ""


class Visits(Protocol):
    """Who reached what, written down. All but `ended` may raise `Unavailable`."""

    async def write(self, visit: Visit) -> None:
        """Durable on return; the same id again replaces it."""
        ...

    def ended(self, visit: Visit) -> None:
        """Written with what comes next, at the latest before the next question or the end."""
        ...

    async def query(self, query: VisitQuery) -> Sequence[Visit]: ...

    async def used(self, task: str) -> tuple[int, int]:
        """Requests and bytes of a task so far."""
        ...

    async def forget(self, before: Instant) -> int:
        """Delete what is older; how many."""
        ...
