"""Something small that is kept: one value in one private file, replaced as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Generic, TypeVar

import msgspec
from msgspec import Struct

from holdfast.core.error import Broken, Unavailable
from holdfast.core.foreign import NotJson, decoded

from . import private

_LARGEST = 64 << 20

T = TypeVar("T", bound=Struct)


class Kept(Generic[T]):
    """A file below the home that holds one value; `empty` is what it is without a file.

    One daemon has a home, so whoever writes need only take turns within it.
    """

    def __init__(self, path: Path, empty: T) -> None:
        self._path, self._empty = path, empty

    def read(self) -> T:
        """Raises `Broken` for a file that cannot be believed, `Unavailable`."""
        data = private.read(self._path, _LARGEST)
        if data is None:
            return self._empty
        try:
            return decoded(data, type(self._empty))
        except NotJson as error:
            what = f"{self._path} is damaged: {error}"
            hint = "move it away; what it held has to be made again"
            raise Broken(what, code="file_damaged", hint=hint) from None

    def write(self, value: T) -> None:
        """On the disk, whole, when this returns. Raises `Unavailable`."""
        try:
            private.write(self._path, msgspec.json.format(msgspec.json.encode(value)) + b"\n")
        except OSError as error:
            what = f"{self._path} cannot be written: {error.strerror}"
            raise Unavailable(what, code="not_kept", hint="holdfast doctor") from error
