"""The kernel: calls that widen what can go wrong, and what only the owner of a machine may do."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct

from .attack import Blocked, Facts, NotHere, any_of, attack, opens, reached, read, status
from .calls import MACHINE, NUMBERS, call, in_child, run_code, text

_NEWNS, _NEWUSER, _NEWNET, _NEWUTS = 0x20000, 0x10000000, 0x40000000, 0x04000000
_PRIVATE, _RECURSIVE, _REMOUNT, _BIND = 1 << 18, 1 << 14, 1 << 5, 1 << 12
_FOLDER = "/tmp"
_NO_CTRL_ALT_DELETE, _CTRL_ALT_DELETE = 0, 0x89ABCDEF
_MAGIC = (0xFEE1DEAD, 672274793)


def _own_mounts() -> None:
    """Mounts made from here on are seen by nobody else."""
    call("unshare", _NEWNS)
    call("mount", text("none"), text("/"), None, _RECURSIVE | _PRIVATE, None)


def _mounted(kind: str, target: str = _FOLDER, options: str = "") -> None:
    call("mount", text(kind), text(target), text(kind), 0, text(options) if options else None)


@attack("capabilities")
def mount_tmpfs(_facts: Facts) -> str:
    """Mount a file system."""

    def work() -> str:
        try:
            _own_mounts()
        except OSError as error:
            if error.errno != errno.EPERM or "CapEff:\t0000000000000000" in _status():
                raise
        _mounted("tmpfs")
        return "mounted a tmpfs"

    return in_child(work)


def _status() -> str:
    return read("/proc/self/status").decode()


@attack("capabilities")
def remount_rw(_facts: Facts) -> str:
    """Make a read-only part of the box writable."""
    mounts = [line.split() for line in read("/proc/self/mounts", 1 << 18).decode().splitlines()]
    closed = [each[1] for each in mounts if each[3].split(",")[0] == "ro"]
    if not closed:
        raise NotHere("nothing is read-only here")

    def one(target: str) -> str:
        call("mount", None, text(target), None, _REMOUNT | _BIND, None)
        return f"{target} is writable"

    return in_child(lambda: any_of([lambda t=target: one(t) for target in closed]))


@attack("capabilities")
def umount_hidden(_facts: Facts) -> str:
    """Take away a mount to see what it hides."""
    mounts = [line.split()[1] for line in read("/proc/self/mounts", 1 << 18).decode().splitlines()]

    def one(target: str) -> str:
        call("umount2", text(target), 2)
        return f"took away {target}"

    def work() -> str:
        if os.geteuid() == 0:
            _own_mounts()
        hidden = [each for each in mounts if each.startswith(("/proc/", "/dev/", "/sys/"))]
        return any_of([lambda t=target: one(t) for target in reversed(hidden)])

    return in_child(work)


@attack("capabilities")
def new_mount_api(facts: Facts) -> str:
    """Take a copy of a folder's mount by the newer calls, which old filters do not know."""
    handle = call("open_tree", -100, text(facts.workspace), 1)
    os.close(handle)
    return "has a copy of the workspace's mount"


@attack("capabilities")
def fsopen_mount(_facts: Facts) -> str:
    """Make a file system by fsopen and fsmount."""
    handle = call("fsopen", text("tmpfs"), 0)
    call("fsconfig", handle, 6, None, None, 0)
    call("fsmount", handle, 0, 0)
    return "made a tmpfs"


@attack("capabilities")
def move_mount_root(_facts: Facts) -> str:
    """Move a mount to another place."""

    def work() -> str:
        if os.geteuid() == 0:
            _own_mounts()
            _mounted("tmpfs")
        handle = call("open_tree", -100, text(_FOLDER), 0)
        call("move_mount", handle, text(""), -100, text("/mnt"), 4)
        return "moved a mount"

    return in_child(work)


@attack("capabilities")
def pivot_root_call(_facts: Facts) -> str:
    """Change what the root folder is."""

    def work() -> str:
        try:
            call("pivot_root", text("/nowhere"), text("/nowhere"))
        except OSError as error:
            return reached(error, errno.ENOENT)
        return "changed"

    return in_child(work)


@attack("seccomp")
def unshare_userns(_facts: Facts) -> str:
    """Become root in a user namespace of one's own, the door to most holes of the kernel."""

    def work() -> str:
        call("unshare", _NEWUSER)
        return "has all capabilities in a namespace"

    return in_child(work)


@attack("seccomp")
def unshare_userns_mount_chain(_facts: Facts) -> str:
    """The same, and then mount file systems and make networks in it."""

    def work() -> str:
        call("unshare", _NEWUSER | _NEWNS | _NEWNET)
        _mounted("tmpfs")
        return "mounted a tmpfs in a namespace"

    return in_child(work)


def _clone3(flags: int) -> int:
    """Its child ends at once."""
    words = (ctypes.c_uint64 * 11)(flags, 0, 0, 0, 17)
    child = call("clone3", ctypes.byref(words), ctypes.sizeof(words))
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return child


@attack("seccomp")
def clone3_userns(_facts: Facts) -> str:
    """The same by clone3, whose flags a filter cannot see."""
    return f"made process {_clone3(_NEWUSER)} in a namespace of its own"


@attack("seccomp")
def clone3_netns(_facts: Facts) -> str:
    """Make a network of one's own by clone3."""
    return f"made process {_clone3(_NEWUSER | _NEWNET)} in a network of its own"


@attack("seccomp")
def unshare_netns(_facts: Facts) -> str:
    """Make a network of one's own, to become its administrator."""

    def work() -> str:
        call("unshare", _NEWNET)
        return "made a network"

    return in_child(work)


@attack("capabilities")
def chroot_call(facts: Facts) -> str:
    """Change the root folder of a process, the first step of breaking out of one."""

    def work() -> str:
        call("chroot", text(facts.workspace))
        return "changed the root folder"

    return in_child(work)


@attack("capabilities")
def caps_nonzero(_facts: Facts) -> str:
    """Have any capability at all, or be able to get one."""
    found = [
        f"{name} {status(name)}" for name in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")
    ]
    some = [each for each in found if int(each.split()[1], 16)]
    if some:
        return ", ".join(some)
    raise Blocked("every set is empty")


@attack("capabilities")
def uid_is_root(_facts: Facts) -> str:
    """Be root inside."""
    if os.geteuid() == 0:
        return "runs as root"
    raise Blocked(f"runs as {os.geteuid()}")


@attack("capabilities")
def setuid_call(_facts: Facts) -> str:
    """Become another user."""

    def work() -> str:
        os.setresuid(65533, 65533, 65533)
        return "is another user now"

    return in_child(work)


@attack("capabilities")
def new_privileges(_facts: Facts) -> str:
    """Be able to gain rights by running a program that is marked for it."""
    if status("NoNewPrivs") == "0":
        return "programs that are marked may give rights"
    raise Blocked("no program gives new rights")


@attack("seccomp")
def no_filter(_facts: Facts) -> str:
    """Run with every system call of the kernel in reach."""
    if status("Seccomp") == "0":
        return "no call is filtered"
    raise Blocked("calls are filtered")


@attack("system")
def cgroup_release_agent(_facts: Facts) -> str:
    """Name a program that the host runs as root when a control group is empty; nothing is named."""

    def work() -> str:
        try:
            _own_mounts()
        except OSError as error:
            if error.errno != errno.EPERM:
                raise
        _mounted("cgroup", options="memory")
        return opens(f"{_FOLDER}/release_agent", os.O_WRONLY)

    return in_child(work)


@attack("system")
def cgroup_escape(_facts: Facts) -> str:
    """Leave the control group that bounds memory and processes."""

    def work() -> str:
        folders = ["/sys/fs/cgroup", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids"]
        folders += ["/sys/fs/cgroup/unified"]

        def one(folder: str) -> str:
            with open(f"{folder}/cgroup.procs", "w") as file:
                file.write("0")
            return f"moved to {folder}"

        return any_of([lambda f=folder: one(f) for folder in folders])

    return in_child(work)


@attack("seccomp")
def bpf_map(_facts: Facts) -> str:
    """Make a map for programs in the kernel."""
    words = struct.pack("IIII", 2, 4, 4, 1) + bytes(104)
    os.close(call("bpf", 0, ctypes.c_char_p(words), len(words)))
    return "made one"


@attack("seccomp")
def bpf_prog(_facts: Facts) -> str:
    """Load a program into the kernel."""
    code = bytes([0xB7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0])
    program, licence = ctypes.create_string_buffer(code, len(code)), text("GPL")
    start = ctypes.cast(program, ctypes.c_void_p).value or 0
    words = struct.pack("IIQQ", 1, 2, start, ctypes.cast(licence, ctypes.c_void_p).value or 0)
    words += bytes(104)
    os.close(call("bpf", 5, ctypes.c_char_p(words), len(words)))
    return "loaded one"


@attack("seccomp")
def userfaultfd(_facts: Facts) -> str:
    """Hold the kernel still in the middle of its work, which many exploits need."""
    os.close(call("userfaultfd", 1))
    return "has a descriptor for it"


def _ring() -> int:
    return call("io_uring_setup", 4, ctypes.create_string_buffer(120))


@attack("seccomp")
def io_uring(_facts: Facts) -> str:
    """Use the second way into the kernel, which filters of calls do not see."""
    os.close(_ring())
    return "has a ring"


@attack("seccomp")
def io_uring_openat(_facts: Facts) -> str:
    """Have a ring do what a filter would refuse; the registered operations are asked for."""
    ring = _ring()
    probe = ctypes.create_string_buffer(16 + 8 * 64)
    call("io_uring_register", ring, 8, probe, 64)
    return f"the ring knows {probe.raw[1]} operations"


@attack("seccomp")
def perf_event(_facts: Facts) -> str:
    """Measure the kernel and other programs."""
    words = struct.pack("IIQ", 1, 112, 0) + bytes(96)
    os.close(call("perf_event_open", ctypes.c_char_p(words), 0, -1, -1, 0))
    return "measures"


@attack("seccomp")
def module_load(_facts: Facts) -> str:
    """Load a module into the kernel; there is nothing in it."""
    try:
        call("init_module", text(""), 0, text(""))
    except OSError as error:
        return reached(error, errno.ENOEXEC, errno.EFAULT, errno.EINVAL)
    return "loaded"


@attack("seccomp")
def kexec(_facts: Facts) -> str:
    """Put another kernel in place; the number of parts is one that is always refused."""
    try:
        call("kexec_load", 0, 17, None, 0)
    except OSError as error:
        return reached(error, errno.EINVAL)
    return "loaded"


@attack("seccomp")
def syslog_dmesg(_facts: Facts) -> str:
    """Read the kernel's messages."""
    room = ctypes.create_string_buffer(4096)
    return f"{call('syslog', 3, room, 4096)} bytes of messages"


@attack("seccomp")
def kernel_messages(_facts: Facts) -> str:
    """Read the kernel's messages by their file."""
    return any_of([lambda n=n: opens(n, os.O_RDONLY) for n in ("/dev/kmsg", "/proc/kmsg")])


@attack("system")
def kernel_addresses(_facts: Facts) -> str:
    """Learn where the kernel's functions are."""
    found = read("/proc/kallsyms").decode().split()
    if found and int(found[0], 16):
        return "the addresses are shown"
    raise Blocked("every address is shown as 0")


@attack("system")
def kernel_core(_facts: Facts) -> str:
    """Open the kernel's memory as a file."""
    names = ("/proc/kcore", "/proc/vmcore", "/proc/kpageflags")
    return any_of([lambda n=n: opens(n, os.O_RDONLY) for n in names])


@attack("seccomp")
def fanotify(_facts: Facts) -> str:
    """Watch what everybody opens."""
    os.close(call("fanotify_init", 0, 0))
    return "watches"


@attack("seccomp")
def memfd_secret_(_facts: Facts) -> str:
    """Take memory that not even the kernel can look into."""
    os.close(call("memfd_secret", 0))
    return "has it"


@attack("seccomp")
def modify_ldt_(_facts: Facts) -> str:
    """Change the processor's table of segments, the source of many holes."""
    call("modify_ldt", 0, ctypes.create_string_buffer(64), 64)
    return "the call is there"


def _x86() -> None:
    if MACHINE != "x86_64":
        raise NotHere(f"{MACHINE} has one way of calling only")


@attack("seccomp")
def x32_abi(_facts: Facts) -> str:
    """Call by the x32 numbers, which a filter may have forgotten."""
    _x86()

    def work() -> str:
        NUMBERS["x32_getpid"] = 0x40000000 | 39
        return f"x32 getpid says {call('x32_getpid')}"

    return in_child(work)


@attack("seccomp")
def i386_int80(_facts: Facts) -> str:
    """Call as 32-bit programs do, where every number means something else."""
    _x86()

    def work() -> str:
        found = run_code(bytes.fromhex("53b814000000cd805bc3"))
        if found == os.getpid():
            return "32-bit calls are answered"
        raise Blocked(f"the answer was {found}")

    return in_child(work)


@attack("capabilities")
def clock_set(_facts: Facts) -> str:
    """Set the machine's clock; it is told to stay as it is."""
    words = ctypes.create_string_buffer(208)
    call("clock_adjtime", 0, words)
    held = struct.unpack_from("i", words, 40)[0]
    struct.pack_into("I", words, 0, 0x10)
    struct.pack_into("i", words, 40, held)
    call("clock_adjtime", 0, words)
    return "the clock obeys"


@attack("capabilities")
def sethostname_(_facts: Facts) -> str:
    """Change the machine's name; it is given the one that it has."""
    name = socket.gethostname()
    call("sethostname", text(name), len(name))
    return "the name was set"


@attack("capabilities")
def reboot_(_facts: Facts) -> str:
    """Ask for a reboot; what is asked is to leave Ctrl-Alt-Del as it is."""
    now = read("/proc/sys/kernel/ctrl-alt-del").strip()
    call("reboot", *_MAGIC, _CTRL_ALT_DELETE if now == b"1" else _NO_CTRL_ALT_DELETE, None)
    return "the kernel obeys"


@attack("capabilities")
def swap_quota(_facts: Facts) -> str:
    """Manage swap and quotas; the file that is named does not exist."""
    try:
        call("swapon", text("/nowhere"), 0)
    except OSError as error:
        return reached(error, errno.ENOENT)
    return "swap is on"


@attack("system")
def fingerprint_host(facts: Facts) -> str:
    """Recognise the host by its name, its machine's number or its users."""
    found = {"name": socket.gethostname()}
    for what, path in (("machine", "/etc/machine-id"), ("users", "/etc/passwd")):
        try:
            found[what] = read(path).decode(errors="replace").strip()
        except OSError:
            continue
    same = [what for what, value in found.items() if value and value == facts.host.get(what)]
    if same:
        return "the same as the host's: " + ", ".join(same)
    raise Blocked("it could be anywhere")


@attack("system")
def fingerprint_mounts(facts: Facts) -> str:
    """Learn the host's folders from the list of mounts."""
    found = read("/proc/self/mountinfo", 1 << 20).decode()
    fields = [line.split() for line in found.splitlines()]
    names = {each[3] for each in fields if each[4] not in {facts.workspace, facts.tools}}
    hidden = [name for name in names if name.startswith(os.path.dirname(facts.outside))]
    if hidden:
        return f"names {', '.join(hidden)}"
    raise Blocked("no folder of the host is named besides what is shown")


@attack("landlock")
def landlock_ioctl(facts: Facts) -> str:
    """Change a file's attributes by ioctl, which access rules of files do not cover."""
    path = f"{facts.tools}/tool"
    handle = os.open(path, os.O_RDONLY)
    fcntl.ioctl(handle, 0x40086602, struct.pack("l", 0x40))
    return "changed the attributes of a file of the host"


@attack("landlock")
def landlock_truncate(facts: Facts) -> str:
    """Cut a read-only file of the host short, which old rules do not cover."""
    os.truncate(f"{facts.tools}/short", 1)
    return "cut it short"


@attack("seccomp")
def seccomp_listener(_facts: Facts) -> str:
    """Watch and answer the calls of other processes."""

    def work() -> str:
        program = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0x7FFF0000), 8)
        start = ctypes.cast(program, ctypes.c_void_p).value or 0
        words = ctypes.create_string_buffer(struct.pack("HQ", 1, start), 16)
        call("prctl", 38, 1, 0, 0, 0)
        call("seccomp", 1, 8, words)
        return "has a listener"

    return in_child(work)
