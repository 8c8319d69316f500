"""What engines are asked for, by an engine that only writes down what it is asked."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from holdfast.adapters.boxes.container.box import Container, ContainerBox
from holdfast.adapters.boxes.container.health import Health
from holdfast.adapters.boxes.container.kind import ContainerBoxes, docker_boxes, podman_boxes
from holdfast.adapters.boxes.container.profile import all_but, profile
from holdfast.core.error import Invalid, Unavailable
from holdfast.ports.box import BoxLimits, BoxSpec
from holdfast.testing.fake_box import FakeBoxes

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(os.geteuid() != 0, reason="a folder is lent to another user by root only"),
]

MINUTE = 60_000
_ENGINE = """#!/bin/sh
printf '%s\\0' "$@" >>"$0.asked"; printf '\\n' >>"$0.asked"
case $1 in
image) cat "$0.image" 2>/dev/null || { echo "Error: No such image: $3" >&2; exit 1; } ;;
import) cat >"$0.content" ;;
inspect) echo '{"Running": false, "Pid": 0}' ;;
logs) echo "the last words of it" ;;
ps) echo holdfast-stale-1 ;;
esac
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "engine"
    path.write_text(_ENGINE)
    path.chmod(0o755)
    return path


def asked(program: Path, subcommand: str) -> list[list[str]]:
    """The words of each call of this subcommand."""
    lines = program.with_name("engine.asked").read_text().split("\0\n")
    calls = [line.split("\0") for line in lines if line]
    return [words for words in calls if words[0] == subcommand]


def spec_in(folder: Path) -> BoxSpec:
    workspace = folder / "workspace"
    (workspace / "secrets").mkdir(parents=True)
    (folder / "shown").mkdir()
    return BoxSpec(
        workspace=workspace,
        agent="Ada & co",
        read_only=(folder / "shown",),
        hidden=(workspace / "secrets",),
        environment={"TOKEN": "s3cr3t"},
        limits=BoxLimits(memory=384 << 20, cpus=0.15, processes=100, files=300, scratch=64 << 20),
    )


async def run_words(kind: ContainerBoxes, program: Path, spec: BoxSpec) -> list[str]:
    """What the engine is asked to run; it never gets ready."""
    with anyio.fail_after(30), pytest.raises(Unavailable):
        await kind.create(spec)
    await kind.close()
    return asked(program, "run")[0]


def after(words: list[str], option: str) -> list[str]:
    return [words[i + 1] for i, word in enumerate(words) if word == option]


async def test_docker_is_asked_for_a_container_that_can_do_nothing(program: Path, tmp_path: Path):
    """Row OL-54."""
    spec = spec_in(tmp_path)
    kind = docker_boxes(tmp_path / "home", program=str(program))
    words = await run_words(kind, program, spec)
    assert after(words, "--name")[0].startswith("holdfast-Ada-co-")
    assert f"holdfast.home={tmp_path / 'home'}" in after(words, "--label")
    assert "holdfast.agent=Ada & co" in after(words, "--label")
    assert after(words, "--network") == ["none"]
    assert after(words, "--cap-drop") == ["ALL"]
    assert after(words, "--security-opt")[0] == "no-new-privileges"
    assert after(words, "--security-opt")[1].startswith("seccomp=/")
    assert {"--read-only", "--no-healthcheck", "--detach"} <= set(words)
    assert after(words, "--memory") == after(words, "--memory-swap") == [str(384 << 20)]
    assert after(words, "--cpus") == ["0.150"]
    assert after(words, "--pids-limit") == ["104"]
    assert after(words, "--ulimit")[:3] == ["nofile=300:300", "nproc=104:104", "core=0:0"]
    assert after(words, "--ipc") == after(words, "--cgroupns") == ["private"]
    assert after(words, "--restart") == ["no"]
    assert after(words, "--log-opt") == ["max-size=64k", "max-file=1"]
    user, group = after(words, "--user")[0].split(":")
    assert user == group
    assert int(user) > 0x7000_0000


async def test_scratch_is_bounded_in_bytes_and_files_and_paths_are_shown_as_asked(
    program: Path, tmp_path: Path
):
    """Part of row OL-54."""
    spec = spec_in(tmp_path)
    kind = docker_boxes(tmp_path / "home", program=str(program))
    words = await run_words(kind, program, spec)
    scratch = dict(one.split(":", 1) for one in after(words, "--tmpfs"))
    assert set(scratch) == {"/tmp", "/run/home", "/dev/shm"}
    for options in scratch.values():
        assert {"nosuid", "nodev", f"size={64 << 20}", "nr_inodes=4096"} <= set(options.split(","))
    mounts = {one.split("target=")[1]: one for one in after(words, "--mount")}
    assert not mounts[str(spec.workspace)].endswith("readonly")
    others = [mounts["/usr,readonly"], mounts[f"{tmp_path / 'shown'},readonly"]]
    assert all(one.startswith("type=bind,source=/") for one in others)
    assert "/empty," in mounts[f"{spec.workspace / 'secrets'},readonly"]
    assert not [one for one in words if "docker.sock" in one or "podman.sock" in one]


async def test_podman_is_asked_for_the_same_in_its_own_words(program: Path, tmp_path: Path):
    """Part of row OL-54."""
    spec = spec_in(tmp_path)
    kind = podman_boxes(tmp_path / "home", program=str(program))
    words = await run_words(kind, program, spec)
    assert after(words, "--pid") == after(words, "--uts") == ["private"]
    assert after(words, "--image-volume") == ["ignore"]
    assert {"--no-hosts", "--read-only-tmpfs=false", "--read-only"} <= set(words)
    assert after(words, "--cap-drop") == ["ALL"]
    assert after(words, "--memory") == [str(384 << 20)]


async def test_no_variable_of_the_box_and_no_key_of_ours_is_told_to_an_engine(
    program: Path, tmp_path: Path
):
    """Row OL-55."""
    kind = docker_boxes(tmp_path / "home", program=str(program))
    words = await run_words(kind, program, spec_in(tmp_path))
    assert "--env" not in words
    assert "-e" not in words
    everything = program.with_name("engine.asked").read_text()
    assert "s3cr3t" not in everything
    assert "TOKEN" not in everything


async def test_the_image_is_made_when_missing_or_when_its_recipe_is_another(
    program: Path, tmp_path: Path
):
    """Row OL-56."""
    spec = spec_in(tmp_path)
    await run_words(docker_boxes(tmp_path / "home", program=str(program)), program, spec)
    [made] = asked(program, "import")
    assert made[-2:] == ["-", "holdfast-host:latest"]
    assert program.with_name("engine.content").stat().st_size > 1_000
    label, _, recipe = after(made, "--change")[0].partition("=")
    assert label == "LABEL holdfast.recipe"
    for known, times in ((recipe, 1), ("another", 2)):
        image = [{"Config": {"Labels": {"holdfast.recipe": known}}}]
        program.with_name("engine.image").write_text(json.dumps(image))
        await run_words(docker_boxes(tmp_path / "home", program=str(program)), program, spec)
        assert len(asked(program, "import")) == times


async def test_an_image_of_ones_own_must_be_there_and_brings_its_own_system(
    program: Path, tmp_path: Path
):
    """Part of row OL-56."""
    spec = spec_in(tmp_path)
    with pytest.raises(Unavailable, match="there is no image mine:1"):
        await docker_boxes(tmp_path, image="mine:1", program=str(program)).create(spec)
    program.with_name("engine.image").write_text('[{"Config": {"Volumes": {"/data": {}}}}]')
    with pytest.raises(Invalid, match="volumes"):
        await docker_boxes(tmp_path, image="mine:1", program=str(program)).create(spec)
    program.with_name("engine.image").write_text('[{"Config": {"Volumes": null}}]')
    kind = docker_boxes(tmp_path / "home", image="mine:1", program=str(program))
    words = await run_words(kind, program, spec)
    assert not [one for one in after(words, "--mount") if "target=/usr" in one]
    assert words[words.index("/bin/sh") + 1] == "mine:1"
    assert asked(program, "import") == []


async def test_a_container_that_does_not_get_ready_is_shown_with_its_last_words_and_removed(
    program: Path, tmp_path: Path
):
    """Row OL-58."""
    kind = docker_boxes(tmp_path / "home", program=str(program))
    with anyio.fail_after(30), pytest.raises(Unavailable) as failure:
        await kind.create(spec_in(tmp_path))
    await kind.close()
    said = str(failure.value)
    assert "did not get ready: it ended at once" in said
    assert "the last words of it" in said
    [words] = asked(program, "run")
    assert [after(words, "--name")[0]] == [one[-1] for one in asked(program, "rm")][1:2]
    assert not list((tmp_path / "home" / "boxes").iterdir())
    assert (tmp_path / "home" / "boxes").stat().st_mode & 0o777 == 0o700


async def test_what_is_left_of_this_home_is_removed_before_the_first_container(
    program: Path, tmp_path: Path
):
    """Part of row OL-54."""
    kind = docker_boxes(tmp_path / "home", program=str(program))
    await run_words(kind, program, spec_in(tmp_path))
    assert f"label=holdfast.home={tmp_path / 'home'}" in asked(program, "ps")[0]
    assert asked(program, "rm")[0][-1] == "holdfast-stale-1"


async def test_a_path_that_engines_cannot_be_told_is_refused(program: Path, tmp_path: Path):
    odd = tmp_path / "a,b"
    odd.mkdir()
    kind = docker_boxes(tmp_path / "home", program=str(program))
    with pytest.raises(Invalid, match="its name has one of"):
        await kind.create(BoxSpec(workspace=odd))
    await kind.close()


async def test_an_engine_that_is_not_there_is_said_with_what_to_do(tmp_path: Path):
    kind = docker_boxes(tmp_path / "home", program=str(tmp_path / "none"))
    (tmp_path / "workspace").mkdir()
    with pytest.raises(Unavailable, match="docker is not installed") as failure:
        await kind.create(BoxSpec(workspace=tmp_path / "workspace"))
    assert "docker.io" in failure.value.hint


async def test_who_builds_an_image_gets_none_of_the_daemons_variables(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    builder = tmp_path / "bin" / "mmdebstrap"
    builder.parent.mkdir()
    builder.write_text('#!/bin/sh\nfor tar; do :; done; env >"$tar"\n')
    builder.chmod(0o755)
    monkeypatch.setenv("PATH", f"{builder.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("OPENAI_API_KEY", "canary")
    kind = docker_boxes(tmp_path / "home", image="build:bookworm", program=str(program))
    with pytest.raises(Unavailable):
        await kind.create(spec_in(tmp_path))
    await kind.close()
    built = program.with_name("engine.content").read_text()
    assert "PATH=" in built
    assert "canary" not in built


def test_three_failures_restart_and_the_fourth_restart_of_an_hour_is_the_end():
    """Part of row OL-59."""
    row = Health().passed(0)
    assert (row.state, row.last_healthy) == ("healthy", 0)
    now = 0
    for restarts in range(1, 4):
        for state in ("unhealthy", "unhealthy", "restarting"):
            now += MINUTE
            row = row.missed(now)
            assert (row.state, row.last_check) == (state, now)
        assert len(row.restarts) == restarts
        row = row.restarted()
    for _ in range(3):
        row = row.missed(now + MINUTE)
    assert row.state == "failed"
    later = Health(failures=2, restarts=row.restarts).missed(now + 61 * MINUTE)
    assert later.state == "restarting"


@pytest.fixture
def dead() -> Iterator[int]:
    """A descriptor of a process that has ended."""
    process = subprocess.Popen(["sleep", "60"])
    descriptor = os.pidfd_open(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    yield descriptor
    os.close(descriptor)


async def test_a_box_whose_container_dies_again_and_again_fails_for_good(dead: int, tmp_path: Path):
    """Row OL-59."""
    fakes, spec, made = FakeBoxes(), BoxSpec(workspace=tmp_path), list[str]()

    async def make() -> Container:
        made.append("again")
        return Container(name="c", process=os.dup(dead), inside=await fakes.create(spec))

    async def remove(container: Container) -> None:
        await container.inside.destroy()

    box = ContainerBox(spec, await make(), make, remove)
    states: list[str] = []
    for number in range(12):
        await box.check(number * MINUTE // 2)
        states.append(box.health.state)
        assert (await box.stats()).health == box.health
    assert states == [
        *["unhealthy", "unhealthy", "unknown"] * 3,
        "unhealthy",
        "unhealthy",
        "failed",
    ]
    assert len(made) == 4
    with pytest.raises(Unavailable, match="failed too often"):
        await box.exec(["true"])
    await box.check(99 * MINUTE)
    assert box.health.state == "failed"
    await box.destroy()


def test_all_but_some_numbers_matches_every_other_and_never_those():
    pairs = list(all_but((0x5412, 0x541C)))
    for number in (0, 0x5411, 0x5413, 0x5401, 0x541B, 0xFFFFFFFF, 0x15412):
        assert sum(number & mask == value for mask, value in pairs) == 1
    for number in (0x5412, 0x541C, 0x1_0000_5412):
        assert not [mask for mask, value in pairs if number & mask == value]


def test_the_filter_knows_one_calling_convention_and_no_namespaces():
    """Part of row OL-54."""
    made = json.loads(profile())
    assert len(made["architectures"]) == 1
    rules = made["syscalls"]
    allowed = {n for rule in rules for n in rule["names"] if rule["action"] == "SCMP_ACT_ALLOW"}
    assert not allowed & {"clone3", "openat2", "unshare", "setns", "mount", "keyctl", "ptrace"}
    [clone] = [rule for rule in rules if rule["names"] == ["clone"]]
    assert clone["args"][0]["value"] == 0x7E020080
