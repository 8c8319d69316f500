"""Boxes that a killed daemon left half made: bubblewrap's child waits for ever for its parent.

Between bubblewrap's clone and the moment at which its child asks to die with its parent, a SIGKILL
of the daemon leaves that child behind. It never runs a command; it only stays. So a daemon that
starts ends those that are ours and belong to nobody.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from .cell import BOX_NAME

_INIT = "1"
_PARENT = 1


def clear(processes: Path = Path("/proc")) -> int:
    """End every box of this user whose parent is gone; returns how many."""
    ended = 0
    for process in processes.glob("[0-9]*"):
        with suppress(OSError):
            if process.stat().st_uid == os.getuid() and _orphaned(process):
                os.kill(int(process.name), signal.SIGKILL)
                ended += 1
    return ended


def _orphaned(process: Path) -> bool:
    name = (process / "cmdline").read_bytes().partition(b"\0")[0]
    # The fields after the name in brackets: state, parent, ...
    parent = (process / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()[_PARENT]
    return name == BOX_NAME.encode() and parent == _INIT
