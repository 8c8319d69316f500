"""Containers as boxes, by real engines of the test's own."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace

from holdfast.adapters.boxes.container.box import ContainerBox
from holdfast.adapters.boxes.container.kind import ContainerBoxes
from holdfast.core.error import Unavailable
from holdfast.ports.box import Box, BoxLimits, BoxSpec
from holdfast.testing.box_contract import CLAUSES, Clause
from holdfast.testing.engines import Maker, engine, missing
from holdfast.testing.fake_clock import FakeClock

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(170)]

OWNER = 4242
SLOW = pytest.mark.slow
DOCKER, PODMAN, GVISOR = (
    "docker",
    pytest.param("podman", marks=SLOW),
    pytest.param("gvisor", marks=SLOW),
)
ENGINES = [DOCKER, PODMAN, GVISOR]
ENTERED = [DOCKER, PODMAN]
FORKS = (
    "import os,time\nif os.fork()==0:\n os.setsid()\n os.fork() and os._exit(0)\n time.sleep({})"
)


@pytest.fixture(scope="session")
def maker(request: pytest.FixtureRequest) -> Iterator[Maker]:
    name = request.param
    if why := missing(name):
        pytest.skip(f"{name}: {why}")
    with engine(name) as made:
        yield made


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        folder.chmod(0o755)
        (folder / "home").mkdir()
        (folder / "workspace").mkdir()
        os.chown(folder / "workspace", OWNER, OWNER)
        yield folder


@asynccontextmanager
async def kept(kind: ContainerBoxes) -> AsyncGenerator[ContainerBoxes]:
    try:
        with anyio.fail_after(150):
            yield kind
    finally:
        with anyio.CancelScope(shield=True):
            await kind.close()


@asynccontextmanager
async def opened(maker: Maker, place: Path, limits: BoxLimits | None = None) -> AsyncGenerator[Box]:
    async with kept(maker(place / "home")) as kind:
        spec = BoxSpec(workspace=place / "workspace", limits=limits or BoxLimits())
        yield await kind.create(spec)


async def sh(box: Box, script: str) -> str:
    out = await box.exec(["sh", "-c", script])
    return (out.stdout + out.stderr).decode()


@pytest.mark.slow
@pytest.mark.parametrize("maker", ENGINES, indirect=True)
@pytest.mark.parametrize("clause", CLAUSES, ids=lambda clause: clause.__name__)
async def test_a_container_keeps_the_promises_of_every_box(
    clause: Clause, maker: Maker, place: Path
):
    async with kept(maker(place / "home")) as kind:
        await clause(kind, place / "workspace")


@pytest.mark.parametrize("maker", ENGINES, indirect=True)
async def test_whoever_is_inside_is_nobody_and_can_change_nothing_of_the_system(
    maker: Maker, place: Path
):
    """Part of row OL-54."""
    async with opened(maker, place) as box:
        user = int(await sh(box, "id -u"))
        assert user > 0x7000_0000
        capabilities = await sh(box, "grep -E '^Cap(Eff|Prm|Bnd)' /proc/self/status")
        assert set(capabilities.split()[1::2]) == {"0000000000000000"}
        said = await sh(box, "touch /x /usr/x /etc/x")
        assert said.count("Read-only file system") + said.count("Permission denied") == 3
        assert await sh(box, "ls /sys/kernel /sys/devices 2>/dev/null") in {"", "\n"}
        assert await sh(box, "cat /proc/net/dev | grep -c :") in {"0\n", "1\n"}
        assert "seccomp" in await sh(box, "unshare -U true || echo seccomp")


@pytest.mark.parametrize("maker", ENTERED, indirect=True)
async def test_limits_apply_to_all_commands_together(maker: Maker, place: Path):
    """Part of row OL-54."""
    limits = BoxLimits(memory=512 << 20, processes=40, cpus=0.5, seconds=30)
    async with opened(maker, place, limits) as box:
        eats = "head -c 300000000 /dev/zero | tail -n 1 | wc -c"
        out = await box.exec(["sh", "-c", f"({eats}) & ({eats}) & wait"])
        assert out.stdout.count(b"300000000") < 2
        assert "memory" in out.stopped
        started = await sh(box, "for i in $(seq 90); do sleep 5 & echo x; done 2>/dev/null")
        assert started.count("x") < 44
        assert (await box.stats()).processes < 44


@pytest.mark.parametrize("maker", ENGINES, indirect=True)
async def test_files_made_inside_belong_to_the_owner_of_the_folder_and_get_no_setuid_bit(
    maker: Maker, place: Path
):
    async with opened(maker, place) as box:
        said = await sh(box, "touch made; chmod 4755 made || echo refused")
        assert "refused" in said
    about = (place / "workspace" / "made").stat()
    assert (about.st_uid, about.st_gid) == (OWNER, OWNER)
    assert about.st_mode & 0o7000 == 0


@pytest.mark.parametrize("maker", ENGINES, indirect=True)
async def test_a_daemon_that_a_command_leaves_behind_is_gone_with_it_and_the_box_stays(
    maker: Maker, place: Path
):
    mark = f"7{time.time_ns() % 10**8}"
    async with opened(maker, place) as box:
        script = (
            f"python3 -c '{FORKS.format(mark)}'; setsid sleep {mark} >/dev/null 2>&1 </dev/null &"
        )
        assert (await box.exec(["sh", "-c", script])).code == 0
        listed = "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -v grep | grep -c {} || true"
        assert await sh(box, listed.format(f"[{mark[0]}]{mark[1:]}")) == "0\n"
        out = await box.exec(["sh", "-c", f"setsid sleep {mark} & wait"], seconds=2)
        assert out.timed_out
        assert await sh(box, "echo alive") == "alive\n"
    names = [path.read_bytes() for path in _command_lines()]
    assert not [name for name in names if mark.encode() in name]


def _command_lines() -> Iterator[Path]:
    for process in Path("/proc").glob("[0-9]*"):
        path = process / "cmdline"
        try:
            path.read_bytes()
        except OSError:
            continue
        yield path


@pytest.mark.parametrize("maker", ENTERED, indirect=True)
async def test_a_listener_of_ours_inside_is_the_only_thing_there_is_to_reach(
    maker: Maker, place: Path
):
    async with opened(maker, place) as box:
        with await box.listen(3128) as listener:
            listener.setblocking(True)
            talks = 'bash -c "exec 3<>/dev/tcp/127.0.0.1/3128; echo hello >&3"'
            assert await sh(box, talks) == ""
            met, _ = await anyio.to_thread.run_sync(listener.accept)
            assert met.recv(99) == b"hello\n"
            met.close()


@pytest.mark.parametrize("maker", [GVISOR], indirect=True)
async def test_there_is_no_listener_of_ours_inside_gvisor(maker: Maker, place: Path):
    async with opened(maker, place) as box:
        with pytest.raises(Unavailable):
            await box.listen(3128)
        assert "Linux version 4.4.0" in await sh(box, "cat /proc/version")


@pytest.mark.parametrize("maker", [DOCKER], indirect=True)
async def test_what_a_killed_daemon_left_is_removed_by_the_next(maker: Maker, place: Path):
    """Part of row OL-54."""
    first, spec = maker(place / "home"), BoxSpec(workspace=place / "workspace")
    left = await first.create(spec)
    (place / "home" / "boxes" / "half-made" / "lent").mkdir(parents=True)
    async with kept(maker(place / "home")) as second:
        box = await second.create(replace(spec, agent="other"))
        with pytest.raises(Unavailable):
            await left.exec(["true"])
        assert (await box.exec(["true"])).code == 0
        assert not list((place / "home" / "boxes").iterdir())
    await first.close()


def state_of(box: ContainerBox) -> str:
    return box.health.state


@pytest.mark.parametrize("maker", [DOCKER], indirect=True)
async def test_a_container_that_died_is_made_again_after_three_checks(maker: Maker, place: Path):
    """Part of row OL-59."""
    clock = FakeClock()
    async with kept(maker(place / "home")) as kind, anyio.create_task_group() as group:
        box = await kind.create(BoxSpec(workspace=place / "workspace"))
        await box.check(clock.now())
        assert state_of(box) == "healthy"
        signal.pidfd_send_signal(box.process, signal.SIGKILL)
        await anyio.wait_readable(box.process)
        group.start_soon(kind.watch, clock)
        for state in ("unhealthy", "unhealthy", "unknown", "healthy"):
            await anyio.wait_all_tasks_blocked()
            seen = box.health
            clock.advance(30)
            while box.health == seen:
                await anyio.wait_all_tasks_blocked()
            while state_of(box) == "restarting":
                await anyio.wait_all_tasks_blocked()
            assert state_of(box) == state
            assert (await box.stats()).health == box.health
        assert (await box.exec(["true"])).code == 0
        group.cancel_scope.cancel()


@pytest.mark.parametrize("maker", ENGINES, indirect=True)
async def test_the_walls_are_found_to_stand(maker: Maker, place: Path):
    async with kept(maker(place / "home")) as kind:
        found = await kind.probe()
    weak = {name for name, strength in found.walls.items() if strength == "none"}
    weak -= {"disk", "inodes"}  # soft ones: what else happens on this file system blurs them
    assert weak == ({"landlock"} if kind.name == "gvisor" else {"kernel boundary"})


@pytest.mark.parametrize("maker", ENGINES, indirect=True)
async def test_how_long_a_command_takes(
    maker: Maker, place: Path, capsys: pytest.CaptureFixture[str]
):
    """A figure to look at; nothing is promised about it here."""
    async with opened(maker, place) as box:
        times = [(await box.exec(["true"])).seconds for _ in range(20)]
    with capsys.disabled():
        print(f"\nwarm command: median {sorted(times)[10] * 1000:.1f} ms")
