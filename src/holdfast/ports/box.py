"""Where commands run: a disposable place that sees one folder and nothing else of the user's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from msgspec import Struct


class BoxLimits(Struct, frozen=True, kw_only=True):
    """What one command may use. `output` is bytes kept of stdout and stderr together."""

    seconds: float = 60.0
    memory: int = 2 << 30
    processes: int = 256
    files: int = 1024
    file_size: int = 1 << 30
    output: int = 8 << 20


class BoxSpec(Struct, frozen=True, kw_only=True):
    """What a box shows: `workspace` read-write at the same path, `read_only` paths besides.

    Folders of the workspace in `hidden` are empty inside, and nothing can be put into them.
    """

    workspace: Path
    read_only: tuple[Path, ...] = ()
    hidden: tuple[Path, ...] = ()
    environment: Mapping[str, str] = {}


class Exit(Struct, frozen=True, kw_only=True):
    """How a command ended. `code` is -signal when killed; partial output is always kept."""

    code: int
    stdout: bytes
    stderr: bytes
    timed_out: bool = False
    cut: bool = False
    seconds: float = 0.0


class Capabilities(Struct, frozen=True, kw_only=True):
    """What the box enforces here, found by trying: name -> "enforced", "soft" or "none"."""

    kind: str
    walls: Mapping[str, str]
    problems: tuple[str, ...] = ()


class Box(Protocol):
    """A disposable place to run commands."""

    async def run(
        self,
        argv: Sequence[str],
        *,
        spec: BoxSpec,
        cwd: str = ".",
        stdin: bytes = b"",
        limits: BoxLimits | None = None,
    ) -> Exit:
        """Run to the end or to the limits. `cwd` is below the workspace.

        When it returns or is cancelled, no process of the command is left. Raises `Unavailable`
        when no box can be made: never runs outside one.
        """
        ...

    async def probe(self) -> Capabilities:
        """Try the walls. Slow (a second); used by `doctor` and at start."""
        ...
