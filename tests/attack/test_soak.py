"""Hostile tools, many at once: nothing of them is left, and nothing around them is touched."""

from __future__ import annotations

import subprocess
from pathlib import Path

import msgspec
import pytest

from holdfast.testing import soak
from holdfast.testing.soak import Host, Latency, Soaked
from holdfast.testing.soak_attacks import ATTACKS, LAST, commands

CALM = Latency(asked=100, failed=0, p50=2.0, p99=9.0, longest=20.0)
GOOD = Soaked(
    agents=20,
    attacks=78,
    seconds=30.0,
    tasks={"SUCCEEDED": 19, "FAILED": 1},
    outcomes={"returned": 60, "over_limit": 18},
    quiet=CALM,
    storm=CALM,
    bare=CALM,
    cpu_seconds=3.0,
    memory_before=100.0,
    memory_after=101.0,
    memory_most=150.0,
    stop_seconds=0.5,
    left_processes=[],
    left_mounts=[],
    left_groups=[],
    touched=[],
)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_agents_that_flood_everything_leave_nothing_behind():
    """How fast the daemon answers meanwhile is for a machine that does nothing else."""
    soaked = soak.storm(agents=6, rounds=1, seconds=90.0)
    assert soaked.attacks == len(ATTACKS) + 1
    assert sum(soaked.outcomes.values()) >= soaked.attacks
    assert (soaked.left_processes, soaked.left_mounts, soaked.left_groups) == ([], [], [])
    assert soaked.touched == []
    assert soaked.storm.failed == 0
    assert soaked.stop_seconds >= 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"touched": ["/etc/x"]},
        {"left_processes": ["12 sleep"]},
        {"left_groups": ["/sys/fs/cgroup/x"]},
        {"left_mounts": ["/x"]},
        {"stop_seconds": -1.0},
        {"tasks": {"RUNNING": 1}},
        {"storm": msgspec.structs.replace(CALM, p99=100.0)},
        {"storm": msgspec.structs.replace(CALM, failed=1)},
    ],
)
def test_one_trace_or_one_slow_answer_in_a_hundred_is_a_failure(wrong: dict[str, object]):
    assert GOOD.holds
    assert not msgspec.structs.replace(GOOD, **wrong).holds


def test_what_is_touched_is_noticed(tmp_path: Path):
    """A kit that sees nothing would find nothing."""
    host = Host(tmp_path)
    host.home.mkdir()
    (host.home / "config.toml").write_text("a")
    (host.home / "token").write_text("b")
    host.remember()
    assert host.touched() == []
    host.targets[0].chmod(0o777)
    host.targets[1].write_text("mine")
    host.targets[-1].unlink()
    planted = Path("/tmp") / host.token
    planted.write_text("here")
    try:
        assert host.touched() == [
            *(str(host.targets[n]) for n in (0, 1, -1)),
            str(planted),
        ]
    finally:
        planted.unlink()


def test_who_is_left_in_the_folder_is_noticed(tmp_path: Path):
    host = Host(tmp_path)
    assert (host.processes(), host.mounts()) == ([], [])
    with subprocess.Popen(["sleep", "60"], cwd=tmp_path) as left:
        assert host.groups(left.pid) == []
        found = host.processes()
        left.kill()
    assert found == [f"{left.pid} sleep 60"]


def test_every_attack_ends_by_itself_and_one_writes_wherever_it_can():
    told = dict(commands("token", [Path("/a b")]))
    assert [*told] == [*ATTACKS, LAST]
    assert all("timeout -s KILL" in line for name, line in told.items() if name != LAST)
    assert "echo token >> '/a b'" in told[LAST]
    assert "echo token > /etc/token" in told[LAST]
