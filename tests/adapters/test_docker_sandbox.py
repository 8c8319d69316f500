"""Boxes of `docker sandbox`, against a command line that writes down what it was called with."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from holdfast.adapters.boxes.docker_sandbox import DockerSandboxBox, DockerSandboxBoxes
from holdfast.core.error import Invalid, Unavailable
from holdfast.ports.box import BoxLimits, BoxSpec
from tests.adapters.fake_docker import FakeDocker

pytestmark = pytest.mark.anyio


@pytest.fixture
def docker(tmp_path: Path) -> FakeDocker:
    (tmp_path / "bin").mkdir()
    return FakeDocker(tmp_path / "bin")


@pytest.fixture
def kind(docker: FakeDocker) -> DockerSandboxBoxes:
    return DockerSandboxBoxes(program=docker.program)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "workspace").mkdir()
    return tmp_path / "workspace"


@asynccontextmanager
async def opened(kind: DockerSandboxBoxes, spec: BoxSpec) -> AsyncGenerator[DockerSandboxBox]:
    with anyio.fail_after(30):
        box = await kind.create(spec)
        yield box
        await box.destroy()


async def test_a_box_is_asked_for_made_looked_at_used_and_removed_in_this_order(
    docker: FakeDocker, kind: DockerSandboxBoxes, workspace: Path
) -> None:
    """Row OL-57."""
    async with opened(kind, BoxSpec(workspace=workspace, environment={"KEY": "value"})) as box:
        out = await box.exec(["sh", "-c", "pwd; echo $KEY; exit 3"])
    assert (out.code, out.stdout.decode()) == (3, f"{workspace}\nvalue\n")
    version, create, inspect, run, end, remove = docker.calls()
    name = create[3]
    assert version == ["sandbox", "version"]
    assert create == ["sandbox", "create", "--name", name, "shell", str(workspace)]
    assert inspect == ["sandbox", "inspect", name]
    assert run[:5] == ["sandbox", "exec", "-i", "--workdir", str(workspace)]
    assert run[7] == name
    assert run[-3:] == ["sh", "-c", "pwd; echo $KEY; exit 3"]
    assert end[:3] == ["sandbox", "exec", name]
    assert remove == ["sandbox", "rm", name]


async def test_variables_go_by_a_private_file_and_never_on_the_command_line(
    docker: FakeDocker, kind: DockerSandboxBoxes, workspace: Path
) -> None:
    """Part of row OL-57."""
    async with opened(kind, BoxSpec(workspace=workspace)) as box:
        await box.exec(["true"], environment={"TOKEN": "a secret"})
    run = next(record for record in docker.records() if "environment" in record)
    assert run["environment"] == "TOKEN=a secret\n"
    assert run["mode"] == 0o600
    assert not any("a secret" in word for call in docker.calls() for word in call)


async def test_without_the_command_there_is_no_box_and_nothing_weaker_instead(
    docker: FakeDocker, kind: DockerSandboxBoxes, workspace: Path
) -> None:
    """Part of row OL-57."""
    docker.fails("version")
    with pytest.raises(Unavailable, match="version") as refused:
        await kind.create(BoxSpec(workspace=workspace))
    assert "docker sandbox" in refused.value.hint
    assert docker.calls()[0] == ["sandbox", "version"]
    assert not any("create" in call or "exec" in call for call in docker.calls())
    missing = DockerSandboxBoxes(program=str(workspace / "docker"))
    with pytest.raises(Unavailable):
        await missing.create(BoxSpec(workspace=workspace))
    assert set((await missing.probe()).walls.values()) == {"none"}


async def test_a_box_that_cannot_be_made_is_removed_and_said(
    docker: FakeDocker, kind: DockerSandboxBoxes, workspace: Path
) -> None:
    """Part of row OL-57."""
    docker.fails("create")
    with pytest.raises(Unavailable, match="create"):
        await kind.create(BoxSpec(workspace=workspace))
    assert [call[1] for call in docker.calls()] == ["version", "create", "rm"]


async def test_the_kernel_boundary_is_claimed_only_where_the_kernel_is_another(
    kind: DockerSandboxBoxes, workspace: Path
) -> None:
    """The fake runs its commands here, under our kernel: nothing is claimed."""
    walls = (await kind.probe()).walls
    assert walls["kernel boundary"] == "none"
    assert walls["files"] == "none"
    with pytest.raises(Unavailable, match="kernel boundary"):
        await kind.create(BoxSpec(workspace=workspace, requires=("kernel boundary",)))


async def test_a_command_whose_time_is_up_is_ended_with_all_that_it_started(
    kind: DockerSandboxBoxes, workspace: Path
) -> None:
    spec = BoxSpec(workspace=workspace, limits=BoxLimits(seconds=1))
    async with opened(kind, spec) as box:
        out = await box.exec(["sh", "-c", "echo $$ >leader; sleep 600 & sleep 600"])
        assert (out.timed_out, out.code) == (True, -9)
        session = (workspace / "leader").read_text().strip()
    left = [
        stat
        for stat in Path("/proc").glob("[0-9]*/stat")
        if f" {session} " in _words(stat) and ") Z " not in _words(stat)
    ]
    assert left == []


def _words(stat: Path) -> str:
    try:
        return stat.read_text(errors="replace")
    except OSError:
        return ""


async def test_a_command_can_be_talked_with(kind: DockerSandboxBoxes, workspace: Path) -> None:
    async with (
        opened(kind, BoxSpec(workspace=workspace)) as box,
        box.start(["sh", "-c", "read x; echo heard $x; echo why >&2; exit 7"]) as command,
    ):
        await command.send(b"me\n")
        assert await command.receive() == b"heard me\n"
        assert await command.wait() == 7
        assert command.complaint() == "why\n"


async def test_files_go_in_and_come_out_past_links(
    kind: DockerSandboxBoxes, workspace: Path
) -> None:
    async with opened(kind, BoxSpec(workspace=workspace)) as box:
        await box.put("a", b"hello")
        assert (await box.exec(["cat"], stdin=b"given")).stdout == b"given"
        assert await box.get("a", 3) == b"hel"
        await box.exec(["ln", "-s", "/etc/passwd", "link"])
        with pytest.raises(Invalid):
            await box.get("link", 10)
        with pytest.raises(Unavailable):
            await box.listen(8080)


async def test_what_docker_would_show_is_refused(
    kind: DockerSandboxBoxes, workspace: Path, tmp_path: Path
) -> None:
    (workspace / ".holdfast").mkdir()
    with pytest.raises(Unavailable, match="hidden"):
        await kind.create(BoxSpec(workspace=workspace, hidden=(workspace / ".holdfast",)))
    with pytest.raises(Invalid):
        await kind.create(BoxSpec(workspace=workspace, read_only=(tmp_path,)))
