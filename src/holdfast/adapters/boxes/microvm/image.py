"""What machines start from: a kernel, its first file system and a root disk, made once per host."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from holdfast.adapters import private
from holdfast.core.error import Unavailable

from .initrd import initrd
from .packages import chosen, files

_RECIPE = "1"
_PROCESSORS = Path("/proc/cpuinfo")
QEMU = "qemu-system-x86_64"
_ETC = ("alternatives", "ssl/certs", "mime.types")
_NOBODY = "nobody:x:65534:65534:someone outside the box:/nonexistent:/usr/sbin/nologin\n"
_MADE_UP = {
    "passwd": f"root:x:0:0:root:/:/bin/sh\nagent:x:1000:1000:agent:/run/home:/bin/sh\n{_NOBODY}",
    "group": "root:x:0:\nagent:x:1000:\nnogroup:x:65534:\n",
    "hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
}
_LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_BLOCK = 4096
_NAME = 16
_HOUR, _MONTH = 3600, 30 * 24 * 3600
_SPARE = 16 << 20
_MAKE_SECONDS = 300
_HINT = "see the guide on microvm boxes: scripts/guest_kernel fetches one"


class Image(Struct, frozen=True, kw_only=True):
    """Three files, read-only for everybody."""

    kernel: Path
    initrd: Path
    root: Path


def prepare(cache: Path, kernel: Path | None, root: Path | None) -> Image:
    """The image for this kernel, made if it is not there yet: some seconds, once.

    `kernel` is a file `vmlinuz-RELEASE`; None: the newest below the cache. Raises `Unavailable`.
    """
    kernel = kernel or _newest(cache)
    modules = _modules(kernel)
    busybox = _program("busybox", "busybox-static")
    maker = _program("mkfs.ext4", "e2fsprogs")
    packages = () if root else chosen()
    sources = sorted((Path(__file__).parent).rglob("*.py"))
    # A machine's saved memory lies beside its image: it fits no other disk, QEMU or processor.
    recipe = [_RECIPE, _processor(), *map(_identity, (kernel, busybox, shutil.which(QEMU), root))]
    recipe += [f"{package.name}={package.version}" for package in packages]
    recipe += [hashlib.sha256(source.read_bytes()).hexdigest() for source in sources]
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = cache / hashlib.sha256("\n".join(recipe).encode()).hexdigest()[:_NAME]
    made = Image(
        kernel=folder / "vmlinuz", initrd=folder / "initrd", root=root or folder / "root.ext4"
    )
    with private.locked(cache / "lock"):
        _sweep(cache)
        if (folder / "vmlinuz").exists():
            os.utime(folder)
        else:
            with tempfile.TemporaryDirectory(dir=cache, prefix=".new-") as scratch:
                fresh = Path(scratch) / "image"
                fresh.mkdir()
                (fresh / "initrd").write_bytes(initrd(modules, busybox))
                if root is None:
                    _make_root(fresh / "root.ext4", maker, files(packages))
                shutil.copyfile(kernel, fresh / "vmlinuz")
                for file in fresh.iterdir():
                    file.chmod(0o644)
                shutil.rmtree(folder, ignore_errors=True)
                fresh.replace(folder)
    return made


def _identity(path: Path | str | None) -> str:
    if path is None or not Path(path).exists():
        return "none"
    about = Path(path).stat()
    return f"{path} {about.st_size} {about.st_mtime_ns}"


def _processor() -> str:
    """What the host's processor is and can do."""
    lines = _PROCESSORS.read_text().splitlines()
    return "\n".join(sorted({line for line in lines if line.startswith(("model", "flags"))}))


def _sweep(cache: Path) -> None:
    """Remove what killed processes left half made, and images that nobody has used for long."""
    for pattern, age in ((".new-*", _HOUR), (".disk-*", _HOUR), ("?" * _NAME, _MONTH)):
        for folder in cache.glob(pattern):
            if folder.stat().st_mtime < time.time() - age:
                shutil.rmtree(folder, ignore_errors=True)


def make_disk(path: Path, size: int, inodes: int) -> None:
    """An empty disk: it takes no room until something is written to it."""
    with path.open("wb") as file:
        file.truncate(size)
    count = ("-N", str(inodes)) if inodes else ()
    words = ("-q", "-F", "-O", "^has_journal", "-m", "0", *count, str(path))
    _run([str(_program("mkfs.ext4", "e2fsprogs")), *words])


def _newest(cache: Path) -> Path:
    found = sorted(
        (cache / "kernel" / "boot").glob("vmlinuz-*"), key=lambda path: path.stat().st_mtime
    )
    if not found:
        raise Unavailable(f"there is no kernel for microvm boxes in {cache / 'kernel'}", hint=_HINT)
    return found[-1]


def _modules(kernel: Path) -> Path:
    release = kernel.name.removeprefix("vmlinuz-")
    top = kernel.parent.parent
    for folder in (top / "lib" / "modules" / release, top / "usr" / "lib" / "modules" / release):
        if kernel.is_file() and folder.is_dir():
            return folder
    raise Unavailable(f"{kernel} is no kernel whose modules are beside it", hint=_HINT)


def _program(name: str, package: str) -> Path:
    found = shutil.which(name, path=f"{os.defpath}:/usr/sbin:/sbin")
    if found is None:
        raise Unavailable(f"microvm boxes need {name}", hint=f"apt-get install {package}")
    return Path(found)


def _make_root(disk: Path, maker: Path, paths: Iterable[str]) -> None:
    with tempfile.TemporaryDirectory(dir=disk.parent) as scratch:
        top = Path(scratch)
        top.chmod(0o755)
        (top / "usr").mkdir()
        for path in dict.fromkeys(paths):
            _copy(Path(path), top)
        for name in _LINKS:
            if Path("/", name).is_symlink():
                (top / name).symlink_to(Path("/", name).readlink())
        for name in _ETC:
            if Path("/etc", name).is_dir():
                shutil.copytree(Path("/etc", name), top / "etc" / name, symlinks=True)
            elif Path("/etc", name).is_file():
                shutil.copy(Path("/etc", name), top / "etc" / name)
        for name, text in _MADE_UP.items():
            (top / "etc" / name).write_text(text)
        blocks = [each.lstat().st_size // _BLOCK + 2 for each in top.rglob("*")]
        size = int(sum(blocks) * _BLOCK * 1.1) + _SPARE
        with disk.open("wb") as file:
            file.truncate(size)
        inodes = str(len(blocks) + 1000)
        words = ("-q", "-F", "-O", "^has_journal", "-m", "0", "-N", inodes)
        _run([str(maker), *words, "-E", "root_owner=0:0", "-d", str(top), str(disk)])


def _copy(path: Path, top: Path) -> None:
    """Copy what is there below `top`; what only root may read stays away."""
    target = top / path.relative_to("/")
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISLNK(mode):
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.is_symlink():
            target.symlink_to(path.readlink())
    elif stat.S_ISDIR(mode):
        target.mkdir(parents=True, exist_ok=True)
    elif stat.S_ISREG(mode) and mode & stat.S_IROTH:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        target.chmod(mode & 0o755)


def _run(words: list[str]) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - programs of the system, found by name
            words, check=False, capture_output=True, timeout=_MAKE_SECONDS, env={}
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{words[0]} did not do its work: {error}") from error
    if done.returncode:
        text = done.stderr.decode(errors="replace").strip()
        raise Unavailable(f"{words[0]} failed: {text}")
