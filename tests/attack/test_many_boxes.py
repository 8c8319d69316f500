"""A model that proposes hundreds of commands in one turn does not get hundreds of boxes."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from holdfast.adapters.boxes.bubblewrap import BubblewrapBox
from holdfast.ports.box import BoxSpec

pytestmark = pytest.mark.anyio
# Each command is there while it runs, says how many are, and leaves.
SCRIPT = "touch $0; sleep 0.1; ls | wc -l; rm $0"


async def test_commands_wait_for_their_turn(tmp_path: Path) -> None:
    box, spec = BubblewrapBox(at_once=3), BoxSpec(workspace=tmp_path)
    seen: list[int] = []

    async def run(number: int) -> None:
        out = await box.run(["sh", "-c", SCRIPT, f"here{number}"], spec=spec)
        assert out.code == 0, out
        seen.append(int(out.stdout))

    async with anyio.create_task_group() as group:
        for number in range(12):
            group.start_soon(run, number)
    assert len(seen) == 12
    assert max(seen) <= 3


async def test_a_command_that_waits_can_be_cancelled_and_gives_its_turn_to_nobody(
    tmp_path: Path,
) -> None:
    box, spec = BubblewrapBox(at_once=1), BoxSpec(workspace=tmp_path)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(_long, box, spec)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        assert (await box.run(["echo", "free"], spec=spec)).stdout == b"free\n"


async def _long(box: BubblewrapBox, spec: BoxSpec) -> None:
    await box.run(["sleep", "100"], spec=spec)
