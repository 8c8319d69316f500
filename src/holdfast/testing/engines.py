"""Container engines of one's own, in a folder of one's own: for tests on machines that have any."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from holdfast.adapters.boxes.container.kind import (
    ContainerBoxes,
    docker_boxes,
    gvisor_boxes,
    podman_boxes,
)

Maker = Callable[[Path], ContainerBoxes]
"""Gives a kind of boxes for a home."""

_SECONDS, _LOOK = 30.0, 0.05
_DETACH = 2
_PODMAN = ("--cgroup-manager", "cgroupfs", "--events-backend", "none")
_NEEDS = {
    "docker": ("docker", "dockerd", "containerd", "runc"),
    "podman": ("podman", "runc"),
    "gvisor": ("podman", "runsc"),
}


def missing(name: str) -> str:
    """Why there can be no engine of this name here; "" when there can."""
    if os.geteuid() != 0:
        return "an engine of its own needs root"
    gone = [program for program in _NEEDS[name] if shutil.which(program) is None]
    return f"not installed: {', '.join(gone)}" if gone else ""


@contextmanager
def engine(name: str) -> Generator[Maker]:
    """An engine that knows nothing of others on this machine, and leaves nothing behind."""
    folder = Path(tempfile.mkdtemp(prefix="holdfast-engine-"))
    try:
        with _dockerd(folder) if name == "docker" else _podman(folder, name) as maker:
            yield maker
    finally:
        _unmount(folder)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _dockerd(folder: Path) -> Generator[Maker]:
    host = f"unix://{folder}/docker.sock"
    with (folder / "log").open("wb") as log:
        words = [
            *("dockerd", "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec"),
            *("--host", host, "--pidfile", f"{folder}/pid", "--bridge", "none"),
            *("--iptables=false", "--ip6tables=false", "--default-ulimit", "nofile=1024:4096"),
        ]
        daemon = subprocess.Popen(words, stdout=log, stderr=log)  # noqa: S603
    try:
        _until((folder / "docker.sock").exists, daemon)
        yield partial(docker_boxes, host=host)
    finally:
        daemon.terminate()
        daemon.wait(_SECONDS)


@contextmanager
def _podman(folder: Path, name: str) -> Generator[Maker]:
    names = {"--root": "root", "--runroot": "run", "--tmpdir": "state"}
    places = (word for option, place in names.items() for word in (option, f"{folder}/{place}"))
    options = (*places, *_PODMAN)
    runc = shutil.which("runc") or "runc"
    if name == "podman":
        yield partial(podman_boxes, runtime=runc, options=options)
    else:
        yield partial(gvisor_boxes, platform="ptrace", options=options)


def _until(there: Callable[[], bool], daemon: subprocess.Popen[bytes]) -> None:
    """A daemon that we did not write says by a file that it is ready."""
    end = time.monotonic() + _SECONDS
    while not there():
        assert daemon.poll() is None, "the engine ended at once"
        assert time.monotonic() < end, "the engine does not get ready"
        time.sleep(_LOOK)


def _unmount(folder: Path) -> None:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    places = [line.split()[4] for line in lines if line.split()[4].startswith(f"{folder}/")]
    for place in sorted(places, reverse=True):
        ctypes.CDLL(None).umount2(os.fsencode(place), _DETACH)
