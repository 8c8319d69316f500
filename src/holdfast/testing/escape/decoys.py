"""Services of the host that an attack would like to talk to: each answers with its secret."""

from __future__ import annotations

import array
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from .inside.calls import call

_PATIENCE = 2.0
_MOMENT = 0.3
_METADATA, _INTERNET, _LAN, _NAMES = (
    "169.254.169.254",
    "203.0.113.10",
    "192.168.77.2",
    "203.0.113.53",
)
_INTERNET6 = "2001:db8::10"
_NEWNET = 0x40000000
_WIRE = (
    "link add decoy type veth peer name decoy-far",
    "link set decoy up",
    "link set decoy-far up",
    "addr add 198.51.100.1/24 dev decoy",
    "route add default dev decoy",
)
"""A wire that leads back to us: the local network that machines announce themselves to."""
_LISTENING = (
    ("loopback", "127.0.0.1", 0),
    ("loopback6", "::1", 0),
    ("metadata", _METADATA, 80),
    ("internet", _INTERNET, 443),
    ("internet6", _INTERNET6, 443),
    ("lan", _LAN, 8080),
)

Answer = Callable[[socket.socket], None]


@dataclass(slots=True)
class Hearer:
    """Words that come over a descriptor, taken when somebody asks."""

    descriptor: int

    def take(self) -> bytes:
        words = b""
        with suppress(BlockingIOError):
            while piece := os.read(self.descriptor, 4096):
                words += piece
        return words


@dataclass(slots=True)
class Services:
    """Where the services listen, and what was sent to those that only listen."""

    places: dict[str, tuple[str, int]] = field(default_factory=dict[str, tuple[str, int]])
    questions: list[bytes] = field(default_factory=list[bytes])


@asynccontextmanager
async def open_services(canary: str, home: Path, *, own_network: bool) -> AsyncGenerator[Services]:
    """Listen where attacks will look, for as long as the context lasts."""
    services, listening = Services(), list[Callable[[], Coroutine[Any, Any, None]]]()
    say = partial(_say, canary.encode())
    hand = partial(_hand, canary.encode(), home)
    with ExitStack() as stack:
        for name, address, port in _LISTENING:
            near = name.startswith("loopback")
            if not near and not own_network:
                services.places[name] = (address, port)
            elif listener := _tcp(address, port):
                services.places[name] = listener.getsockname()[:2]
                listening.append(partial(_answer, stack.enter_context(listener), say))
        for path in (f"\0{canary}-service", str(home / "docker.sock")):
            listening.append(partial(_answer, stack.enter_context(_unix(path)), hand))
        log = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        log.bind(str(home / "log.sock"))
        names = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        names.bind((_NAMES, 53) if own_network else ("127.0.0.1", 0))
        services.places["dns"] = names.getsockname()
        listening.append(partial(_record, names, services.questions))
        async with anyio.create_task_group() as group:
            for each in listening:
                group.start_soon(each)
            yield services
            group.cancel_scope.cancel()


def private_network() -> bool:
    """Move this process into a network of its own where the decoys have their true addresses.

    As root only, and before anything else is started; the host's own network is not touched. All
    of them are on loopback, and nothing can leave.
    """
    ip = shutil.which("ip", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if os.geteuid() != 0 or ip is None or not _unshared():
        return False
    decoys = (f"{_METADATA}/32", f"{_INTERNET}/24", f"{_NAMES}/24", f"{_LAN}/24")
    words = ["link set lo up", *(f"addr add {each} dev lo" for each in decoys)]
    done = [subprocess.run([ip, *each.split()], check=False, capture_output=True) for each in words]
    for each in (f"-6 addr add {_INTERNET6}/64 dev lo", *_WIRE):  # not every kernel has these
        subprocess.run([ip, *each.split()], check=False, capture_output=True)
    return all(each.returncode == 0 for each in done)


def _unshared() -> bool:
    try:
        call("unshare", _NEWNET)
    except OSError:
        return False
    return True


def _tcp(address: str, port: int) -> socket.socket | None:
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
    except OSError:
        listener.close()
        return None
    listener.listen()
    return listener


def _unix(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    if path[0] != "\0":
        Path(path).chmod(0o666)
    listener.listen()
    return listener


async def _answer(listener: socket.socket, answer: Answer) -> None:
    listener.setblocking(False)
    while True:
        await anyio.wait_readable(listener)
        with suppress(OSError):
            link, _ = listener.accept()
            with link, anyio.move_on_after(_PATIENCE):
                with anyio.move_on_after(_MOMENT):
                    await anyio.wait_readable(link)
                link.setblocking(False)
                answer(link)


def _say(secret: bytes, link: socket.socket) -> None:
    link.send(b"HTTP/1.0 200 OK\r\n\r\n" + secret + b"\n")


def _hand(secret: bytes, home: Path, link: socket.socket) -> None:
    """Hand out an open folder to whoever asks for a descriptor."""
    with suppress(BlockingIOError):
        if b"descriptor" in link.recv(4096):
            folder = os.open(home, os.O_RDONLY)
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [folder]))
            link.sendmsg([b"here"], [rights])
            os.close(folder)
            return
    _say(secret, link)


async def _record(names: socket.socket, questions: list[bytes]) -> None:
    names.setblocking(False)
    while True:
        await anyio.wait_readable(names)
        with suppress(OSError):
            questions.append(names.recv(4096))
