"""Podman's containers for a user without privileges, who is made up for the test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(170)]

USER = 64_242
_NEEDS = ("podman", "runc", "newuidmap", "unshare")
_FILES = {
    "passwd": f"holdfast-user:x:{USER}:{USER}::{{place}}:/bin/sh",
    "group": f"holdfast-user:x:{USER}:",
    "subuid": "holdfast-user:1000000000:65536",
    "subgid": "holdfast-user:1000000000:65536",
}
_AROUND = """
set -e
for name in passwd group subuid subgid; do mount --bind "$1/etc/$name" "/etc/$name"; done
mount -t tmpfs tmpfs /run/user
mkdir "/run/user/$2"
chown "$2:$2" "/run/user/$2"
chmod 700 "/run/user/$2"
shift 2
exec "$@"
"""
_AS_USER = """
import os, sys
from pathlib import Path
user, place = int(sys.argv[1]), Path(sys.argv[2])
sys.path += sys.argv[3:]
import anyio
import anyio._backends._asyncio
from holdfast.adapters.boxes.container.kind import docker_boxes, podman_boxes
from holdfast.adapters.boxes.filters import programs
from holdfast.adapters.boxes.porting import Porter
from holdfast.core.error import Unavailable
from holdfast.ports.box import BoxSpec

programs()
os.setgroups([])
os.setgid(user)
os.setuid(user)
home, workspace = place / "home", place / "workspace"
flags = {"--root": "root", "--runroot": "run", "--tmpdir": "state"}
options = [word for flag, name in flags.items() for word in (flag, str(place / name))]
options += ["--cgroup-manager", "cgroupfs", "--events-backend", "none", "--storage-driver", "vfs"]
SCRIPT = "id -u; touch made; chmod 4755 made || echo refused; grep CapEff /proc/self/status"

async def main():
    porter = Porter(python="/usr/bin/python3")
    kind = podman_boxes(home, runtime="runc", options=options, porter=porter)
    try:
        with anyio.fail_after(120):
            box = await kind.create(BoxSpec(workspace=workspace))
            out = await box.exec(["sh", "-c", SCRIPT])
            print(out.stdout.decode().strip())
            out = await box.exec(["sh", "-c", "setsid sleep 99 & wait"], seconds=1)
            print(out.timed_out, (await box.exec(["sh", "-c", "echo still here"])).stdout)
    finally:
        await kind.close()
    try:
        await docker_boxes(home).create(BoxSpec(workspace=workspace))
    except Unavailable as error:
        print(error.hint)

anyio.run(main)
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder of that user's, with the files of `/etc` in which there is that user."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        folder.chmod(0o755)
        (folder / "etc").mkdir()
        for file, line in _FILES.items():
            there = Path("/etc", file).read_text() if file in {"passwd", "group"} else ""
            (folder / "etc" / file).write_text(f"{there}{line.format(place=folder)}\n")
        for one in ("home", "workspace"):
            (folder / one).mkdir()
            os.chown(folder / one, USER, USER)
        os.chown(folder, USER, USER)
        yield folder


def test_podman_makes_boxes_for_an_ordinary_user_and_docker_says_what_it_needs(place: Path):
    """Part of row OL-54."""
    if os.geteuid() != 0 or not Path("/etc/subuid").exists():
        pytest.skip("making up a user needs root and /etc/subuid")
    if gone := [program for program in _NEEDS if shutil.which(program) is None]:
        pytest.skip(f"not installed: {', '.join(gone)}")
    source, libraries = str(Path(__file__).parents[2] / "src"), sysconfig.get_paths()["purelib"]
    alone = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
    around = ("sh", "-c", _AROUND, "sh", str(place), str(USER))
    inside = (sys.executable, "-c", _AS_USER, str(USER), str(place), source, libraries)
    done = subprocess.run(
        [*alone, *around, *inside],
        capture_output=True,
        text=True,
        timeout=160,
        check=False,
    )
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[:3] == [str(USER), "refused", "CapEff:\t0000000000000000"]
    assert lines[3] == "True b'still here\\n'"
    assert "podman" in lines[4]
    about = (place / "workspace" / "made").stat()
    assert (about.st_uid, about.st_mode & 0o7000) == (USER, 0)
