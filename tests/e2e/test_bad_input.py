"""What goes wrong around the daemon is said clearly, and nothing is lost by it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from .at_home import ENVIRONMENT, answers, ask, daemon, files, holdfast, served, until


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "home"
    place.mkdir(mode=0o700)
    yield place
    holdfast(place, "serve", "stop")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[engine\nlanes = 3", "config.toml:1"),
        ("[engine]\nlane = 3\n", "lanes"),
        ('[engine]\nlanes = "three"\n', "config.toml:2"),
        ("[engine]\nlanes = 10000000000000000000000\n", "lanes"),
        ("[policy]\npreset = 'yolo'\n", "read-only"),
    ],
)
def test_a_bad_configuration_is_named_by_place_and_the_daemon_does_not_start(
    home: Path, text: str, said: str
) -> None:
    (home / "config.toml").write_text(text)
    done = holdfast(home, "status")
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert not (home / "holdfast.db").exists()


def test_a_configuration_that_is_not_utf8_is_named_by_line(home: Path) -> None:
    (home / "config.toml").write_bytes(b"[engine]\nlanes = 3 # \xff\n")
    done = holdfast(home, "status")
    assert done.returncode == 2
    assert "config.toml:2" in done.stderr
    assert "UTF-8" in done.stderr


def test_an_absurdly_large_configuration_is_refused(home: Path) -> None:
    (home / "config.toml").write_text("# " + "x" * 2_000_000)
    done = holdfast(home, "status")
    assert done.returncode == 2
    assert "bytes" in done.stderr


def test_closed_and_empty_and_garbled_input_are_clear_errors(home: Path, tmp_path: Path) -> None:
    assert "No input" in holdfast(home, "run", "--stdin").stderr
    garbled = tmp_path / "garbled"
    garbled.write_bytes(b"list files \xff\xfe")
    with garbled.open("rb") as stdin:
        done = holdfast(home, "run", stdin=stdin)
    assert done.returncode == 2
    assert "UTF-8" in done.stderr


def test_an_absurdly_long_task_is_refused_and_nothing_is_stored(home: Path, tmp_path: Path) -> None:
    long = tmp_path / "long"
    long.write_text("x" * 2_000_000)
    with long.open("rb") as stdin:
        done = holdfast(home, "run", "--detach", stdin=stdin)
    assert done.returncode == 2, done.stderr
    listed = json.loads(holdfast(home, "task", "list", "--json").stdout)
    assert listed["tasks"] == []


def test_a_second_daemon_on_the_same_home_is_refused_and_the_first_works_on(home: Path) -> None:
    with daemon(home):
        until(lambda: answers(home / "run" / "holdfast.sock"))
        status, said = served(home)
        assert status == 2
        assert "already running" in said
        assert answers(home / "run" / "holdfast.sock")


def test_two_commands_at_once_on_a_fresh_home_start_one_daemon(home: Path) -> None:
    (files(home) / "a.txt").write_text("one two")
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "holdfast.doors.cli", "run", "how many words are in a.txt?"],
            cwd=files(home),
            env={**ENVIRONMENT, "HOLDFAST_HOME": str(home), "HOME": str(home.parent)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    told = [one.communicate(timeout=50) for one in both]
    assert [one.returncode for one in both] == [0, 0], told
    assert all("2 words" in out for out, _ in told)


def test_a_read_only_home_is_named(tmp_path: Path) -> None:
    outside = tmp_path / "home"
    outside.mkdir(mode=0o700)
    where = ("bwrap", "--dev-bind", "/", "/", "--ro-bind", str(outside), str(outside))
    status, said = served(outside, *where)
    assert status == 4
    assert "cannot be used" in said
    assert "HOLDFAST_HOME" in said


def test_a_newer_database_is_refused_and_left_as_it_is(home: Path) -> None:
    holdfast(home, "status")
    holdfast(home, "serve", "stop")
    database = home / "holdfast.db"
    connection: Any = apsw.Connection(str(database))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute(
        "INSERT INTO migration SELECT 99, 'later', checksum, applied_at FROM migration LIMIT 1"
    )
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = database.read_bytes()
    status, said = served(home)
    assert status == 70
    assert "newer" in said
    assert database.read_bytes() == before


def test_a_damaged_database_is_refused_with_the_way_back(home: Path) -> None:
    (files(home) / "a.txt").write_text("one two")
    assert holdfast(home, "run", "how many words are in a.txt?").returncode == 0
    assert holdfast(home, "backup", str(home / "backups" / "good.db")).returncode == 0
    holdfast(home, "serve", "stop")
    with (home / "holdfast.db").open("r+b") as file:
        file.write(b"this is no database at all" * 10)
    status, said = served(home)
    assert status == 70
    assert "restore" in said
    refused = holdfast(home, "restore", str(files(home) / "a.txt"))
    assert refused.returncode == 70
    assert refused.stderr.count("is not a database:") == 1
    assert "hint: name a file that `holdfast backup` wrote" in refused.stderr
    restored = holdfast(home, "restore", str(home / "backups" / "good.db"))
    assert restored.returncode == 0, restored.stderr
    assert "what was there is kept as" in restored.stdout
    listed = json.loads(holdfast(home, "task", "list", "--json").stdout)
    assert [task["status"] for task in listed["tasks"]] == ["SUCCEEDED"]


def test_a_full_disk_refuses_new_work_keeps_the_old_and_recovers(tmp_path: Path) -> None:
    inside = tmp_path / "home"
    inside.mkdir()
    walls = ("bwrap", "--dev-bind", "/", "/", "--size", "3000000", "--tmpfs", str(inside))
    with daemon(inside, *walls, "--die-with-parent") as running:
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
        until(lambda: bool(children.read_text().split()))
        root = Path(f"/proc/{children.read_text().split()[0]}/root")
        place = Path(f"{root}{inside}")
        link = tmp_path / "sock"
        link.symlink_to(place / "run" / "holdfast.sock")
        until(lambda: answers(link))
        work = {"prompt": "what time is it?", "workspace": str(files(inside))}
        first = ask(link, "POST", "/api/v1/tasks", work)
        until(lambda: ask(link, "GET", f"/api/v1/tasks/{first['id']}")["status"] == "SUCCEEDED")
        filler = place / "filler"
        with pytest.raises(OSError, match="space"), filler.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        refused: list[Any] = []
        for _ in range(50):
            reply = ask(
                link, "POST", "/api/v1/tasks", {**work, "prompt": "what time is it? " * 400}
            )
            if "id" not in reply:
                refused.append(reply)
                break
        assert refused, "the disk never filled"
        assert refused[0]["code"].startswith("store_")
        assert answers(link)
        filler.unlink()
        after = ask(link, "POST", "/api/v1/tasks", work)
        until(lambda: ask(link, "GET", f"/api/v1/tasks/{after['id']}")["status"] == "SUCCEEDED")
        assert ask(link, "GET", f"/api/v1/tasks/{first['id']}/verify")["ok"]


@pytest.mark.parametrize("jump", ["-3h", "+400d"])
def test_a_clock_that_jumps_between_two_lives_loses_nothing(home: Path, jump: str) -> None:
    (files(home) / "a.txt").write_text("one two")
    prompt = "how many words are in a.txt?"
    assert holdfast(home, "run", prompt).returncode == 0
    holdfast(home, "serve", "stop")
    with daemon(home, "faketime", "-f", jump):
        until(lambda: answers(home / "run" / "holdfast.sock"))
        done = holdfast(home, "run", prompt)
        assert done.returncode == 0, done.stderr
    assert holdfast(home, "run", prompt).returncode == 0
    listed = json.loads(holdfast(home, "task", "list", "--json").stdout)
    assert [task["status"] for task in listed["tasks"]] == ["SUCCEEDED"] * 3


def test_a_terminated_daemon_ends_within_its_drain_time(home: Path) -> None:
    with daemon(home) as running:
        until(lambda: answers(home / "run" / "holdfast.sock"))
        running.send_signal(signal.SIGTERM)
        assert running.wait(6) == 0
