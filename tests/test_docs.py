"""The documents say what the code does, and every generated page is fresh."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.core.event import KINDS
from holdfast.core.machine import MOVES
from holdfast.core.task import Status

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


def test_every_generated_page_is_what_the_code_says() -> None:
    check = [sys.executable, str(ROOT / "scripts" / "docs.py"), "--check"]
    done = subprocess.run(check, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_in_the_documents_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_life_of_a_task_names_every_status_and_every_event_that_moves_it() -> None:
    text = (DOCS / "life-of-a-task.md").read_text("utf-8")
    assert all(f"`{status}`" in text for status in Status if status is not Status.NEW)
    assert all(kind.__name__ in text for kind in MOVES)


def test_every_event_kind_is_in_the_reference() -> None:
    text = (DOCS / "reference" / "events.md").read_text("utf-8")
    assert all(f"## {kind}" in text for kind in KINDS)


def test_the_tour_names_every_room() -> None:
    text = (DOCS / "tour.md").read_text("utf-8")
    rooms = [p.name for p in (ROOT / "src/holdfast").iterdir() if (p / "__init__.py").exists()]
    assert all(f"`{room}/`" in text for room in rooms), rooms


def test_every_room_begins_with_its_sentence() -> None:
    for path in (ROOT / "src/holdfast").rglob("__init__.py"):
        assert path.read_text("utf-8").startswith('"""'), path
