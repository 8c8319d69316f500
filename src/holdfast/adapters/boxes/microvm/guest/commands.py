"""Commands of the box: each in a control group of its own, all of them under the box's limits."""

from __future__ import annotations

import ctypes
import os
import resource
import selectors
import struct
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from .frames import PIECE, WINDOW
from .tree import USER, real_name
from .wire import Order, Wire

_GROUPS = Path("/sys/fs/cgroup")
_BOX = _GROUPS / "box"
_PERIOD = 100_000
_NO_NEW_PRIVS, _DROP_BOUND, _CAPABILITIES = 38, 24, 64
_SET_SECCOMP, _FILTER, _RULE = 22, 2, 8
_LIBC = ctypes.CDLL(None, use_errno=True)


def limit(memory: int, processes: int, cpus: float) -> None:
    """What all commands together may use."""
    _BOX.mkdir()
    for group in (_GROUPS, _BOX):
        (group / "cgroup.subtree_control").write_text("+memory +pids +cpu")
    (_BOX / "memory.max").write_text(str(memory))
    (_BOX / "pids.max").write_text(str(processes))
    if cpus > 0:
        (_BOX / "cpu.max").write_text(f"{max(int(cpus * _PERIOD), 1_000)} {_PERIOD}")


def processes() -> int:
    return int((_BOX / "pids.current").read_text())


class Command:
    """One command. Output is read only as far as the host has room for it."""

    def __init__(
        self,
        number: int,
        wire: Wire,
        selector: selectors.BaseSelector,
        filters: Sequence[bytes],
    ) -> None:
        self.number = number
        self._filters = filters
        self._wire, self._selector = wire, selector
        self._group = _BOX / str(number)
        self._room = {"stdout": WINDOW, "stderr": WINDOW}
        self._streams: dict[str, int] = {}
        self._stdin, self._input, self._closing = -1, bytearray(), False
        self._ooms = _events(_BOX / "memory.events").get("oom_kill", 0)
        self.process = -1
        self.code: int | None = None
        self.over = False

    def begin(self, order: Order) -> None:
        """Start it. What cannot be started has ended already, with a shell's code for that."""
        self._group.mkdir()
        try:
            started = subprocess.Popen(  # noqa: S603 - running commands is what a box is for
                [real_name(word) for word in order["argv"]],
                env={real_name(k): real_name(v) for k, v in order["environment"].items()},
                start_new_session=True,
                preexec_fn=self._become(order),  # noqa: PLW1509 - there are no threads here
                bufsize=0,
                stdin=subprocess.PIPE if order["input"] else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except (OSError, subprocess.SubprocessError) as error:
            self._not_started(real_name(order["argv"][0]), error)
            return
        self.process, started.returncode = started.pid, 0
        for name, pipe in (("stdout", started.stdout), ("stderr", started.stderr)):
            if pipe is not None:
                self._streams[name] = _own(pipe.fileno())
                pipe.close()
                self._listen(name)
        if started.stdin is not None:
            self._stdin = _own(started.stdin.fileno())
            started.stdin.close()

    def obey(self, order: Order, data: bytes) -> None:
        match order["do"]:
            case "data" | "end":
                self._input += data
                self._closing = self._closing or order["do"] == "end"
                self._feed()
            case "room":
                self._room[order["stream"]] += order["room"]
                if order["stream"] in self._streams:
                    self._listen(order["stream"])
            case "kill":
                self._kill()
            case _:
                self._forget()

    def _kill(self) -> None:
        with suppress(OSError):
            (self._group / "cgroup.kill").write_text("1")

    def _forget(self) -> None:
        """Nobody asks for the rest of its output."""
        self._kill()
        for stream in list(self._streams):
            self._close(stream)

    def tell_end(self) -> None:
        """Once its first process and all others are gone, say how it ended. `over` then."""
        if self.code is None or self.over:
            return
        if int((self._group / "pids.current").read_text()) > 0:
            self._kill()
            return
        oom = _events(_BOX / "memory.events").get("oom_kill", 0) > self._ooms
        most = _events(self._group / "pids.events").get("max", 0)
        self._wire.say(do="exit", id=self.number, code=self.code, memory=oom, processes=most)
        self._drop_stdin()
        with suppress(OSError):
            self._group.rmdir()
        self.over = True

    @property
    def buried(self) -> bool:
        """True when there is nothing more to say about it."""
        return self.over and not self._streams

    def _not_started(self, name: str, error: Exception) -> None:
        missing = isinstance(error, (FileNotFoundError, NotADirectoryError))
        self.code = 127 if missing else 126
        why = "not found" if missing else str(error)
        self._wire.say(os.fsencode(f"{name}: {why}\n"), do="data", id=self.number, stream="stderr")
        for stream in self._room:
            self._wire.say(do="end", id=self.number, stream=stream)

    def _become(self, order: Order) -> Callable[[], None]:
        joining = self._group / "cgroup.procs"

        def become() -> None:
            joining.write_text("0")
            for which, most in (
                (resource.RLIMIT_CORE, 0),
                (resource.RLIMIT_FSIZE, order["file_size"]),
                (resource.RLIMIT_NOFILE, order["files"]),
            ):
                resource.setrlimit(which, (most, most))
            for capability in range(_CAPABILITIES):
                _LIBC.prctl(_DROP_BOUND, capability, 0, 0, 0)
            os.setgroups([])
            os.setresgid(USER, USER, USER)
            os.setresuid(USER, USER, USER)
            _LIBC.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
            os.umask(0o022)
            os.chdir(real_name(order["cwd"]))
            for program in self._filters:
                _filter(program)

        return become

    def _listen(self, stream: str) -> None:
        descriptor = self._streams[stream]
        with suppress(KeyError):
            self._selector.unregister(descriptor)
        if self._room[stream] > 0:
            self._selector.register(descriptor, selectors.EVENT_READ, partial(self._carry, stream))

    def _carry(self, stream: str, _events: int) -> None:
        if stream not in self._streams:
            return  # closed by what happened at the same moment
        with suppress(BlockingIOError):
            data = os.read(self._streams[stream], min(PIECE, self._room[stream]))
            if data:
                self._wire.say(data, do="data", id=self.number, stream=stream)
                self._room[stream] -= len(data)
                if self._room[stream] <= 0:
                    self._listen(stream)
                return
            self._close(stream)

    def _close(self, stream: str) -> None:
        descriptor = self._streams.pop(stream)
        with suppress(KeyError):
            self._selector.unregister(descriptor)
        os.close(descriptor)
        self._wire.say(do="end", id=self.number, stream=stream)

    def _feed(self, _events: int = 0) -> None:
        """Hand on what came for its stdin; a reader that has had enough is no error."""
        if self._stdin < 0:
            self._input.clear()
            return
        try:
            while self._input:
                written = os.write(self._stdin, self._input[:PIECE])
                del self._input[:written]
                self._wire.say(do="room", id=self.number, stream="stdin", room=written)
        except BlockingIOError:
            with suppress(KeyError):
                self._selector.register(self._stdin, selectors.EVENT_WRITE, self._feed)
            return
        except BrokenPipeError:
            self._input.clear()
            self._closing = True
        if self._closing:
            self._drop_stdin()
        else:
            with suppress(KeyError):
                self._selector.unregister(self._stdin)

    def _drop_stdin(self) -> None:
        if self._stdin < 0:
            return
        with suppress(KeyError):
            self._selector.unregister(self._stdin)
        os.close(self._stdin)
        self._stdin = -1
        self._wire.say(do="end", id=self.number, stream="stdin")


def _filter(program: bytes) -> None:
    """From here on the kernel asks `program` about every system call."""
    kept = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("HxxxxxxP", len(program) // _RULE, ctypes.addressof(kept))
    if _LIBC.prctl(_SET_SECCOMP, _FILTER, head, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _own(descriptor: int) -> int:
    """A copy that does not block; the object around the first may go."""
    copy = os.dup(descriptor)
    os.set_blocking(copy, False)
    return copy


def _events(file: Path) -> dict[str, int]:
    with suppress(OSError):
        pairs = (line.split() for line in file.read_text().splitlines())
        return {name: int(value) for name, value in pairs}
    return {}
