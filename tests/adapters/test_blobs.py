"""What blobs on disk do when things go wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.adapters.blobs.files import FileBlobs
from holdfast.core.error import Broken, Unavailable

pytestmark = pytest.mark.anyio


async def test_a_damaged_blob_is_noticed(tmp_path: Path):
    blobs = FileBlobs(tmp_path)
    name = await blobs.put(b"hello")
    (tmp_path / name[:2] / name[2:]).write_bytes(b"jello")
    with pytest.raises(Broken, match="damaged"):
        await blobs.get(name)


async def test_a_blob_cut_short_by_a_power_cut_is_written_again(tmp_path: Path):
    blobs = FileBlobs(tmp_path)
    name = await blobs.put(b"hello")
    (tmp_path / name[:2] / name[2:]).write_bytes(b"")
    await blobs.put(b"hello")
    assert await blobs.get(name) == b"hello"


async def test_blobs_are_for_their_owner_alone(tmp_path: Path):
    await FileBlobs(tmp_path / "blobs").put(b"hello")
    shelf = next((tmp_path / "blobs").iterdir())
    assert shelf.stat().st_mode & 0o077 == 0


async def test_what_an_interrupted_put_left_is_cleared_and_not_counted(tmp_path: Path):
    blobs = FileBlobs(tmp_path)
    name = await blobs.put(b"hello")
    left = tmp_path / name[:2] / ".new-0123456789abcdef"
    left.write_bytes(b"hel")
    assert await blobs.drop((), 1_000) == (0, 0)
    assert left.exists(), "somebody may still be writing it"
    assert await blobs.drop((), 1 << 42) == (0, 3)
    assert not left.exists()
    assert await blobs.get(name) == b"hello"


async def test_a_place_that_cannot_be_written_is_unavailable(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Unavailable, match="could not be kept"):
        await FileBlobs(tmp_path / "file").put(b"hello")
    with pytest.raises(Unavailable, match="cannot be read"):
        await FileBlobs(tmp_path / "file").get("0" * 64)
