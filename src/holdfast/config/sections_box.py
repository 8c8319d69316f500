"""The table `[box]`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from .section import Section, number, word

_DAY = 86_400
_KINDS = Literal[
    "bubblewrap", "docker", "podman", "gvisor", "microvm", "docker-sandbox", "degraded"
]
_WALLS = Literal[
    "files",
    "system",
    "network",
    "ipc",
    "pids",
    "processes",
    "memory",
    "cpu",
    "file size",
    "scratch",
    "disk",
    "inodes",
    "seccomp",
    "landlock",
    "capabilities",
    "environment",
    "kernel boundary",
]


class Box(Section):
    """Where commands run. Limits are for all commands of one task together."""

    kind: _KINDS = Field(
        default="bubblewrap",
        description="How boxes are made. `degraded` has no namespaces: weaker, and no network.",
        examples=["bubblewrap"],
    )
    requires: tuple[_WALLS, ...] = Field(
        default=(),
        strict=False,
        description="Walls that must be enforced here; where one is not, no command runs.",
        examples=[["memory", "cpu"]],
    )
    read_only: tuple[str, ...] = Field(
        default=(),
        strict=False,
        description="Absolute paths that a box shows besides the workspace.",
        examples=[["/opt/data"]],
    )
    memory_mb: int = number(2048, 16, 1 << 20, "MiB", "Memory.")
    processes: int = number(256, 1, 100_000, "processes", "Processes.")
    cpus: float = number(0.0, 0, 4096, "cores", "Processor time; 0: no limit.")
    files: int = number(1024, 64, 1 << 20, "files", "Files that one process has open.")
    file_mb: int = number(1024, 1, 1 << 20, "MiB", "The largest file.")
    scratch_mb: int = number(512, 1, 1 << 20, "MiB", "Each of `/tmp`, the home and `/dev/shm`.")
    disk_mb: int = number(
        4096, 0, 1 << 30, "MiB", "What one command may add to the workspace; 0: no limit."
    )
    new_files: int = number(
        200_000, 0, 10**9, "files", "Files that one command may add or change; 0: no limit."
    )
    seconds: float = number(60.0, 0.1, _DAY, "s", "Time of one command, if it asks for no other.")
    at_once: int = number(32, 1, 1024, "commands", "Commands at once; the others wait.")
    idle_seconds: float = number(
        300.0, 1, _DAY, "s", "How long the box of a task that runs nothing is kept."
    )
    spare: bool = word(True, "Keep a fresh box ready, so that the next task need not wait for one.")
    environment: dict[str, str] = Field(
        default={}, description="Variables that every command sees.", examples=[{"TZ": "UTC"}]
    )

    @field_validator("read_only")
    @classmethod
    def _are_absolute(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for path in value:
            if not Path(path).is_absolute() or path == "/":
                raise ValueError(f"expected absolute paths other than /, found {path!r}")
        return value
