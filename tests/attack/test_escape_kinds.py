"""The escape suite against every kind of box that this machine can run: all that wins is known.

`KNOWN` says what wins and why. A test fails for a win that is not in there. What is printed at the
end says what won, was blocked and could not be tried. The proxy is one program for every kind: all
attacks on it come from the default box, some from the others. An emulated machine takes half an
hour for all of it, so here it is tried by a part; docs/guides/box-test.md has the whole.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from pathlib import Path

import anyio
import msgspec
import pytest

from holdfast.adapters.boxes.bubblewrap import BubblewrapBoxes
from holdfast.adapters.boxes.microvm.kind import MicroVMBoxes
from holdfast.assembly.escape import gate_over
from holdfast.doors.cli.out import plain
from holdfast.ports.box import BoxKind
from holdfast.testing.engines import engine, missing
from holdfast.testing.escape.inside import processes
from holdfast.testing.escape.inside.attack import Attack
from holdfast.testing.escape.means import Means, read_beneath, run_exec
from holdfast.testing.escape.suite import Report, Result, Verdict, entries, run
from tests import unprivileged
from tests.adapters import guest_kernel

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

MEANS = Means(shell=run_exec, plain=plain, read=read_beneath, gate=gate_over)
SECONDS = 300
LONGER = 900
"""For what counts system calls one by one, or emulates a processor. Bounds, not promises."""
OF_THE_PROXY = frozenset(
    {"metadata_decimal", "rebind_second_look", "smuggle_cl_te", "sni_mismatch", "token_leaks"}
)
OF_A_MACHINE = frozenset(
    {
        *("fork_bomb", "memory_bomb", "disk_fill", "kill_host_pid", "token_leaks"),
        *("host_collector_openat2", "put_linked_folder", "terminal_escapes", "plant_git_hook"),
    }
)
"""What a machine is tried by of that which takes one long: it is emulated in tests."""
LONG = {
    *("resources", "hosting", "planting", "proxies"),
    *(one.name for one in vars(processes).values() if isinstance(one, Attack) and one.alone),
}
"""The topics and single attacks that have a command of their own each."""
KNOWN: Mapping[str, Mapping[str, str]] = {
    "gvisor": {
        "dev_kvm_fuse_tun": "gVisor's own /dev/fuse: a mount there needs rights nobody has",
        "dumpable_trick": "gVisor shows the map of the box's own first process",
        "nice_negative": "a number that gVisor keeps: the host's priorities are not touched",
        "oom_immunity": "a number that gVisor keeps: the host ends what is too large all the same",
        "ping_dgram": "a socket of gVisor's own network, which leads nowhere",
        "thread_bomb": "threads are bounded by the host alone, at 260 more than is asked for",
        "cpu_burn": "gVisor counts the wait for a processor as its use: the host saw 0.39 of 0.5",
    },
}
"""By kind, what wins and why that is no way out. Kinds that are not named: nothing."""
SOMETIMES: Mapping[str, Mapping[str, str]] = {
    "gvisor": {"disk_fill": "a soft wall, and gVisor takes a moment to end a command"},
}
"""What wins or does not, as fast as the machine is: soft walls only."""
_IMPORTS = """
import msgspec
from holdfast.adapters.boxes.bubblewrap import BubblewrapBoxes
from holdfast.assembly.escape import gate_over
from holdfast.doors.cli.out import plain
from holdfast.testing.escape.inside import processes
from holdfast.testing.escape.inside.attack import Attack
from holdfast.testing.escape.means import Means, read_beneath, run_exec
from holdfast.testing.escape.suite import entries, run
"""
_AS_USER = """
async def main():
    kind = BubblewrapBoxes()
    means = Means(shell=run_exec, plain=plain, read=read_beneath, gate=gate_over)
    report = await run(kind, means, only=(place / "only").read_text().split())
    await kind.close()
    print(msgspec.json.encode(report).decode())

anyio.run(main)
"""

Said = Callable[[str, object], None]


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder whose parents anybody may pass."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name).resolve()
        folder.chmod(0o755)
        yield folder


def test_nothing_gets_out_of_the_default_box(record_property: Said) -> None:
    names = frozenset(each.name for each in entries())
    _judge("bubblewrap", partial(_attacked, BubblewrapBoxes), names, record_property)


def test_nothing_gets_out_of_the_default_box_of_an_ordinary_user(
    place: Path, record_property: Said
) -> None:
    def attacked(names: Collection[str]) -> Report:
        (place / "only").write_text("\n".join(names))
        done = unprivileged.run(place, _IMPORTS, _AS_USER, seconds=SECONDS)
        assert done.stderr == ""
        report = msgspec.json.decode(done.stdout, type=Report)
        assert report.user != 0
        return report

    _judge("bubblewrap", attacked, _all_but_the_proxy(), record_property)


@pytest.mark.parametrize("name", ["docker", "podman", "gvisor"])
def test_nothing_unknown_gets_out_of_a_container(
    name: str, place: Path, record_property: Said
) -> None:
    if why := missing(name):
        pytest.skip(why)
    with engine(name) as maker:
        attacked = partial(_attacked, partial(maker, place), seconds=LONGER)
        _judge(name, attacked, _all_but_the_proxy(), record_property)


def test_nothing_unknown_gets_out_of_a_machine(record_property: Said) -> None:
    if why := guest_kernel.missing():
        pytest.skip(f"no machine can be booted: {why}")
    machines = partial(MicroVMBoxes, guest_kernel.HOME, tcg=True)
    attacked = partial(_attacked, machines, seconds=LONGER)
    _judge("microvm", attacked, _in_short(), record_property)


def _in_short() -> frozenset[str]:
    return frozenset(
        each.name
        for each in entries()
        if each.name in OF_A_MACHINE or not {each.topic, each.name} & LONG
    )


def _all_but_the_proxy() -> frozenset[str]:
    return frozenset(
        each.name for each in entries() if each.topic != "proxies" or each.name in OF_THE_PROXY
    )


def _attacked(
    make: Callable[[], BoxKind], names: Collection[str], *, seconds: float = SECONDS
) -> Report:
    async def attack() -> Report:
        kind = make()
        with anyio.fail_after(seconds):
            try:
                return await run(kind, MEANS, only=names)
            finally:
                with anyio.CancelScope(shield=True), anyio.move_on_after(30):
                    await kind.close()

    return anyio.run(attack)


def _judge(
    kind: str,
    attacked: Callable[[Collection[str]], Report],
    names: Collection[str],
    record_property: Said,
) -> None:
    """A soft wall that gave way on a busy machine is tried once more, and must then stand."""
    report = attacked(names)
    won = {each.entry.name: each.detail for each in report.won}
    soft = {each.entry.name for each in report.won if report.strength(each.entry) == "soft"}
    again = soft - set(KNOWN.get(kind, {})) - set(SOMETIMES.get(kind, {}))
    stood = again - {each.entry.name for each in attacked(again).won} if again else set[str]()
    record_property("escape", told(report, stood))
    assert {each.entry.name for each in report.results} == set(names)
    known, found = set(KNOWN.get(kind, {})), set(won) - stood - set(SOMETIMES.get(kind, {}))
    assert found <= known, {name: won[name] for name in found - known}
    missed = [f"{each.entry.name}: {each.detail}" for each in report.results if _missed(each)]
    assert not missed


def _missed(result: Result) -> bool:
    return result.verdict == "not run"


def told(report: Report, stood: Collection[str]) -> str:
    """One line: how many came to what, which won or were not made, what was left out."""
    of: Mapping[Verdict, str] = {"won": "won", "not applicable": "n/a", "not run": "not run"}
    words = [f"{report.count('blocked')} blocked"]
    for verdict, sign in of.items():
        found = [each.entry.name for each in report.results if each.verdict == verdict]
        names = f" ({', '.join(found)})" if found else ""
        words.append(f"{len(found)} {sign}{names}")
    if stood:
        words.append(f"blocked when tried again: {', '.join(sorted(stood))}")
    left = len(entries()) - len(report.results)
    if left:
        words.append(f"{left} left out")
    return f"{report.kind}, user {report.user}: {', '.join(words)}; {report.seconds:.0f} s"
