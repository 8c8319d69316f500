"""A command plants a hook, and sees to it that nobody can look at what it has planted."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.adapters.tools.steering import Steering

pytestmark = pytest.mark.anyio
EVIL = "#!/bin/sh\nevil\n"


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Path]:
    hooks = tmp_path / "work/.git/hooks"
    hooks.mkdir(parents=True)
    (hooks / "pre-commit").write_text("mine")
    (hooks.parent / "config").write_text("plain")
    (hooks.parent / "HEAD").write_text("ref: refs/heads/main\n")
    yield tmp_path / "work"
    # Python's own way to remove a folder does not go as deep as the tests.
    subprocess.run(["rm", "-rf", tmp_path / "work"], check=True)


async def test_among_too_many_hooks(repository: Path) -> None:
    hooks = repository / ".git/hooks"
    async with Steering().kept(repository) as restored:
        _plant(hooks)
        for number in range(6_000):
            (hooks / str(number)).touch()
    assert restored == [".git/hooks", ".git/hooks/pre-commit"]
    _is_as_before(repository)


async def test_beside_a_folder_that_is_too_deep(repository: Path) -> None:
    hooks = repository / ".git/hooks"
    async with Steering().kept(repository) as restored:
        _plant(hooks)
        _dig(hooks)
    assert ".git/hooks" in restored
    _is_as_before(repository)


async def test_in_a_folder_that_nobody_may_read_but_git_may_run_from(repository: Path) -> None:
    places = [repository / ".git/hooks", repository / ".git", repository]
    async with Steering().kept(repository) as restored:
        _plant(places[0])
        for place in places:
            place.chmod(0o311)
    assert restored
    _is_as_before(repository)


async def test_in_a_file_that_is_too_large(repository: Path) -> None:
    async with Steering().kept(repository) as restored:
        (repository / ".envrc").write_text(EVIL)
        os.truncate(repository / ".envrc", 65 << 20)
    assert restored == [".envrc"]
    assert not (repository / ".envrc").exists()


async def test_in_a_submodule_behind_a_link(repository: Path) -> None:
    async with Steering().kept(repository) as restored:
        (repository / "mine/sub/hooks").mkdir(parents=True)
        (repository / ".git/modules").symlink_to("../mine")
    assert restored == [".git/modules"]
    assert not (repository / ".git/modules").is_symlink()


async def test_in_a_submodule_that_is_too_deep(repository: Path) -> None:
    async with Steering().kept(repository) as restored:
        (repository / ".git/modules").mkdir()
        _dig(repository / ".git/modules")
    assert restored == [".git/modules"]
    assert not (repository / ".git/modules").exists()


async def test_in_a_repository_that_was_away_in_between(repository: Path) -> None:
    steering = Steering()
    async with steering.kept(repository):
        (repository / ".git").rename(repository / "away")
    async with steering.kept(repository) as restored:
        _plant(repository / "away/hooks")
        (repository / "away").rename(repository / ".git")
    assert restored == [".git/hooks/post-checkout", ".git/hooks/pre-commit"]
    _is_as_before(repository)


async def test_a_workspace_that_is_gone_has_nothing_to_put_back(repository: Path) -> None:
    async with Steering().kept(repository) as restored:
        repository.rename(repository.with_name("elsewhere"))
    assert restored == []


def _plant(hooks: Path) -> None:
    (hooks / "post-checkout").write_text(EVIL)
    (hooks / "pre-commit").write_text(EVIL)


def _dig(place: Path) -> None:
    """Deeper than a path can be long, and than our own calls may go."""
    here = os.open(place, os.O_PATH)
    for _ in range(1_500):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_PATH, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


def _is_as_before(repository: Path) -> None:
    hooks = repository / ".git/hooks"
    assert [path.name for path in hooks.iterdir()] == ["pre-commit"]
    assert (hooks / "pre-commit").read_text() == "mine"
    assert (repository / ".git/config").read_text() == "plain"
