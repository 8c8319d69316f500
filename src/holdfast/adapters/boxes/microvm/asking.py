"""Whether what is asked of a box makes sense."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from holdfast.adapters.boxes.root import real_workspace
from holdfast.core.error import Invalid

_RESERVED = ("/usr", "/etc", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_KERNEL = ("/proc", "/dev", "/sys", "/run/holdfast", "/run/home")
_WHOLE = ("/", "/run", "/tmp")  # noqa: S108 - not to be a workspace
_MOST_WORDS = 1 << 20
SYSTEM = (*_RESERVED, *_KERNEL)
"""Folders in which a box has its own things."""


def workspace_of(given: Path) -> Path:
    """Raises `Invalid` for what cannot be one."""
    return real_workspace(given, _WHOLE, SYSTEM)


def check_command(argv: Sequence[str], variables: Mapping[str, str]) -> None:
    if not argv or not argv[0] or any("\0" in word for word in argv):
        raise Invalid("a command needs at least one word, and none with a NUL character")
    for name, value in variables.items():
        if not name or "=" in name or "\0" in name + value:
            raise Invalid(f"{name!r} cannot be an environment variable")
    words = (*argv, *variables, *variables.values())
    if sum(len(word) + 1 for word in words) > _MOST_WORDS:
        raise Invalid("the command line is too long; put it into a file")
