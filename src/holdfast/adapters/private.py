"""Files that only their owner may read, replaced as a whole or not at all."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from holdfast.core.error import Broken, Unavailable

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_OPEN = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_FRESH = ".new-"


def read(path: Path, most: int) -> bytes | None:
    """What is in the file; None if there is none.

    Raises `Broken` when others may read it, when it is not ours, or no plain file: then what it
    says can neither be trusted nor be a secret any more. Raises `Unavailable` if it cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | _OPEN)
    except FileNotFoundError:
        return None
    except OSError as error:
        if path.is_symlink():
            raise exposed(path, "is a link") from None
        raise Unavailable(f"{path} cannot be read: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        if problem := _problem(os.fstat(descriptor), stat.S_ISREG):
            raise exposed(path, problem)
        data = file.read(most + 1)
    if len(data) > most:
        raise Broken(f"{path} is longer than {most} bytes", code="vault_damaged")
    return data


def write(path: Path, data: bytes) -> None:
    """Replace the file: whole, durable and for its owner alone when this returns.

    Whoever writes the same file at the same time must hold `locked`: there is one fresh copy, so
    that what a killed writer left is overwritten by the next. Raises `OSError`.
    """
    fresh = path.with_name(f"{_FRESH}{path.name}")
    with suppress(FileNotFoundError):
        fresh.unlink()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(fresh, flags, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    sync(path.parent)


def opener(path: str, flags: int) -> int:
    """For `open`: what is made is for its owner alone from its first moment on."""
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def remove(path: Path) -> bool:
    """Durably gone; False if there was none. Raises `OSError`."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    sync(path.parent)
    return True


def clear(folder: Path) -> None:
    """Remove the fresh copies that killed writers left. Raises `OSError`."""
    for left in folder.glob(f"{_FRESH}*"):
        left.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """A folder for its owner alone. Raises `Broken` when it is there and is not."""
    if not os.path.lexists(folder):
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700, parents=True)
            sync(folder.parent)
    check_folder(folder)


def check_folder(folder: Path) -> None:
    """Raises `Broken` unless it is a folder of ours that nobody else may open."""
    if problem := _problem(folder.lstat(), stat.S_ISDIR):
        raise exposed(folder, problem)


@contextmanager
def locked(path: Path) -> Generator[None]:
    """Wait for, then hold, the lock named by a file: among all processes and threads."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def exposed(path: Path, problem: str) -> Broken:
    hint = f"make it yours alone (chmod go-rwx {path}), and change the secrets that others saw"
    return Broken(f"{path} {problem}: it is not used", code="vault_exposed", hint=hint)


def _problem(found: os.stat_result, is_kind: object) -> str:
    if not (callable(is_kind) and is_kind(found.st_mode)):
        return "is a link" if stat.S_ISLNK(found.st_mode) else "is not what it should be"
    if found.st_uid != os.geteuid():
        return "belongs to somebody else"
    if found.st_mode & _OTHERS:
        return f"can be opened by others (mode {stat.S_IMODE(found.st_mode):04o})"
    return ""
