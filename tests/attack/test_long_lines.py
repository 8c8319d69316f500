"""A stream with lines as long as whole answers is read in time that grows with its length."""

from __future__ import annotations

import socket
import threading
import time

from holdfast.doors.cli.wire import Reply

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"


def test_a_line_of_many_megabytes_is_read_quickly() -> None:
    ours, theirs = socket.socketpair()
    body = b"event: Replied\r\ndata: " + b"x" * (48 << 20) + b"\r\n\r\nend\n"

    def speak() -> None:
        with theirs:
            theirs.sendall(HEAD + body)

    speaker = threading.Thread(target=speak)
    speaker.start()
    try:
        ours.settimeout(20)
        began = time.thread_time()
        lines = list(Reply(ours).lines())
        spent = time.thread_time() - began
    finally:
        ours.close()
        speaker.join(20)
    assert [len(line) for line in lines] == [14, 6 + (48 << 20), 0, 3]
    assert spent < 2.0
