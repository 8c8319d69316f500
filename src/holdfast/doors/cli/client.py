"""The daemon as the commands see it: ask, follow, and start it when nobody is there."""

from __future__ import annotations

import json
import time

from .reading import text_of
from .stop import BROKEN, NOT_ALLOWED, REFUSED, UNAVAILABLE, Stop
from .wire import CutOff, NoDaemon, Reply, listening, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from .wire import Json

_ANSWERS = {
    401: NOT_ALLOWED,
    403: NOT_ALLOWED,
    429: UNAVAILABLE,
    502: UNAVAILABLE,
    503: UNAVAILABLE,
    504: UNAVAILABLE,
}
_TRIES, _PAUSE = 5, 0.1
_SAFE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/")


class Happening:
    """One item of a task's stream: an event that is on disk, a delta, or the end."""

    __slots__ = ("at", "data", "kind", "seq")

    def __init__(self, kind: str, body: Json) -> None:
        self.kind = kind
        self.seq = int(body.get("seq") or 0)
        self.at = int(body.get("at") or 0)
        self.data: Json = body.get("data", body)


class Daemon:
    """The way to the daemon of one home. `start` makes one listen, or raises `Stop`."""

    def __init__(self, home: str, start: Callable[[], None]) -> None:
        self.home = home
        self.socket = f"{home}/run/holdfast.sock"
        self._start = start

    def get(self, target: str) -> Json:
        return self._ask("GET", target, None, tries=_TRIES)

    def post(self, target: str, body: Json | None = None, *, repeatable: bool = False) -> Json:
        """`repeatable` says that asking twice is as good as once: then a broken line is no end."""
        return self._ask("POST", target, body or {}, tries=_TRIES if repeatable else 1)

    def open(self, method: str, target: str) -> Reply:
        """A reply that went well, its body unread. Raises `Stop` with what the daemon said."""
        try:
            return self._checked(self._send((method, target), None, stream=False))
        except CutOff as error:
            raise _unavailable(error) from error

    def start(self) -> None:
        """One listens when this returns, whoever started it. Raises `Stop`."""
        if not self.awake():
            self._start()

    def awake(self) -> bool:
        return listening(self.socket)

    def status(self) -> Json | None:
        """What the daemon says of itself, or None when there is none. Never starts one."""
        try:
            return _read(self._checked(send(self.socket, ("GET", "/api/v1/status"))))
        except NoDaemon:
            return None
        except CutOff as error:
            raise _unavailable(error) from error

    def follow(self, target: str) -> Generator[Happening]:
        """A task's stream as it comes. Raises `CutOff` when it breaks before its end."""
        reply = self._checked(self._send(("GET", target), None, stream=True))
        try:
            yield from _happenings(reply)
        finally:
            reply.close()

    def hear(self, target: str, body: Json) -> Generator[Happening]:
        """What the daemon says to a question, as it comes. Raises `CutOff` when it breaks off."""
        reply = self._checked(self._send(("POST", target), body, stream=True))
        try:
            yield from _happenings(reply)
        finally:
            reply.close()

    def _ask(self, method: str, target: str, body: Json | None, *, tries: int) -> Json:
        while True:
            try:
                return _read(self._checked(self._send((method, target), body, stream=False)))
            except CutOff as error:
                tries -= 1
                if not tries:
                    raise _unavailable(error) from error
                time.sleep(_PAUSE)

    def _send(self, request: tuple[str, str], body: Json | None, *, stream: bool) -> Reply:
        """A daemon that has just been killed may still hold the socket: then it is `CutOff`."""
        try:
            return send(self.socket, request, body, stream=stream)
        except NoDaemon:
            self._start()
        try:
            return send(self.socket, request, body, stream=stream)
        except NoDaemon as error:
            raise CutOff(f"the daemon went away again: {self.home}/logs/daemon.log") from error

    def _checked(self, reply: Reply) -> Reply:
        if reply.status < 400:
            return reply
        code = _ANSWERS.get(reply.status, BROKEN if reply.status >= 500 else REFUSED)
        said = _read(reply)
        raise Stop(
            text_of(said, "detail") or f"the daemon answered with status {reply.status}",
            hint=text_of(said, "hint"),
            name=text_of(said, "code"),
            code=code,
        )


def quote(text: str) -> str:
    """Text made safe inside a target, as `urllib.parse.quote` would without being imported."""
    if _SAFE.issuperset(text):
        return text.replace("/", "%2F")
    codes = text.encode("utf-8", "surrogateescape")
    safe = {ord(sign) for sign in _SAFE} - {ord("/")}
    return "".join(chr(code) if code in safe else f"%{code:02X}" for code in codes)


def query(**wanted: str | int | None) -> str:
    """`?a=1&b=2` of everything that is set."""
    pairs = [
        f"{name}={quote(str(value))}" for name, value in wanted.items() if value not in (None, "")
    ]
    return f"?{'&'.join(pairs)}" if pairs else ""


def _happenings(reply: Reply) -> Generator[Happening]:
    kind, data = "", list[str]()
    for line in reply.lines():
        if line:
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "event":
                kind = value
            elif field == "data":
                data.append(value)
            continue
        if data:
            yield Happening(kind, _object("\n".join(data)))
        kind, data = "", []


def _read(reply: Reply) -> Json:
    try:
        return reply.json()
    finally:
        reply.close()


def _object(text: str) -> Json:
    try:
        value: Json = json.loads(text)
    except ValueError as error:
        raise CutOff(f"a damaged event: {text[:80]!r}") from error
    return value


def _unavailable(error: Exception) -> Stop:
    return Stop(str(error), hint="holdfast doctor", code=UNAVAILABLE, name="unavailable")
