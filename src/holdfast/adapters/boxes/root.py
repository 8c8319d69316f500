"""What the inside of a box looks like, as bubblewrap options.

A minimal root built from nothing: the system's programs read-only, a synthetic `/etc`, a small
`/dev`, memory-backed `/tmp` and home, and the workspace at its own path. Nothing else of the
user's is there to be found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from holdfast.core.error import Invalid
from holdfast.ports.box import BoxSpec

HOME = "/run/home"
USER = 1000
_SCRATCH = ("/dev/shm", "/tmp", HOME)  # noqa: S108 - the box's own, made for it
_FEW, _PER_INODE = 1_000, 16 << 10
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SYSTEM = ("/bin", "/lib", "/lib32", "/lib64", "/libx32", "/sbin")
FROM_ETC = (
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/ssl/certs",
)
FOR_BROWSERS = ("/etc/fonts", "/etc/chromium.d")
_RESERVED = ("/", "/usr", "/etc", "/run", HOME, *SYSTEM)
_KERNEL = ("/proc", "/dev", "/sys")
_NOBODY = "nobody:x:65534:65534:someone outside the box:/nonexistent:/usr/sbin/nologin\n"


def etc(user: int) -> Mapping[str, str]:
    """The files of `/etc` that are made up, so that the host's users and names stay unknown."""
    return {
        "/etc/passwd": f"agent:x:{user}:{user}:agent:{HOME}:/bin/sh\n{_NOBODY}",
        "/etc/group": f"agent:x:{user}:\nnogroup:x:65534:\n",
        "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
        "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    }


ETC = etc(USER)


class Lent(Struct, frozen=True, kw_only=True):
    """A place of the host that is mounted into the box from outside.

    `owned`: read-write, and what its owner has belongs to the agent's user inside.
    """

    place: str
    owned: bool


class Inside(Struct, frozen=True, kw_only=True):
    """A checked specification: every path is real and safe to show.

    `scratch` are places in memory and their mount options; `writes` is where anything may be
    changed at all. `user` is who a command is, as the box counts; `covered` are places that it
    finds empty, whatever is there.
    """

    options: tuple[str, ...]
    workspace: Path
    lent: tuple[Lent, ...]
    scratch: tuple[tuple[str, str], ...]
    hidden: tuple[str, ...]
    writes: tuple[str, ...]
    environment: Mapping[str, str]
    user: int = USER
    covered: tuple[str, ...] = ()


def inside(spec: BoxSpec, *, lend: bool) -> Inside:
    """What `spec` comes to. Raises `Invalid` when it asks for something that cannot be shown.

    With `lend`, the workspace and all that is read-only are not bound by bubblewrap, which runs
    as the agent's user and may not reach them, but mounted into the finished box.
    """
    workspace = real_workspace(spec.workspace, _RESERVED, _KERNEL)
    shown = [_shown(path, workspace) for path in spec.read_only]
    place = str(workspace)
    options = [
        *_walls(),
        *_system(spec),
        *(word for path in shown for word in _show(path, lend=lend)),
        *(("--dir", place) if lend else ("--bind", place, place)),
        *_alias(spec.workspace, workspace),
        *("--remount-ro", "/dev", "--remount-ro", "/"),
    ]
    if any("\0" in option for option in options):
        raise Invalid("a path of the box contains a NUL character")
    lent = [Lent(place=place, owned=True), *(Lent(place=path, owned=False) for path in shown)]
    inodes = max(_FEW, spec.limits.scratch // _PER_INODE)
    bound = f"size={spec.limits.scratch},nr_inodes={inodes}"
    return Inside(
        options=tuple(options),
        workspace=workspace,
        lent=tuple(lent) if lend else (),
        scratch=tuple((name, bound) for name in _SCRATCH),
        hidden=tuple(_hidden(spec.hidden, workspace)),
        writes=(place, *_SCRATCH),
        environment=environment(spec.environment),
    )


def real_workspace(given: Path, taken: Sequence[str], below: Sequence[str]) -> Path:
    """Raises `Invalid` for one that cannot be: `taken` places, or anything `below` others."""
    if not given.is_absolute() or not given.is_dir():
        raise Invalid(f"the workspace {given} is not an existing folder with an absolute path")
    real = given.resolve()
    if str(real) in taken or any(real.is_relative_to(path) for path in below):
        raise Invalid(
            f"the workspace cannot be {real}: the system lives there",
            hint="choose a folder of your own",
        )
    return real


def directory(spec: BoxSpec, workspace: Path, cwd: str) -> str:
    """Where a command begins. Raises `Invalid` outside the workspace."""
    if "\0" in cwd:
        raise Invalid("a folder's name contains a NUL character")
    wanted = (spec.workspace / cwd).resolve()
    if not wanted.is_relative_to(workspace):
        raise Invalid(f"the folder {cwd} is outside the workspace {workspace}")
    if not wanted.is_dir():
        raise Invalid(f"there is no folder {cwd} in the workspace")
    return str(wanted)


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """What a command finds besides `extra`. Raises `Invalid` for what cannot be a variable."""
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
    for name, value in variables.items():
        if not name or "=" in name or "\0" in f"{name}{value}":
            raise Invalid(f"{name!r} cannot be a variable, or its value contains a NUL character")
    return variables


def _walls() -> tuple[str, ...]:
    return (
        "--unshare-all",
        "--unshare-user",
        *("--uid", str(USER), "--gid", str(USER), "--hostname", "box"),
        *("--disable-userns", "--assert-userns-disabled", "--cap-drop", "ALL"),
        *("--die-with-parent", "--clearenv"),
    )


def _system(spec: BoxSpec) -> list[str]:
    options = ["--ro-bind", "/usr", "/usr"]
    for name in SYSTEM:
        path = Path(name)
        if path.is_symlink():
            options += ["--symlink", str(path.readlink()), name]
        elif path.is_dir():
            options += ["--ro-bind", name, name]
    options += ["--proc", "/proc", "--dev", "/dev"]
    for name in _SCRATCH:
        mode = "0700" if name == HOME else "1777"
        options += ["--perms", mode, "--size", str(spec.limits.scratch), "--tmpfs", name]
    for name in (*FROM_ETC, *(FOR_BROWSERS if spec.browser else ())):
        options += ["--ro-bind-try", name, name]
    return options


def _show(path: str, *, lend: bool) -> tuple[str, ...]:
    if not lend:
        return ("--ro-bind", path, path)
    return ("--dir", path) if Path(path).is_dir() else ("--ro-bind", "/dev/null", path)


def _shown(path: Path, workspace: Path) -> str:
    """A command could swap a folder inside its workspace for a link, and the next box would show
    what the link names. So what is inside cannot be made read-only."""
    if not path.is_absolute() or not path.exists():
        raise Invalid(f"the read-only path {path} does not exist or is not absolute")
    if path.resolve().is_relative_to(workspace) or path.is_relative_to(workspace):
        raise Invalid(f"the read-only path {path} is inside the workspace {workspace}")
    return str(path)


def _hidden(hidden: Sequence[Path], workspace: Path) -> Iterator[str]:
    """Real folders of the workspace. A link is no folder: what it names is not shown."""
    for path in hidden:
        real = path.resolve()
        if real != workspace and real.is_relative_to(workspace) and real.is_dir():
            yield str(real)


def _alias(given: Path, real: Path) -> tuple[str, ...]:
    """A workspace reached through a link is found by that name too."""
    if given == real or ".." in given.parts:
        return ()
    return ("--symlink", str(real), str(given))
