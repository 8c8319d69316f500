"""What an attack is, and what it is told about the decoys it may go for."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Facts:
    """Where the decoys are. Everything here was made for the test; nothing real is named.

    `same` maps a path of the host to its device and inode: the box may well have one of its own.
    `places` maps a decoy service to its address and port; where `own_network` is not set there is
    no service, and only the way to it is looked for.
    """

    canary: str
    workspace: str
    home: str
    outside: str
    tools: str
    victim: int
    same: dict[str, tuple[int, int]]
    places: dict[str, tuple[str, int]]
    own_network: bool
    abstract: str
    docker: str
    handler: str
    shm: int
    queue: str
    shared_file: str
    key: str
    neighbour: dict[str, str]
    host: dict[str, str]
    limits: dict[str, float]


class Blocked(Exception):
    """The wall held; the words say how."""


class NotHere(Exception):
    """The attack makes no sense on this machine; the words say why."""


Body = Callable[[Facts], str]


@dataclass(frozen=True)
class Attack:
    """One attack. `body` says in words what it won, or raises `OSError`, `Blocked` or `NotHere`.

    `proof`: what it says is not enough, the host looks for itself. `alone`: it gets a command of
    its own, as it may end whatever runs beside it.
    """

    name: str
    tries: str
    wall: str
    body: Body
    alone: bool
    proof: bool
    seconds: float


def attack(
    wall: str, *, alone: bool = False, proof: bool = False, seconds: float = 6.0
) -> Callable[[Body], Attack]:
    """Make an attack of a function: its name is the name, its docstring what it tries."""

    def of(body: Body) -> Attack:
        tries = (body.__doc__ or "").strip().rstrip(".")
        return Attack(body.__name__.strip("_"), tries, wall, body, alone, proof, seconds)

    return of


def secret(facts: Facts, found: bytes, where: str) -> str:
    """Won if what was found is a decoy's secret."""
    if facts.canary.encode() in found:
        return f"read the decoy's secret from {where}"
    raise Blocked(f"{where} holds no secret")


def read(path: str, most: int = 1 << 16) -> bytes:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    found = b""
    try:
        while len(found) < most and (piece := os.read(handle, most - len(found))):
            found += piece
    finally:
        os.close(handle)
    return found


def is_hosts(facts: Facts, path: str) -> None:
    """Raise `Blocked` unless the path is the very one that the host has."""
    about = os.stat(path)
    if (about.st_dev, about.st_ino) != tuple(facts.same.get(path, ())):
        raise Blocked(f"{path} is the box's own")


def opens(path: str, flags: int) -> str:
    """Won if it can be opened; nothing is written."""
    os.close(os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK))
    return f"opened {path}"


def any_of(tries: list[Callable[[], str]]) -> str:
    """The first way that wins; else the last reason why not."""
    reason: OSError | Blocked = Blocked("nothing to try")
    for one in tries:
        try:
            return one()
        except (OSError, Blocked) as error:
            reason = error
    raise reason


def reached(error: OSError, *beyond: int) -> str:
    """Won if the kernel complained only after it had let us through; else raises the error."""
    if error.errno in beyond:
        return f"passed the permission check ({errno.errorcode.get(error.errno or 0)})"
    raise error


def status(name: str, process: str = "self") -> str:
    for line in read(f"/proc/{process}/status").decode().splitlines():
        if line.startswith(f"{name}:"):
            return line.partition(":")[2].strip()
    raise Blocked(f"/proc/{process}/status has no {name}")
