"""The decoy: a process of the user outside the box, with a secret in every place there is.

It says a line of JSON when it is ready and one for each signal, and takes everything away again
at the end of its stdin.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys

from .calls import call, share, text

_USER, _KEEP, _RIGHTS, _PATIENCE = -4, 0x3F3F0000, 5, 15
_FOR_EVERYBODY = 0o666
_SECONDS = 300


def main(canary: str, key: str, shared_file: str, home: str, shm: str) -> None:
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, _signalled)
    held = os.open(f"{home}/.ssh/id_ed25519", os.O_RDONLY)
    secret = canary.encode()
    segment = share(int(shm), secret, _FOR_EVERYBODY)
    queue = _queue(f"{canary}-queue", secret)
    with open(shared_file, "wb") as file:
        file.write(secret)
    os.chmod(shared_file, _FOR_EVERYBODY)
    _say({"ready": True, "held": held, "key": _key(key, secret)})
    sys.stdin.read()
    call("shmctl", segment, 0, None)
    if queue:
        call("mq_unlink", text(f"{canary}-queue"))
    os.unlink(shared_file)


def _signalled(_number: int, _frame: object) -> None:
    _say({"signalled": True})


def _queue(name: str, content: bytes) -> bool:
    os.umask(0)
    try:
        queue = call("mq_open", text(name), os.O_CREAT | os.O_RDWR, _FOR_EVERYBODY, None)
        call("mq_timedsend", queue, ctypes.c_char_p(content), len(content), 0, None)
    except OSError:
        return False
    return True


def _key(name: str, content: bytes) -> bool:
    """It forgets itself, in case that we cannot."""
    try:
        room = ctypes.create_string_buffer(content, len(content))
        number = call("add_key", text("user"), text(name), room, len(content), _USER)
        call("keyctl", _RIGHTS, number, _KEEP)
        call("keyctl", _PATIENCE, number, _SECONDS)
    except OSError:
        return False
    return True


def _say(words: dict[str, object]) -> None:
    os.write(1, json.dumps(words).encode() + b"\n")
