"""Long results are cut and kept whole in a file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.adapters.boxes.bubblewrap import BubblewrapBoxes
from holdfast.adapters.tools.output import MAX_BYTES, MAX_LINES, Spool, fits, shortened, sweep
from holdfast.adapters.tools.registry import Registry
from holdfast.core.error import Invalid
from holdfast.core.message import Failed, Returned
from holdfast.core.redact import Redactor
from holdfast.ports.box import Exit
from holdfast.testing.fake_box import FakeBoxes
from tests.adapters.desk import Desk

pytestmark = pytest.mark.anyio


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncGenerator[Desk]:
    desk = Desk(tmp_path, BubblewrapBoxes())
    yield desk
    await desk.close()


async def test_three_thousand_lines_become_two_thousand_and_a_file(tmp_path: Path):
    """Row OK-21."""
    lines = [f"{n:04} éééééé€" for n in range(3_000)]
    whole = "\n".join(lines).encode()
    assert whole[51_198:51_200].decode(errors="replace") != ""
    desk = Desk(tmp_path, FakeBoxes({"work": Exit(code=0, stdout=whole, stderr=b"")}))
    out = await desk.tool("exec").run({"command": "work"}, desk.job)
    assert isinstance(out, Returned)
    assert len(out.text.encode()) <= MAX_BYTES
    assert out.text.count("\n") < MAX_LINES
    assert "\ufffd" not in out.text
    assert out.text.startswith("0000 éééééé€\n")
    assert out.text.endswith("\n2999 éééééé€")
    assert f"{len(whole):,} bytes, 3,000 lines" in out.text
    assert out.artifact in out.text
    kept = Path(out.artifact)
    assert kept.read_bytes() == whole
    assert kept.name == f"{hashlib.sha256(whole).hexdigest()}.txt"
    assert kept.stat().st_mode & 0o077 == 0
    os.utime(kept, (0, 0))
    assert sweep(desk.spool, older_than_ms=7 * 86_400_000) == 1
    assert not kept.exists()


async def test_the_whole_output_can_be_read_and_searched_later(desk: Desk):
    out = await desk.tool("exec").run({"command": "seq 1 9999"}, desk.job)
    assert isinstance(out, Returned)
    assert (await desk.says("read", path=out.artifact, offset=5_000, limit=1)).startswith("5000\n")
    assert "7777: 7777" in await desk.says("search", pattern="^7777$", path=out.artifact)
    for folder in (f"{desk.spool}", f"{desk.spool}/./"):
        code, _ = await desk.fails("search", pattern=".", path=folder)
        assert code == "not_a_file", "what other tasks were told is theirs"
    for name in ("write", "append"):
        code, _ = await desk.fails(name, path=out.artifact, content="x")
        assert code == "outside_workspace"
    code, _ = await desk.fails("read", path=f"{desk.spool}/../secret")
    assert code == "outside_workspace"


async def test_how_a_command_failed_is_seen_behind_a_flood(desk: Desk):
    out = await desk.tool("exec").run({"command": "seq 1 9999; exit 7"}, desk.job)
    assert isinstance(out, Failed)
    assert out.text.endswith("\nexit code 7")
    assert out.artifact


async def test_a_full_disk_costs_the_file_and_not_the_answer(desk: Desk):
    desk.spool.write_text("in the way")
    out = await desk.tool("exec").run({"command": "seq 1 9999"}, desk.job)
    assert isinstance(out, Returned)
    assert "could not be kept" in out.text
    assert out.artifact == ""


async def test_what_fits_is_left_alone(desk: Desk):
    out = await desk.tool("exec").run({"command": "seq 1 1900"}, desk.job)
    assert isinstance(out, Returned)
    assert out.artifact == ""
    assert not desk.spool.exists()


def test_only_old_outputs_are_swept(tmp_path: Path):
    for name, age in (("old", 1_000), ("new", 2_000_000_000)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (age, age))
    assert sweep(tmp_path, older_than_ms=1_000) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    assert sweep(tmp_path / "none", older_than_ms=0) == 0


@given(text=st.text(alphabet="a\né€\U0001f600", max_size=300), times=st.integers(1, 2_000))
def test_any_text_is_cut_to_fit(text: str, times: int):
    long = text * times
    if not fits(long):
        cut = shortened(long.encode(), "note " * 500)
        assert fits(cut)
        assert "\ufffd" not in cut


def test_one_endless_line_is_cut_between_characters():
    cut = shortened(("x" + "é" * 200_000).encode(), "a note")
    assert fits(cut)
    assert cut.startswith("xéé")
    assert cut.endswith("éé")


def test_two_tools_of_one_name_are_refused(tmp_path: Path):
    tools = Desk(tmp_path).tools.all()
    with pytest.raises(Invalid, match="two tools"):
        Registry([*tools, tools[0]])
    assert Registry([]).get("read") is None


async def test_no_secret_is_kept_in_the_file_nor_half_of_one_at_the_cut_edge(tmp_path: Path):
    secret = "canary-" + "q7" * 20
    known = Redactor([("key", secret)])
    spool = Spool(tmp_path / "outputs", known.text)
    edge = (MAX_BYTES - 1_024) // 2
    for before in range(edge - len(secret), edge, 7):
        text, kept = await spool.fit("x" * before + secret + "y" * MAX_BYTES)
        assert "canary" not in text
        assert "q7q7" not in text
        assert "canary" not in Path(kept).read_text()
