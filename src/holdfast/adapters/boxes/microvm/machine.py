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

from holdfast.core.error import Broken, Unavailable
from holdfast.ports.box import BoxLimits

from .image import Image, make_disk

_KERNELS_OWN = 256 << 20
_DISK = 16 << 30
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


class Machine:
    """A running machine and our ends of its wires."""

    def __init__(
        self, process: subprocess.Popen[bytes], work: socket.socket, ways: socket.socket
    ) -> None:
        self.work, self.ways = work, ways
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
        os.close(self._watcher)


async def start(plan: Plan, folder: Path) -> Machine:
    """Start it; `folder` holds its disk until it has it. Raises `Unavailable`."""
    program = shutil.which("qemu-system-x86_64", path=f"{os.defpath}:/usr/sbin")
    wrapper = shutil.which("setpriv", path=os.defpath)
    if program is None or wrapper is None:
        missing = "QEMU" if program is None else "setpriv"
        raise Unavailable(f"microvm boxes need {missing}, and it is not installed", hint=HINT)
    disk = folder / "workspace.ext4"
    inodes = plan.limits.inodes and plan.limits.inodes + plan.entries
    await to_thread.run_sync(make_disk, disk, _size(plan), inodes)
    with ExitStack() as theirs, ExitStack() as undo:
        work, work_in = _pair(theirs, undo)
        ways, ways_in = _pair(theirs, undo)
        root = _open(theirs, plan.image.root, os.O_RDONLY)
        workspace = _open(theirs, disk, os.O_RDWR)
        disk.unlink()
        kernel = _open(theirs, plan.image.kernel, os.O_RDONLY)
        first = _open(theirs, plan.image.initrd, os.O_RDONLY)
        descriptors = (work_in, ways_in, root, workspace, kernel, first)
        # From the thread of the loop: the machine dies with the thread that has started it.
        process = subprocess.Popen(  # noqa: S603, ASYNC220 - programs of the system; some ms
            [wrapper, *_dropping(plan), program, *_words(plan, descriptors)],
            env={},
            cwd="/",
            pass_fds=descriptors,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
        )
        undo.pop_all()
        return Machine(process, work, ways)


def _cores(plan: Plan) -> int:
    """Processors of the machine; fractions are for its own scheduler. Emulated ones cost much."""
    usual = _CORES if plan.accelerator == "kvm" else 1
    wanted = ceil(plan.limits.cpus) if plan.limits.cpus > 0 else usual
    return max(1, min(wanted, os.cpu_count() or 1, _MOST_CORES))


def disk_room(limits: BoxLimits) -> int:
    """Bytes by which a workspace may grow; where nothing is said, there is still a bound."""
    return limits.disk or _DISK


def _size(plan: Plan) -> int:
    """What is there, and as much again as it may grow, with what a file system needs for itself."""
    inodes = (plan.limits.inodes + plan.entries) * _INODE if plan.limits.inodes else 0
    files = plan.content + plan.entries * _BLOCK
    return int((files + disk_room(plan.limits)) * 1.02) + inodes + _DISK_OVERHEAD


def _dropping(plan: Plan) -> Sequence[str]:
    always = ("--no-new-privs", "--pdeathsig=KILL", "--")
    if plan.user is None:
        return always
    group = _group_of_kvm() if plan.accelerator == "kvm" else 0
    groups = f"--groups={group}" if group else "--clear-groups"
    who = (f"--reuid={plan.user}", f"--regid={plan.user}", groups)
    return (*who, "--bounding-set=-all", "--inh-caps=-all", *always)


def _group_of_kvm() -> int:
    """The group that may use the device; 0 where there is none besides root's."""
    try:
        about = _DEVICE.stat()
    except OSError:
        return 0
    return about.st_gid if about.st_mode & stat.S_IRGRP and about.st_mode & stat.S_IWGRP else 0


def _words(plan: Plan, descriptors: Sequence[int]) -> list[str]:
    work, ways, root, workspace, kernel, first = descriptors
    memory = (plan.limits.memory + _KERNELS_OWN) >> 20
    processor = "host" if plan.accelerator == "kvm" else "max"
    return [
        *("-M", "microvm,x-option-roms=off,rtc=on,mem-merge=off,usb=off,graphics=off"),
        *("-accel", plan.accelerator, "-cpu", processor, "-smp", str(_cores(plan))),
        *("-m", f"{memory}M", "-nodefaults", "-no-user-config", "-nographic", "-no-reboot"),
        *("-serial", "stdio", "-monitor", "none", "-nic", "none", "-sandbox", _SANDBOX),
        *("-kernel", f"/dev/fd/{kernel}", "-initrd", f"/dev/fd/{first}"),
        *("-append", f"{_COMMAND_LINE} {_clock(plan.accelerator)}"),
        *_disk("root", root, read_only=True),
        *_disk("workspace", workspace, read_only=False),
        *("-device", "virtio-serial-device"),
        *_wire("work", work),
        *_wire("ways", ways),
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
