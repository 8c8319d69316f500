"""Every channel keeps every promise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import anyio
import msgspec
import pytest

from holdfast.adapters.channels.outbox import Outbox
from holdfast.core.view import Summary
from holdfast.testing.channel_contract import CLAUSES, Clause


@pytest.mark.parametrize("clause", CLAUSES, ids=lambda clause: clause.__name__)
def test_the_outbox_keeps_its_promise(clause: Clause, tmp_path: Path):
    async def arrived() -> Sequence[Summary]:
        found = [path async for path in anyio.Path(tmp_path).glob("*.json")]
        return [msgspec.json.decode(await path.read_bytes(), type=Summary) for path in found]

    anyio.run(clause, Outbox(tmp_path), arrived)
