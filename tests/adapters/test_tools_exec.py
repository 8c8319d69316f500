"""Commands in the box, and what is said about them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest

from holdfast.adapters.boxes.bubblewrap import BubblewrapBoxes
from holdfast.adapters.tools.execute import BoxOptions, outcome
from holdfast.core.error import Unavailable
from holdfast.core.gate.judge import layers_for
from holdfast.core.gate.policy import Allow, Deny, Leave, Rules
from holdfast.core.ids import CallId
from holdfast.core.message import Failed, Returned, ToolCall
from holdfast.ports.box import BoxLimits, BoxSpec, Exit
from holdfast.testing.fake_box import FakeBox, FakeBoxes
from tests.adapters.desk import Desk
from tests.core.given import judge

pytestmark = pytest.mark.anyio

OPTIONS = BoxOptions(environment={"PATH": "/opt/extra:/usr/bin:/bin", "WHO": "tester"})


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncGenerator[Desk]:
    desk = Desk(tmp_path, BubblewrapBoxes(), OPTIONS)
    yield desk
    await desk.close()


def verdict(command: str, *, allow: tuple[str, ...] = (), deny: tuple[str, ...] = ()) -> object:
    call = ToolCall(id=CallId("c"), tool="exec", arguments={"command": command}, target=command)
    layers = layers_for(Leave(allow=allow, deny=deny), (), Rules())
    return judge(call, layers, unattended=True, until=0)


async def test_a_command_says_everything_that_came_of_it(desk: Desk):
    """Rows OC-49, KV-26. Part of row OL-91."""
    command = "echo out; echo err >&2; echo more; exit 3"
    assert await desk.fails("exec", command=command) == (
        "exit_3",
        "out\nmore\n[stderr]\nerr\nexit code 3",
    )
    assert await desk.says("exec", command="echo out; echo err >&2") == "out\n[stderr]\nerr"
    assert await desk.says("exec", command="true") == "[no output]"
    assert (await desk.fails("exec", command="kill -9 $$"))[1] == "exit code 137 (SIGKILL)"
    assert await desk.says("exec", command="printf %s $PATH:$WHO") == (
        "/opt/extra:/usr/bin:/bin:tester"
    )
    assert (await desk.fails("exec", command="pwd", cwd="../"))[0] == "outside_workspace"
    code, text = await desk.fails("exec", command="echo a; sleep 70 & sleep 70", timeout=0.3)
    assert (code, text) == ("timeout", "a\ntimed out after 0.3 s; all its processes were ended")
    assert isinstance(verdict("rm -rf /", allow=("exec",), deny=("exec:rm *",)), Deny)
    assert isinstance(verdict("git status", allow=("exec:git *",)), Allow)
    assert isinstance(verdict("git status; rm x", allow=("exec:git *",)), Deny)


async def test_a_command_runs_where_it_is_told(desk: Desk):
    """Row OL-91. Part of row GC-90d."""
    (desk.workspace / "below").mkdir()
    assert await desk.says("exec", command="pwd") == str(desk.workspace)
    assert await desk.says("exec", command="pwd", cwd="below") == f"{desk.workspace}/below"
    assert await desk.fails("exec", command="pwd", cwd="none") == (
        "not_found",
        "there is no folder none",
    )
    for cwd in ("..", "/", "below/../../"):
        assert (await desk.fails("exec", command="pwd", cwd=cwd))[0] == "outside_workspace"
    code, text = await desk.fails("exec", command="echo kept; sleep 30 & sleep 30", timeout=2)
    assert code == "timeout"
    assert text.startswith("kept\n")


async def test_a_command_is_for_bash_where_there_is_one(desk: Desk):
    """Row OC-17."""
    assert await desk.says("exec", command="[[ a == a* ]] && echo ${0##*/}") == "bash"
    options = BoxOptions(environment={"PATH": "/nowhere"})
    plain = Desk(desk.workspace, BubblewrapBoxes(), options)
    assert (await plain.fails("exec", command="true"))[0] == "exit_127"
    await plain.close()
    nobox = Desk(desk.workspace / "workspace", BubblewrapBoxes(program="no-such-bwrap"))
    code, text = await nobox.fails("exec", command="touch ran")
    assert code == "unavailable"
    assert "bubblewrap" in text
    assert not (nobox.workspace / "ran").exists()
    assert isinstance(verdict("git log", allow=("exec:git *",)), Allow)
    assert isinstance(verdict("rm x", allow=("exec:git *",)), Deny)
    assert isinstance(verdict("git log"), Deny)


async def test_quotes_in_a_command_are_its_own(desk: Desk):
    said = await desk.says("exec", command="printf '%s|' \"a b\" '$0' \\$1 \"it's\"")
    assert said == "a b|$0|$1|it's|"


async def test_bytes_that_are_no_text_do_no_harm(desk: Desk):
    assert await desk.says("exec", command="printf 'caf\\351'") == "caf\ufffd"


async def test_the_limits_are_those_of_the_configuration(tmp_path: Path):
    box = FakeBoxes({"work": Exit(code=0, stdout=b"ok", stderr=b"")})
    limits = BoxLimits(seconds=7, memory=123)
    desk = Desk(tmp_path, box, BoxOptions(limits=limits, read_only=(Path("/opt"),), longest=20))
    await desk.says("exec", command="work")
    await desk.says("exec", command="work", timeout=15)
    assert [ran.seconds for ran in box.ran] == [7, 15]
    assert {ran.spec.limits.memory for ran in box.ran} == {123}
    assert box.ran[0].spec.read_only == (Path("/opt"),)
    assert box.ran[0].spec.hidden == (desk.workspace / ".holdfast",)
    assert (await desk.fails("exec", command="work", timeout=21))[0] == "bad_arguments"


async def test_a_command_may_take_as_long_as_the_configuration_says(tmp_path: Path):
    box = FakeBoxes({"work": Exit(code=0, stdout=b"ok", stderr=b"")})
    desk = Desk(tmp_path, box, BoxOptions(limits=BoxLimits(seconds=1200)))
    await desk.says("exec", command="work")
    await desk.says("exec", command="work", timeout=1200)
    assert [ran.seconds for ran in box.ran] == [1200, 1200]


async def test_a_box_that_cannot_be_made_is_an_answer(tmp_path: Path):
    class NoBox(FakeBoxes):
        async def create(self, spec: BoxSpec) -> FakeBox:
            raise Unavailable("no box today", hint="try tomorrow")

    desk = Desk(tmp_path, NoBox())
    assert await desk.fails("exec", command="true") == (
        "unavailable",
        "no box today try tomorrow",
    )


async def test_output_that_was_dropped_is_mentioned():
    cut = outcome(Exit(code=0, stdout=b"abc", stderr=b"", cut=True), 1)
    assert isinstance(cut, Returned)
    assert cut.text == "abc\n[it wrote more; only the first 3 bytes were kept]"


async def test_our_own_folder_is_empty_inside(desk: Desk):
    desk.file(".holdfast/token", "a secret")
    said = await desk.says("exec", command="ls -A .holdfast; cat .holdfast/* 2>&1 || true")
    assert "a secret" not in said
    assert (await desk.fails("exec", command="echo x >.holdfast/new"))[0] == "exit_1"


async def test_what_steers_git_is_put_back(desk: Desk):
    await desk.says("exec", command="git init -q . 2>/dev/null; chmod +x .git/hooks/*")
    hook = desk.workspace / ".git/hooks/pre-commit.sample"
    config, before = desk.workspace / ".git/config", hook.read_bytes()
    plain, mode = config.read_bytes(), hook.stat().st_mode
    said = await desk.says(
        "exec",
        command="git config core.sshCommand evil; echo evil >.git/hooks/pre-commit;"
        "echo evil >.git/hooks/pre-commit.sample; touch file; git add -A; echo done",
    )
    assert said.startswith("done\n[put back as before: .git/config, .git/hooks/pre-commit")
    assert config.read_bytes() == plain
    assert (hook.read_bytes(), hook.stat().st_mode) == (before, mode)
    assert not (hook.parent / "pre-commit").exists()
    assert (desk.workspace / ".git/index").exists()


async def test_a_hooks_folder_swapped_for_a_link_is_put_back(desk: Desk, tmp_path: Path):
    await desk.says("exec", command="git init -q . 2>/dev/null")
    names = sorted(path.name for path in (desk.workspace / ".git/hooks").iterdir())
    (desk.workspace / "mine").mkdir()
    await desk.says("exec", command="rm -r .git/hooks; ln -s ../mine .git/hooks")
    hooks = desk.workspace / ".git/hooks"
    assert not hooks.is_symlink()
    assert sorted(path.name for path in hooks.iterdir()) == names


async def test_what_steers_repositories_further_down_is_put_back(desk: Desk):
    places = ("a", "a/b/c", "d", "e")
    for name in places:
        (desk.workspace / name).mkdir(parents=True)
        await desk.says("exec", command=f"git init -q {name} 2>/dev/null")
    plant = "for one in a a/b/c d e; do echo evil >$one/.git/hooks/pre-commit; done;"
    swap = "mv d other; mkdir evil; cp -r other evil/d; ln -s evil/d d; rm -rf e; git init -q new;"
    said = await desk.says("exec", command=f"{plant}{swap} touch new/.git/hooks/mine; echo done")
    assert "[put back as before: d, a/.git/hooks/pre-commit, a/b/c/.git/hooks/pre-commit;" in said
    for name in ("a", "a/b/c"):
        assert not (desk.workspace / name / ".git/hooks/pre-commit").exists()
    assert not (desk.workspace / "d").is_symlink()
    assert not (desk.workspace / "e").exists()
    assert (desk.workspace / "new/.git/hooks/mine").exists()


async def test_two_commands_cannot_put_back_each_others_hooks(desk: Desk):
    await desk.says("exec", command="git init -q . 2>/dev/null")
    config = desk.workspace / ".git/config"
    plain = config.read_bytes()

    async def plant() -> None:
        await desk.says(
            "exec", command="echo evil >>.git/config; touch planted; until [ -e go ]; do :; done"
        )

    async def come_later() -> None:
        with anyio.fail_after(10):
            while not (desk.workspace / "planted").exists():
                await anyio.sleep(0.002)
        await desk.says("exec", command="touch go; until [ -e over ]; do :; done")

    async with anyio.create_task_group() as group:
        group.start_soon(come_later)
        await plant()
        (desk.workspace / "over").touch()
    assert config.read_bytes() == plain


async def test_a_cancelled_command_leaves_git_as_it_was(desk: Desk):
    await desk.says("exec", command="git init -q . 2>/dev/null")
    plain = (desk.workspace / ".git/config").read_bytes()
    async with anyio.create_task_group() as group:
        command = "echo evil >>.git/config; touch planted; sleep 60"
        group.start_soon(lambda: desk.says("exec", command=command))
        with anyio.fail_after(10):
            while not (desk.workspace / "planted").exists():
                await anyio.sleep(0.002)
        group.cancel_scope.cancel()
    assert (desk.workspace / ".git/config").read_bytes() == plain


async def test_people_tools_answer_from_the_clock(desk: Desk):
    first = await desk.says("time")
    assert first.startswith("2027-01-15T08:00:00Z (Friday); here ")
    desk.clock.advance(60)
    assert (await desk.says("time")).startswith("2027-01-15T08:01:00Z")


async def test_nobody_is_asked_when_nobody_is_there(desk: Desk):
    ask, arguments = desk.tool("ask_person"), {"question": "Which one?"}
    alone = type(desk.job)(
        task=desk.job.task, call=desk.job.call, workspace=desk.workspace, unattended=True
    )
    out = await ask.run(arguments, alone)
    assert isinstance(out, Failed)
    assert out.code == "nobody_there"


async def test_what_starts_shells_and_editors_is_put_back_too(desk: Desk):
    desk.file(".bashrc", "mine")
    desk.file(".vscode/tasks.json", "{}")
    plant = (
        "echo evil >>.bashrc; echo evil >.envrc; mkdir -p .ssh evil; echo k >.ssh/authorized_keys;"
        "rm -r .vscode; echo evil >evil/tasks.json; ln -s evil .vscode; echo ok >plain"
    )
    said = await desk.says("exec", command=plant)
    assert "put back as before" in said
    assert (desk.workspace / ".bashrc").read_text() == "mine"
    assert (desk.workspace / ".vscode/tasks.json").read_text() == "{}"
    assert not (desk.workspace / ".vscode").is_symlink()
    for name in (".envrc", ".ssh/authorized_keys"):
        assert not (desk.workspace / name).exists(), name
    assert (desk.workspace / "plain").read_text() == "ok\n"
