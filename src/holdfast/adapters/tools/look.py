"""The tool that reads a file: text through a window, anything else described."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Annotated, BinaryIO

from anyio import to_thread
from msgspec import Meta, Struct

from holdfast.core.message import EffectClass, Outcome, Returned
from holdfast.ports.tools import Job, Tool, Traits

from .beneath import Folder
from .content import regular
from .craft import Craft
from .output import MAX_BYTES, MAX_LINES

_SNIFF = 8192
_PIECE = 1 << 20
_PIECES = 64
_ROOM = MAX_BYTES - 1024
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_MAGIC = (
    (b"\x89PNG\r\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"%PDF-", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive or an office document"),
    (b"\x1f\x8b", "gzip data"),
    (b"\x7fELF", "a program (ELF)"),
    (b"SQLite format 3\0", "an SQLite database"),
    (_UTF16[0], "UTF-16 text"),
    (_UTF16[1], "UTF-16 text"),
)


class Read(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Read a text file, or a window of it. Long files say how to read on."""

    path: Annotated[str, Meta(description="A path inside the workspace.", min_length=1)]
    offset: Annotated[int, Meta(description="The first line, from 1.", ge=1)] = 1
    limit: Annotated[int, Meta(description="How many lines.", ge=1, le=MAX_LINES - 2)] = (
        MAX_LINES - 2
    )


def read_tool(also: tuple[Path, ...] = ()) -> Tool:
    """`also` are folders outside the workspace whose files may be read by their whole path."""

    def read(asked: Read, job: Job) -> Outcome:
        folder = folder_of(asked.path, job, also)
        name = folder.locate(asked.path)
        with folder.opened(name, os.O_RDONLY | os.O_NONBLOCK) as descriptor:
            about = regular(descriptor, name)
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                start = file.read(_SNIFF)
                if b"\0" in start or start.startswith(_UTF16):
                    return Returned(text=_described(name, start, about.st_size))
                file.seek(0)
                return Returned(text=_window(file, asked, about.st_size))

    async def do(asked: Read, job: Job) -> Outcome:
        return await to_thread.run_sync(read, asked, job)

    traits = Traits(effect=EffectClass.READS, stable=True, paths=("path",), source="file")
    return Craft("read", Read, traits, do)


def folder_of(path: str, job: Job, also: tuple[Path, ...]) -> Folder:
    """The folder that `path` is looked up in."""
    for root in also:
        if PurePosixPath(path).is_relative_to(root):
            return Folder(root)
    return Folder(job.workspace)


def _window(file: BinaryIO, asked: Read, size: int) -> str:
    """The wanted lines as they are, and a remark if they are not the whole file."""
    if size == 0:
        return "[the file is empty]"
    for passed in range(asked.offset - 1):
        if not _skipped(file):
            return f"[the file has only {passed} lines]"
    kept, lines = bytearray(), 0
    while lines < asked.limit and (line := file.readline(_ROOM - len(kept))):
        kept += line
        lines += 1
    first, last = asked.offset, asked.offset + lines - 1
    if lines == 0:
        return f"[the file has only {first - 1} lines]"
    if len(kept) >= _ROOM and not kept.endswith(b"\n"):
        cut = f"[cut in line {last}, after {len(kept):,} bytes; the file has {size:,}]"
        return f"{kept.decode(errors='ignore')}\n{cut}"
    text = kept.decode(errors="replace")
    if after := _lines_left(file):
        return f"{text}[lines {first} to {last}, {after} more; read on with offset {last + 1}]"
    if first > 1:
        return (
            f"{text}{'' if text.endswith(chr(10)) else chr(10)}[lines {first} to {last}, the end]"
        )
    return text


def _skipped(file: BinaryIO) -> bool:
    """Pass one line, however long; False at the end of the file."""
    passed = False
    while piece := file.readline(_PIECE):
        passed = True
        if piece.endswith(b"\n"):
            break
    return passed


def _lines_left(file: BinaryIO) -> str:
    """How many lines follow, counted up to a bound; empty at the end."""
    lines, piece = 0, b""
    for _ in range(_PIECES):
        if not (following := file.read(_PIECE)):
            break
        piece = following
        lines += piece.count(b"\n")
    else:
        return f"at least {lines:,}"
    unended = not piece.endswith(b"\n")
    return f"{lines + unended:,}" if piece else ""


def _described(name: str, start: bytes, size: int) -> str:
    kind = next((words for magic, words in _MAGIC if start.startswith(magic)), "binary data")
    return f"[{name} is {kind}, {size:,} bytes; it cannot be read as text]"
