"""What is done to an exported audit is found, and where; without a daemon and without a home."""

from __future__ import annotations

import random
from pathlib import Path

import anyio
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.adapters.audit.signing import FileSigner, signed
from holdfast.adapters.stores.audit_memory import MemoryAudit
from holdfast.assembly.command import main
from holdfast.core.audit.fact import Fact
from holdfast.runtime.audit import exported
from holdfast.runtime.bundle import fingerprint
from holdfast.runtime.proof import prove, prove_file
from holdfast.testing import tamper

START = 1_790_000_000_000


def export_of(audit: MemoryAudit, signer: FileSigner) -> bytes:
    async def all_of_it() -> bytes:
        return b"".join([piece async for piece in exported(audit, signer, START)])

    return anyio.run(all_of_it)


def filled(count: int, seed: int = 1) -> tuple[MemoryAudit, FileSigner]:
    audit, signer = MemoryAudit(), FileSigner(bytes([seed]) * 32)
    audit.signer = signer
    for number in range(count):
        audit.tell(Fact(kind="call.judged", at=START + number, rule=f"rule {number}"))
    return audit, signer


EXPORT = anyio.run(tamper.sound, 60)


@pytest.mark.parametrize("name", tamper.WAYS)
def test_all_that_is_done_to_a_small_audit_is_found_in_its_place(name: str):
    export = tamper.Export(EXPORT)
    tries = list(tamper.WAYS[name](export, random.Random(7)))
    assert tries
    for tried in tries:
        finding = export.first_wrong(tried)
        assert finding is not None and tried.right(finding), f"{tried.what}: {finding}"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_all_that_is_done_to_ten_thousand_records_is_found_in_its_place():
    """Every byte flipped, every place cut, every line deleted, put in, swapped, forged."""
    figures = tamper.tampered(10_000)
    assert all(figure.holds for figure in figures.values()), figures
    assert figures["flip a byte"].tried > 2_000_000


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_other_bytes_prove_the_same(data: st.DataObject):
    """Anything in place of any part of the file."""
    begin = data.draw(st.integers(0, len(EXPORT)))
    end = data.draw(st.integers(begin, min(len(EXPORT), begin + 600)))
    put = data.draw(st.binary(max_size=40))
    other = EXPORT[:begin] + put + EXPORT[end:]
    proof = prove(iter(tamper.split(other)), signed)[0]
    assert proof.ok == (other == EXPORT)


def test_a_sound_export_is_proved_and_says_who_signed(tmp_path: Path):
    """Part of row GC-89g."""
    audit, signer = filled(5)
    path = tmp_path / "audit.jsonl"
    path.write_bytes(export_of(audit, signer))
    proof = prove_file(path, signed, key=fingerprint(signer.key.hex()))
    assert (proof.ok, proof.size, proof.signed) == (True, 5, 5)
    other = prove_file(path, signed, key=fingerprint("ab" * 32)).finding
    assert other and (other.what, "not by" in other.says) == ("untrusted", True)


def test_one_that_was_signed_anew_with_another_key_is_told_by_its_fingerprint(tmp_path: Path):
    audit, signer = filled(5)
    forged, thief = filled(5, seed=9)
    assert export_of(audit, signer) != export_of(forged, thief)
    path = tmp_path / "audit.jsonl"
    path.write_bytes(export_of(forged, thief))
    assert prove_file(path, signed).ok
    assert not prove_file(path, signed, key=fingerprint(signer.key.hex())).ok


def test_one_cut_back_to_an_older_state_is_told_by_a_checkpoint_kept_elsewhere(tmp_path: Path):
    audit, signer = filled(3)
    older, path = export_of(audit, signer), tmp_path / "audit.jsonl"
    audit.tell(Fact(kind="house.stopped", at=START))
    kept = anyio.run(audit.checkpoint, START)
    path.write_bytes(older)
    assert prove_file(path, signed).ok
    finding = prove_file(path, signed, kept=kept).finding
    assert finding and (finding.what, finding.record) == ("cut off", 4)
    path.write_bytes(export_of(audit, signer))
    assert prove_file(path, signed, kept=kept).ok


def test_the_command_needs_no_home_and_says_what_is_wrong_with_exit_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    audit, signer = filled(5)
    sound, path = export_of(audit, signer), tmp_path / "audit.jsonl"
    nowhere = ["--home", str(tmp_path / "nowhere"), "audit-verify", str(path)]
    path.write_bytes(sound)
    assert main(nowhere) == 0
    assert msgspec.json.decode(capsys.readouterr().out)["ok"] is True
    path.write_bytes(sound.replace(b"rule 2", b"rule 9"))
    assert main(nowhere) == 1
    found = msgspec.json.decode(capsys.readouterr().out)["finding"]
    assert (found["what"], found["record"], found["line"]) == ("changed", 3, 4)
    assert not (tmp_path / "nowhere").exists()
    path.unlink()
    assert main(nowhere) == 4
    assert "cannot be read" in capsys.readouterr().err
    (tmp_path / "old").write_text("{}")
    assert main([*nowhere, "--checkpoint", str(tmp_path / "old")]) == 2


def test_a_record_that_was_emptied_after_the_export_is_missed():
    """Only hashes may be left of a record, but not of more than when it was sealed."""
    lines = tamper.split(EXPORT)
    there = [n for n, text in enumerate(lines) if b'"body":{' in text]
    assert len(there) < len(lines) - 10
    for place in there:
        head = lines[place].partition(b'"body":')[0]
        emptied = [*lines[:place], head + b'"body":null}\n', *lines[place + 1 :]]
        finding = prove(iter(emptied), signed)[0].finding
        assert finding and (finding.what, finding.line) == ("changed", len(lines))
        assert "only the hashes are left" in finding.says


def test_a_mirror_is_proved_as_a_chain_and_passes_for_no_export(tmp_path: Path):
    audit, signer = filled(4)
    lines = [text for text in tamper.split(export_of(audit, signer)) if b'{"seq"' in text]
    path = tmp_path / "mirror.jsonl"
    path.write_bytes(b"".join(lines))
    proof = prove_file(path, signed, mirror=True)
    assert (proof.ok, proof.size, proof.signed) == (True, 4, 0)
    assert not prove_file(path, signed).ok
    path.write_bytes(b"".join(lines[:1] + lines[2:]))
    finding = prove_file(path, signed, mirror=True).finding
    assert finding and (finding.what, finding.record) == ("removed", 2)
