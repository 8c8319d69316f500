"""The servers that were added here, below those of the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from holdfast.adapters import private
from holdfast.core.error import Broken, Unavailable
from holdfast.core.foreign import NotJson, decoded
from holdfast.core.mcp import ServerSpec

_LARGEST = 4 << 20


class _Saved(Struct, frozen=True, kw_only=True):
    servers: tuple[ServerSpec, ...] = ()


def read(path: Path) -> Mapping[str, ServerSpec]:
    """By name. Raises `Broken` for a file that cannot be believed, `Unavailable`."""
    data = private.read(path, _LARGEST)
    if data is None:
        return {}
    try:
        found = decoded(data, _Saved)
    except NotJson as error:
        hint = "move it away, and add the servers again"
        raise Broken(f"{path} is damaged: {error}", code="mcp_file_damaged", hint=hint) from None
    return {spec.name: spec for spec in found.servers}


def write(path: Path, servers: Mapping[str, ServerSpec]) -> None:
    """On the disk, whole, when this returns. Raises `Unavailable`."""
    kept = _Saved(servers=tuple(servers[name] for name in sorted(servers)))
    try:
        private.write(path, msgspec.json.format(msgspec.json.encode(kept), indent=2) + b"\n")
    except OSError as error:
        what = f"{path} cannot be written: {error.strerror}"
        raise Unavailable(what, code="not_kept", hint="holdfast doctor") from error
