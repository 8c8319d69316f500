"""Our end of the porter: starts it when it is first needed and sends it requests."""

from __future__ import annotations

import array
import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio
from anyio import CancelScope, to_thread

from holdfast.core.error import Unavailable

from .groups import Groups, divide, handed_down

_PROGRAM = f"""import sys
sys.path.append({str(Path(__file__).parent)!r})
from porter.serving import main
main()"""
_ANSWER = 1 << 16
_MOST_DESCRIPTORS = 32
_SECONDS, _SCOPE_SECONDS = 30.0, 5.0
T = TypeVar("T")
_MANAGER = "/run/user/{}/systemd/private"


class Reply:
    """The socket of one request. While it is open, what was asked for may live.

    `unanswered` is to be called when no answer came in time: the porter that was asked is ended,
    and the next request gets another one.
    """

    def __init__(self, ours: socket.socket, unanswered: Callable[[], Awaitable[None]]) -> None:
        self._socket, self.unanswered = ours, unanswered

    async def next(self) -> tuple[dict[str, Any], list[int]]:
        """The next answer and the descriptors with it, which the caller closes; {} at the end."""
        while True:
            with suppress(BlockingIOError):
                return self._received()
            await anyio.wait_readable(self._socket)

    def now(self) -> tuple[dict[str, Any], list[int]]:
        """As `next`, when it is there already."""
        try:
            return self._received()
        except BlockingIOError:
            return {}, []

    def _received(self) -> tuple[dict[str, Any], list[int]]:
        room = socket.CMSG_SPACE(_MOST_DESCRIPTORS * 4)
        try:
            said, more, _, _ = self._socket.recvmsg(_ANSWER, room, socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:
            return {}, []
        found = array.array("i")
        for level, kind, data in more:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                found.frombytes(data[: len(data) - len(data) % 4])
        return (json.loads(said) if said else {}), list(found)

    def send(self, words: Mapping[str, Any], descriptors: Sequence[int]) -> None:
        """Tell who answered what to do. Raises `OSError` when nobody is there."""
        request = written(words)
        try:
            _sent(self._socket, [request, *descriptors])
        finally:
            os.close(request)

    def close(self) -> None:
        self._socket.close()


def _sent(control: socket.socket, descriptors: Sequence[int]) -> None:
    """A message is one byte; what it says lies in the first descriptor, however long it is."""
    packed = array.array("i", descriptors)
    control.sendmsg([b"?"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, packed)])


class Porter:
    """One porter process, started anew when it is gone.

    On systemd, for an ordinary user, it is started in a scope of its own whose control group may
    be divided: then boxes have groups without root.
    """

    def __init__(self, python: str = sys.executable) -> None:
        self._python = python
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._starting = anyio.Lock()
        self.groups = Groups()

    async def ask(self, words: Mapping[str, Any], descriptors: Sequence[int]) -> Reply:
        """Send a request. Raises `Unavailable` when there is no porter to be had."""
        said = written(words)
        try:
            return await self.pass_on(lambda: [said, *descriptors])
        finally:
            os.close(said)

    async def pass_on(self, lent: Callable[[], Sequence[int]]) -> Reply:
        """As `ask`, with descriptors of what was `written` before and what goes with it.

        They are asked for at the moment of sending, so that none is closed or another's by then. A
        porter that is found dead, or does not listen, is replaced: nobody has heard the request.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with ExitStack() as undo, theirs:
            undo.callback(ours.close)
            process, failure = await self._sent(theirs, lent)
            if failure is not None:
                process, failure = await self._sent(theirs, lent)
            if failure is not None:
                why = os.strerror(failure.errno) if failure.errno else str(failure)
                raise Unavailable(f"boxes cannot be reached: {why}") from failure
            undo.pop_all()
        return Reply(ours, partial(self._ended, process))

    async def _sent(
        self, theirs: socket.socket, lent: Callable[[], Sequence[int]]
    ) -> tuple[subprocess.Popen[bytes] | None, OSError | None]:
        """To whom it was sent, or why it was not; that one is let go."""
        process = None
        try:
            control, process = await self._running()
            said, *others = lent()
            _sent(control, [said, theirs.fileno(), *others])
        except OSError as error:
            await self._ended(process)
            return None, error
        return process, None

    async def ready(self) -> None:
        """Start it if it is not there. Raises `Unavailable`."""
        try:
            await self._running()
        except OSError as error:
            raise Unavailable(f"boxes cannot be made: {error.strerror}") from error

    async def close(self) -> None:
        """Let it go: commands that are under way are not touched."""
        control, self._control = self._control, None
        process, self._process = self._process, None
        if control is not None:
            control.close()
        if process is not None:
            _killed(process)
            await to_thread.run_sync(process.wait)
        await to_thread.run_sync(self.groups.tidy)

    async def _ended(self, process: subprocess.Popen[bytes] | None) -> None:
        """Let this one go, unless somebody has started another already."""
        if process is self._process:
            await self.close()

    async def _running(self) -> tuple[socket.socket, subprocess.Popen[bytes]]:
        if (there := self._there()) is not None:
            return there
        async with self._starting:
            if (there := self._there()) is None:
                await self.close()
                there = self._control, self._process = await to_thread.run_sync(self._start)
            return there

    def _there(self) -> tuple[socket.socket, subprocess.Popen[bytes]] | None:
        if self._control is None or self._process is None or self._process.poll() is not None:
            return None
        return self._control, self._process

    def _start(self) -> tuple[socket.socket, subprocess.Popen[bytes]]:
        if scope := _scope():
            with suppress(OSError):  # a systemd that does not do it: boxes without groups, then
                ours, process = self._started(scope)
                if (home := _divided(process.pid)) is not None:
                    self.groups = Groups(home=home)
                return ours, process
        return self._started(())

    def _started(self, scope: Sequence[str]) -> tuple[socket.socket, subprocess.Popen[bytes]]:
        with ExitStack() as undo:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            undo.callback(ours.close)
            words = [self._python, "-I", "-S", "-c", _PROGRAM, str(theirs.fileno())]
            with theirs:
                process = subprocess.Popen(  # noqa: S603 - our own program
                    [*scope, *words],
                    pass_fds=(theirs.fileno(),),
                    env={"XDG_RUNTIME_DIR": f"/run/user/{os.getuid()}"} if scope else {},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    start_new_session=True,
                )
            undo.callback(process.wait)
            undo.callback(_killed, process)
            ours.settimeout(_SCOPE_SECONDS if scope else _SECONDS)
            if not ours.recv(1):
                raise OSError(errno.ECHILD, "it ended at once")
            # A porter that stands still must not make us stand still: then we start another.
            ours.setblocking(False)
            undo.pop_all()
        return ours, process


def _killed(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGKILL)


async def shielded(act: Callable[[], Awaitable[T]]) -> T:
    """Do it to its end: what was started must first be held to be given back."""
    with CancelScope(shield=True):
        return await act()
    raise AssertionError("nobody cancels this scope")


def _divided(process: int) -> Path | None:
    home = handed_down(process)
    return home if home is not None and divide(home, process) else None


def _scope() -> list[str]:
    program = shutil.which("systemd-run")
    if os.geteuid() == 0 or program is None or not Path(_MANAGER.format(os.getuid())).exists():
        return []
    return [program, "--user", "--scope", "--quiet", "--collect", "-p", "Delegate=yes", "--"]


def written(words: Mapping[str, Any]) -> int:
    """A descriptor that says it; may be sent any number of times. The caller closes it."""
    return memory(json.dumps(words).encode())


def memory(content: bytes) -> int:
    """A descriptor that reads `content`: nothing on disk, nothing on a command line."""
    descriptor = os.memfd_create("box")
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
