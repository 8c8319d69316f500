"""What the command line's tests stand on: a home with a fake daemon, a shell, a terminal."""

import os
import pty
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.doors.fake_daemon import FakeDaemon

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 20.0
STARTING = (
    "import sys; from holdfast.doors.cli import main; "
    "sys.exit(main(sys.argv[2:], serve=[sys.executable, '-I', {fake!r}, sys.argv[1]]))"
)


def environment(home: Path, **more: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
    base = {"PYTHONPATH": str(ROOT / "src"), "HOLDFAST_HOME": str(home), "HOME": str(home)}
    return {**kept, **base, "PYTHONUTF8": "1", "TERM": "xterm", "NO_COLOR": "1", **more}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "holdfast.doors.cli", *arguments]


def starting(home: Path, *arguments: str) -> list[str]:
    """The command line, starting fake daemons where it would start real ones."""
    fake = str(Path(__file__).with_name("fake_daemon.py"))
    return [sys.executable, "-c", STARTING.format(fake=fake), str(home), *arguments]


@dataclass(frozen=True)
class Told:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Stage:
    """A home, its daemon, and a folder to work in."""

    home: Path
    daemon: FakeDaemon
    folder: Path

    def run(
        self, *arguments: str, stdin: bytes | None = None, env: dict[str, str] | None = None
    ) -> Told:
        """A command whose stdin is a pipe with these bytes, or /dev/null."""
        done = subprocess.run(
            command(*arguments),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            env=env or environment(self.home),
            cwd=self.folder,
            timeout=PATIENCE,
            check=False,
        )
        return Told(done.returncode, done.stdout.decode(), done.stderr.decode())

    def begin(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(self.home),
            cwd=self.folder,
        )


@contextmanager
def staged(folder: Path) -> Generator[Stage]:
    """Short paths: a socket's name may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="hf-") as name:
        home = Path(name)
        with FakeDaemon(home) as daemon:
            yield Stage(home, daemon, folder)


class Terminal:
    """A person at a terminal: reads what stands there, types answers."""

    def __init__(self, stage: Stage, *arguments: str, out: bool = True) -> None:
        self._own, theirs = pty.openpty()
        self._process = subprocess.Popen(
            command(*arguments),
            stdin=theirs,
            stderr=theirs,
            stdout=theirs if out else subprocess.PIPE,
            env=environment(stage.home),
            cwd=stage.folder,
            start_new_session=True,
        )
        os.close(theirs)
        self.seen = ""

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
        os.close(self._own)

    def until(self, text: str) -> str:
        """Read until a text stands there. Fails when it does not come."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.seen:
            assert time.monotonic() < deadline, f"{text!r} never came: {self.seen!r}"
            if not self._more(deadline):
                break
        assert text in self.seen, f"{text!r} is not in {self.seen!r}"
        before, _, self.seen = self.seen.partition(text)
        return before

    def type(self, text: str) -> None:
        os.write(self._own, text.encode())

    def interrupt(self) -> None:
        """What Ctrl-C sends."""
        self._process.send_signal(signal.SIGINT)

    def end(self) -> tuple[int, str]:
        """The exit code, and all of stdout when it is a pipe."""
        deadline = time.monotonic() + PATIENCE
        while self._more(deadline):
            pass
        out = self._process.stdout.read().decode() if self._process.stdout else ""
        return self._process.wait(PATIENCE), out

    def _more(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._own], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            piece = os.read(self._own, 1 << 16)
        except OSError:  # the other end is gone
            return False
        self.seen += piece.decode("utf-8", "replace")
        return bool(piece)
