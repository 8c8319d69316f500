"""What is prepared on the host for a container about to be made, and taken away once it runs.

An engine shows a folder as it is on the disk. Started as root, we hand it a mount of that folder in
which everything of the owner's belongs to the agent's user, without setuid bits or devices; what
the agent makes there stays the owner's on the disk. A container keeps what it was given, so the
stage is gone again before its first command.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from anyio import CancelScope, to_thread

from holdfast.adapters.boxes import files
from holdfast.adapters.boxes.namespaced import answered
from holdfast.adapters.boxes.porting import Porter
from holdfast.adapters.boxes.root import Lent, etc
from holdfast.core.error import Unavailable

from .profile import profile

_DETACH = 2
_LIBC = ctypes.CDLL(None, use_errno=True)
_NAMES = {"hostname": "box\n", "resolv.conf": ""}


@asynccontextmanager
async def staged(
    folder: Path, porter: Porter, lent: tuple[Lent, ...], user: int, *, served: bool = False
) -> AsyncGenerator[Path]:
    """A folder with `etc`, `empty`, `filter` and, for each of `lent`, a mount `lent/<number>`.

    `served`: a program that is root reads and writes there in the agent's place, as gVisor's does.
    """
    await to_thread.run_sync(_lay_out, folder, etc(user), lent)
    try:
        for number, one in enumerate(lent):
            at = str(folder / "lent" / str(number))
            words = {"place": one.place, "owned": one.owned, "at": at, "uid": user}
            await _lend(porter, one.place, {"do": "stage", "served": served, **words})
        yield folder
    finally:
        with CancelScope(shield=True):
            await to_thread.run_sync(cleared, folder)


def cleared(folder: Path) -> None:
    """Take a stage away, also one that a killed daemon left."""
    for place in sorted((folder / "lent").glob("*")):
        _LIBC.umount2(os.fsencode(place), _DETACH)
        place.rmdir() if place.is_dir() else place.unlink()
    files.remove_tree(folder)


def _lay_out(folder: Path, made_up: Mapping[str, str], lent: tuple[Lent, ...]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.mkdir(mode=0o700)
    for name in ("etc", "empty", "lent"):
        (folder / name).mkdir(mode=0o755)
    names = {Path(name).name: text for name, text in made_up.items()}
    for name, text in {**names, **_NAMES}.items():
        (folder / "etc" / name).write_text(text)
        (folder / "etc" / name).chmod(0o644)
    (folder / "filter").write_bytes(profile())
    for number, one in enumerate(lent):
        place = folder / "lent" / str(number)
        place.mkdir() if Path(one.place).is_dir() else place.touch()


async def _lend(porter: Porter, place: str, words: Mapping[str, Any]) -> None:
    opened = os.open(place, os.O_PATH | os.O_CLOEXEC)
    try:
        reply = await porter.ask(words, [opened])
    finally:
        os.close(opened)
    try:
        _, found = await answered(reply)
    except Unavailable as error:
        hint = "its file system cannot be lent to another user (NFS, FUSE, old kernels)"
        message = f"the container cannot be given {place}: {error}"
        raise Unavailable(message, hint=hint) from error
    finally:
        reply.close()
    for descriptor in found:
        os.close(descriptor)
