"""What every box must do: one function per promise, each given a box and an empty workspace.

Only programs that `FakeBox` knows too are used; what only a real box can show is tested beside it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio

from holdfast.core.error import Invalid
from holdfast.ports.box import Box, BoxLimits, BoxSpec

Clause = Callable[[Box, Path], Awaitable[None]]


async def a_command_says_what_it_says_and_how_it_ended(box: Box, workspace: Path) -> None:
    spec = BoxSpec(workspace=workspace)
    out = await box.run(["echo", "two  spaces", "é"], spec=spec)
    assert (out.code, out.stdout, out.stderr) == (0, "two  spaces é\n".encode(), b"")
    assert not out.timed_out
    assert not out.cut
    assert (await box.run(["false"], spec=spec)).code == 1


async def a_program_that_is_not_there_is_code_127(box: Box, workspace: Path) -> None:
    out = await box.run(["no-such-program"], spec=BoxSpec(workspace=workspace))
    assert out.code == 127
    assert b"no-such-program" in out.stderr


async def it_reads_what_it_is_given(box: Box, workspace: Path) -> None:
    much = bytes(range(256)) * 2_000
    out = await box.run(["cat"], spec=BoxSpec(workspace=workspace), stdin=much)
    assert out.stdout == much


async def a_command_that_reads_nothing_does_not_hang(box: Box, workspace: Path) -> None:
    with anyio.fail_after(10):
        out = await box.run(["true"], spec=BoxSpec(workspace=workspace), stdin=b"x" * 1_000_000)
    assert out.code == 0


async def files_of_the_workspace_are_read_and_written(box: Box, workspace: Path) -> None:
    spec = BoxSpec(workspace=workspace)
    await box.run(["tee", "made"], spec=spec, stdin=b"hello")
    assert await anyio.Path(workspace / "made").read_bytes() == b"hello"
    assert (await box.run(["cat", "made"], spec=spec)).stdout == b"hello"


async def the_workspace_has_the_same_path_inside(box: Box, workspace: Path) -> None:
    spec = BoxSpec(workspace=workspace)
    assert (await box.run(["pwd"], spec=spec)).stdout.decode() == f"{workspace}\n"
    await anyio.Path(workspace / "below").mkdir()
    out = await box.run(["pwd"], spec=spec, cwd="below")
    assert out.stdout.decode() == f"{workspace}/below\n"


async def nothing_outside_the_workspace_is_seen(box: Box, workspace: Path) -> None:
    secret = anyio.Path(workspace.parent / "secret")
    await secret.write_text("a secret")
    for name in (str(secret), "../secret"):
        out = await box.run(["cat", name], spec=BoxSpec(workspace=workspace))
        assert out.code != 0
        assert b"a secret" not in out.stdout


async def a_hidden_folder_is_empty_and_cannot_be_filled(box: Box, workspace: Path) -> None:
    hidden = workspace / ".holdfast"
    await anyio.Path(hidden).mkdir()
    await anyio.Path(hidden / "key").write_text("a secret")
    spec = BoxSpec(workspace=workspace, hidden=(hidden, workspace / "not-there"))
    assert (await box.run(["ls", ".holdfast"], spec=spec)).stdout == b""
    assert (await box.run(["cat", ".holdfast/key"], spec=spec)).code != 0
    assert (await box.run(["tee", ".holdfast/new"], spec=spec, stdin=b"x")).code != 0
    assert [each.name async for each in anyio.Path(hidden).iterdir()] == ["key"]


async def the_environment_is_what_is_given_and_nothing_of_ours(box: Box, workspace: Path) -> None:
    spec = BoxSpec(workspace=workspace, environment={"GREETING": "hello there"})
    said = (await box.run(["env"], spec=spec)).stdout.decode().splitlines()
    assert "GREETING=hello there" in said
    known = {"PATH", "HOME", "USER", "LOGNAME", "LANG", "TERM", "TMPDIR", "PWD", "GREETING"}
    assert {line.partition("=")[0] for line in said} <= known


async def a_command_is_stopped_when_its_time_is_up(box: Box, workspace: Path) -> None:
    spec, limits = BoxSpec(workspace=workspace), BoxLimits(seconds=0.2)
    with anyio.fail_after(5):
        out = await box.run(["sleep", "60"], spec=spec, limits=limits)
    assert (out.timed_out, out.code) == (True, -9)


async def output_beyond_the_limit_is_cut_and_does_not_block(box: Box, workspace: Path) -> None:
    spec, limits = BoxSpec(workspace=workspace), BoxLimits(seconds=0.5, output=1_001)
    out = await box.run(["yes"], spec=spec, limits=limits)
    assert out.stdout == (b"y\n" * 501)[:1_001]
    assert (out.cut, out.timed_out) == (True, True)


async def it_can_be_cancelled(box: Box, workspace: Path) -> None:
    with anyio.fail_after(5), anyio.move_on_after(0.2) as scope:
        await box.run(["sleep", "60"], spec=BoxSpec(workspace=workspace))
    assert scope.cancelled_caught


async def what_makes_no_sense_is_refused(box: Box, workspace: Path) -> None:
    good = BoxSpec(workspace=workspace)
    await _refused(box, ["true"], BoxSpec(workspace=workspace / "missing"))
    await _refused(box, ["true"], BoxSpec(workspace=Path("/")))
    await _refused(box, ["true"], BoxSpec(workspace=Path("relative")))
    await _refused(box, ["true"], good, cwd="..")
    await _refused(box, ["true"], good, cwd="missing")
    await _refused(box, [], good)
    await _refused(box, ["echo", "a\0b"], good)


async def _refused(box: Box, argv: list[str], spec: BoxSpec, cwd: str = ".") -> None:
    try:
        await box.run(argv, spec=spec, cwd=cwd)
    except Invalid:
        return
    raise AssertionError(f"{argv} in {spec.workspace}/{cwd} was not refused")


CLAUSES: tuple[Clause, ...] = (
    a_command_says_what_it_says_and_how_it_ended,
    a_program_that_is_not_there_is_code_127,
    it_reads_what_it_is_given,
    a_command_that_reads_nothing_does_not_hang,
    files_of_the_workspace_are_read_and_written,
    the_workspace_has_the_same_path_inside,
    nothing_outside_the_workspace_is_seen,
    a_hidden_folder_is_empty_and_cannot_be_filled,
    the_environment_is_what_is_given_and_nothing_of_ours,
    a_command_is_stopped_when_its_time_is_up,
    output_beyond_the_limit_is_cut_and_does_not_block,
    it_can_be_cancelled,
    what_makes_no_sense_is_refused,
)
