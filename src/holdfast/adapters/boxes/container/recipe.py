"""How an engine is asked for one hardened container: the whole command line, and nothing secret."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from holdfast.adapters.boxes.root import FOR_BROWSERS, FROM_ETC, HOME, SYSTEM, Inside
from holdfast.core.error import Invalid
from holdfast.ports.box import BoxLimits, BoxSpec

from .engine import Engine

HOME_LABEL, AGENT_LABEL = "holdfast.home", "holdfast.agent"
WAITING = "exec sleep 2147483647"
"""What the first process does: it keeps the namespaces. No command is ever below it."""
_OURS = 4
_MOST_PROCESSES, _MOST_FILES = 20_000, 20_000
_PER_INODE, _FEW_INODES = 16 << 10, 1_000
_SEPARATORS = frozenset(',":\n')


class Plan(Struct, frozen=True, kw_only=True):
    """A container to be made. `stage` holds what was prepared for it: `etc`, `empty`, `filter`,
    and `lent`, with one folder for each place that is shown, numbered in the order of `shown`.
    """

    name: str
    home: Path
    image: str
    host_system: bool
    spec: BoxSpec
    view: Inside
    stage: Path
    shown: tuple[str, ...]
    staged: bool
    first: str = WAITING
    threads: int = 0


def container_name(agent: str, short: str) -> str:
    return f"holdfast-{re.sub('[^a-zA-Z0-9_.-]+', '-', agent)[:40].strip('-') or 'agent'}-{short}"


def create(engine: Engine, plan: Plan) -> list[str]:
    """The words after the engine's own. Raises `Invalid` for a path that engines cannot be told."""
    return [
        *("run", "--detach", "--name", plan.name, "--pull", "never", "--stop-timeout", "0"),
        *("--label", f"{HOME_LABEL}={plan.home}", "--label", f"{AGENT_LABEL}={plan.spec.agent}"),
        *_walls(engine, plan),
        *_limits(plan),
        *_scratch(engine, plan),
        *_system(plan),
        *_workspace(plan),
        *("--entrypoint", "/bin/sh", plan.image, "-c", plan.first),
    ]


def _walls(engine: Engine, plan: Plan) -> Iterator[str]:
    yield from ("--network", "none", "--read-only", "--cap-drop", "ALL", "--restart", "no")
    yield from ("--security-opt", "no-new-privileges")
    yield from ("--security-opt", f"seccomp={plan.stage / 'filter'}")
    yield from ("--ipc", "private", "--cgroupns", "private", "--hostname", "box", "--workdir", "/")
    yield from ("--sysctl", "net.ipv4.ping_group_range=1 0")
    # A command may open the first process's stdout: what is written there must not fill the disk.
    yield from ("--log-opt", "max-size=64k", "--no-healthcheck")
    user = str(plan.view.user)
    if engine.name == "docker":
        yield from ("--log-driver", "json-file", "--log-opt", "max-file=1")
        yield from ("--runtime", engine.runtime) if engine.runtime else ()
    else:
        yield from ("--log-driver", "k8s-file", "--pid", "private", "--uts", "private")
        yield from ("--no-hosts", "--image-volume", "ignore", "--read-only-tmpfs=false")
    if plan.staged:
        yield from ("--user", f"{user}:{user}")
    else:
        yield from ("--userns", "keep-id")


def _limits(plan: Plan) -> Iterator[str]:
    limits: BoxLimits = plan.spec.limits
    processes = min(limits.processes + _OURS + plan.threads, _MOST_PROCESSES)
    files = min(limits.files, _MOST_FILES)
    yield from ("--memory", str(limits.memory), "--memory-swap", str(limits.memory))
    yield from ("--pids-limit", str(processes))
    if limits.cpus:
        yield from ("--cpus", f"{limits.cpus:.3f}")
    yield from ("--ulimit", f"nofile={files}:{files}", "--ulimit", f"nproc={processes}:{processes}")
    yield from ("--ulimit", "core=0:0", "--ulimit", f"fsize={limits.file_size}:{limits.file_size}")


def _scratch(engine: Engine, plan: Plan) -> Iterator[str]:
    size = plan.spec.limits.scratch
    inodes = max(_FEW_INODES, size // _PER_INODE)
    for place, _ in plan.view.scratch:
        mode = "0777" if place == HOME else "1777"
        options = f"rw,nosuid,nodev,exec,size={size},mode={mode}"
        yield from (
            "--tmpfs",
            f"{place}:{options}{f',nr_inodes={inodes}' * (engine.name == 'docker')}",
        )


def _system(plan: Plan) -> Iterator[str]:
    """The host's programs, unless the image brings its own, and an `/etc` of our making."""
    if plan.host_system:
        etc = (*FROM_ETC, *(FOR_BROWSERS if plan.spec.browser else ()))
        folders = [name for name in SYSTEM if Path(name).is_dir() and not Path(name).is_symlink()]
        for name in ("/usr", *folders, *(name for name in etc if Path(name).exists())):
            yield from _bound(Path(name).resolve(), name, read_only=True)
    for file in sorted((plan.stage / "etc").iterdir()):
        yield from _bound(file, f"/etc/{file.name}", read_only=True)


def _workspace(plan: Plan) -> Iterator[str]:
    for number, place in enumerate(plan.shown):
        source = plan.stage / "lent" / str(number) if plan.staged else Path(place)
        yield from _bound(source, place, read_only=number > 0)
        given = plan.spec.workspace
        if number == 0 and given != plan.view.workspace and ".." not in given.parts:
            yield from _bound(source, str(given), read_only=False)
    for place in plan.view.hidden:
        yield from _bound(plan.stage / "empty", place, read_only=True)


def _bound(source: Path, target: str, *, read_only: bool) -> Sequence[str]:
    for path in (str(source), target):
        if _SEPARATORS & set(path):
            raise Invalid(f'a container cannot show {path}: its name has one of , : " in it')
    words = f"type=bind,source={source},target={target}{',readonly' if read_only else ''}"
    return ("--mount", words)
