"""The outbox: each result becomes one JSON file in a folder."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from pathlib import Path

from anyio import to_thread

from holdfast.adapters import private
from holdfast.core.error import Unavailable
from holdfast.core.view import Summary, encode

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_LONGEST = 120


class Outbox:
    """A `Channel`: `<folder>/<delivery id>.json` holds the summary. A second delivery changes
    nothing, so that a file which somebody has read stays what it was."""

    def __init__(self, folder: Path, *, name: str = "outbox") -> None:
        self._folder = folder
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    async def deliver(self, delivery: str, result: Summary) -> None:
        await to_thread.run_sync(self._deliver, delivery, encode(result) + b"\n")

    def _deliver(self, delivery: str, content: bytes) -> None:
        path = self._folder / f"{safe(delivery)}.json"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not path.exists():
                self._write(path, content)
        except OSError as error:
            raise Unavailable(f"the result cannot be put into {self._folder}: {error}") from error

    def _write(self, path: Path, content: bytes) -> None:
        temporary = self._folder / f".new-{secrets.token_hex(8)}"
        try:
            with open(temporary, "xb", opener=private.opener) as out:
                out.write(content)
                out.flush()
                os.fsync(out.fileno())
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def safe(delivery: str) -> str:
    """A file name for any id; ids that differ keep names that differ."""
    plain = _UNSAFE.sub("_", delivery)
    if plain == delivery and delivery and len(plain) <= _LONGEST and not plain.startswith("."):
        return plain
    mark = hashlib.sha256(delivery.encode(errors="surrogatepass")).hexdigest()[:16]
    return f"{plain.lstrip('.')[:_LONGEST]}-{mark}"
