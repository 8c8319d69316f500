"""What every box must do: one function per promise, each given a kind and an empty workspace.

Only programs that `FakeBox` knows too are used; what only a real box can show is tested beside it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio import CancelScope
from msgspec.structs import replace

from holdfast.core.error import Invalid, NotFound, Unavailable
from holdfast.ports.box import Box, BoxKind, BoxLimits, BoxSpec, Exit

Clause = Callable[[BoxKind, Path], Awaitable[None]]


@asynccontextmanager
async def opened(kind: BoxKind, spec: BoxSpec) -> AsyncGenerator[Box]:
    """A box of its own, destroyed at the end."""
    box = await kind.create(spec)
    try:
        yield box
    finally:
        with CancelScope(shield=True):
            await box.destroy()


async def run_once(
    kind: BoxKind,
    argv: Sequence[str],
    *,
    spec: BoxSpec,
    cwd: str = ".",
    stdin: bytes = b"",
    limits: BoxLimits | None = None,
) -> Exit:
    """One command in a box of its own."""
    async with opened(kind, replace(spec, limits=limits or spec.limits)) as box:
        return await box.exec(argv, cwd=cwd, stdin=stdin)


async def a_command_says_what_it_says_and_how_it_ended(kind: BoxKind, workspace: Path) -> None:
    spec = BoxSpec(workspace=workspace)
    out = await run_once(kind, ["echo", "two  spaces", "é"], spec=spec)
    assert (out.code, out.stdout, out.stderr) == (0, "two  spaces é\n".encode(), b"")
    assert not out.timed_out
    assert not out.cut
    assert (await run_once(kind, ["false"], spec=spec)).code == 1


async def a_program_that_is_not_there_is_code_127(kind: BoxKind, workspace: Path) -> None:
    out = await run_once(kind, ["no-such-program"], spec=BoxSpec(workspace=workspace))
    assert out.code == 127
    assert b"no-such-program" in out.stderr


async def it_reads_what_it_is_given(kind: BoxKind, workspace: Path) -> None:
    much = bytes(range(256)) * 2_000
    out = await run_once(kind, ["cat"], spec=BoxSpec(workspace=workspace), stdin=much)
    assert out.stdout == much


async def a_command_that_reads_nothing_does_not_hang(kind: BoxKind, workspace: Path) -> None:
    with anyio.fail_after(60):
        out = await run_once(
            kind, ["true"], spec=BoxSpec(workspace=workspace), stdin=b"x" * 1_000_000
        )
    assert out.code == 0


async def files_of_the_workspace_are_read_and_written(kind: BoxKind, workspace: Path) -> None:
    spec = BoxSpec(workspace=workspace)
    await run_once(kind, ["tee", "made"], spec=spec, stdin=b"hello")
    assert await anyio.Path(workspace / "made").read_bytes() == b"hello"
    assert (await run_once(kind, ["cat", "made"], spec=spec)).stdout == b"hello"


async def the_workspace_has_the_same_path_inside(kind: BoxKind, workspace: Path) -> None:
    spec = BoxSpec(workspace=workspace)
    assert (await run_once(kind, ["pwd"], spec=spec)).stdout.decode() == f"{workspace}\n"
    await anyio.Path(workspace / "below").mkdir()
    out = await run_once(kind, ["pwd"], spec=spec, cwd="below")
    assert out.stdout.decode() == f"{workspace}/below\n"


async def nothing_outside_the_workspace_is_seen(kind: BoxKind, workspace: Path) -> None:
    secret = anyio.Path(workspace.parent / "secret")
    await secret.write_text("a secret")
    for name in (str(secret), "../secret"):
        out = await run_once(kind, ["cat", name], spec=BoxSpec(workspace=workspace))
        assert out.code != 0
        assert b"a secret" not in out.stdout


async def a_hidden_folder_is_empty_and_cannot_be_filled(kind: BoxKind, workspace: Path) -> None:
    hidden = workspace / ".holdfast"
    await anyio.Path(hidden).mkdir()
    await anyio.Path(hidden / "key").write_text("a secret")
    spec = BoxSpec(workspace=workspace, hidden=(hidden, workspace / "not-there"))
    assert (await run_once(kind, ["ls", ".holdfast"], spec=spec)).stdout == b""
    assert (await run_once(kind, ["cat", ".holdfast/key"], spec=spec)).code != 0
    assert (await run_once(kind, ["tee", ".holdfast/new"], spec=spec, stdin=b"x")).code != 0
    assert [each.name async for each in anyio.Path(hidden).iterdir()] == ["key"]


async def the_environment_is_what_is_given_and_nothing_of_ours(
    kind: BoxKind, workspace: Path
) -> None:
    spec = BoxSpec(workspace=workspace, environment={"GREETING": "hello there"})
    said = (await run_once(kind, ["env"], spec=spec)).stdout.decode().splitlines()
    assert "GREETING=hello there" in said
    known = {"PATH", "HOME", "USER", "LOGNAME", "LANG", "TERM", "TMPDIR", "PWD", "GREETING"}
    assert {line.partition("=")[0] for line in said} <= known


async def a_command_is_stopped_when_its_time_is_up(kind: BoxKind, workspace: Path) -> None:
    spec, limits = BoxSpec(workspace=workspace), BoxLimits(seconds=0.2)
    with anyio.fail_after(60):
        out = await run_once(kind, ["sleep", "1000"], spec=spec, limits=limits)
    assert (out.timed_out, out.code) == (True, -9)


async def output_beyond_the_limit_is_cut_and_does_not_block(kind: BoxKind, workspace: Path) -> None:
    spec, limits = BoxSpec(workspace=workspace), BoxLimits(seconds=30, output=1_001)
    (workspace / "long").write_bytes(b"y\n" * 1_500_000)
    out = await run_once(kind, ["cat", "long"], spec=spec, limits=limits)
    assert out.stdout == (b"y\n" * 501)[:1_001]
    assert (out.code, out.cut, out.timed_out) == (0, True, False)


async def it_can_be_cancelled(kind: BoxKind, workspace: Path) -> None:
    with anyio.fail_after(60), anyio.move_on_after(0.2) as scope:
        await run_once(kind, ["sleep", "1000"], spec=BoxSpec(workspace=workspace))
    assert scope.cancelled_caught


async def commands_of_a_box_share_its_scratch_and_end_independently(
    kind: BoxKind, workspace: Path
) -> None:
    async with opened(kind, BoxSpec(workspace=workspace)) as box:
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                group.start_soon(box.exec, ["sleep", "100"])
                assert (await box.exec(["echo", "meanwhile"])).stdout == b"meanwhile\n"
                group.cancel_scope.cancel()
        assert (await box.exec(["echo", "after"])).stdout == b"after\n"


async def a_variable_of_one_command_is_laid_over_those_of_the_box(
    kind: BoxKind, workspace: Path
) -> None:
    spec = BoxSpec(workspace=workspace, environment={"A": "of the box", "B": "of the box"})
    async with opened(kind, spec) as box:
        said = (await box.exec(["env"], environment={"B": "of the command"})).stdout
        assert {b"A=of the box", b"B=of the command"} <= set(said.splitlines())
        assert b"B=of the box" in (await box.exec(["env"])).stdout


async def one_talks_with_a_command_and_it_ends_with_the_talk(
    kind: BoxKind, workspace: Path
) -> None:
    async with opened(kind, BoxSpec(workspace=workspace)) as box:
        with anyio.fail_after(60):
            async with box.start(["cat"]) as talk:
                for word in (b"one", b"two"):
                    await talk.send(word)
                    assert await talk.receive() == word
                await talk.kill()
                assert await talk.receive() == b""
                assert await talk.wait() == -9


async def a_command_may_be_waited_for_and_killed_by_several_at_once(
    kind: BoxKind, workspace: Path
) -> None:
    async with opened(kind, BoxSpec(workspace=workspace)) as box:
        with anyio.fail_after(60):
            async with box.start(["cat"]) as talk, anyio.create_task_group() as group:
                await talk.send(b"here")
                assert await talk.receive() == b"here"
                for act in (talk.wait, talk.kill, talk.wait, talk.kill):
                    group.start_soon(act)


async def files_are_put_and_got_and_no_link_leads_out(kind: BoxKind, workspace: Path) -> None:
    outside = anyio.Path(workspace.parent / "outside")
    await outside.mkdir()
    await (outside / "key").write_text("a secret")
    await anyio.Path(workspace / "link").symlink_to(outside)
    await anyio.Path(workspace / "key").symlink_to(outside / "key")
    await anyio.Path(workspace / "below").mkdir()
    async with opened(kind, BoxSpec(workspace=workspace)) as box:
        await box.put("below/file", b"hello")
        assert await box.get("below/file", 4) == b"hell"
        assert (await box.exec(["cat", "below/file"])).stdout == b"hello"
        for name in ("link/key", "key", "../outside/key", str(outside / "key"), "", "below"):
            for act in (box.put(name, b"x"), box.get(name, 10)):
                await _fails(act, Invalid)
        await _fails(box.get("missing", 10), NotFound)
    assert await (outside / "key").read_text() == "a secret"


async def what_is_destroyed_is_gone(kind: BoxKind, workspace: Path) -> None:
    box = await kind.create(BoxSpec(workspace=workspace))
    await box.kill()
    assert (await box.exec(["echo", "still here"])).stdout == b"still here\n"
    await box.destroy()
    await box.destroy()
    await _fails(box.exec(["true"]), Unavailable)


async def _fails(act: Awaitable[object], error: type[Exception]) -> None:
    try:
        await act
    except error:
        return
    raise AssertionError(f"{error.__name__} was not raised")


async def what_makes_no_sense_is_refused(kind: BoxKind, workspace: Path) -> None:
    good = BoxSpec(workspace=workspace)
    await _refused(kind, ["true"], BoxSpec(workspace=workspace / "missing"))
    await _refused(kind, ["true"], BoxSpec(workspace=Path("/")))
    await _refused(kind, ["true"], BoxSpec(workspace=Path("relative")))
    await _refused(kind, ["true"], good, cwd="..")
    await _refused(kind, ["true"], good, cwd="missing")
    await _refused(kind, [], good)
    await _refused(kind, ["echo", "a\0b"], good)


async def _refused(kind: BoxKind, argv: list[str], spec: BoxSpec, cwd: str = ".") -> None:
    try:
        await run_once(kind, argv, spec=spec, cwd=cwd)
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
    commands_of_a_box_share_its_scratch_and_end_independently,
    a_variable_of_one_command_is_laid_over_those_of_the_box,
    one_talks_with_a_command_and_it_ends_with_the_talk,
    a_command_may_be_waited_for_and_killed_by_several_at_once,
    files_are_put_and_got_and_no_link_leads_out,
    what_is_destroyed_is_gone,
    what_makes_no_sense_is_refused,
)
