"""The vault on disk: others look, the disk fails, the writer is killed, two write at once."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.adapters.vaults.files import FileVault
from holdfast.core.error import Broken, Unavailable

KEY = "provider/openai/api_key"
FILE = "provider~openai~api_key"
SECRET = "sk-canary-0123456789abcdef"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    FileVault(tmp_path / "vault").put(KEY, SECRET)
    return tmp_path / "vault"


def modes(folder: Path) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


def test_the_folder_and_every_file_are_for_their_owner_alone(tmp_path: Path):
    previous = os.umask(0)
    try:
        FileVault(tmp_path / "vault").put(KEY, SECRET)
    finally:
        os.umask(previous)
    assert stat.S_IMODE((tmp_path / "vault").stat().st_mode) == 0o700
    assert modes(tmp_path / "vault") == {0o600}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o602, 0o644, 0o660])
def test_a_file_that_others_may_open_is_not_used(folder: Path, mode: int):
    (folder / FILE).chmod(mode)
    with pytest.raises(Broken, match="can be opened by others") as refused:
        FileVault(folder).get(KEY)
    assert refused.value.code == "vault_exposed"
    assert "chmod" in refused.value.hint
    assert SECRET not in str(refused.value)
    assert [problem.code for problem in FileVault(folder).problems()] == ["vault_exposed"]


def test_a_link_is_not_followed(folder: Path, tmp_path: Path):
    kept = (folder / FILE).read_bytes()
    (folder / FILE).rename(tmp_path / "elsewhere")
    (folder / FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Broken, match="is a link"):
        FileVault(folder).get(KEY)
    FileVault(folder).put(KEY, "new")
    assert FileVault(folder).get(KEY) == "new"
    assert (tmp_path / "elsewhere").read_bytes() == kept, "the link was replaced, not followed"


@pytest.mark.parametrize("act", ["get", "put", "delete", "names"])
def test_a_folder_that_others_may_open_is_not_used(folder: Path, act: str):
    folder.chmod(0o750)
    arguments = {"get": (KEY,), "put": (KEY, "x"), "delete": (KEY,), "names": ()}
    with pytest.raises(Broken, match="can be opened by others"):
        getattr(FileVault(folder), act)(*arguments[act])
    assert len(FileVault(folder).problems()) == 1


def test_a_folder_that_is_a_link_is_not_used(folder: Path, tmp_path: Path):
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(Broken, match="is a link"):
        FileVault(tmp_path / "link").get(KEY)


def test_what_is_no_plain_file_is_not_read(folder: Path):
    (folder / FILE).unlink()
    os.mkfifo(folder / FILE, 0o600)
    with pytest.raises(Broken, match="not what it should be"):
        FileVault(folder).get(KEY)


@pytest.mark.parametrize("damage", [b"", b"plain", SECRET.encode(), b"plain 00\nabc"])
def test_damage_is_noticed_and_not_told(folder: Path, damage: bytes):
    (folder / FILE).write_bytes(damage)
    with pytest.raises(Broken, match="is damaged") as noticed:
        FileVault(folder).get(KEY)
    assert SECRET not in str(noticed.value)


def test_a_place_that_cannot_be_written_is_unavailable(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Unavailable, match="cannot be"):
        FileVault(tmp_path / "file" / "vault").put(KEY, SECRET)


STEPS = ("open", "fsync", "close", "unlink", "replace", "mkdir")


class Faults:
    """Lets the `at`-th step that touches the disk fail."""

    def __init__(self, at: int, patch: pytest.MonkeyPatch) -> None:
        self.count, self._at = 0, at
        for place, names in ((os, STEPS[:3]), (Path, STEPS[3:])):
            for name in names:
                patch.setattr(place, name, self._failing(name, getattr(place, name)))

    def _failing(self, name: str, really: Callable[..., object]) -> Callable[..., object]:
        def step(*arguments: object, **more: object) -> object:
            self.count += 1
            if self.count == self._at:
                if name == "close":  # a close that fails has closed
                    really(*arguments, **more)
                raise OSError(28, "No space left on device")
            return really(*arguments, **more)

        return step


@pytest.mark.parametrize("before", [None, "old"])
def test_whichever_step_fails_the_old_value_or_the_new_one_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str | None
):
    failed = at = 0
    count = 1
    while count >= at:
        at += 1
        folder = tmp_path / str(at)
        vault = FileVault(folder)
        if before:
            vault.put(KEY, before)
        with monkeypatch.context() as patch:
            faults = Faults(at, patch)
            try:
                vault.put(KEY, "new")
                said = "kept"
            except Unavailable:
                said = "failed"
        count = faults.count
        assert vault.get(KEY) == "new" if said == "kept" else vault.get(KEY) in {before, "new"}
        vault.put("another", "x")
        assert {path.name for path in folder.iterdir()} <= {FILE, "another", ".lock", ".key"}
        assert modes(folder) == {0o600}
        failed += said == "failed"
        assert at < 60, "it never came to an end"
    assert failed >= 6


WRITER = """
import sys, pathlib
from holdfast.adapters.vaults.files import FileVault
vault = FileVault(pathlib.Path(sys.argv[1]))
print("ready", flush=True)
number = 0
while True:
    number += 1
    vault.put("provider/openai/api_key", f"{number} " * 2000)
    if number % 3 == 0:
        vault.put(f"own/{sys.argv[2]}", str(number))
"""


def test_two_writers_that_are_killed_leave_whole_values(tmp_path: Path):
    folder, vault = tmp_path / "vault", FileVault(tmp_path / "vault")
    for life in range(6):
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, str(folder), str(number)], stdout=subprocess.PIPE
            )
            for number in range(2)
        ]
        try:
            for writer in writers:
                assert writer.stdout
                assert writer.stdout.readline() == b"ready\n"
            for _ in range(60 + 40 * life):
                value = vault.get(KEY)
                assert value is None or len(set(value.split())) == 1
        finally:
            for writer in writers:
                writer.kill()
                writer.wait(10)
                assert writer.stdout
                writer.stdout.close()
    vault.put("last", "word")
    assert set(vault.names()) <= {KEY, "own/0", "own/1", "last"}
    assert not list(folder.glob(".new-*")), "what the killed left half-written is cleared"
    assert modes(folder) == {0o600}
