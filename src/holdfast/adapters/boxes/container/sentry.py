"""Commands in a container over gVisor: its kernel is a program that only its own `runsc` can ask.

`runsc exec` brings a command in, and its end is the command's. What the command has left behind is
found among all processes in there: those below its own, and those whose parent is gone, which the
kernel gives to the first process. Killing goes on until none is left; if that does not come to an
end, the whole sandbox is killed. So a background process of one command may be ended together with
another command of the same box.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from base64 import b64encode
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import anyio
from anyio import CancelScope, to_thread
from msgspec import Struct

from holdfast.adapters.boxes import files
from holdfast.adapters.boxes.command import Talk, talking, until_dead
from holdfast.adapters.boxes.filters import programs
from holdfast.adapters.boxes.groups import Group
from holdfast.adapters.boxes.namespaced import bounds
from holdfast.adapters.boxes.porting import memory
from holdfast.adapters.boxes.programs import ran
from holdfast.adapters.boxes.root import Inside, directory, environment
from holdfast.core.error import Broken, Invalid, Unavailable
from holdfast.ports.box import BoxSpec, BoxStats, Exit

FIRST = "exec env --ignore-signal=CHLD sleep 2147483647"
"""What the first process is: it has no children but those that others leave to it, and the kernel
buries them, because it ignores their death."""
THREADS = 256
"""How many processes and threads gVisor itself may need on the host."""
_SIGNALLED = 128
_DRESSER = ["python3", "-I", "-S", "-c", Path(__file__).with_name("dresser.py").read_text()]
_ROUNDS, _SECONDS = 40, 20.0


class Sandbox(Struct, frozen=True, kw_only=True):
    """One gVisor kernel: how `runsc` finds it, and the host's process that it is."""

    program: str
    root: str
    id: str
    process: int

    async def call(self, *words: str) -> str:
        """What `runsc` says. Raises `Unavailable`."""
        told = [self.program, f"--root={self.root}", *words]
        try:
            with anyio.fail_after(_SECONDS):
                done = await ran(told, {})
        except (OSError, TimeoutError) as error:
            raise Unavailable(f"gVisor does not answer: {error}") from error
        if done.returncode:
            raise Unavailable(f"gVisor: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout.decode()

    async def processes(self) -> dict[int, int]:
        """Every process in there, with its parent."""
        rows = [line.split() for line in (await self.call("ps", self.id)).splitlines()[1:]]
        return {int(row[1]): int(row[2]) for row in rows}


def sandbox(process: int) -> Sandbox:
    """The sandbox that `process` of the host is. Raises `Unavailable` when it is none."""
    words = Path(f"/proc/{process}/cmdline").read_bytes().decode().rstrip("\0").split("\0")
    root = next((word for word in words if word.startswith("--root=")), "")
    program = shutil.which("runsc")
    if program is None or not root:
        raise Unavailable("this container does not run in gVisor", hint="install runsc")
    return Sandbox(
        program=program, root=root.removeprefix("--root="), id=words[-1], process=process
    )


@dataclass(slots=True, kw_only=True, eq=False)
class _Command:
    """One `runsc exec`, held as `first`. `number` reads the command's process number inside. Once
    it has `ended`, processes of it may be left; once it is `dead`, none."""

    sandbox: Sandbox
    process: subprocess.Popen[bytes]
    first: int
    number: Path
    stdin: IO[bytes]
    stdout: IO[bytes]
    stderr: IO[bytes]
    group: Group | None
    memory_kills: int = 0
    ended: bool = False
    dead: bool = False
    looking: anyio.Lock = field(default_factory=anyio.Lock)

    def __post_init__(self) -> None:
        for stream in (self.stdin, self.stdout, self.stderr):
            os.set_blocking(stream.fileno(), False)
        self.memory_kills = self.group.killed_for_memory() if self.group else 0

    async def gone(self) -> None:
        async with self.looking:  # the loop lets one at a time look at a descriptor
            if not self.ended:
                await anyio.wait_readable(self.first)
                self.ended = True

    async def kill(self) -> None:
        if self.dead:
            return
        for _ in range(_ROUNDS):
            try:
                if not await self._swept():
                    break
            except Unavailable:
                self._fell()
                break
        else:
            self._fell()
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.first, signal.SIGKILL)
        with anyio.move_on_after(_SECONDS):
            await self.gone()
            self.dead = True
            return
        raise Broken("a command of gVisor cannot be killed")

    def code(self) -> int | None:
        """The command's own code; `runsc` reports a death by signal as 128 + n."""
        code = self.process.wait()
        if not self.number.exists():
            hint = "its image must have python3, which puts the filters on"
            raise Unavailable("no command can be started in the box", hint=hint)
        number = code - _SIGNALLED
        return -number if 0 < number < signal.SIGRTMIN else code

    def close(self) -> None:
        self.process.wait()
        for stream in (self.stdin, self.stdout, self.stderr):
            stream.close()
        os.close(self.first)
        self.number.unlink(missing_ok=True)

    async def _swept(self) -> bool:
        """Kill what is left of the command; False when nothing is."""
        parents = await self.sandbox.processes()
        own = int(self.number.read_text() or 0) if self.number.exists() else 0
        left = {one for one, parent in parents.items() if parent == 1 or (own and one == own)}
        found = True
        while found:
            found = {one for one, parent in parents.items() if parent in left} - left
            left |= found
        for one in left:
            with suppress(Unavailable):
                await self.sandbox.call("kill", f"--pid={one}", self.sandbox.id, "KILL")
        return bool(left)

    def _fell(self) -> None:
        """What cannot be ended inside ends with its kernel."""
        with suppress(ProcessLookupError):
            os.kill(self.sandbox.process, signal.SIGKILL)


class SentryBox:
    """A `Box` in a gVisor sandbox. It ends with its container, which somebody else removes."""

    def __init__(self, there: Sandbox, spec: BoxSpec, view: Inside, group: Group | None) -> None:
        self._there, self._spec, self._view, self._group = there, spec, view, group
        self._folder = Path(tempfile.mkdtemp(prefix="holdfast-"))
        self._commands: set[_Command] = set()

    @property
    def spec(self) -> BoxSpec:
        return self._spec

    async def exec(
        self,
        argv: Sequence[str],
        *,
        cwd: str = ".",
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        seconds: float | None = None,
    ) -> Exit:
        limits = self._spec.limits
        seconds = limits.seconds if seconds is None else seconds
        asked = await self._asked(argv, cwd, environment)
        async with self._opened(asked) as command:
            return await until_dead(command, stdin, limits, seconds, self._view.workspace)

    @asynccontextmanager
    async def start(
        self,
        argv: Sequence[str],
        *,
        cwd: str = ".",
        environment: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[Talk]:
        asked = await self._asked(argv, cwd, environment)
        async with self._opened(asked) as command, talking(command) as talk:
            yield talk

    async def put(self, path: str, data: bytes) -> None:
        await to_thread.run_sync(files.put, self._view.workspace, path, data)

    async def get(self, path: str, most: int) -> bytes:
        return await to_thread.run_sync(files.get, self._view.workspace, path, most)

    async def listen(self, port: int) -> socket.socket:
        del port
        hint = "choose another kind of box for tools that need a way out"
        raise Unavailable("gVisor has a network of its own that nobody can enter", hint=hint)

    async def stats(self) -> BoxStats:
        return await to_thread.run_sync(self._group.stats) if self._group else BoxStats()

    async def kill(self) -> None:
        for command in tuple(self._commands):
            await command.kill()

    async def destroy(self) -> None:
        await self.kill()
        await to_thread.run_sync(files.remove_tree, self._folder)

    async def _asked(
        self,
        argv: Sequence[str],
        cwd: str,
        extra: Mapping[str, str] | None,
    ) -> dict[str, Any]:
        """The command as the runtime specification has it: nothing of it on a command line."""
        if not argv or any("\0" in word for word in argv):
            raise Invalid("a command needs at least one word, and none with a NUL character")
        variables = environment({**self._spec.environment, **(extra or {})})
        limits = bounds(self._spec)
        filters = await to_thread.run_sync(_filters)
        return {
            "args": [*_DRESSER, filters, *argv],
            "cwd": await to_thread.run_sync(directory, self._spec, self._view.workspace, cwd),
            "env": [f"{name}={value}" for name, value in variables.items()],
            "user": {"uid": self._view.user, "gid": self._view.user},
            "capabilities": {},
            "noNewPrivileges": True,
            "rlimits": [{"type": n, "soft": x, "hard": x} for n, x in limits.items()],
        }

    @asynccontextmanager
    async def _opened(self, asked: dict[str, Any]) -> AsyncGenerator[_Command]:
        command = await to_thread.run_sync(self._begun, asked)
        self._commands.add(command)
        try:
            yield command
        finally:
            with CancelScope(shield=True):
                await command.kill()
                await to_thread.run_sync(command.close)
            self._commands.discard(command)

    def _begun(self, asked: dict[str, Any]) -> _Command:
        number = self._folder / os.urandom(8).hex()
        given = memory(json.dumps(asked).encode())
        there = self._there
        words = ["exec", f"--process=/proc/self/fd/{given}", f"--internal-pid-file={number}"]
        try:
            process = subprocess.Popen(  # noqa: S603 - running commands is what a box is for
                [there.program, f"--root={there.root}", *words, there.id],
                pass_fds=(given,),
                env={},
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        finally:
            os.close(given)
        assert process.stdin and process.stdout and process.stderr  # noqa: S101 - we asked for pipes
        return _Command(
            sandbox=there,
            process=process,
            first=os.pidfd_open(process.pid),
            number=number,
            stdin=process.stdin,
            stdout=process.stdout,
            stderr=process.stderr,
            group=self._group,
        )


def _filters() -> str:
    return ",".join(b64encode(each).decode() for each in programs())
