"""The mutants of the gate: made as they should be, and of a part of them none survives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from scripts.mutants import EQUIVALENT, MODULES, TESTS, Loader, Planter

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = """
LIMIT = 3 < 4

def may(who, rules, now):
    if who in rules and not rules.closed:
        return True
    if now < rules.until:
        refuse(who)
        raise ValueError("late")
    return any(one == who for one in now if one)
"""


def changes(source: str) -> list[str]:
    planter = Planter("x.py", 1)
    planter.planted(source)
    return [one.change for one in planter.mutants]


def test_every_check_of_a_function_is_turned_round_removed_and_never_what_is_outside():
    """Each condition, each part of it, each refusal, once each."""
    wanted = [
        "who not in rules for who in rules",
        "rules.closed for not rules.closed",
        "who in rules or not rules.closed for who in rules and (not rules.closed)",
        "without who in rules: who in rules and (not rules.closed)",
        "without not rules.closed: who in rules and (not rules.closed)",
        "not (who in rules and (not rules.closed))",
        "True for who in rules and (not rules.closed)",
        "False for who in rules and (not rules.closed)",
        "False for True",
        "now >= rules.until for now < rules.until",
        "now <= rules.until for now < rules.until",
        "without `refuse(who)`",
        "without `raise ValueError('late')`",
        "True for now < rules.until",
        "False for now < rules.until",
        "one != who for one == who",
        "not (one)",
        "True for one",
        "False for one",
        "all((one == who for one in now if one)) for any((one == who for one in now if one))",
    ]
    assert sorted(changes(EXAMPLE)) == sorted(wanted)


def test_without_a_mutant_turned_on_a_module_does_what_it_says():
    loader = Loader(MODULES)
    for module in MODULES:
        path = ROOT / "src" / "holdfast" / module
        planter = Planter(module, 1)
        compile(planter.planted(path.read_text(encoding="utf-8")), str(path), "exec")
        assert planter.mutants or module.endswith(("presets.py", "standing.py")), module
    assert loader.mutants == []


def test_what_is_excused_has_a_reason_and_is_still_a_mutant():
    rows = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8"))["equivalent"]
    names: set[str] = set()
    for module in MODULES:
        planter = Planter(module, 1)
        path = ROOT / "src" / "holdfast" / module
        planter.planted(path.read_text(encoding="utf-8"))
        names |= {one.name for one in planter.mutants}
    for row in rows:
        assert row["mutant"] in names, f"no longer there: {row['mutant']}"
        assert len(row["why"]) > 20


def test_every_module_of_the_gate_is_among_those_that_are_mutated():
    gate = (ROOT / "src" / "holdfast" / "core" / "gate").glob("[a-z]*.py")
    assert {f"core/gate/{path.name}" for path in gate} <= set(MODULES)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_mutant_of_a_sample_of_what_judges_and_approves_survives():
    """Each 16th of the pure modules; `python scripts/mutants.py` does all of all, and says which
    survive."""
    pure = [one for one in MODULES if one.startswith("core/")]
    words = [*pure, "--every", "16", "--tests", *(one for one in TESTS if "/core/" in one)]
    around = {name: text for name, text in os.environ.items() if name != "PYTEST_ADDOPTS"}
    command = [sys.executable, "scripts/mutants.py", *words]
    done = subprocess.run(command, cwd=ROOT, env=around, capture_output=True, check=False)
    told = json.loads(done.stdout)
    assert told["tests that fail without any"] == []
    assert told["mutants"] > 80
    assert told["survivors"] == []
