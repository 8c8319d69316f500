"""What we tell people to run is there: in hints, help, examples and documents."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.doors.cli.table import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
SOURCES = [p for p in sorted((ROOT / "src/holdfast").rglob("*.py")) if "testing" not in p.parts]
OUTSIDE = {"decisions", "research"}
"""What was decided or measured once, in the words of its day."""
_DOCUMENTS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [ROOT / "README.md", *(path for path in _DOCUMENTS if not OUTSIDE & set(path.parts))]
_TOLD = re.compile(r"\bholdfast ((?:[a-z][a-z-]* ?)+)([^`;,)]*)")
_NO_COMMANDS = (
    "holdfast vault entry 1 ",
    "holdfast vault ring 1",
    "holdfast model",
    "holdfast secret list takes no shows",
)
"""What is sealed with an entry of the vault, a heading, and a sentence."""
_OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")
_WORDS = {words for name in COMMANDS for words in (name, name.split()[0])}


def _wrong(text: str) -> Iterator[str]:
    """Commands in a line that there are not, and options that they have not."""
    for words, rest in _TOLD.findall(text):
        parts = words.split()
        name = next((" ".join(parts[:n]) for n in (3, 2, 1) if " ".join(parts[:n]) in COMMANDS), "")
        if not name:
            if parts[0] in _WORDS:
                yield f"holdfast {words}{rest}"
            continue  # a sentence, not a command
        command = COMMANDS[name]
        more = parts[len(name.split()) :]
        if more and not command.raw and command.takes[1] == 0:
            yield f"holdfast {name} takes no {more[0]}"
        known = {flag for option in command.all_options for flag in option.flags}
        own = re.split(r" -- | \| | # ", f" {rest} ")[0]
        if not command.raw and (odd := set(_OPTION.findall(own)) - known):
            yield f"holdfast {name}: there is no {', '.join(sorted(odd))}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_that_the_code_names_is_there(path: Path) -> None:
    strings = [
        node.value
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    found = [odd for text in strings for line in text.splitlines() for odd in _wrong(line)]
    assert not set(found) - set(_NO_COMMANDS)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_that_a_document_names_is_there(path: Path) -> None:
    found = [odd for line in path.read_text("utf-8").splitlines() for odd in _wrong(line)]
    assert not found
