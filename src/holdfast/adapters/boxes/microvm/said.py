"""What a machine says: parsed strictly, because a command in it may have taken it over."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

Doing = Literal[
    "ready", "done", "failed", "data", "end", "room", "exit", "item", "gone", "opened", "closed"
]


class Said(Struct, frozen=True, kw_only=True):
    """The head of a frame; which fields mean something depends on `do`."""

    do: Doing
    id: int
    stream: Literal["", "stdin", "stdout", "stderr"] = ""
    room: int = 0
    code: int = 0
    memory: bool = False
    processes: int = 0
    why: str = ""
    path: str = ""
    kind: Literal["", "file", "folder", "link"] = ""
    mode: int = 0
    mtime: int = 0
    link: str = ""
    offset: int = 0
    last: bool = False
    port: int = 0


Frame = tuple[Said, bytes]
parse = msgspec.json.Decoder(Said).decode


def told(name: str) -> str:
    """Names are bytes; on the wire each byte is a character."""
    return name.encode("utf-8", "surrogateescape").decode("latin-1")


def real_name(name: str) -> str:
    """Raises `UnicodeEncodeError` for what never was a name."""
    return name.encode("latin-1").decode("utf-8", "surrogateescape")
