"""One bubblewrap process tree and the descriptors that hold it."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from math import ceil
from typing import IO

import msgspec
from anyio import move_on_after, to_thread, wait_readable

from holdfast.core.error import Unavailable
from holdfast.ports.box import BoxLimits

from .group import Group, enter
from .root import ETC, Inside

HINT = "install bubblewrap 0.8 or newer, e.g. `apt-get install bubblewrap`"
BOX_NAME = "holdfast-box"
"""What our bubblewrap processes are called, so that `orphans` knows them."""
_SETUP = 10.0
_STATUS = 1 << 16


class _Status(msgspec.Struct, frozen=True, kw_only=True):
    """A line of bubblewrap's status: at first the first process, at the end the exit code."""

    child: int | None = msgspec.field(name="child-pid", default=None)
    code: int | None = msgspec.field(name="exit-code", default=None)


_STATUS_LINE = msgspec.json.Decoder(_Status)


@dataclass(frozen=True, slots=True)
class Cell:
    """What runs: bubblewrap (`watcher`) outside, the namespace's first process (`init`) inside.

    `watcher` and `init` are process descriptors: readable once the process is dead. `first` is
    the number of `init`, good only while it is held waiting.
    """

    process: subprocess.Popen[bytes]
    watcher: int
    init: int
    first: int
    status: int
    group: Group | None = None

    def strike(self, descriptor: int) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)

    def reap(self) -> None:
        """Take leave of the dead; where we are process 1 ourselves, also of an orphaned `init`."""
        self.process.wait()
        with suppress(ChildProcessError):
            os.waitid(os.P_PIDFD, self.init, os.WEXITED | os.WNOHANG)

    def exit_code(self) -> int | None:
        """What bubblewrap says the command ended with; None when it never ran."""
        lines = os.read(self.status, _STATUS).splitlines()
        codes = [_STATUS_LINE.decode(line).code for line in lines]
        return next((code for code in codes if code is not None), None)

    def close(self) -> None:
        for stream in streams(self.process):
            stream.close()
        for descriptor in (self.watcher, self.init, self.status):
            os.close(descriptor)


def streams(process: subprocess.Popen[bytes]) -> list[IO[bytes]]:
    return [stream for stream in (process.stdin, process.stdout, process.stderr) if stream]


async def spawn(
    program: str, view: Inside, argv: Sequence[str], limits: BoxLimits, *, stdin: bool
) -> Cell:
    """Make the box, bound its first process, then let the command begin. Takes some 10 ms.

    Raises `Unavailable` when bubblewrap cannot make it, `OSError` when it cannot be started.
    Not to be cancelled: what was started must first be held to be killed.
    """
    with ExitStack() as here, ExitStack() as undo:
        status, status_in = os.pipe()
        undo.callback(os.close, status)
        gate_out, gate = os.pipe()
        here.callback(os.close, gate)
        with ExitStack() as theirs:
            theirs.callback(os.close, status_in)
            theirs.callback(os.close, gate_out)
            words = ("--json-status-fd", str(status_in), "--block-fd", str(gate_out), "--", *argv)
            shared = (status_in, gate_out)
            process = _launch(theirs, program, view, (shared, words), stdin=stdin)
        undo.callback(_abandon, process)
        cell = _hold(process, status, await _first_process(process, status), undo)
        if (group := await to_thread.run_sync(enter, cell.first, limits)) is not None:
            undo.callback(group.remove)
        _bound(cell.first, limits)
        os.write(gate, b"\n")
        undo.pop_all()
    return replace(cell, group=group)


def _launch(
    theirs: ExitStack,
    program: str,
    view: Inside,
    rest: tuple[tuple[int, ...], tuple[str, ...]],
    *,
    stdin: bool,
) -> subprocess.Popen[bytes]:
    """Start bubblewrap, from the thread of the event loop.

    Not from a worker thread: `--die-with-parent` means the thread, and workers come and go.
    """
    etc = {name: _memory(theirs, content) for name, content in ETC.items()}
    options = _memory(theirs, _options(view, etc))
    return subprocess.Popen(  # noqa: S603 - running commands is what a box is for
        [BOX_NAME, "--args", str(options), *rest[1]],
        executable=program,
        pass_fds=(options, *rest[0], *etc.values()),
        env={},
        start_new_session=True,
        bufsize=0,
        stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def _hold(process: subprocess.Popen[bytes], status: int, first: int, undo: ExitStack) -> Cell:
    """Take hold of the box's first process while it waits for us."""
    init = os.pidfd_open(first)
    undo.callback(os.close, init)
    watcher = os.pidfd_open(process.pid)
    undo.callback(os.close, watcher)
    for stream in streams(process):
        os.set_blocking(stream.fileno(), False)
    return Cell(process=process, watcher=watcher, init=init, first=first, status=status)


async def _first_process(process: subprocess.Popen[bytes], status: int) -> int:
    line = b""
    with move_on_after(_SETUP):
        while not line.endswith(b"\n"):
            await wait_readable(status)
            if not (piece := os.read(status, _STATUS)):
                assert process.stderr is not None  # noqa: S101 - we asked for a pipe
                words = process.stderr.read().decode(errors="replace").strip()
                raise Unavailable(f"no box could be made: {words}", hint=HINT)
            line += piece
    child = _STATUS_LINE.decode(line.splitlines()[0]).child if line else None
    if child is None:
        raise Unavailable("bubblewrap does not say what it started", hint=HINT)
    return child


def _bound(process: int, limits: BoxLimits) -> None:
    """Resource limits, set from outside while the first process waits; all others inherit them.

    Set inside its user namespace, `processes` counts the box alone and not all of the user's.
    Memory is bounded as RLIMIT_DATA: unlike RLIMIT_AS it leaves the huge reservations of
    node, Go and Java alone and counts only what can be written. CPU time is only a backstop.
    """
    cpu = ceil(limits.seconds) * (os.cpu_count() or 1) + 1
    for which, amount in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_DATA, limits.memory),
        (resource.RLIMIT_FSIZE, limits.file_size),
        (resource.RLIMIT_NOFILE, limits.files),
        (resource.RLIMIT_NPROC, limits.processes),
    ):
        hard = resource.prlimit(process, which)[1]
        bound = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
        resource.prlimit(process, which, (bound, bound))


def _options(view: Inside, etc: Mapping[str, int]) -> bytes:
    made_up = [word for name, fd in etc.items() for word in ("--file", str(fd), name)]
    words = [*made_up, *view.options, "--chdir", view.directory]
    return b"".join(os.fsencode(word) + b"\0" for word in words)


def _memory(owner: ExitStack, content: bytes) -> int:
    """A descriptor that reads `content`: nothing on disk, nothing on a command line."""
    descriptor = os.memfd_create("box")
    owner.callback(os.close, descriptor)
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _abandon(process: subprocess.Popen[bytes]) -> None:
    """Kill a bubblewrap that has begun nothing yet: all its processes are still in its group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in streams(process):
        stream.close()
