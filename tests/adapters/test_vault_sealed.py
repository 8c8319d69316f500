"""The vault on disk is sealed: nothing in it can be read, changed or swapped without its key."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.adapters.vaults.files import FileVault
from holdfast.adapters.vaults.keysafe import KeySafe
from holdfast.core.error import Broken, Invalid, NotAllowed, Unavailable

SECRET = "canary-of-the-sealed-vault-01"
NAMES = ("provider/openai/api_key", "secret/github", "secret/a.b-c_d/e")
PASSPHRASE = "correct horse battery"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    vault = FileVault(tmp_path / "vault")
    for name in NAMES:
        vault.put(name, f"{SECRET} {name}")
    return tmp_path / "vault"


def file_of(folder: Path, name: str) -> Path:
    return folder / name.replace("/", "~")


def values(vault: FileVault) -> list[str | None]:
    return [vault.get(name) for name in NAMES]


ACTS: tuple[Callable[[FileVault], object], ...] = (
    lambda vault: vault.get(NAMES[0]),
    lambda vault: vault.put("x", "y"),
    lambda vault: vault.rotate(),
    lambda vault: vault.open(),
)
ALL: list[str | None] = [f"{SECRET} {name}" for name in NAMES]


def plain(folder: Path, name: str, value: str) -> None:
    """An entry as earlier versions wrote it."""
    head = f"plain {hashlib.sha256(value.encode()).hexdigest()}\n"
    file_of(folder, name).write_text(f"{head}{value}")
    file_of(folder, name).chmod(0o600)


def holds_plaintext(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if SECRET.encode() in path.read_bytes()]


def test_no_plaintext_is_on_disk_however_the_key_is_kept(folder: Path):
    """Part of row OC-92."""
    vault = FileVault(folder)
    assert holds_plaintext(folder) == []
    vault.rotate()
    vault.seal("passphrase", PASSPHRASE)
    assert holds_plaintext(folder) == []
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert values(vault) == ALL


def test_one_flipped_byte_anywhere_is_noticed_and_names_the_secret(folder: Path):
    """Row OC-92."""
    path = file_of(folder, NAMES[1])
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(Broken) as noticed:
            FileVault(folder).get(NAMES[1])
        assert noticed.value.code in {"vault_damaged", "vault_key_missing"}
        assert SECRET not in str(noticed.value)
    with pytest.raises(Broken, match="the secret secret/github is damaged"):
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        FileVault(folder).get(NAMES[1])
    path.write_bytes(whole)
    assert values(FileVault(folder)) == ALL


def test_an_entry_under_another_name_is_damaged(folder: Path):
    file_of(folder, NAMES[0]).write_bytes(file_of(folder, NAMES[1]).read_bytes())
    with pytest.raises(Broken, match="provider/openai/api_key is damaged"):
        FileVault(folder).get(NAMES[0])


def test_every_write_has_a_nonce_of_its_own(folder: Path):
    """Part of row OC-92."""
    seen = set[bytes]()
    for _ in range(50):
        FileVault(folder).put(NAMES[0], "the same")
        seen.add(file_of(folder, NAMES[0]).read_bytes().partition(b"\n")[2][:12])
    assert len(seen) == 50


def test_entries_from_before_are_read_and_sealed_at_the_first_write(tmp_path: Path):
    folder = tmp_path / "vault"
    folder.mkdir(mode=0o700)
    for name in NAMES[:2]:
        plain(folder, name, f"{SECRET} {name}")
    vault = FileVault(folder)
    assert values(vault)[:2] == ALL[:2]
    vault.put(NAMES[2], f"{SECRET} {NAMES[2]}")
    assert holds_plaintext(folder) == []
    assert values(vault) == values(FileVault(folder)) == ALL


def test_entries_from_before_are_sealed_when_the_daemon_starts(tmp_path: Path):
    folder = tmp_path / "vault"
    folder.mkdir(mode=0o700)
    plain(folder, NAMES[0], SECRET)
    FileVault(folder).open()
    assert holds_plaintext(folder) == []
    assert FileVault(folder).get(NAMES[0]) == SECRET


def test_without_its_key_a_vault_says_so_and_makes_no_other(folder: Path):
    (folder / ".key").unlink()
    for act in ACTS:
        with pytest.raises(Broken) as refused:
            act(FileVault(folder))
        assert refused.value.code == "vault_key_missing"
    assert not (folder / ".key").exists()


@pytest.mark.parametrize(
    "damage",
    [b"", b"{}", b'{"format":9,"kept":"file"}', b'{"format":1,"kept":"file","ring":"AAAA"}'],
)
def test_a_damaged_key_file_is_damage(folder: Path, damage: bytes):
    (folder / ".key").write_bytes(damage)
    with pytest.raises(Broken) as noticed:
        FileVault(folder).get(NAMES[0])
    assert noticed.value.code == "vault_damaged"


def test_a_key_file_that_others_may_read_is_not_used(folder: Path):
    (folder / ".key").chmod(0o644)
    with pytest.raises(Broken, match="can be opened by others"):
        FileVault(folder).get(NAMES[0])


def test_a_passphrase_opens_the_vault_and_no_other_does(folder: Path):
    """Part of row OC-92."""
    assert FileVault(folder).seal("passphrase", PASSPHRASE) == len(NAMES)
    assert values(FileVault(folder, passphrase=PASSPHRASE)) == ALL
    for wrong in ("", "not the passphrase", PASSPHRASE.upper()):
        vault = FileVault(folder, passphrase=wrong)
        for act in ACTS:
            with pytest.raises(NotAllowed, match="passphrase") as refused:
                act(vault)
            assert refused.value.code == "vault_locked"
    with pytest.raises(Invalid, match="at least 8"):
        FileVault(folder, passphrase=PASSPHRASE).seal("passphrase", "short")
    assert values(FileVault(folder, passphrase=PASSPHRASE)) == ALL


def test_a_vault_that_begins_with_a_passphrase_never_has_its_key_in_the_open(tmp_path: Path):
    vault = FileVault(tmp_path / "vault", passphrase=PASSPHRASE)
    vault.put(NAMES[0], SECRET)
    assert vault.kept() == "passphrase"
    with pytest.raises(NotAllowed):
        FileVault(tmp_path / "vault").get(NAMES[0])


def test_the_passphrase_is_stretched_once(folder: Path, monkeypatch: pytest.MonkeyPatch):
    FileVault(folder).seal("passphrase", PASSPHRASE)
    from holdfast.adapters.vaults import master

    count, really = 0, master.stretched

    def counted(*given: Any) -> bytes:
        nonlocal count
        count += 1
        return really(*given)

    monkeypatch.setattr(master, "stretched", counted)
    vault = FileVault(folder, passphrase=PASSPHRASE)
    for _ in range(20):
        assert values(vault) == ALL
        vault.rotate()
    assert count == 1


def test_rotation_gives_every_entry_a_new_key_and_keeps_no_old_one(folder: Path):
    before = (folder / ".key").read_bytes()
    heads = {file_of(folder, name).read_bytes().partition(b"\n")[0] for name in NAMES}
    vault = FileVault(folder)
    running = FileVault(folder)
    assert values(running) == ALL
    assert vault.rotate() == len(NAMES)
    after = {file_of(folder, name).read_bytes().partition(b"\n")[0] for name in NAMES}
    assert len(heads) == len(after) == 1
    assert heads != after
    assert values(running) == ALL, "who had the old key notices"
    running.put(NAMES[0], "new")
    assert FileVault(folder).get(NAMES[0]) == "new"
    (folder / ".key").write_bytes(before)
    with pytest.raises(Broken):
        FileVault(folder).get(NAMES[0])


def test_what_cannot_be_opened_now_does_not_lose_its_key(folder: Path):
    exposed = file_of(folder, NAMES[1])
    exposed.chmod(0o644)
    FileVault(folder).rotate()
    FileVault(folder).rotate()
    exposed.chmod(0o600)
    assert values(FileVault(folder)) == ALL


class Keyring:
    """What a keyring library does, in memory."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}
        self.broken = self.forgets = False

    def get_keyring(self) -> Any:
        return type("Keyring", (), {"__module__": "keyring.backends.Windows"})()

    def get_password(self, service: str, name: str) -> str | None:
        if self.broken:
            raise OSError("it is broken")
        return self.kept.get((service, name))

    def set_password(self, service: str, name: str, value: str) -> None:
        if not self.forgets:
            self.kept[service, name] = value

    def delete_password(self, service: str, name: str) -> None:
        del self.kept[service, name]


def libraries(keyring: Keyring) -> Callable[[str], Any]:
    there = {"keyring": keyring, "keyring.errors": SimpleNamespace(KeyringError=LookupError)}
    return lambda name: there[name]


def test_the_key_can_be_in_the_keyring_and_leave_it_again(folder: Path):
    keyring = Keyring()
    safe = KeySafe(libraries(keyring))
    vault = FileVault(folder, safe=safe)
    vault.seal("keyring")
    assert len(keyring.kept) == 1
    assert b"ring" not in (folder / ".key").read_bytes().replace(b"keyring", b"")
    vault.rotate()
    assert len(keyring.kept) == 1, "the old key is gone from there"
    assert values(FileVault(folder, safe=safe)) == ALL
    keyring.broken = True
    with pytest.raises(Unavailable, match="the keyring failed"):
        FileVault(folder, safe=safe).get(NAMES[0])
    keyring.broken = False
    vault.seal("file")
    assert keyring.kept == {}
    assert values(FileVault(folder)) == ALL


def test_a_keyring_that_is_missing_or_forgets_changes_nothing(folder: Path):
    def missing(name: str) -> Any:
        raise ImportError(name)

    keyring = Keyring()
    keyring.forgets = True
    for load in (missing, libraries(keyring)):
        with pytest.raises(Unavailable) as refused:
            FileVault(folder, safe=KeySafe(load)).seal("keyring")
        assert refused.value.code == "no_keyring"
    assert FileVault(folder).kept() == "file"
    assert values(FileVault(folder)) == ALL


ROTATOR = """
import os, signal, sys, pathlib
from pathlib import Path
from holdfast.adapters.vaults import master
from holdfast.adapters.vaults.files import FileVault
from holdfast.adapters.vaults.sealing import Stretch

count, at = 0, int(sys.argv[2])

def dying(really):
    def step(*given, **more):
        global count
        count += 1
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return really(*given, **more)
    return step

salt = os.urandom(16)  # a passphrase is not what is tried here: it may be stretched little
master.fresh_stretch = lambda: Stretch(salt=salt, iterations=1, lanes=1, memory_kib=64)
vault = FileVault(Path(sys.argv[1]), passphrase="correct horse battery")
os.fsync, Path.replace, Path.unlink = dying(os.fsync), dying(Path.replace), dying(Path.unlink)
vault.seal(*{"rotate": (None,), "passphrase": ("passphrase", "another passphrase")}[sys.argv[3]])
"""


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("what", ["rotate", "passphrase"])
def test_killed_at_any_moment_every_secret_can_still_be_read(folder: Path, what: str):
    """Part of row OC-92."""
    killed = at = 0
    while True:
        at += 1
        command = [sys.executable, "-c", ROTATOR, str(folder), str(at), what]
        ended = subprocess.run(command, timeout=60, stderr=subprocess.PIPE, check=False)
        phrases = ("", "correct horse battery", "another passphrase")
        found = [values_with(folder, phrase) for phrase in phrases]
        assert ALL in found, ended.stderr
        if ended.returncode == 0:
            break
        assert ended.returncode == -9, ended.stderr
        killed += 1
        if found[0] != ALL:  # it had come as far as the passphrase: begin again
            FileVault(folder, passphrase="another passphrase").seal("file")
    assert killed >= 8
    assert holds_plaintext(folder) == []


def values_with(folder: Path, passphrase: str) -> list[str | None]:
    try:
        return values(FileVault(folder, passphrase=passphrase))
    except NotAllowed:
        return []


@settings(max_examples=30, deadline=None)
@given(
    value=st.text(max_size=300),
    name=st.from_regex(r"[a-z0-9_]{1,20}(/[a-z0-9_]{1,20})?", fullmatch=True),
)
def test_whatever_is_sealed_comes_back(
    tmp_path_factory: pytest.TempPathFactory, value: str, name: str
):
    vault = FileVault(tmp_path_factory.mktemp("any") / "vault")
    vault.put(name, value)
    vault.rotate()
    assert vault.get(name) == value


def test_others_can_open_nothing_at_any_moment(tmp_path: Path):
    """Part of row OK-96."""
    seen = set[int]()
    really = os.open

    def watched(path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
        descriptor = really(path, flags, mode, **more)
        if "vault" in str(path):
            seen.add(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return descriptor

    previous = os.umask(0)
    os.open = watched
    try:
        vault = FileVault(tmp_path / "vault")
        vault.put(NAMES[0], SECRET)
        vault.rotate()
    finally:
        os.open = really
        os.umask(previous)
    assert seen == {0o600, 0o700}
