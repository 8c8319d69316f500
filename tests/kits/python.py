"""Kits from Python's index: exactly what a list pins, in an environment of their own, made once."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

KITS = Path(__file__).resolve().parent


def interpreter(kit: str) -> str:
    """The Python that has the kit. The first test that asks waits for it."""
    wanted = KITS / kit / "requirements.txt"
    mark = hashlib.sha256(wanted.read_bytes()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "holdfast-kits"
    cache.mkdir(parents=True, exist_ok=True)
    place = cache / f"{kit}-{mark}"
    python = place / "bin" / "python"
    with (cache / f"{kit}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / ".ready").exists():
            shutil.rmtree(place, ignore_errors=True)
            _run(sys.executable, "-m", "venv", str(place))
            _run(str(python), "-m", "pip", "install", "-q", "--no-deps", "-r", str(wanted))
            (place / ".ready").touch()
    return str(python)


def _run(*words: str) -> None:
    subprocess.run(words, stdin=subprocess.DEVNULL, timeout=600, check=True)
