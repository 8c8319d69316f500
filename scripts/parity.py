#!/usr/bin/env python3
"""Count the parity rows, or with --sync write into parity.toml what the tests' docstrings prove.

A test proves rows by naming them in its docstring: `Row GC-01` or `Rows GC-01, GC-02 and OK-80`.
`Part of row GC-02` lists the test without calling the row done.
"""

import ast
import json
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

ROOT = Path(__file__).resolve().parent.parent
ID = r"(?:GC|KV|OC|OK|OL)-\d+[a-z]?"
MENTION = re.compile(rf"\b((?:part of )?rows?) ({ID}(?:(?:, and |, | and ){ID})*)", re.IGNORECASE)
ROW_LINE = re.compile(rf'"(?P<id>{ID})" = \{{.*\}}')

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """That a test names a row, wholly or in part; `loose` are ids it names in no form we read."""

    test: str
    whole: frozenset[str]
    part: frozenset[str]
    loose: frozenset[str]


def proofs(root: Path) -> Iterator[Proof]:
    for path in sorted((root / "tests").rglob("test_*.py")):
        name = path.relative_to(root).as_posix()
        for test, said in docstrings(ast.parse(path.read_text(encoding="utf-8")), f"{name}::"):
            yield read_mentions(test, said)


def docstrings(tree: ast.Module | ast.ClassDef, prefix: str) -> Iterator[tuple[str, str]]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield from docstrings(node, f"{prefix}{node.name}::")
        elif is_test(node):
            yield prefix + node.name, ast.get_docstring(node) or ""


def is_test(node: ast.stmt) -> TypeGuard[ast.FunctionDef | ast.AsyncFunctionDef]:
    function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    return function and node.name.startswith("test_")


def read_mentions(test: str, said: str) -> Proof:
    whole: set[str] = set()
    part: set[str] = set()
    said = " ".join(said.split())
    for match in MENTION.finditer(said):
        named = part if match[1].lower().startswith("part") else whole
        named.update(re.findall(ID, match[2]))
    loose = set(re.findall(ID, said)) - whole - part
    return Proof(
        test=test, whole=frozenset(whole), part=frozenset(part - whole), loose=frozenset(loose)
    )


def read_rows(root: Path) -> dict[str, Row]:
    return tomllib.loads((root / "parity.toml").read_text(encoding="utf-8"))


def naming(row: str, found: list[Proof]) -> tuple[list[str], bool]:
    """The tests that name a row, and whether one of them proves it whole."""
    tests = sorted(proof.test for proof in found if row in proof.whole | proof.part)
    return tests, any(row in proof.whole for proof in found)


def write_row(row: str, entry: Row, tests: list[str], *, whole: bool) -> str:
    parts = [f'status = "{"done" if whole else "planned"}"', f"issue = {entry['issue']}"]
    if tests:
        parts.append(f"tests = {json.dumps(tests)}")
    parts.append(f"what = {json.dumps(entry['what'], ensure_ascii=False)}")
    return f'"{row}" = {{ {", ".join(parts)} }}'


def sync(root: Path) -> list[str]:
    """Make every row say what the docstrings prove; returns the ids of the rows it changed."""
    rows, found = read_rows(root), list(proofs(root))
    changed: list[str] = []
    lines = (root / "parity.toml").read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        match = ROW_LINE.fullmatch(line)
        if match is None or rows[match["id"]]["status"] == "declined":
            continue
        tests, whole = naming(match["id"], found)
        lines[number] = write_row(match["id"], rows[match["id"]], tests, whole=whole)
        if lines[number] != line:
            changed.append(match["id"])
    (root / "parity.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return changed


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--sync"]):
        sys.stderr.write("usage: scripts/parity.py [--sync]\n")
        return 2
    if arguments:
        changed = sync(ROOT)
        print(f"changed {len(changed)}: {' '.join(changed)}" if changed else "nothing to change")
    rows = read_rows(ROOT).values()
    for title, some in [("all", list(rows)), ("issue 2", [x for x in rows if x["issue"] == 2])]:
        counts = Counter(row["status"] for row in some)
        told = ", ".join(f"{status} {counts[status]}" for status in ("done", "planned", "declined"))
        print(f"{title}: {told} of {len(some)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
