"""A box that pretends: a handful of programs written in Python, and answers set beforehand."""

from __future__ import annotations

import shlex
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio import to_thread
from msgspec import Struct

from holdfast.adapters.boxes import files
from holdfast.core.error import Invalid, Unavailable
from holdfast.ports.box import BoxSpec, BoxStats, Capabilities, Exit, Lodger

_KILLED = -9
_NOT_FOUND = 127


class Ran(Struct, frozen=True, kw_only=True):
    """A command that the box was asked to run."""

    argv: tuple[str, ...]
    cwd: str
    spec: BoxSpec
    seconds: float


class _Process(Struct, kw_only=True):
    """One pretended process, with its output so far."""

    words: Sequence[str]
    directory: Path
    environment: Mapping[str, str]
    stdin: bytes
    room: int
    hidden: tuple[Path, ...]
    stdout: bytes = b""
    stderr: bytes = b""
    cut: bool = False

    def say(self, data: bytes) -> None:
        self.cut = self.cut or len(data) > self.room
        self.stdout += data[: self.room]
        self.room -= min(self.room, len(data))

    def complain(self, text: str) -> int:
        self.stderr += f"{self.words[0]}: {text}\n".encode()[: self.room]
        return 1


class FakeBoxes:
    """A `BoxKind` and the `Boxes` of it, which keeps none.

    Its boxes know true, false, echo, cat, tee, pwd, env, ls, sleep, yes and exit; the rest is not
    found. `answers` maps a whole command line to what comes of it. `ran` is what was asked for,
    `lodgers` what `all` says.
    """

    name = "fake"

    def __init__(self, answers: Mapping[str, Exit] | None = None) -> None:
        self.answers = dict(answers or {})
        self.ran: list[Ran] = []
        self.lodgers: Sequence[Lodger] = ()

    async def create(self, spec: BoxSpec) -> FakeBox:
        workspace = spec.workspace
        if not workspace.is_absolute() or not workspace.is_dir() or workspace == Path("/"):
            raise Invalid(f"{workspace} cannot be a workspace")
        return FakeBox(self, spec)

    @asynccontextmanager
    async def lend(self, owner: str, spec: BoxSpec) -> AsyncGenerator[FakeBox]:
        yield await self.create(spec)

    async def release(self, owner: str) -> None:
        return

    async def all(self) -> Sequence[Lodger]:
        return self.lodgers

    async def probe(self) -> Capabilities:
        return Capabilities(kind="fake", walls={"files": "none"}, problems=("this box is a fake",))

    async def run(self) -> None:
        return

    async def close(self) -> None:
        return


class FakeBox:
    """A `Box` of `FakeBoxes`."""

    def __init__(self, boxes: FakeBoxes, spec: BoxSpec) -> None:
        self._boxes, self._spec = boxes, spec
        self._gone = False

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
        spec, limits = self._spec, self._spec.limits
        seconds = limits.seconds if seconds is None else seconds
        if self._gone:
            raise Unavailable("this box is gone")
        directory = _checked(argv, spec, cwd)
        self._boxes.ran.append(Ran(argv=tuple(argv), cwd=cwd, spec=spec, seconds=seconds))
        line = argv[-1] if argv[0] == "sh" else shlex.join(argv)
        if line in self._boxes.answers:
            return self._boxes.answers[line]
        extra = {**spec.environment, **(environment or {})}
        process = _Process(
            words=shlex.split(line) if argv[0] == "sh" else argv,
            directory=directory,
            environment={"PATH": "/usr/bin", "HOME": "/run/home", **extra},
            stdin=stdin,
            room=limits.output,
            hidden=spec.hidden,
        )
        code, timed_out = await _lived(process, seconds)
        return Exit(
            code=code,
            stdout=process.stdout,
            stderr=process.stderr,
            timed_out=timed_out,
            cut=process.cut,
        )

    @asynccontextmanager
    async def start(
        self,
        argv: Sequence[str],
        *,
        cwd: str = ".",
        environment: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[FakeTalk]:
        _checked(argv, self._spec, cwd)
        talk = FakeTalk(argv)
        try:
            yield talk
        finally:
            talk.close()

    async def put(self, path: str, data: bytes) -> None:
        await to_thread.run_sync(files.put, self._spec.workspace, path, data)

    async def get(self, path: str, most: int) -> bytes:
        return await to_thread.run_sync(files.get, self._spec.workspace, path, most)

    async def listen(self, port: int) -> socket.socket:
        raise Unavailable("a fake box has no network")

    async def stats(self) -> BoxStats:
        return BoxStats()

    async def kill(self) -> None:
        return

    async def destroy(self) -> None:
        self._gone = True


class FakeTalk:
    """A `Running` that says back what it is told, if it is `cat`; else it has ended."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._echoes = argv[0] == "cat"
        self._into, self._out = anyio.create_memory_object_stream[bytes](100)
        self._code = 0

    async def send(self, data: bytes) -> None:
        if not self._echoes:
            raise Unavailable("the command in the box no longer reads")
        await self._into.send(data)

    async def receive(self) -> bytes:
        if not self._echoes:
            return b""
        try:
            return await self._out.receive()
        except anyio.EndOfStream:
            return b""

    def complaint(self) -> str:
        return ""

    async def wait(self) -> int:
        return self._code

    async def kill(self) -> None:
        self._code = _KILLED
        self._into.close()

    def close(self) -> None:
        self._into.close()
        self._out.close()


def _checked(argv: Sequence[str], spec: BoxSpec, cwd: str) -> Path:
    if not argv or any("\0" in word for word in argv):
        raise Invalid("a command needs at least one word, and none with a NUL character")
    workspace = spec.workspace
    directory = (workspace / cwd).resolve()
    if not directory.is_relative_to(workspace.resolve()) or not directory.is_dir():
        raise Invalid(f"there is no folder {cwd} in the workspace")
    return directory


async def _lived(process: _Process, seconds: float) -> tuple[int, bool]:
    program = _PROGRAMS.get(process.words[0])
    if program is None:
        process.complain("not found")
        return _NOT_FOUND, False
    with anyio.move_on_after(seconds):
        return await program(process), False
    return _KILLED, True


async def _true(_process: _Process) -> int:
    return 0


async def _false(_process: _Process) -> int:
    return 1


async def _exit(process: _Process) -> int:
    return int(process.words[1])


async def _echo(process: _Process) -> int:
    process.say(" ".join(process.words[1:]).encode() + b"\n")
    return 0


async def _pwd(process: _Process) -> int:
    process.say(f"{process.directory}\n".encode())
    return 0


async def _env(process: _Process) -> int:
    process.say("".join(f"{k}={v}\n" for k, v in process.environment.items()).encode())
    return 0


async def _sleep(process: _Process) -> int:
    await anyio.sleep(float(process.words[1]))
    return 0


async def _cat(process: _Process) -> int:
    if not process.words[1:]:
        process.say(process.stdin)
        return 0
    for name in process.words[1:]:
        found = _seen(process, name)
        if found is None or not await anyio.Path(found).is_file():
            return process.complain(f"{name}: No such file or directory")
        process.say(await anyio.Path(found).read_bytes())
    return 0


async def _tee(process: _Process) -> int:
    for name in process.words[1:]:
        place = _seen(process, name)
        if place is None:
            return process.complain(f"{name}: Read-only file system")
        await anyio.Path(place).write_bytes(process.stdin)
    process.say(process.stdin)
    return 0


async def _ls(process: _Process) -> int:
    for name in process.words[1:] or ["."]:
        place = _seen(process, name)
        if place is not None:
            names = sorted([each.name async for each in anyio.Path(place).iterdir()])
            process.say("".join(f"{each}\n" for each in names).encode())
    return 0


def _seen(process: _Process, name: str) -> Path | None:
    """Where a name leads, if the box shows it: the current folder and below."""
    place = process.directory / name
    visible = place.resolve().is_relative_to(process.directory)
    hidden = any(place.is_relative_to(folder) for folder in process.hidden)
    return place if visible and not hidden else None


_PROGRAMS: Mapping[str, Callable[[_Process], Awaitable[int]]] = {
    "true": _true,
    "false": _false,
    "exit": _exit,
    "echo": _echo,
    "pwd": _pwd,
    "env": _env,
    "sleep": _sleep,
    "cat": _cat,
    "tee": _tee,
    "ls": _ls,
}
