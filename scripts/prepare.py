"""Make a virtual environment hold exactly what a lock lists, and this checkout's source uncopied.

Called by `scripts/prepare` with a bare interpreter, so it uses the standard library only. The
environment counts as ready when `.ready` in it repeats the first line of the lock. That file is
written last: whatever was interrupted before is thrown away and made anew.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import sysconfig
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMAND = """#!/bin/sh
exec "${0%/*}/python" -I -m holdfast.doors.cli "$@"
"""


def main(arguments: list[str]) -> int:
    place, lock = Path(arguments[0]), Path(arguments[1])
    with lock.open(encoding="utf-8") as held:
        wait_for_turn(held.fileno())
        wanted = held.readline().strip()
        if is_ready(place, wanted):
            return 0
        started = time.monotonic()
        say(f"preparing {place.name} from {lock.name}: once, about a minute")
        try:
            fill(place, lock)
        except subprocess.CalledProcessError as error:
            sys.stderr.write(words_of(error.output))
            say(f"{place.name} could not be prepared; the reason is above")
            say("hint: make the package index reachable, then run this again")
            return 1
        except OSError as error:
            say(f"{place.name} could not be prepared: {error}")
            return 1
        (place / ".ready").write_text(wanted + "\n", encoding="utf-8")
        say(f"{place.name} is ready after {time.monotonic() - started:.0f} s")
    return 0


def wait_for_turn(descriptor: int) -> None:
    """Of two first runs at once one prepares. The system frees the lock whatever becomes of it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("another run is preparing the environment; waiting for it")
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def is_ready(place: Path, wanted: str) -> bool:
    try:
        ready = (place / ".ready").read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return False
    return ready == wanted and os.access(place / "bin" / "python", os.X_OK)


def fill(place: Path, lock: Path) -> None:
    if place.exists():
        shutil.rmtree(place)
    venv.create(place, symlinks=True, with_pip=True)
    (place / ".gitignore").write_text("*\n", encoding="utf-8")
    # The lock is complete, so nothing is resolved: pip only fetches, compares hashes and unpacks.
    pip(place, "install", "--no-deps", "--require-hashes", "--requirement", str(lock))
    site = Path(sysconfig.get_path("purelib", "venv", vars={"base": str(place)}))
    # Relative, so that a checkout that is moved keeps working.
    (site / "holdfast.pth").write_text(os.path.relpath(ROOT / "src", site) + "\n", encoding="utf-8")
    command = place / "bin" / "holdfast"
    command.write_text(COMMAND, encoding="utf-8")
    command.chmod(0o755)


def pip(place: Path, *arguments: str) -> None:
    python = str(place / "bin" / "python")
    quiet = ["--quiet", "--no-input", "--disable-pip-version-check", "--no-warn-script-location"]
    subprocess.run(
        [python, "-I", "-m", "pip", *arguments, *quiet],
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0"},  # noqa: TID251
    )


def words_of(output: str | bytes | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""


def say(words: str) -> None:
    sys.stderr.write(f"holdfast: {words}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        say("interrupted; the next run prepares it anew")
        sys.exit(130)
