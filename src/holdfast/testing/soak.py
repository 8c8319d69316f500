"""Many hostile tools at once: does the daemon still answer, and is anything of them left?

A real daemon, a scripted model in a process of its own, and agents that do to their boxes whatever
they can, all at the same time. Meanwhile the daemon is asked how it is, fifty times a second.

    python -m holdfast.testing.soak --agents 20 --rounds 3
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import os
import secrets
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

import msgspec
from msgspec import Struct

from .daemon import Answered, Daemon, Gone, stage
from .soak_attacks import ATTACKS, LAST, PLACES, commands

_TICK = 0.02
_QUIET = 2.0
_LONGEST = 8.0
_TOLERATED = 0.1
_LEAVING = 10.0
_OVER = frozenset({"SUCCEEDED", "FAILED", "CANCELED", "DEAD_LETTER", "WAITING"})
_GROUPS = Path("/sys/fs/cgroup")
_PROC = Path("/proc")


class Latency(Struct, frozen=True, kw_only=True):
    """How long answers took, in milliseconds, counted from when they should have been asked for."""

    asked: int
    failed: int
    p50: float
    p99: float
    longest: float


class Soaked(Struct, frozen=True, kw_only=True):
    """What came of it. Memory (MiB) and processor time (of the storm) are the daemon's alone.

    `quiet`, `storm`: the daemon's answers before and during; `bare`: those of a process that does
    nothing else, during the storm. Where that is slow, the machine is.
    `stop_seconds`: to its end when told to stop; -1: it had to be killed. `left` is what was
    there after that, `touched` what is not as it was.
    """

    agents: int
    attacks: int
    seconds: float
    tasks: dict[str, int]
    outcomes: dict[str, int]
    quiet: Latency
    storm: Latency
    bare: Latency
    cpu_seconds: float
    memory_before: float
    memory_after: float
    memory_most: float
    stop_seconds: float
    left_processes: list[str]
    left_mounts: list[str]
    left_groups: list[str]
    touched: list[str]

    @property
    def holds(self) -> bool:
        left = (self.left_processes, self.left_mounts, self.left_groups, self.touched)
        slow = self.storm.p99 >= _TOLERATED * 1000
        unfinished = set(self.tasks) - _OVER or self.stop_seconds < 0
        return not (any(left) or slow or self.storm.failed or unfinished)


class Pulse(threading.Thread):
    """Asks at every tick while the context lasts; who is asked late has waited since the tick."""

    def __init__(self, ask: Callable[[], object]) -> None:
        super().__init__(name="pulse")
        self._ask, self._enough = ask, threading.Event()
        self._took: list[float] = []
        self._failed = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self.join()

    def run(self) -> None:
        began = time.monotonic()
        for tick in itertools.count():
            due = began + tick * _TICK
            if self._enough.wait(max(0.0, due - time.monotonic())):
                return
            try:
                self._ask()
            except (Gone, Answered, OSError):
                self._failed += 1
            self._took.append(time.monotonic() - due)

    def latency(self) -> Latency:
        took = sorted(self._took) or [0.0]

        def at(share: float) -> float:
            return round(took[min(len(took) - 1, int(len(took) * share))] * 1000, 2)

        return Latency(
            asked=len(took), failed=self._failed, p50=at(0.5), p99=at(0.99), longest=at(1)
        )


@contextmanager
def _echo() -> Generator[Callable[[], object]]:
    """Somebody who only says again what it is told: how fast can anybody answer here at all?"""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # noqa: S607
        assert process.stdin is not None
        assert process.stdout is not None
        to, back = process.stdin.fileno(), process.stdout.fileno()
        try:
            yield lambda: (os.write(to, b"."), os.read(back, 1))
        finally:
            process.terminate()


class Host:
    """What must stay as it is: files around the agents, and a machine without traces of them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, folder / "home"
        self.token = f"soak-{secrets.token_hex(8)}"
        self._decoys = [folder / "host" / name for name in ("wallet", "notes", "keys/id", "open")]
        for path in self._decoys:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{path.name} of {self.token}\n")
        self._decoys[-1].chmod(0o666)
        self.targets = [*self._decoys, self.home / "config.toml", self.home / "token"]
        self._before: dict[Path, str] = {}

    def remember(self) -> None:
        """How things are now is how they must be."""
        self._before = {path: _print_of(path) for path in self.targets}

    def touched(self) -> list[str]:
        changed = [str(path) for path, mark in self._before.items() if _print_of(path) != mark]
        places = [Path(place) / self.token for place in PLACES]
        return changed + [str(place) for place in places if place.exists()]

    def mounts(self) -> list[str]:
        lines = (_PROC / "self" / "mountinfo").read_text().splitlines()
        return [line for line in lines if str(self.folder) in line]

    def processes(self) -> list[str]:
        """Those that are in the folder, see it mounted, or speak of it: nobody else knows it."""
        found: list[str] = []
        for path in _PROC.glob("[0-9]*"):
            if int(path.name) == os.getpid():
                continue
            with suppress(OSError):
                said = (path / "cmdline").read_bytes() + (path / "mountinfo").read_bytes()
                said += os.fsencode((path / "cwd").readlink())
                if os.fsencode(self.folder) in said:
                    command = (path / "cmdline").read_bytes().replace(b"\0", b" ")
                    found.append(f"{path.name} {command[:80].decode(errors='replace').strip()}")
        return found

    @staticmethod
    def groups(daemon: int) -> list[str]:
        """Control groups that the daemon's boxes had."""
        name = f"holdfast-box-{daemon}-*"
        depths = (name, f"*/{name}", f"*/*/{name}")
        return sorted({str(path) for depth in depths for path in _GROUPS.glob(depth)})


def storm(agents: int, rounds: int, seconds: float, only: Sequence[str] = ()) -> Soaked:
    """`agents` at once, each attack `rounds` times or more, `seconds` at the most."""
    began = time.monotonic()
    with stage("soak") as folder:
        host = Host(folder / "world")
        script = _script(host, agents, rounds, only)
        with _model(folder / "script.json", script) as url:
            _configure(host.home, url, agents)
            with Daemon(host.home) as daemon:
                daemon.start()
                host.remember()
                return _weather(daemon, host, agents, len(script) - 2, began + seconds)


def _weather(daemon: Daemon, host: Host, agents: int, attacks: int, end: float) -> Soaked:
    began, pid = time.monotonic(), daemon.pid
    _submit(daemon, host.folder, "first")  # what is loaded with the first task is loaded then
    _ended(daemon, end)
    with Pulse(partial(daemon.get, "/api/v1/status")) as calm:
        time.sleep(_QUIET)
    before, used = _memory(pid), _cpu(pid)
    with (
        _echo() as echo,
        Pulse(echo) as bare,
        Pulse(partial(daemon.get, "/api/v1/status")) as pulse,
    ):
        ids = [_submit(daemon, host.folder, str(number)) for number in range(agents)]
        rows = _ended(daemon, end)
    used = _cpu(pid) - used
    outcomes = _outcomes(daemon, ids)
    after = _memory(pid)
    stopped = _stopped(daemon)
    return Soaked(
        agents=agents,
        attacks=attacks,
        seconds=round(time.monotonic() - began, 1),
        tasks=dict(Counter(row["status"] for row in rows)),
        outcomes=outcomes,
        quiet=calm.latency(),
        storm=pulse.latency(),
        bare=bare.latency(),
        cpu_seconds=round(used, 1),
        memory_before=before["VmRSS"],
        memory_after=after["VmRSS"],
        memory_most=after["VmHWM"],
        stop_seconds=stopped,
        left_processes=_in_the_end(host.processes),
        left_mounts=_in_the_end(host.mounts),
        left_groups=_in_the_end(lambda: host.groups(pid)),
        touched=host.touched(),
    )


def _script(host: Host, agents: int, rounds: int, only: Sequence[str]) -> list[dict[str, Any]]:
    """Replies in the order in which somebody asks: whoever asks next does what comes next."""
    every = list(commands(host.token, host.targets))
    attacks = [(name, line) for name, line in every if not only or name in only] * rounds
    attacks *= max(1, -(-agents // len(attacks)))
    first: list[dict[str, Any]] = [_reply("nothing", "true"), {"text": "ready"}]
    return first + [_reply(name, line) for name, line in attacks]


def _reply(name: str, line: str) -> dict[str, Any]:
    arguments = {"command": f": {name}\n{line}", "timeout": _LONGEST}
    return {"calls": [{"name": "exec", "arguments": arguments}]}


@contextmanager
def _model(path: Path, script: Sequence[dict[str, Any]]) -> Generator[str]:
    """The model in a process of its own, so that it costs the daemon nothing but its share."""
    told = {"replies": list(script), "default": {"text": "done"}}
    path.write_bytes(msgspec.json.encode(told))
    command = [sys.executable, "-m", "holdfast.testing.model_server", "--script", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def _configure(home: Path, url: str, agents: int) -> None:
    home.mkdir(mode=0o700)
    (home / "config.toml").write_text(_CONFIG.format(url=url, agents=agents))
    (home / "config.toml").chmod(0o600)


_CONFIG = """
[server]
http = false

[engine]
lanes = {agents}
agent_lanes = {agents}
provider_calls = {agents}

[limits]
steps = 500

[box]
memory_mb = 128
processes = 64

[models]
default = "scripted/scripted"
detect_local = false

[models.providers.scripted]
kind = "openai"
base_url = "{url}/v1"
api_key = "not-a-secret"
models = ["scripted"]
"""


def _submit(daemon: Daemon, folder: Path, name: str) -> str:
    workspace = folder / "agents" / name
    workspace.mkdir(parents=True)
    return daemon.submit(f"be agent {name}", workspace, unattended=True)


def _ended(daemon: Daemon, end: float) -> list[dict[str, Any]]:
    """All tasks once none goes on by itself, or as they are when the time is over."""
    while True:
        rows: list[dict[str, Any]] = daemon.get("/api/v1/tasks?limit=500")["tasks"]
        if all(row["status"] in _OVER for row in rows) or time.monotonic() > end:
            return rows
        time.sleep(0.5)


def _stopped(daemon: Daemon) -> float:
    try:
        return round(daemon.stop(), 2)
    except subprocess.TimeoutExpired:
        sys.stderr.write(f"the daemon did not stop:\n{daemon.said()}\n")
        daemon.kill()
        return -1.0


def _outcomes(daemon: Daemon, ids: Sequence[str]) -> dict[str, int]:
    """How the calls ended: `returned`, or the code of the failure."""
    found = Counter[str]()
    for task in ids:
        for event in _events(daemon, task):
            if outcome := event["data"].get("outcome"):
                found[str(outcome.get("code") or outcome["type"])] += 1
    return dict(found.most_common())


def _events(daemon: Daemon, task: str) -> Iterator[dict[str, Any]]:
    after, page = 0, [dict[str, Any]()]
    while page:
        told = daemon.get(f"/api/v1/tasks/{task}/events?after={after}")
        page, after = told["events"], told["last"]
        yield from page


def _memory(pid: int) -> dict[str, float]:
    """The daemon's memory, now and at the most, in MiB."""
    found: dict[str, float] = {}
    for line in (_PROC / str(pid) / "status").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in {"VmRSS", "VmHWM"}:
            found[name] = round(int(rest.split()[0]) / 1024, 1)
    return found


def _cpu(pid: int) -> float:
    """Seconds of processor time it has used."""
    fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _in_the_end(look: Callable[[], list[str]]) -> list[str]:
    """What is still there after everybody had time to leave."""
    end = time.monotonic() + _LEAVING
    while (left := look()) and time.monotonic() < end:
        time.sleep(0.1)
    return left


def _print_of(path: Path) -> str:
    """A file's content, owner and mode in one mark; how it is missing, if it is."""
    try:
        about, data = path.stat(), path.read_bytes()
    except OSError as error:
        return str(error.errno)
    return f"{hashlib.sha256(data).hexdigest()} {about.st_uid} {about.st_mode} {about.st_mtime_ns}"


def main(arguments: list[str] | None = None) -> int:
    """Print what came of it as JSON; 1 if the daemon was slow or anything is left or touched."""
    parser = argparse.ArgumentParser(prog="holdfast.testing.soak")
    parser.add_argument("--agents", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3, help=f"times {len(ATTACKS) + 1} attacks")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--only", nargs="*", default=(), choices=(*ATTACKS, LAST), metavar="NAME")
    given = parser.parse_args(arguments)
    soaked = storm(given.agents, given.rounds, given.seconds, given.only)
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(soaked)).decode() + "\n")
    return 0 if soaked.holds else 1


if __name__ == "__main__":
    sys.exit(main())
