"""Whether the walls of a box stand here, found by running into them."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import anyio
from anyio import to_thread
from msgspec import Struct

from holdfast.core.error import HoldfastError, Unavailable
from holdfast.ports.box import BoxKind, BoxLimits, BoxSpec, Capabilities, Exit, Strength

_AT_ONCE = 4
_PROCESSES = 24
_MEMORY = 64 << 20
_DISK = 8 << 20
_CPUS, _BURST = 0.3, 0.06
_LIMITS = BoxLimits(
    seconds=10,
    processes=_PROCESSES,
    memory=_MEMORY,
    cpus=_CPUS,
    file_size=4 << 20,
    scratch=8 << 20,
    disk=_DISK,
    inodes=500,
)


class _Ground(Struct, frozen=True, kw_only=True):
    """What the trials run against: a workspace, a secret beside it, a listener, our namespaces."""

    workspace: Path
    variables: dict[str, str]


class _Trial(Struct, frozen=True, kw_only=True):
    """One attack: a shell script, and what it prints when it got through.

    `strength` is what we may claim when it did not; a command that a limit ended has not won.
    """

    wall: str
    script: str
    strength: Strength = "enforced"
    won: Callable[[Exit, float], bool] = lambda out, _: b"WON" in out.stdout and not out.stopped


def _too_busy(out: Exit, used: float) -> bool:
    """By the host's count where there is one: a guest takes time in which it waited for its own."""
    if used < 0:
        return b"WON" in out.stdout
    return used > _CPUS * out.seconds * 1.25 + _BURST


_PYTHON = "command -v python3 >/dev/null || { echo UNTRIED; exit; }; python3 -I -S -c "

_TRIALS = (
    _Trial(wall="files", script='cat "$SECRET" && echo WON; grep -q : /etc/shadow && echo WON'),
    _Trial(wall="system", script="touch /usr/.holdfast && echo WON; touch /x && echo WON"),
    _Trial(
        wall="network",
        script='[ "$(readlink /proc/self/ns/net)" = "$OUR_NET" ] && echo WON; '
        'bash -c ": </dev/tcp/127.0.0.1/$PORT" 2>&1 && echo WON',
    ),
    _Trial(
        wall="ipc",
        script='[ "$(readlink /proc/self/ns/ipc)" = "$OUR_IPC" ] && echo WON; '
        '[ -e "/dev/shm/$MARK" ] && echo WON',
    ),
    _Trial(
        wall="pids",
        script='[ "$(readlink /proc/self/ns/pid)" = "$OUR_PID" ] && echo WON; '
        '[ "$(ls -d /proc/[0-9]* | wc -l)" -gt 8 ] && echo WON',
    ),
    _Trial(
        wall="processes",
        script=f"i=0; while [ $i -lt {_PROCESSES * 2} ]; do sleep 9 & i=$((i+1)); echo x; done",
        won=lambda out, _: out.stdout.count(b"x") >= _PROCESSES * 2,
    ),
    _Trial(
        wall="memory",
        # Each holds 40 MB for a second, so that a wall that is a look now and then gets its look.
        script="for i in 1 2 3 4; do "
        "({ head -c 40000000 /dev/zero; sleep 1; } | tail -n 1 | wc -c) & done; wait",
        won=lambda out, _: out.stdout.count(b"40000000") > 2,
    ),
    _Trial(
        wall="cpu",
        # Work that takes one core a second takes three with a third of it.
        script=_PYTHON + "'import time; b=time.monotonic(); c=time.process_time()\n"
        "while time.process_time()-c < 0.2 or time.monotonic()-b < 0.5: pass\n"
        'print("WON" if time.process_time()-c > 0.4 else "")\'',
        won=_too_busy,
    ),
    _Trial(wall="file size", script="head -c 5000000 /dev/zero >big && echo WON"),
    _Trial(
        wall="scratch",
        script="head -c 4000000 /dev/zero | tee /tmp/a /tmp/b /tmp/c >/dev/null && echo WON",
    ),
    _Trial(
        wall="disk",
        script="for i in 1 2 3 4 5 6 7 8; do head -c 3000000 /dev/zero >part$i || exit; "
        "sleep 0.1; done; echo WON",
        strength="soft",
    ),
    _Trial(
        wall="inodes",
        script="for i in 1 2 3 4 5 6 7 8 9 10; do mkdir d$i; cd d$i; "
        "touch $(seq 200) || exit; cd ..; sleep 0.1; done; echo WON",
        strength="soft",
    ),
    _Trial(
        wall="seccomp",
        script="unshare -U true && echo WON; grep -q '^Seccomp:.2' /proc/self/status || echo WON; "
        "touch s; chmod 4755 s && echo WON",
    ),
    _Trial(
        wall="landlock",
        script="head -c 1 /proc/1/environ && echo WON; "
        "echo 1 2>&1 >/proc/sys/kernel/ns_last_pid && echo WON",
    ),
    _Trial(
        wall="capabilities",
        script="grep -E '^Cap(Eff|Prm|Bnd):' /proc/self/status | grep -v 0000000000000000"
        ' && echo WON; [ "$(id -u)" = 0 ] && echo WON',
    ),
    _Trial(
        wall="environment",
        script='[ "$(env | grep -c ^HOLDFAST_)" = 0 ] || echo WON; [ "$PORT" ] || echo WON',
    ),
)


async def try_walls(
    kind: BoxKind,
    *,
    kernel: Strength = "none",
    soft: Sequence[str] = (),
    at_once: int = _AT_ONCE,
) -> Capabilities:
    """Run every trial in a box of its own. `kernel`: is there a kernel between box and host?

    `soft`: walls of which is known that they stand only after the fact."""
    found: dict[str, Strength] = {}
    problems: list[str] = []
    hands = anyio.CapacityLimiter(at_once)

    async def attempt(trial: _Trial, ground: _Ground) -> None:
        async with hands:
            if problems:
                return
            try:
                found[trial.wall] = await _attempt(kind, trial, ground)
            except HoldfastError as error:
                found[trial.wall] = "none"
                problems.append(f"{error} {error.hint}".strip())

    async with _ground() as ground, anyio.create_task_group() as group:
        for trial in _TRIALS:
            group.start_soon(attempt, trial, ground)
    walls: dict[str, Strength] = {
        trial.wall: found[trial.wall] for trial in _TRIALS if trial.wall in found
    }
    for wall in soft:
        if walls.get(wall) == "enforced":
            walls[wall] = "soft"
    missing = [wall for wall, strength in walls.items() if strength == "none"]
    problems += [_MEANING.get(wall, f"the wall {wall!r} does not hold") for wall in missing]
    walls["kernel boundary"] = kernel
    return Capabilities(kind=kind.name, walls=walls, problems=tuple(dict.fromkeys(problems)))


def requiring(wanted: Sequence[str], found: Capabilities) -> None:
    """Raises `Unavailable` unless every wall in `wanted` is enforced."""
    missing = [wall for wall in wanted if found.walls.get(wall) != "enforced"]
    if missing:
        hint = "choose another kind of box, or take it out of `box.requires`"
        message = f"{found.kind} boxes do not enforce here: {', '.join(missing)}"
        raise Unavailable(message, code="wall_missing", hint=hint)


_MEANING = {
    "cpu": "a command can use every core: that needs control groups",
    "disk": "a command can fill the disk that the workspace is on",
    "memory": "a command can use more memory with several processes: that needs control groups",
    "processes": "a command can start any number of processes",
}


async def _attempt(kind: BoxKind, trial: _Trial, ground: _Ground) -> Strength:
    # A folder of its own: what one writes must not be taken for another's.
    workspace = ground.workspace / trial.wall
    await to_thread.run_sync(workspace.mkdir)
    spec = BoxSpec(workspace=workspace, environment=ground.variables, limits=_LIMITS)
    box = await kind.create(spec)
    try:
        before = (await box.stats()).cpu_seconds
        out = await box.exec(["sh", "-c", trial.script])
        after = (await box.stats()).cpu_seconds
    finally:
        await box.destroy()
    if b"UNTRIED" in out.stdout:
        return "none"
    used = after - before if before >= 0 else -1.0
    return "none" if trial.won(out, used) else trial.strength


@asynccontextmanager
async def _ground() -> AsyncGenerator[_Ground]:
    with ExitStack() as stack:
        yield await to_thread.run_sync(_lay_out, stack)


@contextmanager
def _shared_file() -> Generator[Path]:
    """A file in the host's shared memory, where it has any."""
    with ExitStack() as stack:
        place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - a decoy
        file = stack.enter_context(tempfile.NamedTemporaryFile(dir=place))
        yield Path(file.name)


def _lay_out(stack: ExitStack) -> _Ground:
    root = Path(stack.enter_context(tempfile.TemporaryDirectory())).resolve()
    listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    shared = stack.enter_context(_shared_file())
    (root / "secret").write_text("a secret")
    (root / "workspace").mkdir()
    return _Ground(
        workspace=root / "workspace",
        variables={
            "SECRET": str(root / "secret"),
            "PORT": str(listener.getsockname()[1]),
            "MARK": shared.name,
            "OUR_NET": str(Path("/proc/self/ns/net").readlink()),
            "OUR_PID": str(Path("/proc/self/ns/pid").readlink()),
            "OUR_IPC": str(Path("/proc/self/ns/ipc").readlink()),
        },
    )
