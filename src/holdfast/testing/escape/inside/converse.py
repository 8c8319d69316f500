"""`python3 attacks.pyz converse`: say bytes to the proxy, as a script on stdin tells, and listen.

The script is a list of steps of one connection: {"say": base64} sends, {"hear": seconds} waits for
an answer, {"tls": name} begins TLS in what was opened and asks for that name. What was heard comes
back as base64, with how long it took until the other side ended it.
"""

from __future__ import annotations

import base64
import json
import socket
import ssl
import sys
import time


def main() -> None:
    told = json.load(sys.stdin)
    began, heard, why = time.monotonic(), b"", ""
    try:
        with socket.create_connection(tuple(told["proxy"]), timeout=5) as link:
            for step in told["steps"]:
                link, piece = _step(link, step)
                heard += piece
    except (OSError, ValueError) as error:
        why = f"{type(error).__name__}: {error}"
    said = {"heard": base64.b64encode(heard).decode(), "why": why}
    json.dump({**said, "seconds": time.monotonic() - began}, sys.stdout)


def _step(link: socket.socket, step: dict[str, str]) -> tuple[socket.socket, bytes]:
    if "say" in step:
        link.sendall(base64.b64decode(step["say"]))
        return link, b""
    if "tls" in step:
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        return trusting.wrap_socket(link, server_hostname=step["tls"] or None), b""
    return link, _hear(link, float(step["hear"]))


def _hear(link: socket.socket, seconds: float) -> bytes:
    """Until the first answer and a moment more, or the end."""
    heard, until = b"", time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        link.settimeout(left)
        try:
            piece = link.recv(65536)
        except TimeoutError:
            break
        if not piece:
            break
        heard += piece
        until = min(until, time.monotonic() + 0.25)
    return heard
