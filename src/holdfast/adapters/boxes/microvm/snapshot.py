"""A machine's memory just after it has booted, kept in a file: the next one starts from there."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread

from holdfast.core.error import Unavailable

_SECONDS = 60.0
_POLL = 0.05
_NAME = "memory"
_FAST = 16 << 30


async def save(control: socket.socket, path: Path) -> None:
    """Write the memory of the machine at `control` to `path`, whole or not at all; it goes on
    afterwards. Raises `Unavailable` when QEMU will not."""
    talk = _Monitor(control)
    with _patiently(), tempfile.NamedTemporaryFile(dir=path.parent) as file:
        await talk.ask("qmp_capabilities")
        await talk.ask("migrate-set-parameters", {"max-bandwidth": _FAST})
        await talk.ask("getfd", {"fdname": _NAME}, descriptor=file.fileno())
        await talk.ask("stop")
        try:
            await talk.ask("migrate", {"uri": f"fd:{_NAME}"})
            while (status := (await talk.ask("query-migrate")).get("status")) != "completed":
                if status in {"failed", "cancelled"}:
                    raise Unavailable("the machine's memory cannot be saved")
                await anyio.sleep(_POLL)
        finally:
            await talk.ask("cont")
        with suppress(FileExistsError):
            await to_thread.run_sync(os.link, file.name, path)


async def wake(control: socket.socket) -> None:
    """Let a machine go on that has been given such a memory. Raises `Unavailable`."""
    talk = _Monitor(control)
    with _patiently():
        await talk.ask("qmp_capabilities")
        while (await talk.ask("query-status")).get("status") == "inmigrate":  # noqa: ASYNC110
            await anyio.sleep(_POLL)
        await talk.ask("cont")


@contextmanager
def _patiently() -> Generator[None]:
    try:
        with anyio.fail_after(_SECONDS):
            yield
    except TimeoutError:
        raise Unavailable("QEMU does not answer in time") from None


class _Monitor:
    """QEMU's own control socket: one question, one answer; events are passed over."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._heard = bytearray()

    async def ask(
        self, command: str, arguments: dict[str, Any] | None = None, *, descriptor: int = -1
    ) -> dict[str, Any]:
        question = json.dumps({"execute": command, "arguments": arguments or {}}).encode()
        await anyio.wait_writable(self._control)
        if descriptor >= 0:
            socket.send_fds(self._control, [question], [descriptor])
        else:
            self._control.send(question)
        while True:
            said = await self._line()
            if "error" in said:
                raise Unavailable(f"QEMU will not {command}: {said['error']}")
            if "return" in said:
                return said["return"]

    async def _line(self) -> dict[str, Any]:
        while b"\n" not in self._heard:
            await anyio.wait_readable(self._control)
            piece = self._control.recv(1 << 16)
            if not piece:
                raise Unavailable("QEMU is gone")
            self._heard += piece
        line, _, rest = bytes(self._heard).partition(b"\n")
        self._heard = bytearray(rest)
        return json.loads(line)
