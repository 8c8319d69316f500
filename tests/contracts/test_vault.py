"""Every vault keeps every promise."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.adapters.vaults.files import FileVault
from holdfast.adapters.vaults.memory import MemoryVault
from holdfast.testing.vault_contract import CLAUSES, Clause


@pytest.mark.parametrize("kind", ["files", "memory"])
@pytest.mark.parametrize("clause", CLAUSES, ids=lambda clause: clause.__name__)
def test_a_vault_keeps_its_promise(clause: Clause, kind: str, tmp_path: Path):
    clause(FileVault(tmp_path / "vault") if kind == "files" else MemoryVault())
