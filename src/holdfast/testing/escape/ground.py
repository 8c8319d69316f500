"""The ground outside the box: decoys that are worth an attack, made for the test and taken away.

Nothing real is named to an attack. What could be changed on the host is opened and never written,
or told to stay as it is. The decoys belong to the very user whose processes are in the box, so that
nothing but the box's own walls protects them.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import stat
import subprocess
import tempfile
import zipfile
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from anyio import to_thread

from holdfast.core.error import Unavailable

from .decoys import Hearer, Services, open_services
from .inside.attack import Facts
from .inside.calls import forget
from .inside.files import handle_of

_PLACE = "/var/tmp"
_LIVES = 20.0
_SHOWS, _MOMENT = 4.0, 0.05
_ENVIRONMENT = "HOLDFAST_DECOY_TOKEN"
_SAME = (
    "/",
    "/etc",
    "/etc/cron.d",
    "/etc/shadow",
    "/root",
    "/usr",
    "/var/spool/cron",
    "/var/spool/cron/crontabs",
    "/var/spool/at",
)
_UPPER_KEY = 0x7FFFFFFF
_MAPPED = 4096


@dataclass(slots=True, kw_only=True)
class Ground:
    """Where everything is, and what has been seen to happen."""

    base: Path
    canary: str
    archive: bytes
    services: Services
    victim: Victim
    uid: int
    places: Mapping[str, tuple[str, int]]
    own_network: bool
    key: int
    neighbour_key: int
    neighbour: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def workspace(self) -> Path:
        return self.base / "workspace"

    @property
    def home(self) -> Path:
        return self.base / "home"

    @property
    def tools(self) -> Path:
        return self.base / "tools"

    @property
    def outside(self) -> Path:
        return self.base / "outside"

    def facts(self, limits: Mapping[str, float]) -> Facts:
        """What the attacks in the box are told."""
        names = (
            *_SAME,
            *(os.path.realpath(each) for each in (python(), shutil.which("python3") or "/")),
        )
        return Facts(
            canary=self.canary,
            workspace=str(self.workspace),
            home=str(self.home),
            outside=str(self.outside),
            tools=str(self.tools),
            victim=self.victim.process.pid,
            same={name: identity(Path(name)) for name in names if Path(name).exists()},
            places=dict(self.places),
            own_network=self.own_network,
            abstract=f"{self.canary}-service",
            docker=str(self.home / "docker.sock"),
            handler=_handle(self.home / ".ssh" / "id_ed25519"),
            shm=self.key,
            queue=f"{self.canary}-queue",
            shared_file=f"/dev/shm/{self.canary}-file",
            key=f"{self.canary}-key",
            neighbour=self.neighbour,
            host=_host(),
            limits=dict(limits),
        )


@dataclass(slots=True)
class Victim:
    """The decoy process, and whether it was reached."""

    process: subprocess.Popen[bytes]
    hearer: Hearer

    def signalled(self) -> bool:
        """Whether a signal arrived since the last time this was asked, or it is dead."""
        words = self.hearer.take()
        return b"signalled" in words or self.process.poll() is not None


@asynccontextmanager
async def open_ground(*, own_network: bool = False) -> AsyncGenerator[Ground]:
    """Everything that does not depend on the box; `settle` makes it fit one."""
    canary = f"decoy{secrets.token_hex(12)}"
    async with AsyncExitStack() as stack:
        base = Path(tempfile.mkdtemp(prefix="holdfast-escape-", dir=_PLACE))
        stack.push_async_callback(to_thread.run_sync, _forget, base)
        base.chmod(0o755)
        await to_thread.run_sync(_furnish, base, canary)
        os.environ[_ENVIRONMENT] = canary  # noqa: TID251 - a decoy for whoever inherits it
        stack.callback(os.environ.pop, _ENVIRONMENT, None)  # noqa: TID251 - as above
        services = await stack.enter_async_context(
            open_services(canary, base / "home", own_network=own_network)
        )
        archive = (base / "attacks.pyz").read_bytes()
        key = secrets.randbelow(_UPPER_KEY - 1) + 1
        victim = stack.enter_context(_victim(base, canary, key, os.getuid()))
        yield Ground(
            base=base,
            canary=canary,
            archive=archive,
            services=services,
            victim=victim,
            uid=os.getuid(),
            places=services.places,
            own_network=own_network,
            key=key,
            neighbour_key=secrets.randbelow(_UPPER_KEY - 1) + 1,
        )


@contextmanager
def owned(ground: Ground, uid: int) -> Generator[None]:
    """Give the decoys to the user whose processes are in the box."""
    ground.uid = uid
    if uid == os.getuid():
        yield
        return
    for folder in (ground.home, ground.tools, ground.outside):
        for path in (folder, *folder.rglob("*")):
            os.chown(path, uid, uid, follow_symlinks=False)
    before = ground.victim
    ground.key = secrets.randbelow(_UPPER_KEY - 1) + 1
    _end(before.process)
    with _victim(ground.base, ground.canary, ground.key, uid) as ground.victim:
        yield


def python() -> str:
    """An interpreter that every user may run."""
    return shutil.which("python3", path="/usr/bin:/bin") or "/usr/bin/python3"


def identity(path: Path) -> tuple[int, int]:
    about = path.stat()
    return about.st_dev, about.st_ino


def running(mark: str) -> tuple[int, int] | None:
    """The number and the user of a process of the host that has `mark` on its command line."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark.encode() in (process / "cmdline").read_bytes():
                return int(process.name), process.stat().st_uid
    return None


def used(folder: Path) -> tuple[int, int]:
    """The bytes on disk and the number of files below a folder."""
    size = count = 0
    for top, folders, files in os.walk(folder):
        for name in (*folders, *files):
            with suppress(OSError):
                about = os.lstat(Path(top) / name)
                size, count = size + about.st_blocks * 512, count + 1
    return size, count


def marked(path: Path) -> str:
    """What a file gives to whoever runs it on the host."""
    about = path.lstat()
    if about.st_uid == 0 and about.st_mode & stat.S_ISUID:
        return f"{path.name} on the host is {stat.filemode(about.st_mode)} of root"
    return ""


def _furnish(base: Path, canary: str) -> None:
    for name in ("workspace", "neighbour", "home/.ssh", "home/project", "outside", "tools"):
        (base / name).mkdir(parents=True)
    for name in ("home/.ssh/id_ed25519", "home/project/.env", "neighbour/secret"):
        _write(base / name, f"SECRET={canary}\n".encode(), 0o600)
    _write(base / "workspace" / "mine", canary.encode(), 0o644)
    _write(base / "home" / ".bashrc", b"# nothing\n", 0o644)
    _write(base / "tools" / "mapped", b"\0" * _MAPPED, 0o644)
    _write(base / "tools" / "short", b"as it was", 0o644)
    sleep = shutil.which("sleep", path="/bin:/usr/bin") or "/bin/sleep"
    _write(base / "tools" / "tool", Path(sleep).read_bytes(), 0o755)
    with zipfile.ZipFile(base / "attacks.pyz", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((Path(__file__).parent / "inside").glob("*.py")):
            archive.write(path, f"inside/{path.name}")
        archive.writestr("__main__.py", "from inside.__main__ import main\nmain()\n")


def _write(path: Path, content: bytes, mode: int) -> None:
    path.write_bytes(content)
    path.chmod(mode)


@contextmanager
def _victim(base: Path, canary: str, key: int, uid: int) -> Generator[Victim]:
    """A process of the user that holds a secret wherever a process can."""
    words = [canary, f"{canary}-key", f"/dev/shm/{canary}-file", str(base / "home"), str(key)]
    other = uid if uid != os.getuid() else None
    process = subprocess.Popen(
        [python(), "-I", "-S", str(base / "attacks.pyz"), "victim", *words],
        env={"DECOY_SECRET": canary},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd="/",
        user=other,
        group=other,
        extra_groups=None if other is None else [],
    )
    try:
        assert process.stdout is not None
        hearer = Hearer(process.stdout.fileno())
        if b"ready" not in process.stdout.readline():
            raise Unavailable("the decoy process does not start")
        os.set_blocking(hearer.descriptor, False)
        yield Victim(process, hearer)
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(BrokenPipeError, ValueError):
        process.communicate(timeout=_LIVES)
    if process.poll() is None:
        process.kill()
        process.wait()


def _handle(path: Path) -> str:
    """By what number the file could be opened from anywhere in its file system."""
    try:
        return bytes(handle_of(str(path))).hex()
    except OSError:
        return ""


def _host() -> dict[str, str]:
    found = {"name": socket.gethostname()}
    for what, path in (("machine", "/etc/machine-id"), ("users", "/etc/passwd")):
        with suppress(OSError):
            found[what] = Path(path).read_text(errors="replace").strip()
    return found


def _forget(base: Path) -> None:
    shutil.rmtree(base, ignore_errors=True)


async def seen(mark: str) -> tuple[int, int] | None:
    """Where the process with a mark runs; None if it does not show itself in time."""
    until = anyio.current_time() + _SHOWS
    while not (found := await to_thread.run_sync(running, mark)):
        if anyio.current_time() > until:
            break
        await anyio.sleep(_MOMENT)
    return found


def forget_shared(key: int, *paths: str) -> None:
    """Take away what a neighbour without walls left on the host."""
    forget(key)
    for path in paths:
        for each in (Path(path), Path(f"{path}.sock")):
            each.unlink(missing_ok=True)
