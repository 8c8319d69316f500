"""What every blob store must do: one function per promise, each given an empty store."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable

import anyio

from holdfast.core.error import NotFound
from holdfast.ports.blobs import Blobs

_PAST, _FUTURE = 1_000, 1 << 42
Clause = Callable[[Blobs], Awaitable[None]]


async def what_is_put_comes_back_under_its_digest(blobs: Blobs) -> None:
    for data in (b"", b"hello", bytes(range(256)) * 5_000):
        name = await blobs.put(data)
        assert name == hashlib.sha256(data).hexdigest()
        assert await blobs.get(name) == data


async def the_same_bytes_are_one_blob(blobs: Blobs) -> None:
    name = await blobs.put(b"same")
    assert name == await blobs.put(b"same")
    assert await blobs.stale(_FUTURE) == {name}


async def a_blob_that_is_not_there_is_not_found(blobs: Blobs) -> None:
    for name in ("0" * 64, "", "../../etc/passwd", "AB" * 32):
        try:
            await blobs.get(name)
        except NotFound:
            continue
        raise AssertionError(f"{name!r} was found")


async def only_what_is_dropped_is_gone(blobs: Blobs) -> None:
    wanted, unwanted = await blobs.put(b"wanted"), await blobs.put(b"unwanted")
    assert await blobs.drop({unwanted, "0" * 64, "../x"}, _FUTURE) == (1, 8)
    assert await blobs.get(wanted) == b"wanted"
    try:
        await blobs.get(unwanted)
    except NotFound:
        pass
    else:
        raise AssertionError("the unwanted blob is still there")
    assert await blobs.drop({unwanted}, _FUTURE) == (0, 0)


async def what_is_fresh_is_never_dropped(blobs: Blobs) -> None:
    name = await blobs.put(b"just now")
    assert await blobs.stale(_PAST) == frozenset()
    assert await blobs.drop({name}, _PAST) == (0, 0)
    await blobs.renew({name, "0" * 64, "../x"})
    assert await blobs.get(name) == b"just now"


async def many_may_put_at_once(blobs: Blobs) -> None:
    async with anyio.create_task_group() as group:
        for number in range(40):
            group.start_soon(blobs.put, str(number % 10).encode())
    assert len(await blobs.stale(_FUTURE)) == 10


CLAUSES: tuple[Clause, ...] = (
    what_is_put_comes_back_under_its_digest,
    the_same_bytes_are_one_blob,
    a_blob_that_is_not_there_is_not_found,
    only_what_is_dropped_is_gone,
    what_is_fresh_is_never_dropped,
    many_may_put_at_once,
)
