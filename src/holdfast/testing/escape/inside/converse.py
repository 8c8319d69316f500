"""`python3 attacks.pyz converse`: say bytes to the proxy, as scripts on stdin tell, and listen.

A script is a line of JSON with the steps of one connection: {"say": base64} sends, {"hear":
seconds} waits for an answer, {"tls": name} begins TLS in what was opened and asks for that name.
What was heard comes back as a line with base64, and how long it took until the other side ended it.
"""

from __future__ import annotations

import base64
import json
import socket
import ssl
import sys
import time

_MORE = 0.1


def main() -> None:
    for line in sys.stdin:
        told = json.loads(line)
        began, (heard, why) = time.monotonic(), _conversation(told["proxy"], told["steps"])
        said = {"heard": base64.b64encode(heard).decode(), "why": why}
        sys.stdout.write(json.dumps({**said, "seconds": time.monotonic() - began}) + "\n")
        sys.stdout.flush()


def _conversation(proxy: tuple[str, int], steps: list[dict[str, str]]) -> tuple[bytes, str]:
    heard = b""
    try:
        host, port = proxy
        link = socket.create_connection((host, port), timeout=5)
        try:
            for step in steps:
                link, piece = _step(link, step)
                heard += piece
        finally:
            link.close()
    except (OSError, ValueError) as error:
        return heard, f"{type(error).__name__}: {error}"
    return heard, ""


def _step(link: socket.socket, step: dict[str, str]) -> tuple[socket.socket, bytes]:
    if "say" in step:
        link.sendall(base64.b64decode(step["say"]))
        return link, b""
    if "tls" in step:
        trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
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
        until = min(until, time.monotonic() + _MORE)
    return heard
