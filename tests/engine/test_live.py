"""What a watcher hears when it is too slow."""

from __future__ import annotations

import anyio

from holdfast.engine.live import Watcher
from holdfast.ports.model import Delta


def test_who_is_too_slow_is_told_that_what_was_heard_is_void():
    """The pieces that were dropped may have held the reset of a reply that broke off."""

    async def play() -> None:
        watcher = Watcher()
        watcher.put(Delta(text="half an"))
        for number in range(600):
            watcher.put(Delta(text=f"{number} "))
        items = await watcher.take()
        assert watcher.gap
        assert items[0] == Delta(reset=True)
        assert items[-1] == Delta(text="599 ")
        assert Delta(text="half an") not in items

    anyio.run(play)
