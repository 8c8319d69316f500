"""The disk forgets what was not synced: what was acknowledged is still there."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from holdfast.testing import crashtest
from holdfast.testing.lossyfs import LossyDisk, LossyFiles, why_not

needs_fuse = pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")
WRITER = """
import sys, apsw
db = apsw.Connection(sys.argv[1])
db.execute("pragma journal_mode=wal").get
db.execute("pragma synchronous=" + sys.argv[2])
for x in range(200):
    db.execute(f"pragma user_version={x + 1}")
    print(x, flush=True)
sys.stdin.read()
"""


def _file(files: LossyFiles, path: str) -> int:
    return files.create(path, 0o600)


def test_what_was_synced_stays_and_the_rest_is_gone() -> None:
    files = LossyFiles()
    one = _file(files, "/one")
    files.write("/one", b"synced", 0, one)
    files.fsync("/one", 0, one)
    files.write("/one", b"LOST and more", 3, one)
    files.truncate("/one", 4, one)
    assert files.read("/one", 99, 0, one) == b"synL"
    assert files.cut(random.Random(1), torn=False) == 2
    assert files.read("/one", 99, 0, one) == b"synced"


def test_names_survive_in_order_and_all_of_them_after_a_sync() -> None:
    survived: set[frozenset[str]] = set()
    for seed in range(40):
        files = LossyFiles()
        files.mkdir("/d", 0o700)
        files.fsyncdir("/", 0, 0)
        handle = _file(files, "/d/a")
        files.rename("/d/a", "/d/b")
        _file(files, "/c")
        files.cut(random.Random(seed), torn=False)
        survived.add(frozenset(files.nodes) - {"/", "/d"})
        assert files.nodes["/d"], handle
    assert survived == {
        frozenset(),
        frozenset({"/d/a"}),
        frozenset({"/d/b"}),
        frozenset({"/d/b", "/c"}),
    }


def test_a_torn_disk_keeps_some_pages_and_loses_others() -> None:
    files = LossyFiles()
    handle = _file(files, "/f")
    files.write("/f", bytes(64 * 4096), 0, handle)
    files.fsync("/f", 0, handle)
    files.write("/f", b"\1" * 64 * 4096, 0, handle)
    files.cut(random.Random(7), torn=True)
    data = files.read("/f", 1 << 20, 0, handle)
    pages = {data[at : at + 4096] for at in range(0, len(data), 4096)}
    assert pages == {bytes(4096), b"\1" * 4096}


def test_an_unlinked_file_comes_back_unless_the_folder_was_synced() -> None:
    found: set[bool] = set()
    for seed in range(20):
        files = LossyFiles()
        handle = _file(files, "/f")
        files.fsync("/f", 0, handle)
        files.unlink("/f")
        if seed >= 10:
            files.fsyncdir("/", 0, 0)
        files.cut(random.Random(seed), torn=False)
        found.add("/f" in files.nodes)
        assert seed < 10 or "/f" not in files.nodes
    assert found == {True, False}


def _acknowledged_and_kept(folder: Path, synchronous: str) -> tuple[int, int]:
    with LossyDisk(folder) as disk:
        database = disk.path / "t.db"
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(database), synchronous],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with writer:
            assert writer.stdout is not None
            acknowledged = len([writer.stdout.readline() for _ in range(200)])
            writer.kill()
        disk.cut()
        disk.mount()
        connection = apsw.Connection(str(database))
        kept = connection.pragma("user_version")  # pyright: ignore[reportUnknownMemberType]
        connection.close()
    return acknowledged, kept


@needs_fuse
@pytest.mark.timeout(120)
def test_the_disk_finds_out_who_does_not_sync(tmp_path: Path) -> None:
    assert _acknowledged_and_kept(tmp_path / "full", "full") == (200, 200)
    acknowledged, kept = _acknowledged_and_kept(tmp_path / "normal", "normal")
    assert kept < acknowledged


@needs_fuse
@pytest.mark.timeout(180)
def test_two_power_cuts_lose_and_repeat_nothing() -> None:
    part = crashtest.power_cuts(2, 1000, seed=2)
    assert part.deaths == 2
    assert part.found.holds, part


@needs_fuse
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_twenty_power_cuts_lose_and_repeat_nothing() -> None:
    part = crashtest.power_cuts(20, 10_000, seed=20)
    assert part.deaths == 20
    assert part.found.holds, part
