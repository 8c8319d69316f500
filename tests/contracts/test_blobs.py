"""Every blob store keeps every promise."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from holdfast.adapters.blobs.files import FileBlobs
from holdfast.adapters.blobs.memory import MemoryBlobs
from holdfast.testing.blobs_contract import CLAUSES, Clause


@pytest.mark.parametrize("kind", ["files", "memory"])
@pytest.mark.parametrize("clause", CLAUSES, ids=lambda clause: clause.__name__)
def test_a_blob_store_keeps_its_promise(clause: Clause, kind: str, tmp_path: Path):
    blobs = FileBlobs(tmp_path / "blobs") if kind == "files" else MemoryBlobs()
    anyio.run(clause, blobs)
