"""The command line's own words: help, wrong words, and how little is loaded to say them."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from holdfast.doors.cli import main
from holdfast.doors.cli.commands import reference
from holdfast.doors.cli.out import columns, line, plain, span
from holdfast.doors.cli.table import COMMANDS, DEFAULTS
from holdfast.doors.cli.version import VERSION
from tests.doors.cli_stage import ROOT, command, environment, staged

GOLDEN = ROOT / "tests" / "golden" / "help"
QUICK = """
holdfast json _json _socket importlib re _sre enum copyreg types operator _operator keyword reprlib
collections _collections functools _functools itertools contextlib warnings __future__ time
"""


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_is_as_it_was_reviewed(name: str, capsys: pytest.CaptureFixture[str]):
    """Regenerate with HOLDFAST_GOLDEN=1."""
    code, out, err = told(capsys, "help", *name.split())
    path = GOLDEN / f"{name.replace(' ', '-') or 'holdfast'}.txt"
    if os.environ.get("HOLDFAST_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(out)
    assert (code, err) == (0, "")
    assert out == path.read_text()


def test_no_help_is_golden_without_a_command():
    wanted = {f"{name.replace(' ', '-') or 'holdfast'}.txt" for name in ("", *COMMANDS)}
    assert {path.name for path in GOLDEN.iterdir()} == wanted


@pytest.mark.parametrize("name", [n for n, c in COMMANDS.items() if not c.raw])
def test_every_command_explains_itself_with_an_example_and_its_exit_codes(
    name: str, capsys: pytest.CaptureFixture[str]
):
    for flag in ("--help", "-h"):
        code, out, _ = told(capsys, *name.split(), flag)
        assert code == 0
        assert "Examples:\n" in out
        assert "Exit codes:\n" in out
    assert told(capsys, "help", *name.split())[1] == out


@pytest.mark.parametrize("group", sorted(DEFAULTS))
def test_help_for_a_group_lists_all_of_it(group: str, capsys: pytest.CaptureFixture[str]):
    """Also where the word alone is a command, as `slack` is `slack status`."""
    code, out, _ = told(capsys, group, "--help")
    beginning = DEFAULTS[group].split()[0]
    for name in COMMANDS:
        assert (f"\n  {name} " in out) == (name.split()[0] == beginning)
    assert code == 0


def test_the_reference_names_every_command_and_every_option():
    page = reference()
    for name, entry in COMMANDS.items():
        assert f"### holdfast {name}\n" in page
        assert all(flag in page for option in entry.options for flag in option.flags)


def test_the_version_is_the_one_in_pyproject(capsys: pytest.CaptureFixture[str]):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == VERSION
    assert told(capsys, "--version") == (0, f"holdfast {VERSION}\n", "")
    assert json.loads(told(capsys, "version", "--json")[1]) == {"version": VERSION}


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("rnu", "did you mean `holdfast run`?"),
        ("taks list", "did you mean `holdfast task`?"),
        ("task shwo x", "did you mean `holdfast task show`?"),
        ("task list --limt 3", "did you mean --limit?"),
        ("frobnicate", "holdfast help lists all commands"),
        ("task list 1 2", "holdfast task list --help"),
        ("task show", "holdfast task show --help"),
        ("task list --limit", "holdfast task list --help"),
        ("task list --limit=many", "holdfast task list --help"),
        ("task list --limit=-1", "holdfast task list --help"),
        ("run --budget nan x", "holdfast run --help"),
        ("run --quiet=yes x", "holdfast run --help"),
        ("help frobnicate", "holdfast help lists all commands"),
        ("completion tcsh", "one of bash, zsh, fish"),
    ],
)
def test_a_wrong_word_is_exit_two_with_a_hint(
    words: str, hint: str, capsys: pytest.CaptureFixture[str]
):
    code, out, err = told(capsys, *words.split())
    assert (code, out) == (2, "")
    assert err.endswith(f"hint: {hint}\n")


def test_a_sentence_instead_of_a_command_is_shown_the_way(capsys: pytest.CaptureFixture[str]):
    _, _, err = told(capsys, "count all the files please")
    assert err.endswith('hint: to have it done: holdfast run "count all the files please"\n')


def test_options_may_stand_before_the_command_and_after_two_dashes_nothing_is_one(tmp_path: Path):
    with staged(tmp_path) as stage:
        env = environment(Path("/nowhere"))
        given = ("--home", str(stage.home), "run", "-q", "--", "explain", "--help", "-x")
        assert stage.run(*given, env=env).out == "ok\n"
        assert stage.daemon.jobs[0].body["prompt"] == "explain --help -x"
        assert stage.run("--json", "task", "list").out.startswith('{"tasks"')


@pytest.mark.parametrize("arguments", [("--version",), ("status",), ("task", "list")])
def test_a_quick_command_loads_next_to_nothing(tmp_path: Path, arguments: tuple[str, ...]):
    loads = (
        "import sys; before = set(sys.modules); from holdfast.doors.cli import main; "
        f"main({list(arguments)!r}); print(*set(sys.modules) - before, file=sys.stderr)"
    )
    with staged(tmp_path) as stage:
        done = subprocess.run(
            [sys.executable, "-c", loads],
            capture_output=True,
            text=True,
            env=environment(stage.home),
            check=True,
        )
    everything = done.stderr.splitlines()[-1].split()
    loaded = {name for name in everything if not name.startswith("holdfast.doors")}
    assert {name.partition(".")[0] for name in loaded} - set(QUICK.split()) == set()
    assert [name for name in loaded if name.startswith("holdfast.")] == []
    assert len(everything) < 60


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_every_command(shell: str, capsys: pytest.CaptureFixture[str]):
    code, out, _ = told(capsys, "completion", shell)
    assert code == 0
    assert all(name.split()[-1] in out for name in COMMANDS)


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not part of every system")
@pytest.mark.parametrize(
    ("typed", "wanted"),
    [("holdfast ta", "task"), ("holdfast task ca", "cancel"), ("holdfast run --bud", "--budget")],
)
def test_bash_completes_what_was_begun(typed: str, wanted: str, capsys: pytest.CaptureFixture[str]):
    script = told(capsys, "completion", "bash")[1]
    words = typed.split()
    call = f'COMP_WORDS=({typed}); COMP_CWORD={len(words) - 1}; _holdfast; echo "${{COMPREPLY[*]}}"'
    done = subprocess.run(
        ["bash", "-c", f"{script}\n{call}"], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [wanted]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]8;;http://x\x07link\x1b]8;;\x07", "link"),
        ("a\x1b[2K\x1b[1Ab", "ab"),
        ("\x9b31mred", "red"),
        ("tab\tline\nend\r\x00\x7f", "tab\tline\nend"),
        ("\u202egpj.exe", "gpj.exe"),
        ("cut off \x1b[3", "cut off "),
    ],
)
def test_nothing_that_is_shown_can_move_the_cursor(text: str, shown: str):
    assert plain(text) == shown


def test_words_are_measured_in_columns_and_times_in_the_unit_that_fits():
    assert columns("日本") == 4
    assert line("a\nb\x1b[1m  c\t") == "a b  c"
    assert [span(x) for x in (0, 59, 61, 7300, 200_000)] == ["0 s", "59 s", "1 m", "2 h", "2 d"]


def test_a_bug_is_exit_seventy_with_its_traceback(tmp_path: Path):
    call = (
        "from holdfast.doors.cli import dispatch, listing; "
        "listing.version = None; import sys; sys.argv = ['holdfast', 'version']; dispatch.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", call], capture_output=True, env=environment(tmp_path), check=False
    )
    assert done.returncode == 70
    assert b"Traceback" in done.stderr
    assert done.stderr.endswith(
        b"error: this is a bug in Holdfast; please report it with the lines above\n"
    )


def test_no_colour_is_written_where_it_is_not_wanted(tmp_path: Path):
    from tests.doors.cli_stage import Terminal

    with staged(tmp_path) as stage, Terminal(stage, "rnu") as person:
        person.end()
        assert "\x1b" not in person.seen
        assert "error: there is no command 'rnu'" in person.seen


def test_it_can_be_run_as_a_module(tmp_path: Path):
    done = subprocess.run(
        command("--version"), capture_output=True, env=environment(tmp_path), check=True
    )
    assert done.stdout == f"holdfast {VERSION}\n".encode()
