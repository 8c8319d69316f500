"""Programs of the host that make boxes, run from outside."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress

import anyio
from anyio import BrokenResourceError, CancelScope
from anyio.abc import ByteReceiveStream, Process


async def ran(
    words: Sequence[str], environment: Mapping[str, str], stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """What a program says, once it has ended, in a session of its own. Broken off, it is killed.

    Not while it starts: asyncio loses sight of a child whose start is cancelled again and again, as
    anyio does, and nobody waits for it then. Raises `OSError` for one that cannot be started.
    """
    started: list[Process] = []
    with CancelScope(shield=True):
        begun = await anyio.open_process(
            list(words),
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            env=dict(environment),
            start_new_session=True,
        )
        started.append(begun)
    (process,) = started
    said: dict[str, bytes] = {}

    async def hear(name: str, stream: ByteReceiveStream | None) -> None:
        said[name] = b"".join([part async for part in stream]) if stream else b""

    async with process, anyio.create_task_group() as group:
        group.start_soon(hear, "stdout", process.stdout)
        group.start_soon(hear, "stderr", process.stderr)
        if process.stdin and stdin:
            with suppress(BrokenResourceError):  # it may end without having read it all
                await process.stdin.send(stdin)
            await process.stdin.aclose()
        await process.wait()
    ended = process.returncode or 0
    return subprocess.CompletedProcess(list(words), ended, said["stdout"], said["stderr"])
