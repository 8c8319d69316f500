"""What watchers hear: pieces of a reply in bundles, everything else at once."""

from __future__ import annotations

import anyio
import pytest

from holdfast.core.ids import TaskId
from holdfast.engine.live import Live, Watcher
from holdfast.ports.model import Delta

pytestmark = pytest.mark.anyio
TASK = TaskId("t")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def taken(watcher: Watcher) -> list[Delta]:
    with anyio.fail_after(5):
        return [item for item in await watcher.take() if isinstance(item, Delta)]


async def test_the_first_piece_comes_at_once_and_the_next_ones_together():
    """Row OC-63."""
    live = Live()
    with live.watching(TASK) as watcher:
        live.tell(TASK, Delta(text="a"))
        assert await taken(watcher) == [Delta(text="a")]
        began = anyio.current_time()
        for letter in "bcd":
            live.tell(TASK, Delta(text=letter))
        live.tell(TASK, Delta(thought="e"))
        live.tell(TASK, Delta(thought="f"))
        assert await taken(watcher) == [Delta(text="bcd"), Delta(thought="ef")]
        assert anyio.current_time() - began >= 0.1


@pytest.mark.parametrize(
    "urgent", [Delta(call="read"), Delta(reset=True, model="b"), Delta(text="x" * 200)]
)
async def test_calls_resets_and_two_hundred_characters_do_not_wait(urgent: Delta):
    """Part of row OC-63."""
    live = Live()
    with live.watching(TASK) as watcher:
        live.tell(TASK, Delta(text="a"))
        await taken(watcher)
        began = anyio.current_time()
        live.tell(TASK, Delta(thought="b"))
        live.tell(TASK, urgent)
        assert await taken(watcher) == [Delta(thought="b"), urgent]
        assert anyio.current_time() - began < 0.1


async def test_pieces_do_not_run_on_without_end():
    live = Live()
    with live.watching(TASK) as watcher:
        for _ in range(1000):
            live.tell(TASK, Delta(text="word "))
        pieces = await taken(watcher)
    assert "".join(piece.text for piece in pieces) == "word " * 1000
    assert len(pieces) == 25
