"""What the host looks for itself: a claim from inside a box is no proof, and neither is silence."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path

import anyio
from anyio import to_thread

from .field import LIMITS, Field
from .ground import marked, running, used

Proof = Callable[[Field], Awaitable[str]]
"""Says what happened; "" when nothing did. Takes away what is left of it."""

_SETTLES = 0.3
_TICKS = 2.0


def _file_holds(where: Callable[[Field], Path]) -> Proof:
    async def look(field: Field) -> str:
        path = where(field)
        content = await anyio.Path(path).read_bytes() if path.exists() else b""
        if field.ground.canary.encode() not in content:
            return ""
        path.write_bytes(b"")
        return f"{path.name} on the host was written"

    return look


def _unchanged(name: str) -> Proof:
    """A tool that is shown read-only is as it was."""

    async def look(field: Field) -> str:
        path = field.ground.tools / name
        if b"changed!" not in await anyio.Path(path).read_bytes():
            return ""
        return f"{name} on the host was changed"

    return look


async def _victim_signalled(field: Field) -> str:
    await anyio.sleep(_SETTLES)
    return "the process of the host was hit" if field.ground.victim.signalled() else ""


async def _neighbour_signalled(field: Field) -> str:
    await anyio.sleep(_SETTLES)
    if b"signalled" not in field.heard:
        return ""
    field.heard.clear()
    return "the other agent's command was hit"


async def _asked(field: Field) -> str:
    await anyio.sleep(_SETTLES)
    asked = field.ground.services.questions
    found = any(field.ground.canary[:20].encode() in each for each in asked)
    asked.clear()
    return "the question reached a name server outside" if found else ""


def _marked(name: str) -> Proof:
    async def look(field: Field) -> str:
        path = field.ground.workspace / name
        if not path.exists():
            return ""
        found = marked(path)
        path.unlink()
        return found

    return look


def _survives(name: str) -> Proof:
    async def look(field: Field) -> str:
        await anyio.sleep(_SETTLES)
        mark = f"{field.ground.canary}-{name}"
        found = await to_thread.run_sync(running, mark)
        if found is None:
            return ""
        with suppress(ProcessLookupError):
            os.kill(found[0], signal.SIGKILL)
        return "a process of the command lives on"

    return look


async def _fled(field: Field) -> str:
    await anyio.sleep(_TICKS)
    return await _survives("flight")(field)


async def _ticked(field: Field) -> str:
    await anyio.sleep(_TICKS)
    return await _file_holds(lambda each: each.ground.workspace / "bomb")(field)


async def _filled(field: Field) -> str:
    """More than twice of what the workspace may grow by; then it is emptied."""
    size, count = await to_thread.run_sync(used, field.ground.workspace)
    for name in ("fill", "reserve"):
        (field.ground.workspace / name).unlink(missing_ok=True)
    await to_thread.run_sync(_emptied, field.ground.workspace / "many")
    if size > LIMITS.disk * 2:
        return f"the workspace takes {size >> 20} MiB of the disk"
    if count > LIMITS.inodes * 2:
        return f"the workspace holds {count} files"
    return ""


def _emptied(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


async def _held(field: Field) -> str:
    """A file without a name takes room for as long as somebody has it open."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            for each in (process / "fd").iterdir():
                about = each.stat()
                here = str(each.readlink()).startswith(str(field.ground.workspace))
                if here and about.st_nlink == 0 and about.st_blocks * 512 > LIMITS.disk:
                    with suppress(ProcessLookupError):
                        os.kill(int(process.name), signal.SIGKILL)
                    return f"{about.st_blocks >> 11} MiB are held without a name"
    return ""


PROOFS: Mapping[str, Proof] = {
    "fs_write_host_dir": _file_holds(lambda field: field.ground.outside / "written"),
    "fs_write_bashrc": _file_holds(lambda field: field.ground.home / ".bashrc"),
    "self_mem_write": _unchanged("mapped"),
    "self_exe_overwrite": _unchanged("tool"),
    "setuid_plant": _marked("planted-setuid"),
    "setuid_fchmodat2": _marked("planted-fchmodat2"),
    "setuid_create": _marked("planted-create"),
    "kill_host_pid": _victim_signalled,
    "pidfd_signal_host": _victim_signalled,
    "neighbour_signal": _neighbour_signalled,
    "dns_exfil": _asked,
    "daemon_survive": _survives("daemon"),
    "daemon_double_fork": _survives("double"),
    "daemon_holds_output": _survives("output"),
    "fork_flight": _fled,
    "time_bomb": _ticked,
    "disk_fill": _filled,
    "disk_reserve": _filled,
    "disk_many": _filled,
    "disk_unlinked": _held,
    "inode_fill": _filled,
}
