"""The daemon comes when it is needed, once, and goes when it is told to."""

import contextlib
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.config import load
from holdfast.doors.cli import main
from tests.doors.cli_stage import PATIENCE, Told, command, environment, staged, starting


@pytest.fixture
def home() -> Iterator[Path]:
    """An empty home; whatever was started in it is ended by its own process id."""
    with tempfile.TemporaryDirectory(prefix="hf-") as name:
        yield Path(name)
        for process in starts(Path(name)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


def starts(home: Path) -> list[int]:
    """The processes that became the daemon of this home, in order."""
    path = home / "starts"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def ended(process: int) -> bool:
    """True when a process is gone, or waits for nothing but to be collected."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def tell(home: Path, *arguments: str) -> Told:
    done = subprocess.run(
        starting(home, *arguments),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment(home),
        timeout=PATIENCE,
        check=False,
        cwd=home,
    )
    return Told(done.returncode, done.stdout.decode(), done.stderr.decode())


def test_a_daemon_is_started_when_none_answers_and_used_again_by_the_next(home: Path):
    assert tell(home, "run", "go").out == "ok\n"
    assert tell(home, "run", "go").out == "ok\n"
    [process] = starts(home)
    assert process in starts(home)
    assert os.getsid(process) == process


def test_many_at_once_end_with_one_daemon_and_all_get_their_answer(home: Path):
    crowd = [
        subprocess.Popen(
            starting(home, "run", "-q", f"task {number}"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(home),
        )
        for number in range(5)
    ]
    told = [process.communicate(timeout=PATIENCE) for process in crowd]
    assert told == [(b"ok\n", b"")] * 5
    assert len(starts(home)) == 1


def test_a_daemon_killed_while_it_works_is_started_again_and_asked_from_where_it_was(home: Path):
    assert tell(home, "serve", "--detach").code == 0
    [first] = starts(home)
    os.kill(first, signal.SIGKILL)
    assert tell(home, "run", "go").out == "ok\n"
    assert len(starts(home)) == 2


def test_a_real_daemon_killed_in_the_middle_of_a_run_costs_neither_the_task_nor_its_answer(
    home: Path,
):
    """The waiting command itself brings the daemon back, and hears what became of its task."""
    (home / "config.toml").write_text("[server]\nhttp = false\n")
    folder = home / "workspace"
    folder.mkdir()
    words = '/tool exec {"command": "touch began; sleep 30"}'
    process = subprocess.Popen(
        command("run", "--yes", "-C", str(folder), words),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(home),
    )
    assert process.stderr
    with process:
        said = ""
        while "exec touch began" not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        os.kill(int((home / "run" / "daemon.lock").read_text()), signal.SIGKILL)
        out, err = process.communicate(timeout=PATIENCE)
    # What was cut off may not have been done, and the offline rules say so rather than "done".
    assert process.returncode == 1, (out, err)
    assert "unknown" in err
    assert "it may or may not have happened" in err
    os.kill(int((home / "run" / "daemon.lock").read_text()), signal.SIGTERM)


def test_a_daemon_that_cannot_start_tells_why_with_its_own_exit_code(home: Path):
    script = "import sys; sys.stderr.write('error: config.toml:3: unknown key\\n'); sys.exit(2)"
    (home / "bad.py").write_text(script)
    call = "import sys; from holdfast.doors.cli import main; "
    call += "sys.exit(main(['status'], serve=[sys.executable, sys.argv[1]]))"
    done = subprocess.run(
        [sys.executable, "-c", call, str(home / "bad.py")],
        capture_output=True,
        text=True,
        env=environment(home),
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == (
        "error: the daemon did not start:\n  error: config.toml:3: unknown key\n"
        f"hint: the whole log is {home}/logs/daemon.log\n"
    )


def test_a_home_that_cannot_be_written_is_an_error_in_words(home: Path):
    (home / "file").write_text("")
    told = tell(home, "status", "--home", str(home / "file"))
    assert told.code == 4
    assert "Holdfast cannot write to its home" in told.err
    assert "hint: give another one with --home" in told.err


def test_a_home_too_deep_for_a_socket_is_an_error_in_words(home: Path):
    told = tell(home, "status", "--home", str(home / ("x" * 100)))
    assert told.code == 4
    assert "the path of the socket is too long, 107 bytes are possible" in told.err


def test_detached_it_returns_when_the_daemon_is_ready_and_status_tells_since_when(home: Path):
    """Row OL-01. Part of row OK-143: returns at once, status shows the uptime, graceful stop."""
    assert tell(home, "serve", "status").code == 1
    assert starts(home) == []
    told = tell(home, "serve", "--detach")
    assert told.out == f"started, process {starts(home)[0]}\n"
    assert tell(home, "serve", "--detach").out.startswith("already running, process ")
    shown = tell(home, "serve", "status")
    assert shown.code == 0
    assert "up          1 m" in shown.out
    assert tell(home, "serve", "restart").code == 0
    first, second = starts(home)
    assert ended(first)
    assert tell(home, "serve", "stop").err == "✓ stopped\n"
    assert ended(second)
    again = tell(home, "serve", "stop")
    assert (again.code, again.err) == (0, "no daemon is running\n")
    assert len(starts(home)) == 2


def test_a_second_daemon_in_the_foreground_is_refused(tmp_path: Path):
    with staged(tmp_path) as stage:
        told = stage.run("serve")
    assert told.code == 2
    assert told.err.startswith("error: a daemon is already running\n")


def test_the_log_is_shown_from_its_end_and_for_people(home: Path):
    """Part of row OK-118."""
    (home / "logs").mkdir()
    entry = (
        '{"at": "2026-11-21T01:02:03.5+00:00", "level": "info", "message": "m%d", "task": "t"}\n'
    )
    (home / "logs" / "holdfast.log").write_text("".join(entry % n for n in range(9)) + "torn\n")
    assert (
        tell(home, "serve", "logs", "-n", "2").out
        == "2026-11-21 01:02:03 info    m8 task=t\ntorn\n"
    )
    assert tell(home, "serve", "logs", "-n", "2", "--json").out == entry % 8 + "torn\n"
    assert tell(home, "serve", "logs", "-n", "0").out == ""


def test_the_log_is_followed_until_an_interrupt(home: Path):
    """Part of row OK-118."""
    (home / "logs").mkdir()
    log = home / "logs" / "holdfast.log"
    log.write_text("one\n")
    process = subprocess.Popen(
        command("serve", "logs", "-f"), stdout=subprocess.PIPE, env=environment(home)
    )
    assert process.stdout
    with process:
        assert process.stdout.readline() == b"one\n"
        with log.open("a") as file:
            file.write("two\n")
        assert process.stdout.readline() == b"two\n"
        process.send_signal(signal.SIGINT)
    assert process.returncode == 130


def test_init_makes_a_private_home_with_every_key_explained_and_touches_nothing_twice(home: Path):
    place = home / "new"
    told = tell(home, "init", "--home", str(place))
    assert told.code == 0
    assert {path.name for path in place.iterdir()} == {
        "backups", "config.toml", "logs", "run", "token", "workspace",
    }  # fmt: skip
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert stat.S_IMODE((place / "token").stat().st_mode) == 0o600
    (place / "config.toml").write_text("# mine\n")
    token = (place / "token").read_text()
    again = tell(home, "init", "--home", str(place))
    assert again.out == f"everything is there already in {place}\n"
    assert (place / "config.toml").read_text() == "# mine\n"
    assert (place / "token").read_text() == token


def effective(home: Path) -> dict[str, str]:
    return {row.key: row.value for row in load(environment={"HOLDFAST_HOME": str(home)}).describe()}


_WITHOUT = ("cost_usd", "temperature", "output")  # keys whose default is that they are left out


def test_the_file_that_init_writes_says_the_defaults_when_it_is_uncommented(home: Path):
    tell(home, "init")
    path = home / "config.toml"
    defaults = effective(home)
    said = [line[2:] for line in path.read_text().splitlines() if re.match(r"# (\[|\w+ = )", line)]
    assert len(said) > len(defaults)
    path.write_text("\n".join(line for line in said if not line.startswith(_WITHOUT)))
    assert effective(home) == defaults
    assert tomllib.loads("\n".join(said))["limits"]["cost_usd"] > 0


def test_main_may_be_called_inside_a_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with staged(tmp_path) as stage:
        assert main(["status", "--home", str(stage.home)]) == 0
    assert "process" in capsys.readouterr().out


def test_the_doctor_is_asked_in_a_process_of_its_own_and_its_findings_are_shown(home: Path):
    told = tell(home, "doctor")
    assert told.code in {0, 1}
    assert "python: 3." in told.out
    assert told.code == int(any(line.startswith("fail") for line in told.out.splitlines()))
    (home / "config.toml").write_text("[limits]\nsteps = 0\n")
    told = tell(home, "doctor")
    assert told.code == 2
    assert told.err.startswith(f"error: {home}/config.toml:2: limits.steps: expected")
    assert told.err.endswith("hint: every key is in docs/reference/config.md\n")
