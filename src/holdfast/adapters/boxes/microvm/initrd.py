"""The first file system of a machine: drivers, a shell to load them, and our process."""

from __future__ import annotations

import gzip
import lzma
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from holdfast.core.error import Unavailable

_NEEDED = ("virtio_mmio", "virtio_blk", "virtio_console", "ext4")
_DEPENDS = re.compile(rb"\0depends=([^\0]*)\0")
_FOLDER, _FILE, _PROGRAM = 0o040755, 0o100644, 0o100755
_INIT = r"""#!/bin/busybox sh
b=/bin/busybox
for module in $($b cat /modules/order); do $b insmod /modules/$module; done
$b mkdir -p /dev /proc /sys /image /new
$b mount -t devtmpfs none /dev
$b mount -t proc none /proc
$b mount -t sysfs none /sys
for disk in /sys/block/vd*; do
  [ "$($b cat $disk/serial)" = root ] && $b mount -o ro,nosuid,nodev /dev/${disk##*/} /image
done
$b mount -t tmpfs -o mode=755,size=64m none /new
cd /new
$b mkdir -p dev proc sys run tmp
for name in usr etc bin sbin lib lib32 lib64 libx32; do
  if [ -L /image/$name ]; then
    $b cp -d /image/$name /new/$name
  elif [ -d /image/$name ]; then
    $b mkdir $name
    $b mount --bind /image/$name $name
    $b mount -o remount,bind,ro,nosuid,nodev $name
  fi
done
$b mount --move /dev dev
$b mkdir -p dev/shm dev/pts
$b mount -t devpts -o newinstance,ptmxmode=0666,mode=620 none dev/pts
$b mount --move /sys sys
$b mount -t cgroup2 none sys/fs/cgroup
$b mount -t proc -o nosuid,nodev,noexec,hidepid=2 none proc
$b cp -r /holdfast run/holdfast
$b umount /proc
exec $b switch_root /new /usr/bin/python3 -E -s -S -B -c \
  'import sys; sys.path.insert(0, "/run/holdfast"); from guest.agent import main; main()'
"""


def initrd(modules: Path, busybox: Path) -> bytes:
    """A compressed archive for a kernel whose modules are in `modules`.

    Raises `Unavailable` when one of them cannot be read.
    """
    drivers = dict(_drivers(modules))
    files: dict[str, tuple[int, bytes]] = {
        "init": (_PROGRAM, _INIT.encode()),
        "bin/busybox": (_PROGRAM, busybox.read_bytes()),
        "modules/order": (_FILE, "\n".join(drivers).encode()),
    }
    files |= {f"modules/{name}": (_FILE, content) for name, content in drivers.items()}
    for source in sorted((Path(__file__).parent / "guest").glob("*.py")):
        files[f"holdfast/guest/{source.name}"] = (_FILE, source.read_bytes())
    return gzip.compress(_archive(files), compresslevel=1, mtime=0)


def _drivers(modules: Path) -> Iterator[tuple[str, bytes]]:
    """The modules that are needed, each after those that it needs. Built-in ones have no file."""
    found = {path.name.partition(".")[0].replace("-", "_"): path for path in modules.rglob("*.ko*")}
    done: set[str] = set()

    def load(name: str) -> Iterator[tuple[str, bytes]]:
        if name in done or name not in found:
            return
        done.add(name)
        content = _content(found[name])
        depends = _DEPENDS.search(content)
        for needed in depends[1].decode().split(",") if depends else ():
            yield from load(needed.replace("-", "_"))
        yield f"{name}.ko", content

    for name in _NEEDED:
        yield from load(name)


def _content(path: Path) -> bytes:
    packed = path.read_bytes()
    match path.suffix:
        case ".ko":
            return packed
        case ".xz":
            return lzma.decompress(packed)
        case ".gz":
            return gzip.decompress(packed)
        case _:
            raise Unavailable(
                f"the kernel's modules are packed in a way that cannot be read: {path.name}",
                hint="use Debian's linux-image-cloud-amd64, as the guide on microvm boxes says",
            )


def _archive(files: Mapping[str, tuple[int, bytes]]) -> bytes:
    """The `newc` form of cpio, which the kernel unpacks."""
    folders = {str(parent) for name in files for parent in Path(name).parents if parent.name}
    entries = [(name, _FOLDER, b"") for name in sorted(folders)]
    entries += [(name, mode, content) for name, (mode, content) in files.items()]
    return b"".join(
        _entry(number, *entry) for number, entry in enumerate([*entries, ("TRAILER!!!", 0, b"")])
    )


def _entry(number: int, name: str, mode: int, content: bytes) -> bytes:
    fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
    return _padded(head) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
