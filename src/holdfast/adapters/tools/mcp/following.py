"""Being told what changes at a server: an open question in the newest revision, else a wish."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio

from .greeting import Greeting
from .news import LISTEN
from .posting import LONG
from .rounds import answered
from .talk import Peer
from .trouble import LoginNeeded, Said, Silent, Trouble, TurnedAway

_PAUSE, _LONGEST_PAUSE = 1.0, 60.0


async def followed(peer: Peer, greeting: Greeting) -> None:
    """Be told for as long as the conversation lasts when its tools are others. Before the newest
    revision every server says so by itself."""
    pause = _PAUSE
    while peer.speech.stateless and greeting.tells and not peer.over:
        try:
            await _open(peer, {"toolsListChanged": True})
            pause = _PAUSE
        except (Said, TurnedAway, LoginNeeded):
            return
        except Trouble:
            pause = min(pause * 2, _LONGEST_PAUSE)
        # What was said meanwhile was said to nobody.
        peer.news.changed.set()
        await anyio.sleep(pause)


@asynccontextmanager
async def watched(peer: Peer, uri: str, seconds: float) -> AsyncGenerator[anyio.Event]:
    """Be told when a resource is another. Raises `Trouble` if the server does not do that."""
    with peer.news.watching(uri) as event:
        if peer.speech.stateless:
            async with anyio.create_task_group() as group:
                group.start_soon(_heard, peer, uri, event)
                yield event
                group.cancel_scope.cancel()
            return
        await answered(peer, "resources/subscribe", {"uri": uri}, seconds=seconds)
        try:
            yield event
        finally:
            with anyio.move_on_after(_PAUSE, shield=True), suppress(Trouble):
                await peer.call("resources/unsubscribe", {"uri": uri}, seconds=_PAUSE)


async def _heard(peer: Peer, uri: str, event: anyio.Event) -> None:
    """A stream that ends tells nothing more: then the resource is looked at once again."""
    with suppress(Trouble):
        await _open(peer, {"resourceSubscriptions": [uri]})
    event.set()


async def _open(peer: Peer, wanted: Mapping[str, Any]) -> None:
    with suppress(Silent):  # it was quiet for long, which is no trouble
        await peer.call(LISTEN, {"notifications": wanted}, seconds=LONG)
