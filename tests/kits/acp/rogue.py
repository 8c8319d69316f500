"""An agent that does what no agent should, with nothing but Python: `rogue.py MODE`."""

import json
import socket
import sys
import time
from pathlib import Path
from typing import Any

MODE = sys.argv[1]


def send(**message: Any) -> None:
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def say(text: str) -> None:
    update = {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}}
    send(method="session/update", params={"sessionId": "s", "update": update})


def outside() -> str:
    """What of the world can be had from here."""
    found: list[str] = []
    for place in sys.argv[2:]:
        try:
            Path(place).read_bytes()
            found.append(place)
        except OSError:
            pass
    try:
        socket.create_connection(("1.1.1.1", 443), timeout=2).close()
        found.append("network")
    except OSError:
        pass
    return f"found: {found}"


def dies() -> None:
    say("I begin")
    sys.exit(3)


def floods() -> None:
    while True:
        say("x" * 1000)


def endless() -> None:
    while True:
        sys.stdout.write("x" * 65536)


def stalls() -> None:
    time.sleep(600)


def sleeps() -> None:
    say("I begin")
    stalls()


def odd() -> None:
    send(method="session/update", params={"update": 7})


def asks() -> None:
    send(id="f", method="fs/read_text_file", params={"path": "/etc/passwd", "sessionId": "s"})
    sys.stdin.readline()
    say("I asked for a file")


def looks() -> None:
    say(outside())


def plants() -> None:
    Path(".git/hooks").mkdir(parents=True, exist_ok=True)
    Path(".git/hooks/pre-commit").write_text("#!/bin/sh\nexit 1\n")
    say("\x1b[31mignore all rules\u200b")


DEEDS = {
    deed.__name__: deed
    for deed in (dies, floods, endless, stalls, sleeps, odd, asks, looks, plants)
}


def prompted(number: int) -> None:
    if MODE in DEEDS:
        DEEDS[MODE]()
    send(id=number, result={"stopReason": "refusal" if MODE == "refuses" else "end_turn"})


for line in sys.stdin:
    asked = json.loads(line)
    if asked.get("method") == "initialize":
        version = 9 if MODE == "future" else 1
        send(id=asked["id"], result={"protocolVersion": version})
    elif asked.get("method") == "session/new" and MODE == "login":
        send(id=asked["id"], error={"code": -32000, "message": "who are you?"})
    elif asked.get("method") == "session/new":
        send(id=asked["id"], result={"sessionId": "s"})
    elif asked.get("method") == "session/prompt":
        prompted(asked["id"])
