"""One QEMU process: no network device, no shared folder, two wires, and it dies with us.

It runs under a user of its own when we are root, may call little of the kernel (its own seccomp
filter), and is given its files as open descriptors: it can open nothing of the host by name.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import socket
import stat
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from math import ceil
from pathlib import Path

import anyio
from anyio import to_thread
from msgspec import Struct
from msgspec.structs import astuple

from holdfast.core.error import Broken, Unavailable
from holdfast.ports.box import BoxLimits

from .image import QEMU, Image, make_disk

_KERNELS_OWN = 256 << 20
_DISK = 16 << 30
_DEVICE_SIZE = 1 << 40
_SNAPSHOT_OVERHEAD = 256 << 20
_PATH = f"{os.defpath}:/usr/sbin"
_DISK_OVERHEAD = 2 << 20
_INODE, _BLOCK = 256, 4096
_DEATH = 10.0
_MOST_CORES = 8
_CORES = 2
_LAST_WORDS = 4096
_COMMAND_LINE = "console=ttyS0 quiet panic=-1 reboot=t random.trust_cpu=on"
_PROCESSES = Path("/proc")
_DEVICE = Path("/dev/kvm")
_USER_TICKS = 11
_PROCESSORS = Path("/proc/cpuinfo")
_SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
HINT = "apt-get install qemu-system-x86 busybox-static e2fsprogs"


class Plan(Struct, frozen=True, kw_only=True):
    """A machine to be started. `content`: bytes that the workspace holds already."""

    image: Image
    limits: BoxLimits
    accelerator: str
    user: int | None
    content: int = 0
    entries: int = 0

    @property
    def memory(self) -> int:
        """Of the whole machine, in MiB."""
        return (self.limits.memory + _KERNELS_OWN) >> 20

    @property
    def cores(self) -> int:
        """Processors; fractions are for its own scheduler. Emulated ones cost much."""
        usual = _CORES if self.accelerator == "kvm" else 1
        wanted = ceil(self.limits.cpus) if self.limits.cpus > 0 else usual
        return max(1, min(wanted, os.cpu_count() or 1, _MOST_CORES))

    @property
    def snapshot(self) -> Path:
        """Where the memory of such a machine is kept, once there was one."""
        name = f"memory-{self.accelerator}-{self.memory}-{self.cores}"
        return self.image.initrd.with_name(name)


class _Lent(Struct, frozen=True, kw_only=True):
    """The open descriptors that are all it has of the host; -1: none."""

    work: int
    ways: int
    control: int
    root: int
    workspace: int
    kernel: int
    initrd: int
    memory: int


class Machine:
    """A running machine and our ends of its wires."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        work: socket.socket,
        ways: socket.socket,
        control: socket.socket,
    ) -> None:
        self.work, self.ways, self.control = work, ways, control
        self._process = process
        self._watcher = os.pidfd_open(process.pid)
        self._closed = False

    @property
    def process(self) -> int:
        return self._process.pid

    def usage(self) -> tuple[int, float]:
        """Bytes of memory and seconds of CPU, as the host counts them; -1 when it is gone."""
        try:
            pages = (_PROCESSES / str(self.process) / "statm").read_text().split()[1]
            fields = (
                (_PROCESSES / str(self.process) / "stat").read_text().rpartition(")")[2].split()
            )
        except OSError:
            return -1, -1.0
        ticks = int(fields[_USER_TICKS]) + int(fields[_USER_TICKS + 1])
        return int(pages) * resource.getpagesize(), ticks / os.sysconf("SC_CLK_TCK")

    async def dead(self) -> None:
        """Wait until it is gone."""
        await anyio.wait_readable(self._watcher)

    def last_words(self) -> str:
        """The end of what it wrote before it could be talked with, in one line."""
        said = self._process.stdout
        if said is None or said.closed:
            return ""
        os.set_blocking(said.fileno(), False)
        text = (said.read(1 << 16) or b"")[-_LAST_WORDS:].decode(errors="replace")
        return " / ".join(line.strip() for line in text.splitlines()[-3:] if line.strip())

    def hush(self) -> None:
        """It is talked with on the wires from now on; what it writes besides is lost."""
        if self._process.stdout:
            self._process.stdout.close()

    async def end(self) -> None:
        """Kill it; it is gone when this returns. May be called twice."""
        if self._closed:
            return
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._watcher, signal.SIGKILL)
        with anyio.move_on_after(_DEATH) as scope:
            await self.dead()
        if scope.cancelled_caught:
            raise Broken(f"the machine {self.process} cannot be killed")
        self._process.wait()
        self._closed = True
        self.hush()
        for wire in (self.work, self.ways):
            with suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)
        self.work.close()
        self.control.close()
        os.close(self._watcher)


async def start(plan: Plan, folder: Path, *, resume: bool) -> Machine:
    """Start it, from its snapshot or from nothing. Raises `Unavailable`.

    `folder` holds its disk until it has it.
    """
    for program in (QEMU, "setpriv", "prlimit"):
        if shutil.which(program, path=_PATH) is None:
            raise Unavailable(f"microvm boxes need {program}, and it is not installed", hint=HINT)
    disk = folder / "workspace.ext4"
    inodes = plan.limits.inodes and plan.limits.inodes + plan.entries
    size = _size(plan)
    await to_thread.run_sync(make_disk, disk, size, inodes)
    await to_thread.run_sync(os.truncate, disk, _DEVICE_SIZE)
    with ExitStack() as theirs, ExitStack() as undo:
        work, work_in = _pair(theirs, undo)
        ways, ways_in = _pair(theirs, undo)
        control, control_in = _pair(theirs, undo)
        lent = _Lent(
            work=work_in,
            ways=ways_in,
            control=control_in,
            root=_open(theirs, plan.image.root, os.O_RDONLY),
            workspace=_open(theirs, disk, os.O_RDWR),
            kernel=_open(theirs, plan.image.kernel, os.O_RDONLY),
            initrd=_open(theirs, plan.image.initrd, os.O_RDONLY),
            memory=_open(theirs, plan.snapshot, os.O_RDONLY) if resume else -1,
        )
        disk.unlink()
        # From the thread of the loop: the machine dies with the thread that has started it.
        process = subprocess.Popen(  # noqa: S603, ASYNC220 - programs of the system; some ms
            [*_dropping(plan, size), *_words(plan, lent)],
            env={"PATH": _PATH},
            cwd="/",
            pass_fds=[each for each in astuple(lent) if each >= 0],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
        )
        undo.pop_all()
        return Machine(process, work, ways, control)


def disk_room(limits: BoxLimits) -> int:
    """Bytes by which a workspace may grow; where nothing is said, there is still a bound."""
    return limits.disk or _DISK


def _size(plan: Plan) -> int:
    """What is there, and as much again as it may grow, with what a file system needs for itself."""
    inodes = (plan.limits.inodes + plan.entries) * _INODE if plan.limits.inodes else 0
    files = plan.content + plan.entries * _BLOCK
    return int((files + disk_room(plan.limits)) * 1.02) + inodes + _DISK_OVERHEAD


def _dropping(plan: Plan, size: int) -> Sequence[str]:
    """Without rights, and dead when we are. Its disk claims to be larger than the file system on
    it: what it writes anywhere is bounded. The first of its like must also save its memory."""
    most = size if plan.snapshot.exists() else max(size, (plan.memory << 20) + _SNAPSHOT_OVERHEAD)
    bounded = ("prlimit", f"--fsize={most}", "setpriv")
    always = ("--no-new-privs", "--pdeathsig=KILL", "--", QEMU)
    if plan.user is None:
        return (*bounded, *always)
    group = _group_of_kvm() if plan.accelerator == "kvm" else 0
    groups = f"--groups={group}" if group else "--clear-groups"
    who = (f"--reuid={plan.user}", f"--regid={plan.user}", groups)
    return (*bounded, *who, "--bounding-set=-all", "--inh-caps=-all", *always)


def _group_of_kvm() -> int:
    """The group that may use the device; 0 where there is none besides root's."""
    try:
        about = _DEVICE.stat()
    except OSError:
        return 0
    return about.st_gid if about.st_mode & stat.S_IRGRP and about.st_mode & stat.S_IWGRP else 0


def _words(plan: Plan, lent: _Lent) -> list[str]:
    processor = "host" if plan.accelerator == "kvm" else "max"
    return [
        *("-M", "microvm,x-option-roms=off,rtc=on,mem-merge=off,usb=off,graphics=off"),
        *("-accel", plan.accelerator, "-cpu", processor, "-smp", str(plan.cores)),
        *("-m", f"{plan.memory}M", "-nodefaults", "-no-user-config", "-nographic", "-no-reboot"),
        *("-serial", "stdio", "-nic", "none", "-sandbox", _SANDBOX),
        *("-kernel", f"/dev/fd/{lent.kernel}", "-initrd", f"/dev/fd/{lent.initrd}"),
        *("-append", f"{_COMMAND_LINE} {_clock(plan.accelerator)}"),
        *_disk("root", lent.root, read_only=True),
        *_disk("workspace", lent.workspace, read_only=False),
        *("-device", "virtio-serial-device"),
        *_wire("work", lent.work),
        *_wire("ways", lent.ways),
        *("-chardev", f"socket,id=control,fd={lent.control}"),
        *("-mon", "chardev=control,mode=control"),
        *(("-incoming", f"fd:{lent.memory}") if lent.memory >= 0 else ()),
    ]


def _clock(accelerator: str) -> str:
    """An emulated timer is too irregular to measure a processor with: such a kernel is told."""
    if accelerator == "kvm":
        return ""
    speeds = re.findall(r"^cpu MHz\s*: ([0-9.]+)$", _PROCESSORS.read_text(), re.MULTILINE)
    return f"no_timer_check tsc_early_khz={int(float(speeds[0]) * 1000)}" if speeds else ""


def _disk(name: str, descriptor: int, *, read_only: bool) -> list[str]:
    about = f"driver=file,filename=/dev/fdset/{descriptor},locking=off,cache.no-flush=on"
    mode = f"read-only={'on' if read_only else 'off'}"
    return [
        *("-add-fd", f"fd={descriptor},set={descriptor}"),
        *("-blockdev", f"{about},{mode},discard=unmap,node-name={name}"),
        *("-device", f"virtio-blk-device,drive={name},serial={name}"),
    ]


def _wire(name: str, descriptor: int) -> list[str]:
    return [
        *("-chardev", f"socket,id={name},fd={descriptor}"),
        *("-device", f"virtserialport,chardev={name},name={name}"),
    ]


def _pair(theirs: ExitStack, undo: ExitStack) -> tuple[socket.socket, int]:
    ours, other = socket.socketpair()
    undo.callback(ours.close)
    theirs.callback(other.close)
    ours.setblocking(False)
    return ours, other.fileno()


def _open(owner: ExitStack, path: Path, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    owner.callback(os.close, descriptor)
    return descriptor
