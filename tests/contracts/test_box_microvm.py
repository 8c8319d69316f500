"""A machine keeps every promise of a box."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from holdfast.adapters.boxes.microvm.kind import MicroVMBoxes
from holdfast.ports.box import BoxSpec
from holdfast.testing.box_contract import CLAUSES, Clause
from tests.adapters import guest_kernel

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def kind(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[MicroVMBoxes]:
    """The first machine boots; those of the clauses wake up from its memory."""
    if why := guest_kernel.missing():
        pytest.skip(f"no machine can be booted: {why}")
    kind = MicroVMBoxes(guest_kernel.HOME, tcg=True)
    spec = BoxSpec(workspace=tmp_path_factory.mktemp("first"))
    await (await kind.create(spec)).destroy()
    yield kind
    await kind.close()


@pytest.mark.parametrize("clause", CLAUSES, ids=lambda clause: clause.__name__)
async def test_a_machine(clause: Clause, kind: MicroVMBoxes, tmp_path: Path) -> None:
    (tmp_path / "workspace").mkdir()
    await clause(kind, tmp_path / "workspace")
