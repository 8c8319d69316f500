"""Processes: seeing, reading, steering and outliving others, and taking hold of the box's first."""

from __future__ import annotations

import ctypes
import os
import signal
import time

from .attack import Blocked, Facts, any_of, attack, opens, read, secret, status
from .calls import attach, call, in_child, prctl

_TRACE_ME, _PEEK, _ATTACH, _DETACH, _SEIZE = 0, 1, 16, 17, 0x4206
_DUMPABLE, _SET_DUMPABLE, _SET_CHILD_SUBREAPER = 3, 4, 36
_IOPRIO_RT = 1 << 13
_SCHED_FIFO = 1
_LINGER = 20


def _others() -> list[str]:
    own = {str(os.getpid()), str(os.getppid())}
    return [name for name in os.listdir("/proc") if name.isdigit() and name not in own]


def _scan(facts: Facts, what: str) -> str:
    for process in _others():
        try:
            return secret(facts, read(f"/proc/{process}/{what}"), f"/proc/{process}/{what}")
        except (OSError, Blocked):
            continue
    raise Blocked(f"no {what} of any process holds it")


@attack("pids")
def proc_environ_scan(facts: Facts) -> str:
    """Find a secret in the environment of any process in sight."""
    return _scan(facts, "environ")


@attack("pids")
def proc_cmdline_scan(facts: Facts) -> str:
    """Find a secret, or a path of the host, on the command line of any process in sight."""
    return _scan(facts, "cmdline")


@attack("environment")
def proc_1_environ(facts: Facts) -> str:
    """Find the launcher's secrets in the environment of the box's first process."""
    return secret(facts, read("/proc/1/environ"), "/proc/1/environ")


@attack("pids")
def see_host_procs(facts: Facts) -> str:
    """See a process of the host."""
    found = read(f"/proc/{facts.victim}/cmdline")
    return secret(facts, found, f"process {facts.victim} of the host")


def _victim(facts: Facts) -> int:
    """The number of the decoy, if a process here has it at all."""
    os.kill(facts.victim, 0)
    return facts.victim


@attack("pids", proof=True, alone=True)
def kill_host_pid(facts: Facts) -> str:
    """End a process of the host."""
    os.kill(_victim(facts), signal.SIGTERM)
    return "sent a signal"


@attack("pids", proof=True, alone=True)
def pidfd_signal_host(facts: Facts) -> str:
    """End a process of the host by a descriptor of it."""
    handle = call("pidfd_open", facts.victim, 0)
    call("pidfd_send_signal", handle, int(signal.SIGTERM), None, 0)
    return "sent a signal"


@attack("pids")
def ptrace_host_pid(facts: Facts) -> str:
    """Take over a process of the host as a debugger does."""
    call("ptrace", _SEIZE, _victim(facts), None, None)
    return "it is ours"


@attack("seccomp")
def ptrace_own_child(_facts: Facts) -> str:
    """Debug a child: a door to many holes of the kernel that few programs need."""

    def work() -> str:
        call("ptrace", _TRACE_ME, 0, None, None)
        return "a child may be traced"

    return in_child(work)


class _Piece(ctypes.Structure):
    _fields_ = (("start", ctypes.c_void_p), ("size", ctypes.c_size_t))


def _memory_of(process: int, start: int, size: int) -> bytes:
    room = ctypes.create_string_buffer(size)
    ours = _Piece(ctypes.cast(room, ctypes.c_void_p), size)
    theirs = _Piece(start, size)
    call(
        "process_vm_readv",
        process,
        ctypes.byref(ours),
        1,
        ctypes.byref(theirs),
        1,
        0,
    )
    return room.raw


def _stack_of(process: int) -> tuple[int, int]:
    for line in read(f"/proc/{process}/maps", 1 << 20).decode().splitlines():
        if line.endswith("[stack]"):
            start, end = line.split()[0].split("-")
            return int(start, 16), int(end, 16)
    raise Blocked("its memory map is not shown")


@attack("pids")
def vm_readv_host(facts: Facts) -> str:
    """Read the memory of a process of the host by the call for it."""
    start, end = _stack_of(_victim(facts))
    return secret(facts, _memory_of(facts.victim, start, end - start), "its memory")


@attack("pids")
def proc_mem_host(facts: Facts) -> str:
    """Read the memory of a process of the host as a file."""
    start, end = _stack_of(_victim(facts))
    memory = os.open(f"/proc/{facts.victim}/mem", os.O_RDONLY)
    return secret(facts, os.pread(memory, end - start, start), "its memory")


@attack("pids")
def pidfd_getfd_host(facts: Facts) -> str:
    """Take an open file out of a process of the host."""
    handle = call("pidfd_open", _victim(facts), 0)
    for number in range(3, 12):
        try:
            taken = call("pidfd_getfd", handle, number, 0)
            return secret(facts, os.pread(taken, 4096, 0), f"its descriptor {number}")
        except Blocked:
            continue
        except OSError as error:
            if error.errno != 9:
                raise
    raise Blocked("it has none that helps")


@attack("pids")
def proc_fd_host(facts: Facts) -> str:
    """Open again, by /proc/PID/fd, what a process of the host has open."""
    names = os.listdir(f"/proc/{_victim(facts)}/fd")
    paths = [f"/proc/{facts.victim}/fd/{name}" for name in names if int(name) > 2]
    return any_of([lambda p=path: secret(facts, read(p), p) for path in paths])


@attack("pids")
def process_madvise_host(facts: Facts) -> str:
    """Have the memory of a process of the host thrown out to disk."""
    handle = call("pidfd_open", _victim(facts), 0)
    start, _ = _stack_of(facts.victim)
    piece = _Piece(start, 4096)
    call("process_madvise", handle, ctypes.byref(piece), 1, 20, 0)
    return "its memory was steered"


@attack("pids")
def kcmp_host(facts: Facts) -> str:
    """Compare the insides of a process of the host with one's own."""
    call("kcmp", os.getpid(), _victim(facts), 1, 0, 0)
    return "the kernel compared them"


@attack("pids")
def setns_host(facts: Facts) -> str:
    """Move into the namespaces of a process of the host."""

    def one(name: str) -> str:
        handle = os.open(f"/proc/{_victim(facts)}/ns/{name}", os.O_RDONLY)
        call("setns", handle, 0)
        return f"moved into its {name} namespace"

    return in_child(lambda: any_of([lambda n=n: one(n) for n in ("net", "ipc", "uts", "user")]))


@attack("pids")
def setns_init(_facts: Facts) -> str:
    """Move into the namespaces of the box's first process, as `nsenter` does."""

    def one(name: str) -> str:
        handle = os.open(f"/proc/1/ns/{name}", os.O_RDONLY)
        call("setns", handle, 0)
        return f"moved into the {name} namespace of process 1"

    return in_child(lambda: any_of([lambda n=n: one(n) for n in ("net", "mnt", "pid", "user")]))


@attack("seccomp")
def setns_pidfd(_facts: Facts) -> str:
    """Move into all namespaces of the parent at once, by a descriptor of it."""

    def work() -> str:
        handle = call("pidfd_open", 1, 0)
        call("setns", handle, 0x40000000 | 0x08000000 | 0x04000000)
        return "moved"

    return in_child(work)


@attack("pids")
def proc_1_mem(_facts: Facts) -> str:
    """Open the memory of the box's first process, which stands outside its filters."""
    return opens("/proc/1/mem", os.O_RDWR)


@attack("pids")
def proc_1_fd(_facts: Facts) -> str:
    """Open what the box's first process has open."""
    found = [name for name in os.listdir("/proc/1/fd") if int(name) > 2]
    if not found:
        raise Blocked("it has nothing open")
    paths = [f"/proc/1/fd/{name}" for name in found]
    return any_of([lambda p=path: f"{opens(p, os.O_RDONLY)} -> {os.readlink(p)}" for path in paths])


@attack("pids")
def pidfd_getfd_init(_facts: Facts) -> str:
    """Take descriptors out of the box's first process."""
    handle = call("pidfd_open", 1, 0)
    for number in range(40):
        try:
            call("pidfd_getfd", handle, number, 0)
        except OSError as error:
            if error.errno == 9:
                continue
            raise
        return f"took its descriptor {number}"
    raise Blocked("it has nothing open")


@attack("seccomp")
def ptrace_init(_facts: Facts) -> str:
    """Take over the box's first process as a debugger does."""
    if os.getpid() == 1:
        raise Blocked("it is this very process")
    call("ptrace", _SEIZE, 1, None, None)
    return "process 1 is ours"


@attack("pids")
def dumpable_trick(_facts: Facts) -> str:
    """Reach the parent, whose memory was closed, after making oneself open with prctl."""
    prctl(_SET_DUMPABLE, 1)
    memory = os.open(f"/proc/{1}/maps", os.O_RDONLY)
    if not os.read(memory, 64):
        raise Blocked("it shows nothing")
    return "the map of process 1 is shown"


@attack("pids")
def subreaper_adopt(facts: Facts) -> str:
    """Become the parent of processes of the host by offering to adopt orphans."""
    prctl(_SET_CHILD_SUBREAPER, 1)
    parent = status("PPid", str(_victim(facts)))
    if parent == str(os.getpid()):
        return "the decoy is our child"
    raise Blocked("only own descendants are adopted")


@attack("system")
def nice_rt(_facts: Facts) -> str:
    """Run before everybody else on the machine."""

    def work() -> str:
        os.sched_setscheduler(0, _SCHED_FIFO, os.sched_param(1))
        return "runs in real time"

    return in_child(work)


@attack("system")
def nice_negative(_facts: Facts) -> str:
    """Take a better priority than what was given."""

    def work() -> str:
        os.setpriority(os.PRIO_PROCESS, 0, -5)
        return "runs with nice -5"

    return in_child(work)


@attack("system")
def io_priority(_facts: Facts) -> str:
    """Use the disk before everybody else on the machine."""

    def work() -> str:
        call("ioprio_set", 1, 0, _IOPRIO_RT)
        return "uses the disk in real time"

    return in_child(work)


@attack("seccomp")
def personality_weaken(_facts: Facts) -> str:
    """Switch off the random layout of memory for all programs that follow."""

    def work() -> str:
        call("personality", 0x0040000)
        return "memory is laid out without chance"

    return in_child(work)


def _linger(mark: str, seconds: int = _LINGER) -> None:
    """Become a process that the host finds by its name; it ends by itself in any case."""
    os.execv("/bin/sleep", [mark, str(seconds)])


@attack("pids", proof=True, alone=True)
def daemon_survive(facts: Facts) -> str:
    """Leave a process behind that goes on when the command is over."""
    if os.fork() == 0:
        os.setsid()
        _hush()
        _linger(f"{facts.canary}-daemon")
    return "left one behind"


@attack("pids", proof=True, alone=True)
def daemon_double_fork(facts: Facts) -> str:
    """The same with two forks, a session of its own and every signal ignored."""
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)
        _hush()
        _linger(f"{facts.canary}-double")
    time.sleep(0.1)
    return "left one behind"


@attack("pids", proof=True, alone=True)
def daemon_holds_output(facts: Facts) -> str:
    """Leave a process behind that keeps stdout open, so that the reader waits for ever."""
    if os.fork() == 0:
        os.setsid()
        _linger(f"{facts.canary}-output")
    return "left one behind"


@attack("pids", proof=True, alone=True)
def fork_flight(facts: Facts) -> str:
    """Flee from the killer by forking and ending all the time."""
    if os.fork() == 0:
        os.setsid()
        _hush()
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            try:
                if os.fork():
                    os._exit(0)
            except OSError:
                continue
            os.setsid()
            time.sleep(0.002)
        _linger(f"{facts.canary}-flight")
    return "one is fleeing"


@attack("pids", proof=True, alone=True)
def time_bomb(facts: Facts) -> str:
    """Write into the workspace some time after the command is over, as a scheduled job would."""
    parent = os.getpid()
    if os.fork() == 0:
        os.setsid()
        _hush()
        while os.getppid() == parent:  # a slow machine may not be through with the command before
            time.sleep(0.02)
        time.sleep(1.2)
        with open(f"{facts.workspace}/bomb", "w") as file:
            file.write(facts.canary)
        os._exit(0)
    return "it ticks"


def _hush() -> None:
    """Let go of what the command's reader waits for."""
    for number in range(3):
        os.dup2(os.open("/dev/null", os.O_RDWR), number)
    os.closerange(3, 256)


@attack("pids")
def crontab_plant(facts: Facts) -> str:
    """Leave a job where the host's scheduler would find it."""
    folders = ("/var/spool/cron", "/var/spool/cron/crontabs", "/etc/cron.d", "/var/spool/at")

    def one(folder: str) -> str:
        about = os.stat(folder)
        if (about.st_dev, about.st_ino) != tuple(facts.same.get(folder, ())):
            raise Blocked(f"{folder} is the box's own")
        os.close(os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o600))
        return f"may write into {folder}"

    return any_of([lambda f=folder: one(f) for folder in folders])


@attack("ipc")
def neighbour_processes(facts: Facts) -> str:
    """See the commands of another agent's box."""
    for process in _others():
        try:
            if facts.neighbour["mark"].encode() in read(f"/proc/{process}/cmdline"):
                return f"process {process} is another agent's"
        except OSError:
            continue
    raise Blocked("no process of the other is in sight")


def _neighbours(facts: Facts) -> int:
    return int(facts.neighbour["pid"]) or _found(facts)


def _found(facts: Facts) -> int:
    for process in _others():
        try:
            if facts.neighbour["mark"].encode() in read(f"/proc/{process}/cmdline"):
                return int(process)
        except OSError:
            continue
    raise Blocked("no process of the other is in sight")


@attack("pids", proof=True)
def neighbour_signal(facts: Facts) -> str:
    """End a command of another agent's box."""
    os.kill(_neighbours(facts), signal.SIGTERM)
    return "sent a signal"


@attack("pids")
def neighbour_ptrace(facts: Facts) -> str:
    """Take over a command of another agent's box as a debugger does."""
    process = _neighbours(facts)
    os.kill(process, 0)
    call("ptrace", _SEIZE, process, None, None)
    return "it is ours"


@attack("pids")
def neighbour_root(facts: Facts) -> str:
    """Read another agent's files through /proc/PID/root of its command."""
    path = f"/proc/{_neighbours(facts)}/root{facts.neighbour['scratch']}"
    return secret(facts, read(path), path)


@attack("files")
def neighbour_workspace(facts: Facts) -> str:
    """Read a file of another agent's workspace."""
    path = f"{facts.neighbour['workspace']}/secret"
    return secret(facts, read(path), path)


@attack("files")
def neighbour_workspace_write(facts: Facts) -> str:
    """Change another agent's workspace."""
    os.close(os.open(facts.neighbour["workspace"], os.O_TMPFILE | os.O_WRONLY, 0o600))
    return "may write there"


@attack("files")
def neighbour_scratch(facts: Facts) -> str:
    """Read what another agent has in /tmp."""
    return secret(facts, read(facts.neighbour["scratch"]), facts.neighbour["scratch"])


@attack("files")
def neighbour_shared_memory(facts: Facts) -> str:
    """Read what another agent has in /dev/shm."""
    return secret(facts, read(facts.neighbour["shm"]), facts.neighbour["shm"])


@attack("ipc")
def neighbour_sysv(facts: Facts) -> str:
    """Read another agent's SysV shared memory."""
    segment = call("shmget", int(facts.neighbour["sysv"]), 0, 0o400)
    return secret(facts, attach(segment), "its shared memory")


@attack("memory", alone=True)
def oom_immunity(_facts: Facts) -> str:
    """Have everybody else ended first when memory runs out."""
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("-1000")
    return "will never be ended"
