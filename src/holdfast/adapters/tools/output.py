"""Results that fit into a model's view; what is cut off is kept whole in a file."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from anyio import to_thread
from msgspec.structs import replace

from holdfast.core.message import Failed, Outcome, Returned
from holdfast.core.task import Wait
from holdfast.ports.tools import Job, Tool

from .around import Around

MAX_LINES = 2_000
MAX_BYTES = 51_200
_NOTE = 1_024
_SMALL = 2 * MAX_BYTES
"""Characters that are soon looked at; more would keep others waiting."""
_MILLISECOND = 1_000_000


def sweep(folder: Path, older_than_ms: int) -> int:
    """Delete outputs that were last produced longer ago; returns how many."""
    if not folder.is_dir():
        return 0
    before = time.time_ns() - older_than_ms * _MILLISECOND
    old = [each for each in folder.iterdir() if _made(each) < before]
    for path in old:
        path.unlink(missing_ok=True)
    return len(old)


def _made(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


class Spool:
    """A folder of whole outputs, each named by the SHA-256 of its bytes.

    What is cut is redacted first: what is left of a secret at a cut edge is known by nobody.
    """

    def __init__(self, folder: Path, redact: Callable[[str], str]) -> None:
        self.folder, self._redact = folder, redact

    async def fit(self, text: str) -> tuple[str, str]:
        """`text` within the bounds, and the file that holds all of it if something was cut."""
        if len(text) <= _SMALL and fits(text):
            return text, ""
        return await to_thread.run_sync(self._fit, text)

    def _fit(self, text: str) -> tuple[str, str]:
        if fits(text):
            return text, ""
        data = self._redact(text).encode(errors="replace")
        size = f"{len(data):,} bytes, {text.count(chr(10)) + 1:,} lines"
        try:
            path = self._keep(data)
        except OSError as error:
            lost = f"the whole output ({size}) could not be kept: {error.strerror}"
            return shortened(data, lost), ""
        return shortened(data, f"output cut: {size}; all of it is in {path}"), str(path)

    def _keep(self, data: bytes) -> Path:
        return kept_file(self.folder, f"{hashlib.sha256(data).hexdigest()}.txt", data)


def kept_file(folder: Path, name: str, data: bytes) -> Path:
    """A private file of that name, there whole or not at all. Raises `OSError`."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path, temporary = folder / name, folder / f".new-{secrets.token_hex(8)}"
    try:
        temporary.touch(mode=0o600)
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return path


class Fitted(Around):
    """Any tool, its results made to fit."""

    def __init__(self, tool: Tool, spool: Spool) -> None:
        super().__init__(tool)
        self._spool = spool

    async def run(self, arguments: Mapping[str, Any], job: Job) -> Outcome | Wait:
        outcome = await self._tool.run(arguments, job)
        if not isinstance(outcome, Returned | Failed) or outcome.artifact:
            return outcome
        text, artifact = await self._spool.fit(outcome.text)
        return replace(outcome, text=text, artifact=artifact)


def fits(text: str) -> bool:
    return text.count("\n") < MAX_LINES and len(text.encode(errors="replace")) <= MAX_BYTES


def shortened(data: bytes, note: str) -> str:
    """The beginning and the end of `data` with a note between them, within the bounds."""
    lines, room = (MAX_LINES - 4) // 2, (MAX_BYTES - _NOTE) // 2
    head = _whole_lines(data[:room].split(b"\n"), cut=len(data) > room)[:lines]
    tail = _whole_lines(data[-room:].split(b"\n")[::-1], cut=True)[:lines][::-1]
    parts = (b"\n".join(head), f"[{note}]".encode()[: _NOTE - 2], b"\n".join(tail))
    return "\n".join(part.decode(errors="ignore").strip("\n") for part in parts)


def _whole_lines(lines: list[bytes], *, cut: bool) -> list[bytes]:
    """Without the piece of a line at the cut end, if any whole line remains."""
    return lines[:-1] if cut and len(lines) > 1 else lines
