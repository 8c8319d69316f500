"""A box with its way out: the proxy on its loopback, and the variables that lead there."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from anyio import to_thread

from holdfast.core.error import Unavailable
from holdfast.ports.box import Box, BoxSpec, BoxStats, Exit, Running
from holdfast.ports.egress import AUTHORITY, Egress, Pass, Reach

_PORT = 3128
_SYSTEM = Path("/etc/ssl/certs/ca-certificates.crt")
_KEEP = 'mkdir -p "${0%/*}" && cat >"$0"'

Attach = Callable[[Box, str], AbstractAsyncContextManager[Pass] | None]
"""How a box of an owner gets its way out; None when there is nothing that it may reach."""


class ConnectedBox:
    """A `Box` whose commands also see the variables of its pass."""

    def __init__(self, box: Box, passed: Pass) -> None:
        self._box, self._passed = box, passed

    @property
    def spec(self) -> BoxSpec:
        return self._box.spec

    async def exec(
        self,
        argv: Sequence[str],
        *,
        cwd: str = ".",
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        seconds: float | None = None,
    ) -> Exit:
        variables = self._variables(environment)
        return await self._box.exec(
            argv, cwd=cwd, stdin=stdin, environment=variables, seconds=seconds
        )

    def start(
        self,
        argv: Sequence[str],
        *,
        cwd: str = ".",
        environment: Mapping[str, str] | None = None,
    ) -> AbstractAsyncContextManager[Running]:
        return self._box.start(argv, cwd=cwd, environment=self._variables(environment))

    async def put(self, path: str, data: bytes) -> None:
        await self._box.put(path, data)

    async def get(self, path: str, most: int) -> bytes:
        return await self._box.get(path, most)

    async def listen(self, port: int) -> socket.socket:
        return await self._box.listen(port)

    async def stats(self) -> BoxStats:
        return await self._box.stats()

    async def kill(self) -> None:
        await self._box.kill()

    async def destroy(self) -> None:
        await self._box.destroy()

    def _variables(self, environment: Mapping[str, str] | None) -> Mapping[str, str]:
        return {**self._passed.environment, **(environment or {})}


@asynccontextmanager
async def connected(box: Box, egress: Egress, reach: Reach) -> AsyncGenerator[Pass]:
    """Serve a box's way out. Raises `Unavailable` where its kind cannot have one."""
    listener = await box.listen(_PORT)
    with listener:
        async with egress.serve(listener, reach, port=_PORT) as passed:
            if passed.authority:
                known = await to_thread.run_sync(_authorities)
                out = await box.exec(["sh", "-c", _KEEP, AUTHORITY], stdin=known + passed.authority)
                if out.code:
                    raise Unavailable("the box's own authority could not be put into it")
            yield passed


def _authorities() -> bytes:
    """Whom the system trusts: a client has one list only."""
    return _SYSTEM.read_bytes() if _SYSTEM.exists() else b""
