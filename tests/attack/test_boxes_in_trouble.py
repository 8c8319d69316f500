"""Boxes when what they stand on is taken away: the porter, the workspace, the way out, memory."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from holdfast.adapters.boxes import namespaced, porting
from holdfast.adapters.boxes.bubblewrap import BubblewrapBoxes
from holdfast.adapters.boxes.files import remove_tree
from holdfast.adapters.boxes.pool import Pool
from holdfast.core.error import Unavailable
from holdfast.ports.box import Box, BoxSpec
from holdfast.ports.egress import Pass

pytestmark = pytest.mark.anyio


async def test_a_porter_that_stands_still_stops_nobody_else_and_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A socket that nobody reads is full after some hundred requests, and whoever writes waits."""
    monkeypatch.setattr(namespaced, "_SECONDS", 1.0)
    kind = BubblewrapBoxes()
    box = await kind.create(BoxSpec(workspace=tmp_path))
    [before] = _porters()
    os.kill(before, signal.SIGSTOP)
    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            for _ in range(400):
                group.start_soon(_tried, box)
        monkeypatch.undo()
        assert (await box.exec(["echo", "on"])).stdout == b"on\n"
    assert before not in _porters()
    await kind.close()


async def test_a_porter_that_is_killed_is_replaced_by_one_and_only_one(tmp_path: Path) -> None:
    kind = BubblewrapBoxes()
    box = await kind.create(BoxSpec(workspace=tmp_path))
    with anyio.fail_after(60):
        for _ in range(3):
            [porter] = _porters()
            watched = os.pidfd_open(porter)
            os.kill(porter, signal.SIGKILL)
            await anyio.wait_readable(watched)
            os.close(watched)
            async with anyio.create_task_group() as group:
                for _ in range(8):
                    group.start_soon(_tried, box)
        assert (await box.exec(["echo", "on"])).stdout == b"on\n"
    await kind.close()
    assert _porters() == []


async def test_a_workspace_that_vanishes_ends_the_command_in_words(tmp_path: Path) -> None:
    kind, workspace = BubblewrapBoxes(), tmp_path / "workspace"
    workspace.mkdir()
    box = await kind.create(BoxSpec(workspace=workspace))
    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(_removed, workspace)
            out = await box.exec(["sh", "-c", "touch started; sleep 20"])
            assert out.stopped == "its workspace is gone"
    await kind.close()


async def test_no_spare_can_be_made_and_the_house_is_kept_all_the_same(tmp_path: Path) -> None:
    """The workspace is out of reach once the command is done."""
    pool, above = Pool(_OutOfReach()), tmp_path / "above"
    (above / "workspace").mkdir(parents=True)
    spec = BoxSpec(workspace=above / "workspace")
    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(pool.run)
            async with pool.lend("one", spec) as box:
                assert (await box.exec(["true"])).code == 0
            await anyio.wait_all_tasks_blocked()
            async with pool.lend("one", spec) as box:
                assert (await box.exec(["true"])).code == 0
            group.cancel_scope.cancel()
    await pool.close()


async def test_a_box_whose_way_out_fails_is_refused_and_not_kept(tmp_path: Path) -> None:
    ways: list[str] = []

    @asynccontextmanager
    async def way() -> AsyncGenerator[Pass]:
        ways.append("tried")
        if len(ways) == 1:
            raise Unavailable("nobody listens")
        yield Pass(environment={"WAY": "out"})

    pool, spec = Pool(BubblewrapBoxes(), lambda box, owner: way()), BoxSpec(workspace=tmp_path)
    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(pool.run)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(Unavailable, match="no way out: nobody listens"):
                await _said(pool, spec)
            assert await _said(pool, spec) == b"out\n"
            group.cancel_scope.cancel()
    await pool.close()


async def test_a_command_that_is_cancelled_while_its_way_out_is_made_leaves_no_box_without_one(
    tmp_path: Path,
) -> None:
    going = anyio.Event()

    @asynccontextmanager
    async def way(_box: Box) -> AsyncGenerator[Pass]:
        if not going.is_set():
            going.set()
            await anyio.sleep_forever()
        yield Pass(environment={"WAY": "out"})

    pool, spec = Pool(BubblewrapBoxes(), lambda box, owner: way(box)), BoxSpec(workspace=tmp_path)
    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(pool.run)
            await anyio.wait_all_tasks_blocked()
            async with anyio.create_task_group() as first:
                first.start_soon(_said, pool, spec)
                await going.wait()
                first.cancel_scope.cancel()
            assert await _said(pool, spec) == b"out\n"
            group.cancel_scope.cancel()
    await pool.close()


async def test_a_systemd_that_makes_no_scope_costs_only_the_control_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(porting, "_scope", lambda: ["/bin/false"])
    kind = BubblewrapBoxes()
    with anyio.fail_after(60):
        box = await kind.create(BoxSpec(workspace=tmp_path))
        assert (await box.exec(["echo", "on"])).stdout == b"on\n"
    await kind.close()


async def test_when_memory_runs_out_what_runs_in_a_box_goes_first(tmp_path: Path) -> None:
    kind = BubblewrapBoxes()
    box = await kind.create(BoxSpec(workspace=tmp_path))
    out = await box.exec(["cat", "/proc/self/oom_score_adj", "/proc/1/oom_score_adj"])
    await kind.close()
    assert out.stdout == b"500\n500\n"


def test_a_folder_that_a_command_has_made_too_deep_is_removed(tmp_path: Path) -> None:
    """The scratch of a degraded box: what could not be removed ended the daemon."""
    (scratch := tmp_path / "scratch").mkdir()
    here = os.open(scratch, os.O_PATH)
    for _ in range(1_500):
        os.mkdir("d", dir_fd=here)
        above, here = here, os.open("d", os.O_PATH, dir_fd=here)
        os.close(above)
    os.close(here)
    remove_tree(scratch)
    assert not scratch.exists()


class _OutOfReach(BubblewrapBoxes):
    """Makes one box; after that nobody may look into the workspace."""

    made = 0

    async def create(self, spec: BoxSpec) -> namespaced.NamespacedBox:
        self.made += 1
        if self.made > 1:
            raise PermissionError(13, "Permission denied", str(spec.workspace))
        return await super().create(spec)


async def _said(pool: Pool, spec: BoxSpec) -> bytes:
    async with pool.lend("one", spec) as box:
        return (await box.exec(["sh", "-c", "echo $WAY"])).stdout


async def _tried(box: Box) -> None:
    try:
        out = await box.exec(["true"])
    except Unavailable:
        return
    # Hundreds at once may be more than there may be processes.
    assert out.code == 0 or b"temporarily unavailable" in out.stderr, out


async def _removed(workspace: Path) -> None:
    while not (workspace / "started").exists():
        await anyio.sleep(0.01)
    shutil.rmtree(workspace)


def _porters() -> list[int]:
    """Those that this process has started."""
    numbers = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    return [number for number in numbers if _is_porter(number)]


def _is_porter(number: int) -> bool:
    try:
        parent = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[1]
        return int(parent) == os.getpid() and b"porter.serving" in _words(number)
    except OSError:
        return False


def _words(number: int) -> bytes:
    return Path(f"/proc/{number}/cmdline").read_bytes()


async def test_who_is_cancelled_while_a_way_out_is_laid_takes_nobody_along(tmp_path: Path) -> None:
    laying = anyio.Event()

    @asynccontextmanager
    async def stuck() -> AsyncGenerator[Pass]:
        laying.set()
        try:
            await anyio.sleep_forever()
        finally:
            raise Unavailable("the box is gone meanwhile")
        yield Pass(environment={})

    @asynccontextmanager
    async def laid() -> AsyncGenerator[Pass]:
        yield Pass(environment={"WAY": "out"})

    ways = {"one": stuck, "two": laid}
    pool = Pool(BubblewrapBoxes(), lambda _, owner: ways[owner]())
    spec = BoxSpec(workspace=tmp_path)
    with anyio.fail_after(60):
        async with anyio.create_task_group() as house:
            house.start_soon(pool.run)
            await anyio.wait_all_tasks_blocked()
            async with anyio.create_task_group() as task:
                task.start_soon(_lent, pool, spec)
                await laying.wait()
                task.cancel_scope.cancel()
            async with pool.lend("two", spec) as box:
                assert (await box.exec(["printenv", "WAY"])).stdout == b"out\n"
            house.cancel_scope.cancel()
    await pool.close()


async def _lent(pool: Pool, spec: BoxSpec) -> None:
    async with pool.lend("one", spec):
        pass
