"""Where they are looked for, in which writings. It shares nothing with what takes secrets out."""

from __future__ import annotations

import base64
import html
import io
import json
import os
import zipfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, quote_plus

import re2  # pyright: ignore[reportMissingTypeStubs]
from msgspec import Struct

from .planting import Canary

_re2 = cast("Any", re2)
_SHORTEST = 6
_WINDOW = 48
_PROC = Path("/proc")
_CHUNK = 4 << 20
_MEMORY = 256 << 20


class Looked(Struct, kw_only=True):
    """What was looked through in a place, and how often which canary was there."""

    items: int = 0
    bytes: int = 0
    found: dict[str, int] = {}


class Sweep:
    """Looks for canaries in any bytes, and keeps count by place."""

    def __init__(self, canaries: Iterable[Canary]) -> None:
        self._called: dict[bytes, str] = {}
        for canary in canaries:
            for spelling in spellings(canary.value):
                self._called.setdefault(spelling, canary.name)
        options = _re2.Options()
        options.encoding = _re2.Options.Encoding.LATIN1
        options.max_mem, options.longest_match = _MEMORY, True
        self._pattern = _re2.compile(b"|".join(map(_re2.escape, sorted(self._called))), options)
        self._longest = max(map(len, self._called))
        self.places: dict[str, Looked] = {}
        self.unread: list[str] = []

    def look(self, place: str, data: bytes, besides: Collection[str] = ()) -> None:
        """`besides`: what may be there."""
        looked = self.places.setdefault(place, Looked())
        looked.items += 1
        looked.bytes += len(data)
        found = Counter(self._called[each.group()] for each in self._pattern.finditer(data))
        for name, count in found.items():
            if name not in besides:
                looked.found[name] = looked.found.get(name, 0) + count

    def file(self, place: str, path: Path, besides: Collection[str] = ()) -> None:
        """Also its name, and what is packed into it."""
        self.look(place, os.fsencode(path))
        data = path.read_bytes()
        self.look(place, data, besides)
        if zipfile.is_zipfile(path):
            self.archive(place, data)

    def archive(self, place: str, data: bytes) -> None:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                self.look(place, archive.read(name))

    def processes(self, below: int) -> None:
        """Environment, command line and memory of each process below that one."""
        for pid in descendants(below):
            try:
                self.look("environments", (_PROC / pid / "environ").read_bytes())
                self.look("command lines", (_PROC / pid / "cmdline").read_bytes())
                self._memory(pid)
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended
            except PermissionError as error:
                self.unread.append(f"{pid}: {error.strerror}")

    def _memory(self, pid: str) -> None:
        regions = list(_regions((_PROC / pid / "maps").read_text(errors="replace")))
        with (_PROC / pid / "mem").open("rb", buffering=0) as memory:
            for start, end in regions:
                for at in range(start, end, _CHUNK):
                    with suppress(OSError):  # promised to a device, or gone meanwhile
                        memory.seek(at)
                        size = min(_CHUNK + self._longest, end - at)
                        self.look("memory", memory.read(size))


def descendants(below: int) -> list[str]:
    """The processes that a process has started, and those that these have, and so on."""
    parents: dict[str, str] = {}
    for path in _PROC.glob("[0-9]*"):
        with suppress(OSError):
            parents[path.name] = (path / "stat").read_text().rpartition(")")[2].split()[1]
    found = [str(below)]
    for one in found:
        found += [pid for pid, parent in parents.items() if parent == one]
    return found[1:]


def spellings(value: str) -> set[bytes]:
    """How a value may be written. Of long ones and of texts in lines pieces tell as much."""
    return {
        spelling
        for piece in _pieces(value)
        for spelling in (*_texts(piece), *_codes(piece.encode()))
        if len(spelling) >= _SHORTEST
    }


def _pieces(value: str) -> Iterator[str]:
    for line in (value, *value.split("\n")):
        if line.startswith("-----"):
            continue
        if len(line) <= _WINDOW:
            yield line
        else:
            middle = (len(line) - _WINDOW) // 2
            yield from (line[:_WINDOW], line[middle : middle + _WINDOW], line[-_WINDOW:])


def _texts(piece: str) -> Iterator[bytes]:
    json_texts = {json.dumps(piece, ensure_ascii=only)[1:-1] for only in (True, False)}
    percent = {quote(piece, safe=""), quote(piece), quote_plus(piece)}
    for text in {piece, html.escape(piece), *json_texts, *percent, *map(str.lower, percent)}:
        yield text.encode()
    yield piece.encode("utf-16-le")  # as programs keep texts in their memory
    yield piece.encode("utf-32-le")


def _codes(data: bytes) -> Iterator[bytes]:
    yield data.hex().encode()
    yield data.hex().upper().encode()
    for before in range(3):
        whole = base64.b64encode(bytes(before) + data)
        certain = whole[(0, 2, 3)[before] : (before + len(data)) * 8 // 6]
        yield certain
        yield certain.translate(bytes.maketrans(b"+/", b"-_"))


def _regions(maps: str) -> Iterator[tuple[int, int]]:
    """What a process may have written into; what is only mapped from files is in these files."""
    for line in maps.splitlines():
        place, rights, _, _, _, *name = line.split(maxsplit=5)
        if not rights.startswith("r") or (name and name[0].startswith(("[vvar", "[vsys"))):
            continue
        if "w" not in rights and name and name[0].startswith("/"):
            continue
        start, _, end = place.partition("-")
        yield int(start, 16), int(end, 16)
