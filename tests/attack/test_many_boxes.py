"""A model that proposes hundreds of commands in one turn does not get hundreds of boxes."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from holdfast.adapters.boxes.bubblewrap import BubblewrapBoxes
from holdfast.adapters.boxes.pool import Pool
from holdfast.ports.box import BoxSpec

pytestmark = pytest.mark.anyio
# Each command is there while it runs, says how many are, and leaves.
SCRIPT = "touch $0; sleep 0.1; ls | wc -l; rm $0"


async def test_commands_wait_for_their_turn(tmp_path: Path) -> None:
    pool, spec = Pool(BubblewrapBoxes(), at_once=3), BoxSpec(workspace=tmp_path)
    seen: list[int] = []

    async def run(number: int) -> None:
        async with pool.lend(f"task{number}", spec) as box:
            out = await box.exec(["sh", "-c", SCRIPT, f"here{number}"])
        assert out.code == 0, out
        seen.append(int(out.stdout))

    async with anyio.create_task_group() as group:
        for number in range(12):
            group.start_soon(run, number)
    await pool.close()
    assert len(seen) == 12
    assert max(seen) <= 3


async def test_a_command_that_waits_can_be_cancelled_and_gives_its_turn_to_nobody(
    tmp_path: Path,
) -> None:
    pool, spec = Pool(BubblewrapBoxes(), at_once=1), BoxSpec(workspace=tmp_path)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(_long, pool, spec)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        async with pool.lend("another", spec) as box:
            assert (await box.exec(["echo", "free"])).stdout == b"free\n"
    await pool.close()


async def _long(pool: Pool, spec: BoxSpec) -> None:
    async with pool.lend("task", spec) as box:
        await box.exec(["sleep", "100"])


async def test_one_task_finds_what_it_left_and_another_does_not(tmp_path: Path) -> None:
    pool, spec = Pool(BubblewrapBoxes()), BoxSpec(workspace=tmp_path)
    async with pool.lend("one", spec) as box:
        await box.exec(["sh", "-c", "echo kept >/tmp/note"])
    async with pool.lend("one", spec) as box:
        assert (await box.exec(["cat", "/tmp/note"])).stdout == b"kept\n"
    async with pool.lend("two", spec) as box:
        assert (await box.exec(["ls", "/tmp/note"])).code != 0
    await pool.release("one")
    async with pool.lend("one", spec) as box:
        assert (await box.exec(["ls", "/tmp/note"])).code != 0
    await pool.close()


async def test_a_spare_is_ready_for_the_next_task(tmp_path: Path) -> None:
    pool, spec = Pool(BubblewrapBoxes()), BoxSpec(workspace=tmp_path)
    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(pool.run)
            async with pool.lend("one", spec) as box:
                await box.exec(["true"])
            await pool.release("one")
            while not (spares := [one for one in await pool.all() if one.state == "spare"]):
                await anyio.lowlevel.checkpoint()
            async with pool.lend("two", spec):
                (used,) = await pool.all()
                assert (used.id, used.owner, used.state) == (spares[0].id, "two", "in use")
            group.cancel_scope.cancel()
    await pool.close()


async def test_a_box_of_a_server_takes_no_spare_away(tmp_path: Path) -> None:
    pool, spec = Pool(BubblewrapBoxes()), BoxSpec(workspace=tmp_path)
    other = BoxSpec(workspace=tmp_path, environment={"A": "1"})
    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(pool.run)
            async with pool.lend("one", spec):
                pass
            while not (spares := [one for one in await pool.all() if one.state == "spare"]):
                await anyio.lowlevel.checkpoint()
            async with pool.lend("one mcp git", other):
                pass
            await pool.release("one mcp git")
            await anyio.wait_all_tasks_blocked()
            still = [one.id for one in await pool.all() if one.state == "spare"]
            assert still == [one.id for one in spares]
            group.cancel_scope.cancel()
    await pool.close()


async def test_boxes_that_nobody_uses_are_gone_in_the_end(tmp_path: Path) -> None:
    pool, spec = Pool(BubblewrapBoxes(), idle_seconds=0.0), BoxSpec(workspace=tmp_path)
    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(pool.run)
            async with pool.lend("one", spec) as box:
                await box.exec(["true"])
            while await pool.all():
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
    await pool.close()
