"""What of a running container is held, to carry commands into it past its engine."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

from holdfast.adapters.boxes.groups import Group
from holdfast.adapters.boxes.namespaced import Spaces

_ROOT = Path("/sys/fs/cgroup")
_TOGETHER = ("memory", "pids", "cpu")


def spaces(process: int) -> Spaces:
    """Descriptors of the namespaces of `process`, which the caller closes."""
    with ExitStack() as undo:
        found: dict[str, int] = {}
        for name in ("net", "ipc", "uts", "mnt", "user"):
            found[name] = os.open(f"/proc/{process}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
            undo.callback(os.close, found[name])
        owner = os.dup(found["user"])
        undo.pop_all()
    return Spaces(owner=owner, **found)


def group(process: int, root: Path = _ROOT) -> Group | None:
    """The control groups of `process`; None when we may not put anything else into them."""
    lines = Path(f"/proc/{process}/cgroup").read_text().splitlines()
    folders: dict[str, Path] = {}
    for line in lines:
        _, controllers, path = line.split(":", 2)
        for name in filter(None, controllers.removeprefix("name=").split(",")):
            folders[name] = root / name / path.lstrip("/")
    if not any(name in folders for name in _TOGETHER):
        path = next((line[3:] for line in lines if line.startswith("0::")), "")
        folders = dict.fromkeys(_TOGETHER, root / path.lstrip("/")) if path.strip("/") else {}
    writable = (os.access(folder / "cgroup.procs", os.W_OK) for folder in folders.values())
    return Group(folders=folders, ours=False) if folders and all(writable) else None
