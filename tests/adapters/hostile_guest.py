"""The other end of a machine's wire, played by a test: it may say anything."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio

from holdfast.adapters.boxes.microvm.box import Inside, MicroVMBox
from holdfast.adapters.boxes.microvm.channel import Channel
from holdfast.adapters.boxes.microvm.guest.frames import Unpacker, pack
from holdfast.adapters.boxes.microvm.machine import Machine
from holdfast.adapters.boxes.microvm.mirror import Mirror
from holdfast.ports.box import BoxLimits, BoxSpec

Order = dict[str, Any]
Answers = Callable[["Guest", Order, bytes], None]


class Guest:
    """Answers honestly, except where `answers` for an order are given. `heard` is all it heard."""

    def __init__(self, wire: socket.socket, answers: dict[str, Answers]) -> None:
        wire.setblocking(False)
        self._wire, self._answers = wire, answers
        self._out = bytearray()
        self.heard: list[tuple[Order, bytes]] = []

    def say(self, body: bytes = b"", **head: object) -> None:
        self.raw(pack(json.dumps(head).encode(), body))

    def raw(self, data: bytes) -> None:
        self._out += data

    def file(self, number: int, path: str, body: bytes, **more: object) -> None:
        head = {"kind": "file", "mode": 0o644, "offset": 0, "last": True, **more}
        self.say(body, do="item", id=number, path=path, **head)

    def close(self) -> None:
        self._wire.close()

    async def serve(self) -> None:
        unpacker = Unpacker()
        while True:
            await anyio.wait_readable(self._wire)
            data = self._wire.recv(1 << 16)
            if not data:
                return
            for head, body in unpacker.feed(data):
                self._hear(json.loads(head), body)
            while self._out:
                await anyio.wait_writable(self._wire)
                try:
                    del self._out[: self._wire.send(self._out)]
                except OSError:
                    return

    def _hear(self, order: Order, body: bytes) -> None:
        self.heard.append((order, body))
        number = order["id"]
        if answer := self._answers.get(order["do"]):
            answer(self, order, body)
        elif order["do"] == "run":
            self.exits(number)
        elif order["do"] in {"mark", "changes", "stats", "listen", "box"}:
            self.say(do="done", id=number)

    def exits(self, number: int) -> None:
        for stream in ("stdout", "stderr"):
            self.say(do="end", id=number, stream=stream)
        self.say(do="exit", id=number, code=0)


def a_box(
    workspace: Path, answers: dict[str, Answers], *, hidden: tuple[str, ...] = ()
) -> tuple[MicroVMBox, Guest]:
    """A box whose machine is a process that does nothing, and the guest in it."""
    work, work_in = socket.socketpair()
    ways, ways_in = socket.socketpair()
    ways_in.close()
    work.setblocking(False)
    process = subprocess.Popen(["sleep", "600"], stdout=subprocess.PIPE)
    control, control_in = socket.socketpair()
    control_in.close()
    machine = Machine(process, work, ways, control)
    limits = BoxLimits(seconds=5, file_size=100_000, disk=300_000, inodes=50)
    inside = Inside(workspace=Mirror(workspace, hidden), read_only=(), environment={})
    box = MicroVMBox(
        BoxSpec(workspace=workspace, limits=limits), inside, machine, Channel(machine.work)
    )
    return box, Guest(work_in, answers)
