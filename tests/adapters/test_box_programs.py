"""Programs that make boxes end with who asked them."""

from __future__ import annotations

import os
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from holdfast.adapters.boxes.programs import ran

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def children() -> set[str]:
    """Also those that have ended, and that nobody has waited for."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


async def test_what_it_says_and_how_it_ends_comes_back():
    done = await ran(["/bin/sh", "-c", "cat; echo $A >&2; exit 3"], {"A": "b"}, b"hello")
    assert (done.stdout, done.stderr, done.returncode) == (b"hello", b"b\n", 3)
    assert (await ran(["/bin/cat"], {})).stdout == b""
    deaf = await ran(["/bin/sh", "-c", "echo no >&2; exit 4"], {}, bytes(10_000_000))
    assert (deaf.stderr, deaf.returncode) == (b"no\n", 4)
    with pytest.raises(FileNotFoundError):
        await ran(["/nowhere/at-all"], {})


async def test_broken_off_at_any_moment_it_leaves_no_process():
    before = children()
    for turns in range(40):
        async with anyio.create_task_group() as group:
            group.start_soon(ran, ["/bin/sleep", "60"], dict[str, str]())
            for _ in range(turns % 20):
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
    with anyio.fail_after(10):
        while children() - before:
            await anyio.lowlevel.checkpoint()
