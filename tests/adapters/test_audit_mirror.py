"""The audit as a plain file: behind the database, never with a gap, nothing twice."""

from __future__ import annotations

import stat
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from holdfast.adapters.audit.mirror import Mirror
from holdfast.adapters.audit.signing import open_signer, signed
from holdfast.adapters.stores.audit_memory import MemoryAudit
from holdfast.config import load
from holdfast.core.audit.fact import Fact
from holdfast.core.error import Broken, Invalid
from holdfast.runtime.proof import prove_file

pytestmark = pytest.mark.anyio


def told(count: int, begin: int = 0) -> MemoryAudit:
    audit = MemoryAudit()
    for number in range(begin, begin + count):
        audit.tell(Fact(kind="call.judged", at=number, rule=f"rule {number}" * 50))
    return audit


def is_whole(path: Path, count: int) -> bool:
    proof = prove_file(path, signed, mirror=True)
    return proof.ok and proof.size == count


async def test_every_record_is_in_it_and_only_its_owner_reads_it(tmp_path: Path):
    """Part of row GC-89g."""
    path, audit = tmp_path / "audit.jsonl", told(3)
    with anyio.fail_after(20):
        assert await Mirror(path, audit).catch_up() == 3
        audit.tell(Fact(kind="house.stopped", at=9))
        assert await Mirror(path, audit).catch_up() == 4
    assert is_whole(path, 4)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_killed_at_any_byte_it_goes_on_without_a_gap_and_nothing_twice(tmp_path: Path):
    path, audit = tmp_path / "audit.jsonl", told(3)
    with anyio.fail_after(40):
        await Mirror(path, audit).catch_up()
        whole = path.read_bytes()
        for size in range(0, len(whole), 7):
            path.write_bytes(whole[:size])
            await Mirror(path, audit).catch_up()
            assert path.read_bytes() == whole


async def test_it_follows_while_the_audit_grows(tmp_path: Path):
    path, audit = tmp_path / "audit.jsonl", told(1)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(Mirror(path, audit).run)
            for number in range(5):
                while not path.exists() or path.read_bytes().count(b"\n") < number + 1:
                    await anyio.lowlevel.checkpoint()
                audit.tell(Fact(kind="house.started", at=number))
            group.cancel_scope.cancel()


async def test_that_of_another_audit_is_put_aside_and_kept(tmp_path: Path):
    """After a backup was restored, the file knows more than the audit: both stay."""
    path = tmp_path / "audit.jsonl"
    with anyio.fail_after(20):
        await Mirror(path, told(5)).catch_up()
        other = path.read_bytes()
        await Mirror(path, told(5, begin=1)).catch_up()
        await Mirror(path, told(2)).catch_up()
    assert (tmp_path / "audit.jsonl.1").read_bytes() == other
    assert is_whole(tmp_path / "audit.jsonl.2", 5)
    assert is_whole(path, 2)


async def test_what_is_no_mirror_is_put_aside(tmp_path: Path):
    path = tmp_path / "audit.jsonl"
    path.write_text("somebody's notes\n")
    with anyio.fail_after(20):
        await Mirror(path, told(2)).catch_up()
    assert (tmp_path / "audit.jsonl.1").read_text() == "somebody's notes\n"
    assert is_whole(path, 2)


def test_the_key_is_made_once_for_its_owner_alone(tmp_path: Path):
    path = tmp_path / "audit.key"
    first = open_signer(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert open_signer(path).key == first.key
    assert first.check(first.key, b"said", first.sign(b"said"))
    assert not first.check(first.key, b"not said", first.sign(b"said"))
    assert not first.check(b"", b"said", first.sign(b"said"))


def test_a_key_that_others_can_read_or_that_is_none_signs_nothing(tmp_path: Path):
    path = tmp_path / "audit.key"
    open_signer(path)
    path.chmod(0o644)
    with pytest.raises(Broken, match="can be opened by others"):
        open_signer(path)
    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(Broken, match="not the key"):
        open_signer(path)


@pytest.mark.parametrize("content", ["a key without an end of line", "one = 1\ntwo = 2", "{}\n{"])
async def test_what_is_no_mirror_is_put_aside_with_every_byte(tmp_path: Path, content: str):
    path, audit = tmp_path / "audit.jsonl", told(3)
    path.write_text(content)
    with anyio.fail_after(20):
        await Mirror(path, audit).catch_up()
    assert is_whole(path, 3)
    assert (tmp_path / "audit.jsonl.1").read_text() == content


@pytest.mark.parametrize(
    "name", ["config.toml", "holdfast.db", "audit.key", "../audit.jsonl", "/tmp/audit.jsonl", "."]
)
def test_a_mirror_cannot_be_any_other_file(tmp_path: Path, name: str):
    environment = {"HOLDFAST_HOME": str(tmp_path), "HOLDFAST_AUDIT_MIRROR": name}
    with pytest.raises(Invalid, match=r"audit.mirror.*ends with .jsonl"):
        load(environment=environment)
