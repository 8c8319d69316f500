"""A box that is a container: made by an engine, used from inside, made again when it is ill."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import anyio
from anyio import CancelScope, move_on_after
from msgspec.structs import replace

from holdfast.core.error import HoldfastError, Unavailable
from holdfast.core.ids import Instant
from holdfast.ports.box import Box, BoxSpec, BoxStats, Exit, Running

from .health import Health

_CHECK_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One that runs. `process` is a descriptor of its first process, `inside` how it is used."""

    name: str
    process: int
    inside: Box

    def alive(self) -> bool:
        """A process descriptor is readable once its process is dead."""
        return not select.select([self.process], [], [], 0)[0]


class ContainerBox:
    """A `Box`. `make` makes its container, `remove` ends one."""

    def __init__(
        self,
        spec: BoxSpec,
        container: Container,
        make: Callable[[], Awaitable[Container]],
        remove: Callable[[Container], Awaitable[None]],
    ) -> None:
        self._spec, self._make, self._remove = spec, make, remove
        self._container: Container | None = container
        self._changing = anyio.Lock()
        self._users = 0
        self._gone: Callable[[ContainerBox], None] = lambda _: None
        self.health = Health()

    @property
    def spec(self) -> BoxSpec:
        return self._spec

    @property
    def name(self) -> str:
        """What its container is called; "" while it has none."""
        return self._container.name if self._container else ""

    @property
    def process(self) -> int:
        """A descriptor of its container's first process; -1 while it has none."""
        return self._container.process if self._container else -1

    def when_gone(self, told: Callable[[ContainerBox], None]) -> None:
        self._gone = told

    async def exec(
        self,
        argv: Sequence[str],
        *,
        cwd: str = ".",
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        seconds: float | None = None,
    ) -> Exit:
        with self._used() as inside:
            return await inside.exec(
                argv, cwd=cwd, stdin=stdin, environment=environment, seconds=seconds
            )

    @asynccontextmanager
    async def start(
        self,
        argv: Sequence[str],
        *,
        cwd: str = ".",
        environment: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[Running]:
        with self._used() as inside:
            async with inside.start(argv, cwd=cwd, environment=environment) as running:
                yield running

    async def put(self, path: str, data: bytes) -> None:
        with self._used() as inside:
            await inside.put(path, data)

    async def get(self, path: str, most: int) -> bytes:
        with self._used() as inside:
            return await inside.get(path, most)

    async def listen(self, port: int) -> socket.socket:
        with self._used() as inside:
            return await inside.listen(port)

    async def stats(self) -> BoxStats:
        if self._container is None or not self._container.alive():
            return BoxStats(health=self.health)
        with self._used() as inside:
            return replace(await inside.stats(), health=self.health)

    async def kill(self) -> None:
        if self._container is not None:
            await self._container.inside.kill()

    async def destroy(self) -> None:
        with CancelScope(shield=True):
            async with self._changing:
                await self._emptied()
        self._gone(self)

    async def check(self, now: Instant) -> None:
        """Look after it once: what `health` says follows, a new container included."""
        if self._container is None and self.health.state in {"unknown", "failed"}:
            return
        if await self._well():
            self.health = self.health.passed(now)
            return
        self.health = self.health.missed(now)
        if self.health.state in {"restarting", "failed"}:
            await self._made_again(now)

    async def _well(self) -> bool:
        """A box at work is well while its container lives; an idle one must run something too."""
        container = self._container
        if container is None or not container.alive():
            return False
        if self._users:
            return True
        with move_on_after(_CHECK_SECONDS):
            try:
                return (await container.inside.exec(["true"], seconds=_CHECK_SECONDS)).code == 0
            except (HoldfastError, OSError):
                return False
        return False

    async def _made_again(self, now: Instant) -> None:
        with CancelScope(shield=True):
            async with self._changing:
                await self._emptied()
                if self.health.state == "failed":
                    return
                try:
                    self._container = await self._make()
                except HoldfastError:
                    self.health = self.health.not_restarted(now)
                else:
                    self.health = self.health.restarted()

    async def _emptied(self) -> None:
        container, self._container = self._container, None
        if container is not None:
            await self._remove(container)
            os.close(container.process)

    @contextmanager
    def _used(self) -> Generator[Box]:
        container = self._container
        if container is None:
            failed = self.health.state == "failed"
            raise Unavailable("this box failed too often" if failed else "this box is gone")
        if not container.alive():
            raise Unavailable("the container of this box has ended")
        self._users += 1
        try:
            yield container.inside
        except FileNotFoundError as error:
            raise Unavailable("the container of this box has ended") from error
        finally:
            self._users -= 1
