"""What parity.toml says and what the tests prove are the same."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts.parity import naming, proofs, read_mentions, read_rows, sync

ROOT = Path(__file__).resolve().parent.parent
KEYS = {
    "done": {"status", "issue", "what", "tests"},
    "planned": {"status", "issue", "what", "tests"},
    "declined": {"status", "issue", "what", "reason"},
}


def complaint(row: str, entry: Mapping[str, Any], tests: list[str], *, whole: bool) -> str | None:
    status = entry.get("status")
    if status not in KEYS or not entry.keys() <= KEYS[status]:
        return f"{row}: unknown status or key in {dict(entry)}"
    if status == "declined" and not (str(entry.get("reason", "")).strip() and not tests):
        return f"{row}: declined without a reason, or named by {tests}"
    if status != "declined" and entry.get("tests", []) != tests:
        return f"{row}: the docstrings say {tests}, parity.toml says {entry.get('tests', [])}"
    if status == "done" and not whole:
        return f"{row}: done, but no test proves the whole row"
    if status == "planned" and whole:
        return f"{row}: proved by {tests}, but still planned"
    return None


def test_every_row_has_exactly_one_entry():
    wanted = (ROOT / "tests" / "parity_rows.txt").read_text(encoding="utf-8").split()
    assert len(wanted) == len(set(wanted)) == 598
    assert list(read_rows(ROOT)) == wanted


def test_every_row_stands_on_a_line_of_its_own_and_no_other_word_looks_like_a_status():
    for line in (ROOT / "parity.toml").read_text(encoding="utf-8").splitlines():
        free = re.sub(r'status = "\w+"|tests = \[[^\]]*\]|reason = "[^"]*"', "", line)
        assert not re.search("done|planned|declined", free), line
        assert not free.strip() or free.startswith(("#", '"')), line


def test_every_row_says_what_it_is_in_at_most_eight_words():
    for row, entry in read_rows(ROOT).items():
        assert 1 <= len(entry["what"].split()) <= 8, row
        assert isinstance(entry["issue"], int), row


def test_done_rows_are_proved_and_proved_rows_are_done():
    found = list(proofs(ROOT))
    wrong: list[str] = []
    for row, entry in read_rows(ROOT).items():
        tests, whole = naming(row, found)
        said = complaint(row, entry, tests, whole=whole)
        if said:
            wrong.append(said)
    assert not wrong, "run scripts/parity.py --sync:\n" + "\n".join(wrong)


def test_every_row_that_a_docstring_names_exists_and_is_named_in_a_form_that_is_read():
    rows = read_rows(ROOT)
    for proof in proofs(ROOT):
        assert not proof.loose, f"{proof.test}: write `Row X` or `Rows X, Y`: {set(proof.loose)}"
        assert proof.whole | proof.part <= rows.keys(), proof.test


def test_mentions_are_read_in_every_form():
    one, two, three = "OC-101", "OC-102", "GC-89a"
    said = f"Rows {one}, {two} and\n    {three}. Part of row OK-10, unlike {'OL'}-11."
    proof = read_mentions("tests/test_x.py::test_y", said)
    assert proof.whole == {one, two, three}
    assert proof.part == {"OK-10"}
    assert proof.loose == {"OL-11"}


def test_sync_writes_what_the_docstrings_prove(tmp_path: Path):
    (tmp_path / "tests").mkdir()
    proof = tmp_path / "tests" / "test_x.py"
    proof.write_text('async def test_a():\n    """Row GC-01. Part of row GC-02."""\n')
    table = tmp_path / "parity.toml"
    lines = [
        '"GC-01" = { status = "planned", issue = 2, what = "one" }',
        '"GC-02" = { status = "planned", issue = 2, what = "two" }',
        '"GC-03" = { status = "declined", issue = 2, what = "three", reason = "no" }',
    ]
    table.write_text("# top\n" + "\n".join(lines) + "\n")
    assert sync(tmp_path) == ["GC-01", "GC-02"]
    rows = read_rows(tmp_path)
    assert rows["GC-01"]["status"] == "done"
    assert rows["GC-02"]["status"] == "planned"
    assert rows["GC-01"]["tests"] == rows["GC-02"]["tests"] == ["tests/test_x.py::test_a"]
    assert sync(tmp_path) == []
    proof.unlink()
    assert sync(tmp_path) == ["GC-01", "GC-02"]
    assert table.read_text() == "# top\n" + "\n".join(lines) + "\n"
