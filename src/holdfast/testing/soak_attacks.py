"""What a hostile tool does to the machine it runs on: command lines for a shell in a box.

Each would go on for as long as it is let, but gives up by itself after `SECONDS`, so that nothing
is harmed where a wall is missing.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

SECONDS = 4
_MEBIBYTES = 200
LAST = "write to the host"

ATTACKS: Mapping[str, str] = {
    "fork": "f() { f | f & }; f; sleep 9",
    "fork and leave": "for i in $(seq 500); do (setsid sh -c 'sleep 60' &) & done; wait",
    "threads": 'python3 -c "import threading, time\nwhile True: '
    'threading.Thread(target=time.sleep, args=(60,)).start()"',
    "spin": "for i in 1 2 3 4 5 6 7 8; do while :; do :; done & done; wait",
    "memory": "python3 -c \"kept = []\nwhile True: kept.append(b'x' * (16 << 20))\"",
    "memory of many": "for i in $(seq 20); do (head -c 100M /dev/zero | tail) & done; wait",
    "shared memory": f"head -c {_MEBIBYTES}M /dev/zero > /dev/shm/flood",
    "scratch": f"head -c {_MEBIBYTES}M /dev/zero > /tmp/flood",
    "disk": f"head -c {_MEBIBYTES}M /dev/zero > flood; rm -f flood",
    "disk of many": "for i in $(seq 40); do head -c 5M /dev/zero > flood$i & done; wait; rm flood*",
    "sparse": "for i in $(seq 50); do truncate -s 1T sparse$i; done; rm -f sparse*",
    "inodes": "for i in $(seq 20000); do : > inode$i || break; done; rm -f inode*",
    "folders": "i=0; while [ $i -lt 200 ]; do mkdir -p d && cd d || break; i=$((i+1)); done",
    "links": "for i in $(seq 2000); do ln -s / link$i; done; rm -f link*",
    "descriptors": "python3 -c \"import os\nwhile True: os.open('/dev/null', 0)\"",
    "pipes": "python3 -c \"import os\nwhile True: os.write(os.pipe()[1], b'x' * 65536)\"",
    "sockets": 'python3 -c "import socket\nkept = []\nwhile True: kept.append(socket.socket())"',
    "output": "yes hostile",
    "output of zeros": "cat /dev/zero",
    "complaints": "yes hostile >&2",
    "one long line": "tr '\\0' x < /dev/zero",
    "escapes": "while :; do printf '\\033[2J\\033]0;owned\\007'; done",
    "kill": "kill -9 -1",
    "stop": "kill -STOP -1",
    "ignore": "trap '' TERM INT HUP QUIT; while :; do sleep 1; done",
}
"""Name -> what it does, in a workspace of its own."""


def commands(token: str, targets: list[Path]) -> Iterator[tuple[str, str]]:
    """Every attack, and one that writes to the host wherever it might: `targets` are there."""
    for name, attack in ATTACKS.items():
        yield name, f"timeout -s KILL {SECONDS} bash -c {shlex.quote(attack)}; true"
    places = [f"{folder}/{token}" for folder in PLACES]
    writes = [f"echo {token} > {shlex.quote(place)}" for place in places]
    writes += [f"echo {token} >> {shlex.quote(str(path))}" for path in targets]
    writes += [f"rm -rf {shlex.quote(str(path))}" for path in targets]
    yield LAST, f"({'; '.join(writes)}) 2>/dev/null; true"


PLACES = ("/", "/etc", "/tmp", "/var/tmp", "/dev/shm", "/root", "/home", "/opt", "/run", "/usr")  # noqa: S108
