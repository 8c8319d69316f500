"""What a backup holds besides the journal: files of the home that a restored one needs.

They lie in a table of the backup's own, which no journal has. What is put back is only what is
missing: a backup takes nothing away that has come since, and makes nothing valid again that was
taken back in the home that it is restored into.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from holdfast.adapters import private
from holdfast.core.error import Broken

from .connection import Connection, connect_untouched

_log = logging.getLogger("holdfast.stores")
_TABLE = "CREATE TABLE beside (path TEXT NOT NULL PRIMARY KEY, data BLOB NOT NULL) STRICT"
_THERE = "SELECT count(*) FROM sqlite_schema WHERE name = 'beside'"
_LARGEST = 900_000_000
"""SQLite keeps nothing larger in one place."""


class Beside(NamedTuple):
    """Files and folders of a home, by name."""

    home: Path
    names: Sequence[str] = ()


class PutBack(NamedTuple):
    """How many files were put back, and which were there already with other words in them."""

    files: int = 0
    stayed: tuple[str, ...] = ()


def pack(backup: Connection, beside: Beside) -> int:
    """Put the files into a backup; how many. What vanishes meanwhile was needed by nobody."""
    count = 0
    with backup.transaction():
        backup.run(_TABLE)
        for path in _files(beside):
            try:
                if path.stat().st_size > _LARGEST:
                    _log.error("not in the backup: %s is too large", path)
                    continue
                data = path.read_bytes()
            except FileNotFoundError:
                continue
            name = path.relative_to(beside.home).as_posix()
            backup.run("INSERT INTO beside VALUES (?, ?)", (name, data))
            count += 1
    return count


def drop(copy: Connection) -> None:
    """Make a journal of a backup's copy."""
    if copy.value(_THERE):
        copy.run("DROP TABLE beside")
        copy.run("VACUUM")


def check(source: Path, beside: Beside) -> Sequence[str]:
    """The files in a backup. Raises `Broken` for one that no backup of ours has in it."""
    backup = connect_untouched(source)
    try:
        there = backup.value(_THERE)
        rows = backup.rows("SELECT path FROM beside ORDER BY path") if there else []
    finally:
        backup.close()
    names = [str(row[0]) for row in rows]
    for name in names:
        _check(name, beside, source)
    return names


def unpack(source: Path, beside: Beside) -> PutBack:
    """Write what is missing in the home. Raises as `check`."""
    names = check(source, beside)
    backup = connect_untouched(source)
    try:
        count, stayed = 0, list[str]()
        for name in names:
            data = bytes(backup.value("SELECT data FROM beside WHERE path = ?", (name,)))
            found = private.read(beside.home / name, _LARGEST)
            if found is None:
                _write(beside.home, name, data)
                count += 1
            elif found != data:
                stayed.append(name)
    finally:
        backup.close()
    return PutBack(count, tuple(stayed))


def _files(beside: Beside) -> Iterator[Path]:
    """What is there; folders and files may go meanwhile."""
    for name in dict.fromkeys(beside.names):
        top = beside.home / name
        inside = (Path(at, one) for at, _, files in os.walk(top) for one in sorted(files))
        for path in inside if top.is_dir() else [top]:
            unfinished = path.name.startswith(".")
            if path.is_file() and not path.is_symlink() and not unfinished:
                yield path


def _check(name: str, beside: Beside, source: Path) -> None:
    parts = PurePosixPath(name).parts
    plain = parts and not name.startswith("/") and not {"..", "."} & set(parts) and "\0" not in name
    if not plain or parts[0] not in beside.names:
        what = f"{source} holds {name[:100]!r}, which no backup of Holdfast does"
        raise Broken(what, code="store_damaged", hint="restore another backup")


def _write(home: Path, name: str, data: bytes) -> None:
    """On the disk, whole, and there only then. No folder on the way may be a link."""
    folder = home
    for part in PurePosixPath(name).parts[:-1]:
        folder /= part
        private.make_folder(folder)
    private.write(home / name, data)
