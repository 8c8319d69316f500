"""Where commands run: a disposable place that sees one folder and nothing else of the user's."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Literal, Protocol

from msgspec import Struct

from holdfast.core.ids import Instant

Strength = Literal["enforced", "soft", "none"]
"""`soft`: noticed and stopped after the fact, or bounded for each process alone."""


class BoxLimits(Struct, frozen=True, kw_only=True):
    """What all commands of a box may use together; `seconds` and `output` are of each command.

    Bytes: `memory`, `file_size`, `output` (of stdout and stderr together), `scratch` (each of
    `/tmp`, the home and `/dev/shm`) and `disk` (by which the workspace may grow during one
    command). `cpus` are cores. 0 is no limit of `cpus`, `disk` and `inodes`.
    """

    seconds: float = 60.0
    memory: int = 2 << 30
    processes: int = 256
    cpus: float = 0.0
    files: int = 1024
    file_size: int = 1 << 30
    output: int = 8 << 20
    scratch: int = 512 << 20
    disk: int = 4 << 30
    inodes: int = 200_000


class BoxSpec(Struct, frozen=True, kw_only=True):
    """What a box shows: `workspace` read-write at the same path, `read_only` paths besides.

    Folders of the workspace in `hidden` are empty inside, and nothing can be put into them.
    `agent`: whose box it is; two agents never share a user. `requires`: walls that must be
    enforced, or it is not made. A `browser` needs some system calls and fonts that nothing else
    gets, and is alone in its box.
    """

    workspace: Path
    agent: str = "default"
    read_only: tuple[Path, ...] = ()
    hidden: tuple[Path, ...] = ()
    environment: Mapping[str, str] = {}
    limits: BoxLimits = BoxLimits()
    requires: tuple[str, ...] = ()
    browser: bool = False


class Exit(Struct, frozen=True, kw_only=True):
    """How a command ended. `code` is -signal when killed; partial output is always kept.

    `stopped` says, in words for the model, which limit ended it besides time.
    """

    code: int
    stdout: bytes
    stderr: bytes
    timed_out: bool = False
    cut: bool = False
    seconds: float = 0.0
    stopped: str = ""


class Capabilities(Struct, frozen=True, kw_only=True):
    """What boxes of this kind enforce here, found by trying the attack: wall -> strength.

    Walls: files, system, network, ipc, pids, processes, memory, cpu, file size, scratch, disk,
    inodes, seccomp, landlock, capabilities, environment, kernel boundary. `problems` are sentences
    for a person.
    """

    kind: str
    walls: Mapping[str, Strength]
    problems: tuple[str, ...] = ()


class BoxHealth(Struct, frozen=True, kw_only=True):
    """How a box is whose kind looks after it. `restarts` are the moments that still count."""

    state: Literal["unknown", "healthy", "unhealthy", "restarting", "failed"] = "unknown"
    failures: int = 0
    restarts: tuple[Instant, ...] = ()
    last_check: Instant = 0
    last_healthy: Instant = 0


class BoxStats(Struct, frozen=True, kw_only=True):
    """What a box uses now: bytes, processes, seconds of CPU since it was made; -1: not known."""

    memory: int = -1
    processes: int = -1
    cpu_seconds: float = -1.0
    health: BoxHealth | None = None


class Running(Protocol):
    """A command of a box that one talks with. Its other end is a stranger: believe nothing."""

    async def send(self, data: bytes) -> None:
        """Write to its stdin. Raises `Unavailable` when it no longer reads."""
        ...

    async def receive(self) -> bytes:
        """The next piece of its stdout; b"" at the end."""
        ...

    def complaint(self) -> str:
        """The end of what it wrote to stderr, at most some KiB."""
        ...

    async def wait(self) -> int:
        """Its exit code, -signal when killed; every process of it is gone then."""
        ...

    async def kill(self) -> None:
        """End it and all that it started. May be called twice."""
        ...


class Box(Protocol):
    """One place. Commands in it share scratch folders and limits, and end independently."""

    @property
    def spec(self) -> BoxSpec: ...

    async def exec(
        self,
        argv: Sequence[str],
        *,
        cwd: str = ".",
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        seconds: float | None = None,
    ) -> Exit:
        """Run to the end or to the limits. `cwd` is below the workspace.

        `environment` is laid over the spec's. When it returns or is cancelled, no process of the
        command is left. Raises `Invalid` for what makes no sense, `Unavailable` when the box is
        gone or cannot run it: never runs outside.
        """
        ...

    def start(
        self,
        argv: Sequence[str],
        *,
        cwd: str = ".",
        environment: Mapping[str, str] | None = None,
    ) -> AbstractAsyncContextManager[Running]:
        """A command to talk with, for as long as the context lasts; killed at its end."""
        ...

    async def put(self, path: str, data: bytes) -> None:
        """Write a file below the workspace, following no link. Raises `Invalid`."""
        ...

    async def get(self, path: str, most: int) -> bytes:
        """At most `most` bytes of a file below the workspace, following no link. `NotFound`."""
        ...

    async def listen(self, port: int) -> socket.socket:
        """A TCP socket of ours that listens on the box's own 127.0.0.1: its only way out.

        Raises `Unavailable` where this kind of box cannot have one.
        """
        ...

    async def stats(self) -> BoxStats:
        """Raises `Unavailable` when the box does not say."""
        ...

    async def kill(self) -> None:
        """End every command in it; the box stays. May be called twice."""
        ...

    async def destroy(self) -> None:
        """End everything and forget it, scratch included. May be called twice."""
        ...


class BoxKind(Protocol):
    """One way of making boxes."""

    @property
    def name(self) -> str: ...

    async def create(self, spec: BoxSpec) -> Box:
        """A new box. Raises `Invalid` for a spec that makes no sense, `Unavailable` when none can
        be made or a wall in `requires` is not enforced here."""
        ...

    async def probe(self) -> Capabilities:
        """Try the walls. May take seconds; the answer is kept."""
        ...

    async def close(self) -> None:
        """End every box. May be called twice."""
        ...


class Lodger(Struct, frozen=True, kw_only=True):
    """A box that is kept: whose, what for, since when it is idle (0: in use), what it uses."""

    id: str
    kind: str
    owner: str
    agent: str
    workspace: str
    state: Literal["in use", "idle", "spare"]
    idle_seconds: float = 0.0
    stats: BoxStats = BoxStats()


class Boxes(Protocol):
    """All boxes: made when first needed, kept warm for their owner, gone when idle for long."""

    def lend(self, owner: str, spec: BoxSpec) -> AbstractAsyncContextManager[Box]:
        """The box of `owner` (a task's id) for this spec. Several may have it at once."""
        ...

    async def release(self, owner: str) -> None:
        """The owner needs none any more: its boxes are destroyed once nobody uses them."""
        ...

    async def all(self) -> Sequence[Lodger]:
        """Every box that is kept. Takes a moment at the most, whatever a box does."""
        ...

    async def probe(self) -> Capabilities: ...

    async def run(self) -> None:
        """Keep house until cancelled: end what is idle, have one ready for whoever comes next."""
        ...

    async def close(self) -> None: ...
