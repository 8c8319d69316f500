"""Whether what is asked of a box makes sense."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from holdfast.core.error import Invalid
from holdfast.ports.box import BoxSpec

from .mirror import Mirror

_RESERVED = ("/usr", "/etc", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_KERNEL = ("/proc", "/dev", "/sys", "/run/holdfast", "/run/home")
_WHOLE = ("/", "/run", "/tmp")  # noqa: S108 - not to be a workspace
_MOST_WORDS = 1 << 20
SYSTEM = (*_RESERVED, *_KERNEL)
"""Folders in which a box has its own things."""


def real_workspace(given: Path) -> Path:
    """Raises `Invalid` for what cannot be one."""
    if not given.is_absolute() or not given.is_dir():
        raise Invalid(f"the workspace {given} is not an existing folder with an absolute path")
    real = given.resolve()
    if str(real) in _WHOLE or any(real.is_relative_to(path) for path in SYSTEM):
        raise Invalid(
            f"the workspace cannot be {real}: the system lives there",
            hint="choose a folder of your own",
        )
    return real


def check_command(argv: Sequence[str], variables: Mapping[str, str]) -> None:
    if not argv or not argv[0] or any("\0" in word for word in argv):
        raise Invalid("a command needs at least one word, and none with a NUL character")
    for name, value in variables.items():
        if not name or "=" in name or "\0" in name + value:
            raise Invalid(f"{name!r} cannot be an environment variable")
    words = (*argv, *variables, *variables.values())
    if sum(len(word) + 1 for word in words) > _MOST_WORDS:
        raise Invalid("the command line is too long; put it into a file")


def directory(workspace: Mirror, spec: BoxSpec, cwd: str) -> str:
    if "\0" in cwd:
        raise Invalid("a folder's name contains a NUL character")
    wanted = (spec.workspace / cwd).resolve()
    if not wanted.is_relative_to(workspace.root):
        raise Invalid(f"the folder {cwd} is outside the workspace {workspace.root}")
    if not wanted.is_dir():
        raise Invalid(f"there is no folder {cwd} in the workspace")
    return str(wanted)
