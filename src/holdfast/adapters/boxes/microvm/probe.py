"""Whether the walls of a machine stand here, found by running into them."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from anyio import CancelScope
from msgspec import Struct

from holdfast.core.error import HoldfastError
from holdfast.ports.box import Box, BoxLimits, BoxSpec, Capabilities, Strength

_MEMORY = 96 << 20
_PROCESSES = 24
_DISK = 8 << 20
_LIMITS = BoxLimits(
    seconds=30.0,
    memory=_MEMORY,
    processes=_PROCESSES,
    cpus=0.3,
    scratch=8 << 20,
    disk=_DISK,
    inodes=500,
)
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class _Attack(Struct, frozen=True, kw_only=True):
    """A script that prints WON when it got through `wall`."""

    wall: str
    script: str


_ATTACKS = (
    _Attack(wall="kernel boundary", script=f'[ "$(cat {_BOOT_ID})" = "$OUR_KERNEL" ] && echo WON'),
    _Attack(
        wall="files",
        script='cat "$SECRET" && echo WON; ls "$(dirname "$SECRET")" | grep secret && echo WON',
    ),
    _Attack(
        wall="system",
        script="touch /usr/.x && echo WON; touch /etc/.x && echo WON; touch /.x && echo WON",
    ),
    _Attack(
        wall="network",
        script="[ $(ls /sys/class/net | wc -l) -gt 1 ] && echo WON; "
        'bash -c ": </dev/tcp/127.0.0.1/$PORT" 2>&1 && echo WON',
    ),
    _Attack(wall="ipc", script='[ -e "/dev/shm/$MARK" ] && echo WON'),
    _Attack(wall="pids", script='[ "$(ls -d /proc/[0-9]* | wc -l)" -gt 8 ] && echo WON'),
    _Attack(
        wall="processes",
        script=f"i=0; while [ $i -lt {_PROCESSES * 2} ]; do sleep 9 & i=$((i+1)); done; echo WON",
    ),
    _Attack(
        wall="memory",
        script=f"head -c {_MEMORY * 2} /dev/zero | tail -n 1 | wc -c | grep {_MEMORY * 2}"
        " && echo WON",
    ),
    _Attack(
        wall="cpu",
        script="python3 -I -S -c 'import time; b = time.monotonic(); c = time.process_time()\n"
        "while time.process_time() - c < 0.3: pass\n"
        'print("WON" if time.monotonic() - b < 0.45 else "")\'',
    ),
    _Attack(
        wall="disk",
        script=f"head -c {_DISK * 4} /dev/zero >big && echo WON; rm -f big",
    ),
    _Attack(
        wall="inodes",
        script="mkdir many && cd many && touch $(seq 900) && echo WON; cd .. && rm -rf many",
    ),
    _Attack(wall="scratch", script="head -c 16000000 /dev/zero >/tmp/a && echo WON; rm -f /tmp/a"),
    _Attack(wall="seccomp", script="grep -q '^Seccomp:.2' /proc/self/status || echo WON"),
    _Attack(
        wall="landlock",
        script="head -c 1 /proc/1/cmdline && echo WON; "
        "echo 1 >/proc/sys/kernel/pid_max && echo WON",
    ),
    _Attack(
        wall="capabilities",
        script="grep -E '^Cap(Eff|Prm|Bnd):' /proc/self/status | grep -v 0000000000000000"
        ' && echo WON; [ "$(id -u)" = 0 ] && echo WON; unshare -U true && echo WON',
    ),
    _Attack(
        wall="environment",
        script='[ -s /proc/1/environ ] && echo WON; env | grep "$SAID" && echo WON',
    ),
)


async def try_walls(kind: str, make: Callable[[BoxSpec], Awaitable[Box]]) -> Capabilities:
    """Run every attack in one box."""
    walls: dict[str, Strength] = {}
    with _ground() as (workspace, variables):
        spec = BoxSpec(workspace=workspace, environment=variables, limits=_LIMITS)
        try:
            box = await make(spec)
        except HoldfastError as error:
            nothing: dict[str, Strength] = {attack.wall: "none" for attack in _ATTACKS}
            return Capabilities(
                kind=kind, walls=nothing, problems=(f"{error} {error.hint}".strip(),)
            )
        try:
            for attack in _ATTACKS:
                out = await box.exec(["bash", "-c", attack.script])
                walls[attack.wall] = "none" if b"WON" in out.stdout else "enforced"
        finally:
            with CancelScope(shield=True):
                await box.destroy()
    return Capabilities(kind=kind, walls=walls)


@contextmanager
def _ground() -> Generator[tuple[Path, dict[str, str]]]:
    """A workspace with a secret beside it, a listener, and a file in shared memory."""
    with (
        tempfile.TemporaryDirectory() as folder,
        socket.create_server(("127.0.0.1", 0)) as listener,
        tempfile.NamedTemporaryFile(dir="/dev/shm", prefix="holdfast-") as mark,
    ):
        root = Path(folder).resolve()
        (root / "secret").write_text("a secret")
        (root / "workspace").mkdir()
        yield (
            root / "workspace",
            {
                "SECRET": str(root / "secret"),
                "PORT": str(listener.getsockname()[1]),
                "MARK": Path(mark.name).name,
                "OUR_KERNEL": _BOOT_ID.read_text().strip(),
                "SAID": f"^HOLDFAST_{os.getpid()}=",
            },
        )
