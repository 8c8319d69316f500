"""What the inside of a box looks like, as bubblewrap options.

A minimal root built from nothing: the system's programs read-only, a synthetic `/etc`, a small
`/dev`, memory-backed `/tmp` and home, and the workspace at its own path. Nothing else of the
user's is there to be found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from holdfast.core.error import Invalid
from holdfast.ports.box import BoxSpec

HOME = "/run/home"
USER = 1000
_SCRATCH = 512 << 20
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SYSTEM = ("/bin", "/lib", "/lib32", "/lib64", "/libx32", "/sbin")
_FROM_ETC = (
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/ssl/certs",
)
_RESERVED = ("/", "/usr", "/etc", "/run", HOME, *_SYSTEM)
_KERNEL = ("/proc", "/dev", "/sys")
_NOBODY = "nobody:x:65534:65534:someone outside the box:/nonexistent:/usr/sbin/nologin\n"

ETC: Mapping[str, bytes] = {
    "/etc/passwd": f"agent:x:{USER}:{USER}:agent:{HOME}:/bin/sh\n{_NOBODY}".encode(),
    "/etc/group": f"agent:x:{USER}:\nnogroup:x:65534:\n".encode(),
    "/etc/hosts": b"127.0.0.1 localhost\n::1 localhost\n",
    "/etc/nsswitch.conf": b"passwd: files\ngroup: files\nhosts: files\n",
}
"""The files of `/etc` that are made up, so that the host's users and names stay unknown."""


class Inside(Struct, frozen=True, kw_only=True):
    """A checked specification: every path is real and safe to show."""

    options: tuple[str, ...]
    directory: str


def inside(spec: BoxSpec, cwd: str) -> Inside:
    """The options for `spec`. Raises `Invalid` when it asks for something that cannot be shown."""
    workspace = _workspace(spec.workspace)
    shown = [_shown(path, workspace) for path in spec.read_only]
    options = [
        *_walls(),
        *_system(),
        *(word for path in shown for word in ("--ro-bind", path, path)),
        *("--bind", str(workspace), str(workspace)),
        *_masks(spec.hidden, workspace),
        *_alias(spec.workspace, workspace),
        *("--remount-ro", "/dev", "--remount-ro", "/"),
        *_environment(spec.environment),
    ]
    if any("\0" in option for option in options):
        raise Invalid("a path or variable of the box contains a NUL character")
    return Inside(options=tuple(options), directory=_directory(workspace, spec.workspace, cwd))


def _walls() -> tuple[str, ...]:
    return (
        "--unshare-all",
        "--unshare-user",
        *("--uid", str(USER), "--gid", str(USER), "--hostname", "box"),
        *("--disable-userns", "--assert-userns-disabled", "--cap-drop", "ALL"),
        *("--new-session", "--die-with-parent", "--clearenv"),
    )


def _system() -> list[str]:
    options = ["--ro-bind", "/usr", "/usr"]
    for name in _SYSTEM:
        path = Path(name)
        if path.is_symlink():
            options += ["--symlink", str(path.readlink()), name]
        elif path.is_dir():
            options += ["--ro-bind", name, name]
    options += ["--proc", "/proc", "--dev", "/dev"]
    for name in ("/dev/shm", "/tmp", HOME):  # noqa: S108 - the box's own, made for it
        options += ["--size", str(_SCRATCH), "--tmpfs", name]
    for name in _FROM_ETC:
        options += ["--ro-bind-try", name, name]
    return options


def _environment(extra: Mapping[str, str]) -> list[str]:
    variables = {
        "PATH": _PATH,
        "HOME": HOME,
        "USER": "agent",
        "LOGNAME": "agent",
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "TMPDIR": "/tmp",  # noqa: S108 - the box's own
        **extra,
    }
    for name in variables:
        if not name or "=" in name:
            raise Invalid(f"{name!r} cannot be the name of an environment variable")
    return [word for name, value in variables.items() for word in ("--setenv", name, value)]


def _workspace(given: Path) -> Path:
    if not given.is_absolute() or not given.is_dir():
        raise Invalid(f"the workspace {given} is not an existing folder with an absolute path")
    real = given.resolve()
    if str(real) in _RESERVED or any(real.is_relative_to(path) for path in _KERNEL):
        raise Invalid(
            f"the workspace cannot be {real}: the system lives there",
            hint="choose a folder of your own",
        )
    return real


def _shown(path: Path, workspace: Path) -> str:
    """A command could swap a folder inside its workspace for a link, and the next box would show
    what the link names. So what is inside cannot be made read-only."""
    if not path.is_absolute() or not path.exists():
        raise Invalid(f"the read-only path {path} does not exist or is not absolute")
    if path.resolve().is_relative_to(workspace) or path.is_relative_to(workspace):
        raise Invalid(f"the read-only path {path} is inside the workspace {workspace}")
    return str(path)


def _masks(hidden: Sequence[Path], workspace: Path) -> list[str]:
    """An empty folder over each hidden one. A link is no folder: what it names is not shown."""
    options: list[str] = []
    for path in hidden:
        real = path.resolve()
        if real != workspace and real.is_relative_to(workspace) and real.is_dir():
            options += ["--size", "4096", "--tmpfs", str(real), "--remount-ro", str(real)]
    return options


def _alias(given: Path, real: Path) -> tuple[str, ...]:
    """A workspace reached through a link is found by that name too."""
    if given == real or ".." in given.parts:
        return ()
    return ("--symlink", str(real), str(given))


def _directory(workspace: Path, given: Path, cwd: str) -> str:
    wanted = (given / cwd).resolve()
    if not wanted.is_relative_to(workspace):
        raise Invalid(f"the folder {cwd} is outside the workspace {workspace}")
    if not wanted.is_dir():
        raise Invalid(f"there is no folder {cwd} in the workspace")
    return str(wanted)
