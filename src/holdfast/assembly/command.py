"""What the command line starts: the daemon, and what must not run inside it."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import anyio

from holdfast.adapters.stores import beside
from holdfast.adapters.stores import upkeep as store_upkeep
from holdfast.config import home_folder, load
from holdfast.core.error import HoldfastError

from .audit import note_restored, verify_command
from .checkup import doctor_command
from .daemon import serve_command
from .home import BACKED_UP, DATABASE, NOT_BACKED_UP, only_one, prepare

_log = logging.getLogger("holdfast")


def restore_command(home: Path, source: Path, *, as_json: bool) -> int:
    """Put a backup in the place of the journal; the replaced one is kept beside it. Of the other
    files in it those are put back that are missing."""
    prepare(home)
    source, files = source.absolute(), beside.Beside(home, BACKED_UP)
    with only_one(home):
        kept = store_upkeep.restore(source, home / DATABASE, files)
        back = beside.unpack(source, files)
        anyio.run(note_restored, home, source)
    if as_json:
        told = json.dumps(
            {
                "restored": str(source),
                "replaced": str(kept) if kept else None,
                "files": back.files,
                "stayed": back.stayed,
                "not_in_it": NOT_BACKED_UP,
            }
        )
    else:
        told = "\n".join(_told_restored(source, kept, back))
    sys.stdout.write(f"{told}\n")
    return 0


def _told_restored(source: Path, kept: Path | None, back: beside.PutBack) -> list[str]:
    told = [f"restored {source}" + (f"; what was there is kept as {kept}" if kept else "")]
    told.append(f"{back.files} other files were put back")
    told += [f"{name} is another one than the backup's, and stays" for name in back.stayed]
    return [*told, f"in no backup: {', '.join(NOT_BACKED_UP)}"]


def main(arguments: Sequence[str] | None = None) -> int:
    """What the command line starts: the daemon, and what must not run inside it."""
    parser = argparse.ArgumentParser(prog="holdfast.assembly")
    parser.add_argument("--home", type=Path)
    commands = parser.add_subparsers(dest="command", required=True)
    serving = commands.add_parser("serve")
    serving.add_argument("--foreground", action="store_true")
    commands.add_parser("doctor").add_argument("--fix", action="store_true")
    restoring = commands.add_parser("restore")
    restoring.add_argument("source", type=Path)
    restoring.add_argument("--json", action="store_true")
    proving = commands.add_parser("audit-verify")
    proving.add_argument("file", type=Path)
    proving.add_argument("--key", default="")
    proving.add_argument("--checkpoint", type=Path)
    proving.add_argument("--mirror", action="store_true")
    given = parser.parse_args(arguments)
    return telling(lambda: _run(given))


def telling(work: Callable[[], int]) -> int:
    """Do it; an error is told in words, and its family is the exit code."""
    failures: list[HoldfastError] = []
    status = 0
    try:
        status = work()
    except* HoldfastError as group:
        failures += _flat(group)
    return _told(failures[0]) if failures else status


def surroundings(home: Path | None) -> dict[str, str]:
    """The environment with `--home` laid over it."""
    environment = dict(os.environ)  # noqa: TID251 - given to the configuration, which reads it
    return {**environment, "HOLDFAST_HOME": str(home)} if home else environment


def _run(given: argparse.Namespace) -> int:
    environment = surroundings(given.home)
    if given.command == "audit-verify":
        kept, key = given.checkpoint, given.key
        return verify_command(given.file, key, kept, mirror=given.mirror)
    if given.command == "restore":
        return restore_command(home_folder(environment), given.source, as_json=given.json)
    config = load(environment=environment)
    if given.command == "doctor":
        return doctor_command(config, environment, fix=given.fix)
    return serve_command(config, environment, foreground=given.foreground)


def _flat(group: BaseExceptionGroup[HoldfastError]) -> list[HoldfastError]:
    found: list[HoldfastError] = []
    for error in group.exceptions:
        found += _flat(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


def _told(error: HoldfastError) -> int:
    """Say what is wrong once on stderr and once, with its code, in the log."""
    _log.error("%s", error, extra={"code": error.code})
    sys.stderr.write(f"error: {error}\n")
    if error.hint:
        sys.stderr.write(f"hint: {error.hint}\n")
    return error.exit_code
