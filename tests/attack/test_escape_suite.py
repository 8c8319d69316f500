"""The escape suite itself: that its attacks bite, that its verdicts are earned, what it says."""

from __future__ import annotations

import ast
import json
import socket
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from holdfast.assembly.escape import gate_over
from holdfast.core.error import Invalid, Unavailable
from holdfast.doors.cli.out import plain
from holdfast.ports.box import Box, BoxKind, BoxSpec, BoxStats, Capabilities, Exit
from holdfast.testing.escape import inside
from holdfast.testing.escape.bare import Bare
from holdfast.testing.escape.command import box_test, table
from holdfast.testing.escape.inside.__main__ import run_one
from holdfast.testing.escape.inside.attack import Facts, attack
from holdfast.testing.escape.means import CARELESS, Means, read_beneath, run_exec
from holdfast.testing.escape.suite import Report, entries, run

pytestmark = pytest.mark.anyio

MEANS = Means(shell=run_exec, plain=plain, read=read_beneath)
RESEARCH = [
    "fs_read_shadow",
    "fs_read_ssh_key",
    "fs_read_host_project_env",
    "fs_read_root_home",
    "env_inherited",
    "proc_environ_scan",
    "proc_cmdline_scan",
    "proc_root_traverse",
    "fd_leak",
    "fs_write_usr",
    "fs_write_etc",
    "fs_write_host_dir",
    "fs_write_bashrc",
    "fs_hardlink_secret",
    "fs_symlink_plant",
    "fs_open_by_handle",
    "fs_mknod_blockdev",
    "dev_block_open",
    "dev_mem",
    "dev_kvm_fuse_tun",
    "proc_sys_write",
    "proc_sysrq",
    "sys_write",
    "cgroup_release_agent",
    "cgroup_escape",
    "mount_tmpfs",
    "remount_rw",
    "umount_hidden",
    "new_mount_api",
    "unshare_userns",
    "unshare_userns_mount_chain",
    "clone3_userns",
    "setns_host",
    "chroot_call",
    "caps_nonzero",
    "uid_is_root",
    "setuid_binary",
    "setuid_plant",
    "ptrace_host_pid",
    "ptrace_own_child",
    "kill_host_pid",
    "vm_readv_host",
    "pidfd_getfd_host",
    "see_host_procs",
    "keyctl_session",
    "keyctl_host_key",
    "bpf_map",
    "bpf_prog",
    "userfaultfd",
    "io_uring",
    "perf_event",
    "module_load",
    "kexec",
    "syslog_dmesg",
    "fanotify",
    "memfd_secret",
    "modify_ldt",
    "x32_abi",
    "i386_int80",
    "clock_set",
    "sethostname",
    "reboot",
    "swap_quota",
    "net_metadata_169",
    "net_host_loopback",
    "net_host_loopback6",
    "net_internet_ip",
    "net_lan_gateway",
    "net_host_docker_internal",
    "dns_exfil",
    "raw_socket",
    "packet_socket",
    "ping_dgram",
    "vsock_socket",
    "alg_socket",
    "netlink_exotic",
    "net_bridge_admin",
    "unix_abstract",
    "unix_docker_sock",
    "sysv_shm",
    "dev_shm_file",
    "posix_mq",
    "tiocsti",
    "tiocsti_ctty",
    "fingerprint_host",
    "fork_bomb",
    "memory_bomb",
    "tmpfs_memory",
    "disk_fill",
    "inode_fill",
    "fd_exhaust",
    "cpu_burn",
    "core_dump",
    "nice_rt",
    "mlock_all",
    "daemon_survive",
    "host_collector_openat2",
]
EVERYWHERE = {
    "files": ("fs_read_ssh_key", "fs_write_bashrc", "fs_hardlink_secret", "self_exe_overwrite"),
    "processes": ("proc_cmdline_scan", "kill_host_pid", "daemon_double_fork", "neighbour_signal"),
    "kernel": ("unshare_userns", "userfaultfd", "io_uring", "no_filter"),
    "network": ("net_host_loopback", "dns_exfil", "vsock_socket"),
    "ipc": ("unix_docker_sock", "sysv_shm", "scm_rights_in", "scm_rights_out"),
    "terminal": ("tiocsti",),
    "resources": ("fork_bomb", "tmpfs_memory", "disk_reserve"),
    "hosting": (
        "host_collector_openat2",
        "put_linked_folder",
        "terminal_escapes",
        "loader_steered",
    ),
    "planting": ("plant_git_hook", "plant_start_envrc"),
    "proxies": ("metadata_decimal", "rebind_second_look", "smuggle_cl_te", "sni_mismatch"),
}
"""Some of each topic that win as any user where nothing protects."""


class Stone:
    """A `BoxKind` whose commands do nothing at all; `says` is what each of them claims."""

    name = "stone"

    def __init__(self, says: bytes = b"", *, python: int = 0) -> None:
        self.says, self.python = says, python

    async def create(self, spec: BoxSpec) -> Box:
        return _StoneBox(spec, self)

    async def probe(self) -> Capabilities:
        return Capabilities(kind=self.name, walls={"disk": "soft"})

    async def close(self) -> None:
        pass


class _StoneBox:
    def __init__(self, spec: BoxSpec, kind: Stone) -> None:
        self.spec, self._kind = spec, kind

    async def exec(self, argv: Sequence[str], **_: object) -> Exit:
        code = self._kind.python if argv[-1] == "pass" else 1
        return Exit(code=code, stdout=self._kind.says, stderr=b"")

    @asynccontextmanager
    async def start(self, argv: Sequence[str], **_: object) -> AsyncGenerator[_StoneBox]:
        yield self

    async def send(self, data: bytes) -> None:
        raise Unavailable("it reads nothing")

    async def receive(self) -> bytes:
        return b""

    def complaint(self) -> str:
        return ""

    async def wait(self) -> int:
        return 1

    async def put(self, path: str, data: bytes) -> None:
        if path != "attacks.pyz":
            raise Invalid("nothing can be put here")
        (self.spec.workspace / path).write_bytes(data)

    async def get(self, path: str, most: int) -> bytes:
        raise Invalid("there is nothing here")

    async def listen(self, port: int) -> socket.socket:
        raise Unavailable("there is no way out")

    async def stats(self) -> BoxStats:
        raise Unavailable("nothing is known")

    async def kill(self) -> None:
        pass

    async def destroy(self) -> None:
        pass


async def held(kind: BoxKind, *names: str, means: Means = CARELESS) -> Report:
    with anyio.fail_after(280):
        return await run(kind, means, only=names)


def verdicts(report: Report) -> Mapping[str, str]:
    return {each.entry.name: each.verdict for each in report.results}


def test_every_attack_of_the_research_is_in_the_suite_and_many_more() -> None:
    names = [each.name for each in entries()]
    assert len(RESEARCH) == 97
    assert set(RESEARCH) <= set(names)
    assert len(names) == len(set(names)) >= 300


def test_every_attack_says_what_it_tries_and_which_wall_is_to_stop_it() -> None:
    walls = "files system network ipc pids memory cpu disk inodes seccomp landlock environment"
    for each in entries():
        assert len(each.tries.split()) >= 3, each.name
        assert each.wall in {*walls.split(), "capabilities"}, each.name


def test_what_runs_in_a_box_needs_nothing_but_pythons_own_library() -> None:
    for path in Path(inside.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                assert {each.name for each in node.names} <= sys.stdlib_module_names
            elif isinstance(node, ast.ImportFrom) and not node.level:
                assert str(node.module).partition(".")[0] in sys.stdlib_module_names


def test_an_attack_that_trips_over_itself_is_not_taken_for_a_wall() -> None:
    @attack("files")
    def clumsy(facts: Facts) -> str:
        """Forget what it is about."""
        return facts.places["nowhere"][0]

    @attack("files")
    def refused(_facts: Facts) -> str:
        """Do what the system refuses."""
        raise PermissionError(1, "Operation not permitted")

    blank: dict[str, Any] = {key: {} for key in Facts.__dataclass_fields__}
    facts = Facts(**blank)
    assert run_one(clumsy, facts)[0] == "not run"
    assert run_one(refused, facts) == ("blocked", "Operation not permitted")


@pytest.mark.parametrize("topic", EVERYWHERE)
async def test_the_attacks_bite_where_nothing_protects(topic: str) -> None:
    found = verdicts(await held(Bare(), *EVERYWHERE[topic]))
    assert found == dict.fromkeys(EVERYWHERE[topic], "won")


async def test_a_box_that_does_nothing_holds_against_every_topic() -> None:
    names = [name for some in EVERYWHERE.values() for name in some]
    report = await held(Stone(), *names, means=MEANS)
    assert not report.won
    assert {each.entry.topic for each in report.results} == set(EVERYWHERE)


async def test_a_claim_without_a_trace_on_the_host_is_no_win() -> None:
    lie = {"name": "fs_write_host_dir", "verdict": "won", "detail": "wrote it"}
    report = await held(Stone(json.dumps(lie).encode()), "fs_write_host_dir")
    assert verdicts(report) == {"fs_write_host_dir": "blocked"}
    assert "the host saw nothing" in report.results[0].detail


async def test_a_box_without_python_is_not_said_to_hold() -> None:
    report = await held(Stone(python=127), "fs_read_ssh_key", "metadata_plain")
    assert verdicts(report) == {"fs_read_ssh_key": "not run", "metadata_plain": "not applicable"}


async def test_what_wins_nowhere_is_marked_as_proving_nothing() -> None:
    names = ("fs_read_ssh_key", "dev_mem", "stdin_flood")
    control = await held(Bare(), *names)
    report = (await held(Stone(), *names)).beside(control)
    vacuous = {each.entry.name for each in report.results if each.vacuous}
    assert "fs_read_ssh_key" not in vacuous
    assert "stdin_flood" in vacuous
    assert any("bites" in line and "fs_read_ssh_key" in line for line in table(report))


async def test_a_win_over_a_soft_wall_is_shown_and_called_so() -> None:
    report = await held(Bare(), "disk_reserve")
    soft = replace(report, walls={"disk": "soft"})
    assert soft.won
    assert not soft.breached
    assert any(line.startswith("WON disk_reserve (disk, soft)") for line in table(soft))


async def test_nothing_of_the_ground_is_left_behind() -> None:
    before = set(Path("/var/tmp").glob("holdfast-escape-*"))
    await held(Bare(), "fs_write_bashrc", "sysv_shm", "neighbour_scratch")
    assert not set(Path("/var/tmp").glob("holdfast-escape-*")) - before


def test_the_command_prints_a_table_and_fails_when_something_got_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["--box", "bare", "--only", "fs_read_ssh_key"]
    assert _command(words) == 1
    said = capsys.readouterr()
    assert "WON fs_read_ssh_key (files, enforced)" in said.out
    assert "bare: fs_read_ssh_key: won" in said.err


def test_the_command_prints_json_and_succeeds_when_nothing_got_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert _command(["--box", "stone", "--only", "fs_read_ssh_key", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["kind"], told["won"], told["blocked"]) == ("stone", 0, 1)
    assert told["results"][0]["entry"]["topic"] == "files"


def test_the_command_lists_the_attacks(capsys: pytest.CaptureFixture[str]) -> None:
    assert _command(["--list", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == len(entries())


def test_an_attack_that_is_not_there_is_named() -> None:
    with pytest.raises(Invalid, match="no attack no_such_attack"):
        _command(["--only", "no_such_attack"])
    with pytest.raises(Invalid, match="no kind of box no_such_kind") as refused:
        _command(["--box", "no_such_kind"])
    assert refused.value.hint == "choose one of bare, stone"


def _command(words: list[str]) -> int:
    kinds = {"bare": Bare, "stone": partial(Stone)}
    return box_test(words, kinds=kinds, usual="stone", means=CARELESS, private=False)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_most_attacks_win_where_nothing_protects() -> None:
    """As root and as an ordinary user alike: a suite that wins nowhere proves nothing."""
    report = await held(Bare())
    found = verdicts(report)
    plain_wins = [name for name in RESEARCH if found[name] == "won"]
    assert len(plain_wins) >= 50
    assert report.count("won") >= 200
    assert not [each.detail for each in report.results if each.verdict == "not run"]


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_nothing_gets_past_the_gateway() -> None:
    names = [each.name for each in entries() if each.topic == "proxies"]
    report = await held(Bare(), *names, means=replace(MEANS, gate=gate_over))
    assert [f"{each.entry.name}: {each.detail}" for each in report.won] == []
    assert report.count("blocked") == len(names) >= 75
