"""Whether the walls of a box stand here, found by running into them."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from anyio import to_thread
from msgspec import Struct

from holdfast.core.error import HoldfastError
from holdfast.ports.box import Box, BoxLimits, BoxSpec, Capabilities, Exit

_SOFT, _ENFORCED, _NONE = "soft", "enforced", "none"
_PROCESSES = 24
_MEMORY = 64 << 20
_LIMITS = BoxLimits(seconds=10, processes=_PROCESSES, memory=_MEMORY, file_size=1 << 20)


class _Ground(Struct, frozen=True, kw_only=True):
    """What the trials run against: a workspace, a secret beside it, a listener, our namespaces."""

    workspace: Path
    secret: Path
    port: int
    net: str
    pid: str


class _Trial(Struct, frozen=True, kw_only=True):
    """One attack: a shell script, and what it prints when it got through.

    `strength` is what we may claim when it did not.
    """

    wall: str
    script: str
    strength: str = _ENFORCED
    won: Callable[[Exit], bool] = lambda out: b"WON" in out.stdout


_TRIALS = (
    _Trial(wall="files", script='cat "$SECRET" && echo WON; grep -q : /etc/shadow && echo WON'),
    _Trial(wall="system", script="touch /usr/.holdfast && echo WON; touch /x && echo WON"),
    _Trial(
        wall="network",
        script='[ "$(readlink /proc/self/ns/net)" = "$OUR_NET" ] && echo WON; '
        'bash -c ": </dev/tcp/127.0.0.1/$PORT" 2>&1 && echo WON',
    ),
    _Trial(
        wall="visible processes",
        script='[ "$(readlink /proc/self/ns/pid)" = "$OUR_PID" ] && echo WON; '
        '[ "$(ls -d /proc/[0-9]* | wc -l)" -gt 8 ] && echo WON',
    ),
    _Trial(
        wall="processes",
        script=f"i=0; while [ $i -lt {_PROCESSES * 2} ]; do sleep 9 & i=$((i+1)); echo x; done",
        won=lambda out: out.stdout.count(b"x") >= _PROCESSES * 2,
    ),
    _Trial(
        wall="memory",
        script=f"head -c {_MEMORY * 2} /dev/zero | tail -n 1 | wc -c",
        won=lambda out: out.stdout.strip() == str(_MEMORY * 2).encode(),
        strength=_SOFT,
    ),
    _Trial(
        wall="file size", script="head -c 2000000 /dev/zero >big && echo WON", strength=_ENFORCED
    ),
    _Trial(
        wall="disk",
        script="for i in 1 2 3; do head -c 1000000 /dev/zero >part$i || exit; done; echo WON",
    ),
    _Trial(wall="user namespaces", script="unshare -U true && echo WON"),
    _Trial(
        wall="capabilities",
        script="grep -E '^Cap(Eff|Prm|Bnd):' /proc/self/status | grep -v 0000000000000000"
        " && echo WON",
    ),
    _Trial(wall="environment", script="[ -s /proc/1/environ ] && echo WON; [ $PORT ] || echo WON"),
)


async def try_walls(box: Box) -> Capabilities:
    """Run every trial in a box of its own."""
    walls: dict[str, str] = {}
    problems: list[str] = []
    async with _ground() as ground:
        for trial in _TRIALS:
            try:
                walls[trial.wall] = await _attempt(box, trial, ground)
            except HoldfastError as error:
                walls[trial.wall] = _NONE
                problems.append(f"{error} {error.hint}".strip())
                break
    missing = [wall for wall, strength in walls.items() if strength == _NONE]
    problems += [_MEANING.get(wall, f"the wall {wall!r} does not hold") for wall in missing]
    return Capabilities(kind="bubblewrap", walls=walls, problems=tuple(dict.fromkeys(problems)))


_MEANING = {
    "disk": "a command can fill the disk that the workspace is on",
    "processes": "a command can start any number of processes: run Holdfast as a normal user",
}


async def _attempt(box: Box, trial: _Trial, ground: _Ground) -> str:
    environment = {
        "SECRET": str(ground.secret),
        "PORT": str(ground.port),
        "OUR_NET": ground.net,
        "OUR_PID": ground.pid,
    }
    spec = BoxSpec(workspace=ground.workspace, environment=environment)
    out = await box.run(["sh", "-c", trial.script], spec=spec, limits=_LIMITS)
    return _NONE if trial.won(out) else trial.strength


@asynccontextmanager
async def _ground() -> AsyncGenerator[_Ground]:
    with ExitStack() as stack:
        yield await to_thread.run_sync(_lay_out, stack)


def _lay_out(stack: ExitStack) -> _Ground:
    root = Path(stack.enter_context(tempfile.TemporaryDirectory())).resolve()
    listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    (root / "secret").write_text("a secret")
    (root / "workspace").mkdir()
    return _Ground(
        workspace=root / "workspace",
        secret=root / "secret",
        port=listener.getsockname()[1],
        net=str(Path("/proc/self/ns/net").readlink()),
        pid=str(Path("/proc/self/ns/pid").readlink()),
    )
