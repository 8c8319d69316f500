"""A disk that forgets what was not synced when its power is cut, as a FUSE file system.

Reads see every write at once, as on a real machine. What counts as durable: a file's content up
to its last fsync; names (create, rename, remove) up to the last fsync of any file or folder, as
the journal of a usual file system keeps them in order. `LossyDisk.cut` takes the power away: the
file system is unmounted, so that the kernel keeps nothing of it in memory, and what survives goes
into a folder, from which `mount` begins again. A `torn` disk keeps some unsynced pages, at random:
writes arrive in part and out of order. Names survive up to a random moment after the last sync.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

_PAGE = 4096
_PATIENCE = 20.0
_STRAY = 4.0
_LONGEST = 900
_STEP = 0.005


class Node:
    """A file, folder or socket. `stable` is the content at the last fsync, None when it is all."""

    def __init__(self, mode: int, data: bytes = b"") -> None:
        self.mode = mode
        self.data = bytearray(data)
        self.stable: bytes | None = None
        self.pending: list[tuple[int, bytes | None]] = []
        self.time = time.time_ns()

    def write(self, piece: bytes, offset: int) -> None:
        self._change(offset, piece)
        _put(self.data, piece, offset)

    def truncate(self, length: int) -> None:
        self._change(length, None)
        _resize(self.data, length)

    def sync(self) -> None:
        self.stable = None
        self.pending.clear()

    def cut(self, dice: random.Random, *, torn: bool) -> int:
        """Forget what was not synced, or some of it; how many changes there were."""
        if self.stable is None:
            return 0
        lost, self.data = len(self.pending), bytearray(self.stable)
        for offset, piece in self.pending if torn else ():
            if piece is None:
                if dice.random() < 0.5:
                    _resize(self.data, offset)
                continue
            for start in range(0, len(piece), _PAGE):
                if dice.random() < 0.5:
                    _put(self.data, piece[start : start + _PAGE], offset + start)
        self.sync()
        return lost

    def _change(self, offset: int, piece: bytes | None) -> None:
        if self.stable is None:
            self.stable = bytes(self.data)
        self.pending.append((offset, piece))
        self.time = time.time_ns()


def _put(data: bytearray, piece: bytes, offset: int) -> None:
    if offset > len(data):
        _resize(data, offset)
    data[offset : offset + len(piece)] = piece


def _resize(data: bytearray, length: int) -> None:
    if length < len(data):
        del data[length:]
    else:
        data.extend(bytes(length - len(data)))


class LossyFiles:
    """The tree, and what FUSE asks of it: `files(operation, path, …)`."""

    use_ns = True

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {"/": Node(stat.S_IFDIR | 0o700)}
        self._undo: list[Callable[[], object]] = []
        self._open: dict[int, Node] = {}
        self._handles = 0
        self.mounted = False

    def init(self, _path: str) -> None:
        self.mounted = True

    def __call__(self, operation: str, *arguments: Any) -> Any:
        return getattr(self, operation)(*arguments)

    def cut(self, dice: random.Random, *, torn: bool) -> int:
        """The power is gone. Returns how many changes had not reached the disk."""
        lost = len(self._undo) + sum(n.cut(dice, torn=torn) for n in self.nodes.values())
        keep = dice.randint(0, len(self._undo))
        for undo in reversed(self._undo[keep:]):
            undo()
        self._undo.clear()
        return lost

    def load(self, folder: Path) -> None:
        for path in sorted(folder.rglob("*")):
            mode = path.stat().st_mode
            data = path.read_bytes() if stat.S_ISREG(mode) else b""
            self.nodes[f"/{path.relative_to(folder)}"] = Node(mode, data)

    def save(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        for path, node in sorted(self.nodes.items()):
            place = folder / path.lstrip("/")
            if stat.S_ISDIR(node.mode):
                place.mkdir(parents=True, exist_ok=True)
            elif stat.S_ISREG(node.mode):
                place.write_bytes(node.data)
            else:
                continue
            place.chmod(stat.S_IMODE(node.mode))

    def getattr(self, path: str, handle: int | None = None) -> dict[str, int]:
        node = self._node(path, handle)
        times = dict.fromkeys(("st_atime", "st_mtime", "st_ctime"), node.time)
        sizes = {"st_size": len(node.data), "st_blocks": -(-len(node.data) // 512)}
        owner = {"st_uid": os.getuid(), "st_gid": os.getgid(), "st_nlink": 1}
        return {"st_mode": node.mode, **sizes, **owner, **times}

    def readdir(self, path: str, _handle: int) -> list[str]:
        start = path.rstrip("/") + "/"
        inside = (name[len(start) :] for name in self.nodes if name.startswith(start))
        return [".", "..", *(name for name in inside if name and "/" not in name)]

    def create(self, path: str, mode: int) -> int:
        self._make(path, stat.S_IFREG | stat.S_IMODE(mode))
        return self.open(path, 0)

    def mknod(self, path: str, mode: int, _device: int) -> None:
        self._make(path, mode)

    def mkdir(self, path: str, mode: int) -> None:
        self._make(path, stat.S_IFDIR | stat.S_IMODE(mode))

    def open(self, path: str, _flags: int) -> int:
        self._handles += 1
        self._open[self._handles] = self._node(path)
        return self._handles

    def release(self, _path: str, handle: int) -> None:
        del self._open[handle]

    def unlink(self, path: str) -> None:
        node = self._node(path)
        del self.nodes[path]
        self._undo.append(lambda: self.nodes.__setitem__(path, node))

    def link(self, new: str, old: str) -> None:
        self.nodes[new] = self._node(old)
        self._undo.append(lambda: self.nodes.pop(new, None))

    def rmdir(self, path: str) -> None:
        if len(self.readdir(path, 0)) > 2:
            raise OSError(errno.ENOTEMPTY, path)
        self.unlink(path)

    def rename(self, old: str, new: str) -> None:
        self._node(old)
        before = dict(self.nodes)
        self._undo.append(lambda: self._restore(before))
        for path in [p for p in self.nodes if p == old or p.startswith(old + "/")]:
            self.nodes[new + path[len(old) :]] = self.nodes.pop(path)

    def chmod(self, path: str, mode: int) -> None:
        node = self._node(path)
        node.mode = stat.S_IFMT(node.mode) | stat.S_IMODE(mode)

    def chown(self, path: str, _user: int, _group: int) -> None:
        self._node(path)

    def utimens(self, path: str, _times: tuple[int, int] | None = None) -> None:
        self._node(path).time = time.time_ns()

    def read(self, path: str, size: int, offset: int, handle: int) -> bytes:
        return bytes(self._node(path, handle).data[offset : offset + size])

    def write(self, path: str, data: bytes, offset: int, handle: int) -> int:
        self._node(path, handle).write(data, offset)
        return len(data)

    def truncate(self, path: str, length: int, handle: int | None = None) -> None:
        self._node(path, handle).truncate(length)

    def fsync(self, path: str, _data_only: int, handle: int) -> None:
        self._node(path, handle).sync()
        self._undo.clear()

    def fsyncdir(self, _path: str, _data_only: int, _handle: int) -> None:
        self._undo.clear()

    def flush(self, _path: str, _handle: int) -> None:
        """Closing a file syncs nothing."""

    def statfs(self, _path: str) -> dict[str, int]:
        blocks = {"f_blocks": 1 << 20, "f_bfree": 1 << 19, "f_bavail": 1 << 19}
        return {"f_bsize": _PAGE, "f_frsize": _PAGE, "f_namemax": 255, **blocks}

    def _make(self, path: str, mode: int) -> None:
        self.nodes[path] = Node(mode)
        self._undo.append(lambda: self.nodes.pop(path, None))

    def _restore(self, names: dict[str, Node]) -> None:
        self.nodes = names

    def _node(self, path: str, handle: int | None = None) -> Node:
        node = self._open.get(handle or 0) or self.nodes.get(path)
        if node is None:
            raise OSError(errno.ENOENT, path)
        return node


class LossyDisk:
    """A mounted lossy disk in `folder`; use `path`. As a context manager it leaves no mount."""

    def __init__(self, folder: Path, *, torn: bool = False, seed: int = 0) -> None:
        self.path = folder / "disk"
        self.cuts = 0
        self._image, self._log = folder / "image", folder / "disk.log"
        self._torn, self._seed = torn, seed
        self._process: subprocess.Popen[bytes] | None = None
        for place in (self.path, self._image):
            place.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        self.mount()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._end()
        finally:
            if self._process is not None:
                self._process.kill()
                self._process.wait()

    def mount(self) -> None:
        """The power is back."""
        command = [sys.executable, "-m", "holdfast.testing.lossyfs"]
        command += [str(self.path), str(self._image)]
        command += ["--seed", str(self._seed + self.cuts), *(["--torn"] if self._torn else [])]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603
        self._await(lambda: self.path.is_mount() or self._over(), "mounted")
        if self._over():
            raise OSError(f"the lossy disk cannot be mounted: {self._log.read_text()[-2000:]}")

    def cut(self) -> None:
        """The power goes: whatever used the disk must be dead. `mount` brings it back."""
        self._end()
        self.cuts += 1

    def _end(self) -> None:
        """Unmount, even if a stray process still sees it, and let the server write the image."""
        self._await(lambda: self._unmount() or not self.path.is_mount(), "let go")
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_STRAY)
            self._process.terminate()  # only if a stray process still holds the mount
            if self._process.wait(_PATIENCE):
                raise OSError(f"the lossy disk failed: {self._log.read_text()[-2000:]}")

    def _over(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def _unmount(self) -> bool:
        words = ["umount", "-l"] if os.getuid() == 0 else ["fusermount", "-u", "-z"]
        done = subprocess.run(  # noqa: S603 - our own mount
            [*words, str(self.path)], capture_output=True, check=False, timeout=_PATIENCE
        )
        return done.returncode == 0

    def _await(self, true: Callable[[], bool], what: str) -> None:
        until = time.monotonic() + _PATIENCE
        while not true():
            if time.monotonic() > until:
                raise TimeoutError(f"the lossy disk was not {what} in {_PATIENCE:g} s")
            time.sleep(_STEP)


def why_not() -> str:
    """Why no lossy disk can be mounted here; empty if it can."""
    if not Path("/dev/fuse").exists():
        return "there is no /dev/fuse"
    if os.getuid() != 0 and shutil.which("fusermount") is None:
        return "mounting needs root, or fusermount (Debian: apt-get install fuse)"
    try:
        _fuse()
    except (ImportError, OSError) as error:
        return f"{error} (pip install fusepy; Debian: apt-get install libfuse2)"
    return ""


def _fuse() -> Any:
    """The binding to libfuse, which only the test extra installs."""
    return importlib.import_module("fuse")


def main() -> None:
    parser = argparse.ArgumentParser(prog="lossyfs", description="A disk that forgets.")
    parser.add_argument("mountpoint", type=Path)
    parser.add_argument("image", type=Path, help="a folder: what the disk holds without power")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--torn", action="store_true", help="keep some unsynced pages")
    asked = parser.parse_args()
    signal.alarm(_LONGEST)  # whatever happens, it does not stay for ever
    files = LossyFiles()
    files.load(asked.image)
    options = {"foreground": True, "nothreads": True, "big_writes": True, "hard_remove": True}
    try:
        _fuse().FUSE(files, str(asked.mountpoint), attr_timeout=0, entry_timeout=0, **options)
    except RuntimeError:
        # An unmount that meets a request in the queue ends the read of it with ECONNABORTED, not
        # with the ENODEV that libfuse takes for the end (Linux: fuse_dev_do_read).
        if not files.mounted:
            raise
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    lost = files.cut(random.Random(asked.seed), torn=asked.torn)
    files.save(asked.image)
    sys.stdout.write(f"cut: {lost} changes had not reached the disk\n")


if __name__ == "__main__":
    main()
