"""Which system calls a box may make, as programs that the kernel runs before each call.

Two filters stack, because one cannot say "all but two" of a call that another rule allows. The
first knows what ordinary programs use, and answers "there is no such call" to everything else, so
that libraries fall back to older ways. The second takes away what even an allowed call must not
do: type into a terminal (TIOCSTI), make raw packets, give a file the setuid or setgid bit. What
`clone3` and `openat2` are asked for lies behind a pointer where no filter can look, so for a box
these calls do not exist.
"""

from __future__ import annotations

import errno
import importlib
import os
import stat
from functools import cache
from typing import Any

from holdfast.core.error import Unavailable

NAMESPACES = 0x7E020080
_TERMINAL_TRICKS = (0x5412, 0x541C)
_LOW = 0xFFFFFFFF
_RAW, _PACKET, _KIND = 3, 10, 0xF
FAMILIES = (1, 2, 10)
NETLINK, _ROUTE = 16, 0
_BITS = (stat.S_ISUID, stat.S_ISGID)
TMPFILE = 0o20000000

ALLOWED = """
accept accept4 access alarm arch_prctl bind brk cachestat capget capset chdir chmod chown clock_getres
clock_gettime clock_nanosleep close close_range connect copy_file_range creat dup dup2 dup3 epoll_create
epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 execve execveat exit exit_group
faccessat faccessat2 fadvise64 fallocate fchdir fchmod fchmodat fchown fchownat fcntl fdatasync fgetxattr
flistxattr flock fork fremovexattr fsetxattr fstat fstatfs fsync ftruncate futex futex_requeue futex_wait
futex_waitv futex_wake futimesat get_mempolicy get_robust_list get_thread_area getcpu getcwd getdents
getdents64 getegid geteuid getgid getgroups getitimer getpeername getpgid getpgrp getpid getppid getpriority
getrandom getresgid getresuid getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday getuid
getxattr inotify_add_watch inotify_init inotify_init1 inotify_rm_watch ioctl ioprio_get kill
landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lgetxattr link linkat listen
listxattr llistxattr lremovexattr lseek lsetxattr lstat madvise map_shadow_stack mbind membarrier
memfd_create mincore mkdir mkdirat mknod mknodat mlock mlock2 mmap mprotect mq_getsetattr mq_notify mq_open
mq_timedreceive mq_timedsend mq_unlink mremap msgctl msgget msgrcv msgsnd mseal msync munlock munmap nanosleep
newfstatat open openat pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll
ppoll prctl pread64 preadv preadv2 prlimit64 pselect6 pwrite64 pwritev pwritev2 read readahead readlink
readlinkat readv recvfrom recvmmsg recvmsg remap_file_pages removexattr rename renameat renameat2
restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn
rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min
sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval sched_setaffinity
sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop
sendfile sendmmsg sendmsg sendto set_mempolicy set_robust_list set_thread_area set_tid_address setfsgid
setfsuid setgid setgroups setitimer setpgid setpriority setregid setresgid setresuid setreuid setrlimit setsid
setsockopt setuid setxattr shmat shmctl shmdt shmget shutdown sigaltstack socketpair splice stat statfs statx
symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete
timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime times tkill
truncate umask uname unlink unlinkat utime utimensat utimes vfork vmsplice wait4 waitid write writev
""".split()

FORBIDDEN = """
acct add_key bpf chroot clock_adjtime clock_settime delete_module finit_module fsconfig fsmount fsopen fspick
init_module io_uring_enter io_uring_register io_uring_setup ioperm iopl ioprio_set kcmp kexec_file_load
kexec_load keyctl lookup_dcookie memfd_secret migrate_pages modify_ldt mount mount_setattr move_mount
move_pages name_to_handle_at nfsservctl open_by_handle_at open_tree perf_event_open personality pidfd_getfd
pivot_root process_madvise process_mrelease process_vm_readv process_vm_writev ptrace quotactl quotactl_fd
reboot request_key setdomainname sethostname setns settimeofday swapoff swapon sysfs syslog umount2
unshare uselib userfaultfd ustat vhangup fanotify_init fanotify_mark adjtimex
""".split()


@cache
def programs() -> tuple[bytes, ...]:
    """Both filters for this machine's processor. Raises `Unavailable` without libseccomp."""
    try:
        # Imported late: it looks for the system's library, and a daemon starts without one too.
        library = importlib.import_module("pyseccomp")
        return _written(_first(library)), _written(_second(library))
    except (ImportError, OSError, RuntimeError) as error:
        hint = "install libseccomp 2.5 or newer, e.g. `apt-get install libseccomp2`"
        message = f"the system calls of a box cannot be filtered: {error}"
        raise Unavailable(message, hint=hint) from error


def _first(seccomp: Any) -> Any:
    made = seccomp.SyscallFilter(seccomp.ERRNO(errno.ENOSYS))
    for name in ALLOWED:
        _rule(seccomp, made, seccomp.ALLOW, name)
    refuse = seccomp.ERRNO(errno.EPERM)
    for name in FORBIDDEN:
        _rule(seccomp, made, refuse, name)
    none_new = seccomp.Arg(0, seccomp.MASKED_EQ, NAMESPACES, 0)
    _rule(seccomp, made, seccomp.ALLOW, "clone", none_new)
    for family in FAMILIES:
        _rule(seccomp, made, seccomp.ALLOW, "socket", seccomp.Arg(0, seccomp.EQ, family))
    route = seccomp.Arg(2, seccomp.EQ, _ROUTE)
    _rule(seccomp, made, seccomp.ALLOW, "socket", seccomp.Arg(0, seccomp.EQ, NETLINK), route)
    return made


def _second(seccomp: Any) -> Any:
    made = seccomp.SyscallFilter(seccomp.ALLOW)
    refuse = seccomp.ERRNO(errno.EPERM)
    for request in _TERMINAL_TRICKS:
        _rule(seccomp, made, refuse, "ioctl", seccomp.Arg(1, seccomp.MASKED_EQ, _LOW, request))
    for family in FAMILIES[1:]:
        for kind in (_RAW, _PACKET):
            of_kind = seccomp.Arg(1, seccomp.MASKED_EQ, _KIND, kind)
            _rule(seccomp, made, refuse, "socket", seccomp.Arg(0, seccomp.EQ, family), of_kind)
    for bit in _BITS:
        for name, place in (("chmod", 1), ("fchmod", 1), ("fchmodat", 2), ("creat", 1)):
            _rule(seccomp, made, refuse, name, seccomp.Arg(place, seccomp.MASKED_EQ, bit, bit))
        for name, place in (("mknod", 1), ("mknodat", 2)):
            _rule(seccomp, made, refuse, name, seccomp.Arg(place, seccomp.MASKED_EQ, bit, bit))
        for making in (os.O_CREAT, TMPFILE):
            for name, place in (("open", 1), ("openat", 2)):
                asked = seccomp.Arg(place, seccomp.MASKED_EQ, making, making)
                _rule(seccomp, made, refuse, name, asked, seccomp.Arg(place + 1, seccomp.MASKED_EQ, bit, bit))
    return made


def _rule(library: Any, made: Any, action: Any, name: str, *arguments: Any) -> None:
    """A call that this processor does not have needs no rule: the first filter knows it not."""
    if library.resolve_syscall(library.Arch.NATIVE, name) >= 0:
        made.add_rule(action, name, *arguments)


def _written(made: Any) -> bytes:
    descriptor = os.memfd_create("filter")
    try:
        with open(descriptor, "rb+", closefd=False) as file:
            made.export_bpf(file)
            file.seek(0)
            return file.read()
    finally:
        os.close(descriptor)
