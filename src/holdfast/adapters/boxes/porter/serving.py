"""The porter at work: each request is served by a fork."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys
from typing import NoReturn

from .entering import alone, listen, stand
from .kernel import LIBC, SET_DUMPABLE, SUBREAPER, TROUBLE, whole
from .making import make, stage
from .talk import complain, received


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    LIBC.prctl(SUBREAPER, 1, 0, 0, 0)
    LIBC.prctl(SET_DUMPABLE, 0, 0, 0, 0)
    gc.disable()
    gc.freeze()
    control.send(b".")
    while True:
        said, descriptors = received(control)
        if not said:
            return
        try:
            child = os.fork()
        except OSError as error:
            complain(socket.socket(fileno=descriptors[1]), f"no process: {error.strerror}")
            descriptors.pop(1)
        else:
            if child == 0:
                serve(control, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def serve(control: socket.socket, descriptors: list[int]) -> NoReturn:
    """One request in a fork of its own: never returns."""
    control.close()
    reply = socket.socket(fileno=descriptors[1])
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        asked = json.loads(whole(descriptors[0]))
        kinds = {"make": make, "stand": stand, "listen": listen, "alone": alone, "stage": stage}
        kinds[asked["do"]](asked, descriptors[2:], reply)
    except TROUBLE as error:
        complain(reply, str(error))
    finally:
        os._exit(0)
