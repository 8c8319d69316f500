"""HTTP/1.1 over the daemon's Unix socket: as much of it as a command line needs, and no more.

`http.client` would cost more time than a whole command may take.
"""

from __future__ import annotations

import _socket
import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    Json = dict[str, Any]

PATIENCE = 30.0
_LINE = 1 << 20
_MOST = 1 << 28
_PIECE = 1 << 16
_PATH = 107


class NoDaemon(Exception):
    """Nobody listens at the socket."""


class CutOff(Exception):
    """The conversation broke off, or the other side took too long."""


class Reply:
    """One answer: its head is here, its body is still to be read. Whoever opens it closes it."""

    def __init__(self, connection: _socket.socket) -> None:
        self._connection = connection
        self._buffer = b""
        try:
            self.status, self.headers = self._head()
        except CutOff:
            self.close()
            raise
        self._chunked = self.headers.get("transfer-encoding", "").lower() == "chunked"
        length = self.headers.get("content-length", "")
        self._left = int(length) if length.isdigit() and not self._chunked else None

    def close(self) -> None:
        self._connection.close()

    def pieces(self) -> Generator[bytes]:
        """The body as it arrives. Ends only where the server said that it ends."""
        if self._chunked:
            yield from self._chunks()
        elif self._left is not None:
            yield from self._exactly(self._left)
        else:
            while piece := self._some():
                yield piece

    def body(self) -> bytes:
        whole = bytearray()
        for piece in self.pieces():
            whole += piece
            if len(whole) > _MOST:
                raise CutOff("the answer is too large")
        return bytes(whole)

    def json(self) -> Json:
        text = self.body()
        try:
            value: Json = json.loads(text)
        except ValueError as error:
            raise CutOff(f"the answer is not JSON: {text[:80]!r}") from error
        return value

    def lines(self) -> Generator[str]:
        begun: list[bytes] = []  # joined once: a line may be as long as a whole answer
        for piece in self.pieces():
            end, *others = piece.split(b"\n")
            begun.append(end)
            for start in others:
                yield b"".join(begun).removesuffix(b"\r").decode("utf-8", "replace")
                begun = [start]

    def _head(self) -> tuple[int, dict[str, str]]:
        first = self._line().split(b" ", 2)
        if len(first) < 2 or not first[0].startswith(b"HTTP/1.") or not first[1].isdigit():
            raise CutOff("whoever answers at the socket does not speak HTTP")
        headers: dict[str, str] = {}
        while line := self._line():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        return int(first[1]), headers

    def _chunks(self) -> Generator[bytes]:
        while True:
            size = self._line().split(b";")[0].strip()
            try:
                left = int(size, 16)
            except ValueError as error:
                raise CutOff("a damaged chunk") from error
            if left == 0:
                while self._line():
                    pass
                return
            yield from self._exactly(left)
            self._line()

    def _exactly(self, left: int) -> Generator[bytes]:
        while left:
            piece = self._some(left)
            if not piece:
                raise CutOff("the connection was closed in the middle of an answer")
            left -= len(piece)
            yield piece

    def _line(self) -> bytes:
        while b"\n" not in self._buffer:
            if len(self._buffer) > _LINE:
                raise CutOff("an endless line")
            more = _receive(self._connection)
            if not more:
                raise CutOff("the connection was closed before the answer")
            self._buffer += more
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.removesuffix(b"\r")

    def _some(self, most: int = _PIECE) -> bytes:
        if not self._buffer:
            return _receive(self._connection, min(most, _PIECE))
        piece, self._buffer = self._buffer[:most], self._buffer[most:]
        return piece


def send(
    path: str, request: tuple[str, str], body: Json | None = None, *, stream: bool = False
) -> Reply:
    """Ask the daemon at the socket `path`; `request` is a method and a target."""
    content = b"" if body is None else json.dumps(body).encode()
    head = [
        f"{request[0]} {request[1]} HTTP/1.1",
        "Host: holdfast",
        f"Accept: {'text/event-stream' if stream else 'application/json'}",
        "Connection: close",
    ]
    if body is not None or request[0] != "GET":
        head += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    connection = _connect(path)
    try:
        connection.sendall("\r\n".join([*head, "", ""]).encode() + content)
    except OSError as error:
        connection.close()
        raise CutOff(f"the daemon hung up: {error.strerror}") from error
    return Reply(connection)


def listening(path: str) -> bool:
    """True when somebody accepts connections at the socket."""
    try:
        _connect(path).close()
    except (NoDaemon, CutOff):
        return False
    return True


def _connect(path: str) -> _socket.socket:
    name = path.encode("utf-8", "surrogateescape")
    if len(name) > _PATH:
        raise CutOff(f"the path of the socket is too long, {_PATH} bytes are possible: {path}")
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    connection.settimeout(PATIENCE)
    try:
        connection.connect(name)
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
        connection.close()
        raise NoDaemon(path) from error
    except OSError as error:
        connection.close()
        raise CutOff(f"no connection to {path}: {error.strerror or error}") from error
    return connection


def _receive(connection: _socket.socket, most: int = _PIECE) -> bytes:
    try:
        return connection.recv(most)
    except TimeoutError as error:
        raise CutOff("the daemon took too long to answer") from error
    except OSError as error:
        raise CutOff(f"the connection broke: {error.strerror}") from error
