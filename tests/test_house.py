"""Rules about the repository itself, held by a machine because they matter."""

import ast
import hashlib
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.sizes import (
    code_lines,
    complaints,
    imports_at_top,
    knots,
    measure,
    measure_module,
    rooms,
)

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "holdfast"
TOO_SLOW_FOR_THE_COMMAND_LINE = {"anyio", "asyncio", "pydantic", "pydantic_ai", "starlette"}


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(SOURCE.rglob("*.py")):
        yield path.relative_to(SOURCE).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=aliases):
                yield from (alias.name for alias in aliases)
            case ast.ImportFrom(module=str(module), names=aliases):
                yield from (f"{module}.{alias.name}" for alias in aliases)
            case _:
                pass


def appends_to_a_journal(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(attr="append", value=ast.Name(id=name))):
            return name.strip("_") == "journal"
        case ast.Call(func=ast.Attribute(attr="append", value=ast.Attribute(attr=name))):
            return name.strip("_") == "journal"
        case _:
            return False


def test_only_record_appends_to_the_journal():
    # The contract suite in testing/ tries the port itself, so it may.
    writers = {
        name
        for name, tree in modules()
        if not name.startswith("testing/")
        if any(appends_to_a_journal(node) for node in ast.walk(tree))
    }
    assert writers == {"engine/record.py"}


def test_five_named_places_at_most_catch_everything_and_no_size_outgrows_the_ratchet():
    ratchet = tomllib.loads((ROOT / "ratchet.toml").read_text(encoding="utf-8"))
    assert sum(ratchet["broad_excepts"].values()) <= 5
    assert list(complaints(measure(ROOT), ratchet)) == []


def test_no_module_reaches_itself_through_its_imports():
    assert list(knots(imports_at_top(ROOT))) == []


def test_the_heart_stays_readable_in_an_afternoon():
    assert list(rooms(ROOT)) == []
    assert code_lines('"""Why.\n\nMore."""\n\n# a word\nx = 1\n\ndef f():\n    """Not."""\n') == 2


def test_the_size_gate_sees_what_it_is_for():
    text = "def f():\n    import os\n    try: os\n    except (ValueError, Exception): pass\n"
    found = measure_module("src/x.py", text + "    with suppress(BaseException): pass\n")
    said = list(complaints(found, {"functions": {"src/x.py::f": 70}, "local_imports": {}}))
    assert said == [
        "ratchet.toml [functions] src/x.py::f: needs only 0, shrink it",
        "src/x.py::f: 2 catching everything, allowed 0",
        "src/x.py::f: 1 imports in a function, allowed 0",
    ]
    assert list(knots({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}})) == [["b", "c"]]


@pytest.mark.parametrize("banned", ["unittest.mock", "sqlite3"])
def test_the_source_never_imports(banned: str):
    users = [
        name
        for name, tree in modules()
        if any(f"{target}.".startswith(f"{banned}.") for target in imported(tree))
    ]
    assert users == []


def test_the_readme_gives_a_reason_for_every_dependency():
    """A row of a table for each, its package first: | `anyio` | structured concurrency |."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    reasons = dict(re.findall(r"^\|\s*`([\w.-]+)`\s*\|\s*(\S.*?)\s*\|", readme, re.MULTILINE))
    wanted = {re.split(r"[\[<>=~!; ]", line)[0] for line in project["dependencies"]}
    assert wanted - reasons.keys() == set()
    assert all(len(reasons[name].split()) >= 3 for name in wanted)


def test_the_command_line_loads_nothing_slow():
    loads = "import holdfast.doors.cli, sys; print(*sys.modules)"
    told = subprocess.run(
        [sys.executable, "-c", loads], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert TOO_SLOW_FOR_THE_COMMAND_LINE & set(told.stdout.split()) == set()


@pytest.mark.parametrize("name", ["holdfast", "test", "bench"])
def test_a_lock_carries_the_digest_of_its_content(name: str):
    head, _, rest = (ROOT / "requirements" / f"{name}.lock").read_bytes().partition(b"\n")
    assert head.decode() == f"# {name} {hashlib.sha256(rest).hexdigest()[:32]}", "run scripts/lock"


@pytest.mark.parametrize(
    ("name", "extra"), [("holdfast", ""), ("test", "test"), ("bench", "bench")]
)
def test_a_lock_pins_every_dependency_of_the_project(name: str, extra: str):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = project["dependencies"] + project["optional-dependencies"].get(extra, [])
    lock = (ROOT / "requirements" / f"{name}.lock").read_text(encoding="utf-8")
    pinned = set(re.findall(r"^([\w.-]+)==", lock, re.MULTILINE))
    assert {re.split(r"[\[<>=~!; ]", line)[0].lower() for line in wanted} - pinned == set()


def tracked() -> Iterator[Path]:
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "-co", "--exclude-standard"],
        capture_output=True,
        check=True,
        cwd=ROOT,
    )
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            yield ROOT / name


def test_no_file_names_a_machine_or_a_package_registry():
    # Written in pieces, or this file would name them itself.
    registries = [r"py" + r"pi\.org", "python" + "hosted", "registry.npm" + "js", "test.py" + "pi"]
    machines = ["/work/" + r"(main|shared|\.library)", "/root/" + r"\.\w", "/tmp/" + r"w/"]
    traces = re.compile("|".join([*registries, *machines]).encode())
    found = {
        f"{path.relative_to(ROOT)}: {match[0].decode()}"
        for path in tracked()
        if (match := traces.search(path.read_bytes()))
    }
    assert found == set()


@pytest.mark.parametrize("name", ["holdfast", "test", ".ci/run", "scripts/prepare", "scripts/lock"])
def test_a_script_is_executable_and_stops_at_the_first_error(name: str):
    script = ROOT / name
    assert os.access(script, os.X_OK)
    assert "\nset -eu\n" in script.read_text(encoding="utf-8")


def test_the_wrapper_finds_its_checkout_through_links_and_keeps_the_folder(tmp_path: Path):
    """A stand-in for the environment's Python tells what it was called with."""
    checkout, elsewhere = tmp_path / "check out", tmp_path / "elsewhere"
    python = checkout / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    elsewhere.mkdir()
    (checkout / "requirements").mkdir()
    (checkout / "requirements" / "holdfast.lock").write_text("# holdfast 1\n")
    (checkout / ".venv" / ".ready").write_text("# holdfast 1\n")
    (checkout / "holdfast").write_bytes((ROOT / "holdfast").read_bytes())
    python.write_text('#!/bin/sh\necho "$PWD" "$@"\n')
    for executable in (python, checkout / "holdfast"):
        executable.chmod(0o755)
    (tmp_path / "link").symlink_to(checkout / "holdfast")
    (elsewhere / "again").symlink_to("../link")
    told = subprocess.run(
        ["./again", "run", "a  b"], capture_output=True, text=True, check=True, cwd=elsewhere
    )
    assert told.stdout == f"{elsewhere} -I -m holdfast.doors.cli run a  b\n"
    assert told.stderr == ""
