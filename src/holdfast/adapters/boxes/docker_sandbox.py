"""Boxes of the `docker sandbox` command line: small virtual machines that Docker Desktop makes.

Docker shares the workspace with the machine at the same path. What it does not let us bound
(memory, processors, disk, its own way to the network) is not claimed; what cannot be shown or
hidden as the spec wants is refused. Where the command line is missing there is no box at all.
"""

from __future__ import annotations

import secrets
import subprocess
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from socket import socket

import anyio
from anyio import BrokenResourceError, CancelScope, ClosedResourceError, EndOfStream, to_thread
from anyio.abc import ByteReceiveStream, Process

from holdfast.core.error import Invalid, Unavailable
from holdfast.ports.box import BoxSpec, BoxStats, Capabilities, Exit, Strength

from .microvm.asking import check_command, workspace_of
from .microvm.mirror import Mirror
from .programs import ran
from .root import directory
from .streams import Kept

_ASK, _CREATE, _END = 20.0, 120.0, 20.0
_COMPLAINT = 8 << 10
_PIECE = 1 << 16
_HINT = "install Docker Desktop with `docker sandbox`, or choose another box.kind"
_MARK = "/tmp/.holdfast-"  # noqa: S108 - inside the sandbox
_LEAD = f'echo $$ >{_MARK}"$1"; shift; exec "$@"'
"""Each command leads a session of its own, so that it can be ended with what it has started."""
_KILL = (
    f'sid=$(cat {_MARK}"$1" 2>/dev/null) || exit 0; i=0; '
    'while [ $i -lt 50 ] && pkill -9 -s "$sid"; do i=$((i+1)); done; '
    f'rm -f {_MARK}"$1"'
)
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_CLAIMS: Mapping[str, Strength] = {
    "pids": "soft",
    "memory": "none",
    "cpu": "none",
    "disk": "none",
    "inodes": "none",
    "seccomp": "none",
    "landlock": "none",
    "ipc": "none",
}
_TRIALS: Mapping[str, str] = {
    "kernel boundary": f'[ "$(cat {_BOOT_ID})" = "$OUR_KERNEL" ] && echo WON',
    "files": 'cat "$SECRET" && echo WON',
    "system": "[ -w /usr ] && echo WON",
    "network": "[ $(wc -l </proc/net/route) -gt 1 ] && echo WON",
    "capabilities": "grep -E '^CapEff:' /proc/self/status | grep -v 0000000000000000 && echo WON",
    "environment": "[ -s /proc/1/environ ] && echo WON",
}


class DockerSandboxBoxes:
    """A `BoxKind`. `environment` is what Docker's own command line needs: HOME, PATH and such."""

    def __init__(
        self, *, program: str = "docker", environment: Mapping[str, str] | None = None
    ) -> None:
        self._docker = _Docker(program, dict(environment or {}))
        self._boxes: set[DockerSandboxBox] = set()
        self._capabilities: Capabilities | None = None

    @property
    def name(self) -> str:
        return "docker-sandbox"

    async def create(self, spec: BoxSpec) -> DockerSandboxBox:
        if spec.requires:
            walls = (await self.probe()).walls
            missing = [wall for wall in spec.requires if walls.get(wall) != "enforced"]
            if missing:
                raise Unavailable(f"a Docker sandbox does not enforce: {', '.join(missing)}")
        return await self._make(spec)

    async def probe(self) -> Capabilities:
        if self._capabilities is None:
            self._capabilities = await self._try_walls()
        return self._capabilities

    async def close(self) -> None:
        for box in list(self._boxes):
            await box.destroy()

    async def _make(self, spec: BoxSpec) -> DockerSandboxBox:
        workspace = await to_thread.run_sync(_workspace, spec)
        await self._docker.ask("version", seconds=_ASK)
        name = f"holdfast-{secrets.token_hex(6)}"
        box = DockerSandboxBox(spec, name, workspace, self._docker, ended=self._boxes.discard)
        async with AsyncExitStack() as undo:
            undo.push_async_callback(_gone, box)
            create = ("create", "--name", name, "shell", str(workspace.root))
            await self._docker.ask(*create, seconds=_CREATE)
            await self._docker.ask("inspect", name, seconds=_ASK)
            undo.pop_all()
        self._boxes.add(box)
        return box

    async def _try_walls(self) -> Capabilities:
        walls: dict[str, Strength] = dict(_CLAIMS)
        with tempfile.TemporaryDirectory() as folder:
            root, variables = await to_thread.run_sync(_ground, Path(folder))
            try:
                box = await self._make(BoxSpec(workspace=root / "workspace", environment=variables))
            except Unavailable as error:
                nothing: dict[str, Strength] = dict.fromkeys((*_CLAIMS, *_TRIALS), "none")
                problem = f"{error} {error.hint}".strip()
                return Capabilities(kind=self.name, walls=nothing, problems=(problem,))
            try:
                for wall, script in _TRIALS.items():
                    out = await box.exec(["sh", "-c", f"{script}; echo TRIED"])
                    held = b"TRIED" in out.stdout and b"WON" not in out.stdout
                    walls[wall] = "enforced" if held else "none"
            finally:
                with CancelScope(shield=True):
                    await box.destroy()
        return Capabilities(kind=self.name, walls=walls)


class DockerSandboxBox:
    """A `Box`: every command is a `docker sandbox exec`."""

    def __init__(
        self,
        spec: BoxSpec,
        name: str,
        workspace: Mirror,
        docker: _Docker,
        *,
        ended: Callable[[DockerSandboxBox], None],
    ) -> None:
        self._spec, self._name, self._workspace, self._docker = spec, name, workspace, docker
        self._running: set[_Command] = set()
        self._ended, self._gone = ended, False

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
        kept = Kept(limits.output)
        wall = CancelScope()
        async with self.start(argv, cwd=cwd, environment=environment) as command:
            began = anyio.current_time()
            with wall:
                wall.deadline = began + (limits.seconds if seconds is None else seconds)
                await command.converse(stdin, kept)
            if wall.cancelled_caught:
                await command.kill()
            code = -9 if wall.cancelled_caught else await command.wait()
            return Exit(
                code=code,
                stdout=bytes(kept.stdout),
                stderr=bytes(kept.stderr),
                timed_out=wall.cancelled_caught,
                cut=kept.cut,
                seconds=anyio.current_time() - began,
            )

    @asynccontextmanager
    async def start(
        self,
        argv: Sequence[str],
        *,
        cwd: str = ".",
        environment: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[_Command]:
        if self._gone:
            raise Unavailable("the box has ended: it was destroyed", code="box_gone")
        variables = {**self._spec.environment, **(environment or {})}
        check_command(argv, variables)
        folder = await to_thread.run_sync(directory, self._spec, self._workspace.root, cwd)
        mark = secrets.token_hex(6)
        with tempfile.NamedTemporaryFile("w", prefix="holdfast-", encoding="utf-8") as file:
            file.write(_env_file(variables))
            file.flush()
            words = ("exec", "-i", "--workdir", folder, "--env-file", file.name, self._name)
            lead = ("setsid", "-w", "sh", "-c", _LEAD, "sh", mark, *argv)
            async with self._docker.talking(*words, *lead) as process:
                command = _Command(process, lambda: self._kill(mark))
                self._running.add(command)
                try:
                    yield command
                finally:
                    self._running.discard(command)
                    with CancelScope(shield=True):
                        await command.kill()

    async def put(self, path: str, data: bytes) -> None:
        await to_thread.run_sync(self._workspace.write, path, data)

    async def get(self, path: str, most: int) -> bytes:
        return await to_thread.run_sync(self._workspace.read, path, most)

    async def listen(self, port: int) -> socket:
        raise Unavailable(
            f"nothing of ours can listen on port {port} in a Docker sandbox",
            hint="a box of this kind reaches what Docker lets it reach",
        )

    async def stats(self) -> BoxStats:
        await self._docker.ask("inspect", self._name, seconds=_ASK)
        return BoxStats()

    async def kill(self) -> None:
        for command in list(self._running):
            await command.kill()

    async def destroy(self) -> None:
        if self._gone:
            return
        self._gone = True
        self._workspace.close()
        self._ended(self)
        await self._docker.ask("rm", self._name, seconds=_END)

    async def _kill(self, mark: str) -> None:
        if not self._gone:
            words = ("exec", self._name, "sh", "-c", _KILL, "sh", mark)
            await self._docker.ask(*words, seconds=_END)


class _Command:
    """A `Running`: our end of `docker sandbox exec`, and a way to end the other one."""

    def __init__(self, process: Process, end: Callable[[], Awaitable[None]]) -> None:
        self._process, self._end = process, end
        self._complaint = bytearray()
        self._ended = False

    async def send(self, data: bytes) -> None:
        stdin = self._process.stdin
        if stdin is None:
            raise Unavailable("the command no longer reads", code="command_deaf")
        try:
            await stdin.send(data)
        except (BrokenResourceError, ClosedResourceError) as error:
            raise Unavailable("the command no longer reads", code="command_deaf") from error

    async def receive(self) -> bytes:
        return await _piece(self._process.stdout)

    def complaint(self) -> str:
        return self._complaint.decode(errors="replace")

    async def wait(self) -> int:
        """Docker reports a death by signal as 128 + n."""
        await self._listen()
        code = await self._process.wait()
        await self.kill()
        return 128 - code if 128 < code <= 128 + 64 else code

    async def kill(self) -> None:
        if self._ended:
            return
        self._ended = True
        with CancelScope(shield=True), suppress(Unavailable):
            await self._end()
        if self._process.returncode is None:
            self._process.kill()

    async def converse(self, stdin: bytes, kept: Kept) -> None:
        """Carry bytes in and out until it says no more."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._feed, stdin)
            group.start_soon(_drain, self._process.stdout, kept, kept.stdout)
            group.start_soon(_drain, self._process.stderr, kept, kept.stderr)
            await self._process.wait()

    async def _feed(self, data: bytes) -> None:
        with suppress(Unavailable):
            await self.send(data)
        if self._process.stdin is not None:
            with suppress(BrokenResourceError, ClosedResourceError):
                await self._process.stdin.aclose()

    async def _listen(self) -> None:
        """Its stderr ends when it does."""
        while piece := await _piece(self._process.stderr):
            self._complaint += piece
            del self._complaint[:-_COMPLAINT]


class _Docker:
    """The command line. Nothing that is secret is put on it."""

    def __init__(self, program: str, environment: dict[str, str]) -> None:
        self._program, self._environment = program, environment

    async def ask(self, *words: str, seconds: float) -> bytes:
        """Raises `Unavailable` when it fails, in its own words."""
        try:
            with anyio.fail_after(seconds):
                done = await ran([self._program, "sandbox", *words], self._environment)
        except (OSError, TimeoutError) as error:
            why = "it does not answer" if isinstance(error, TimeoutError) else str(error)
            raise Unavailable(f"there is no Docker sandbox here: {why}", hint=_HINT) from error
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()[-500:]
            raise Unavailable(f"`docker sandbox {words[0]}` failed: {said}", hint=_HINT)
        return done.stdout

    @asynccontextmanager
    async def talking(self, *words: str) -> AsyncGenerator[Process]:
        try:
            process = await anyio.open_process(
                [self._program, "sandbox", *words],
                env=self._environment,
                stdin=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise Unavailable(f"there is no Docker sandbox here: {error}", hint=_HINT) from error
        async with process:
            yield process


async def _gone(box: DockerSandboxBox) -> None:
    with CancelScope(shield=True), suppress(Unavailable):
        await box.destroy()


async def _piece(stream: ByteReceiveStream | None) -> bytes:
    if stream is None:
        return b""
    try:
        return await stream.receive(_PIECE)
    except (EndOfStream, ClosedResourceError, BrokenResourceError):
        return b""


async def _drain(stream: ByteReceiveStream | None, kept: Kept, into: bytearray) -> None:
    while piece := await _piece(stream):
        kept.add(into, piece)


def _ground(folder: Path) -> tuple[Path, dict[str, str]]:
    """A workspace with a secret beside it, and how to know our kernel by."""
    root = folder.resolve()
    (root / "secret").write_text("a secret")
    (root / "workspace").mkdir()
    kernel = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else "-"
    return root, {"SECRET": str(root / "secret"), "OUR_KERNEL": kernel}


def _workspace(spec: BoxSpec) -> Mirror:
    """Raises `Invalid`, `Unavailable` for what Docker would show or bound otherwise."""
    if spec.browser or spec.read_only:
        raise Invalid("a Docker sandbox shows the workspace alone, and has no browser of ours")
    real = workspace_of(spec.workspace)
    if any(path.is_dir() and path.resolve().is_relative_to(real) for path in spec.hidden):
        raise Unavailable(
            f"a Docker sandbox would show what is to be hidden in {real}",
            hint="choose a workspace without it, or another box.kind",
        )
    return Mirror(real)


def _env_file(variables: Mapping[str, str]) -> str:
    for name, value in variables.items():
        if "\n" in value:
            raise Invalid(f"the value of {name} has several lines: Docker cannot pass it on")
    return "".join(f"{name}={value}\n" for name, value in variables.items())
