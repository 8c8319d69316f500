"""Logging in to servers of tools: in a browser here, or anywhere with the address brought back."""

from __future__ import annotations

import select
import socket
import sys
import time
import webbrowser
from contextlib import closing

from .client import quote
from .out import line
from .reading import count_of, rows_of, text_of, texts_of
from .stop import OK, REFUSED, Stop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .desk import Desk, Given
    from .wire import Json

_HEAD = ("SERVER", "LOGIN", "ISSUER", "SCOPES", "UNTIL", "NOTE")
_LONGEST = 1 << 16
_GONE = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_THERE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n"
    b"Referrer-Policy: no-referrer\r\nCache-Control: no-store\r\n\r\n"
    b"That is all: go back to the terminal. You may close this page.\n"
)


def mcp_login(desk: Desk, given: Given) -> int:
    name = given.word()
    with closing(_listener(given)) as ears:
        host, port = ears.getsockname()[:2]
        body: Json = {"redirect": f"http://{host}:{port}/callback"}
        begun = desk.daemon.post(f"/api/v1/mcp/{quote(name)}/login", body)
        if text_of(begun, "state") == "in":
            return _made(desk, given, begun)
        _invite(desk, given, begun)
        answer = _answer(desk, given, begun, ears)
    attempt = quote(text_of(begun, "attempt"))
    made = desk.daemon.post(f"/api/v1/mcp-logins/{attempt}", {"answer": answer})
    return _made(desk, given, made)


def mcp_logout(desk: Desk, given: Given) -> int:
    body: Json = {"local_only": given.has("local-only")}
    gone = desk.daemon.post(f"/api/v1/mcp/{quote(given.word())}/logout", body, repeatable=True)
    if given.has("json"):
        desk.screen.json(gone)
        return OK
    taken = ", and its issuer took it back" if gone.get("revoked") else ""
    desk.screen.note(f"logged out of {given.word()}{taken}", mark="good")
    return OK


def mcp_status(desk: Desk, given: Given) -> int:
    found = desk.daemon.get("/api/v1/mcp-logins")
    rows = rows_of(found, "logins")
    if name := given.word():
        rows = [one for one in rows if text_of(one, "server") == name]
    if given.has("json"):
        desk.screen.json({"logins": rows})
    elif rows:
        desk.screen.table(_HEAD, [_row(one) for one in rows])
    else:
        desk.screen.note("no server has a login or wants one: holdfast mcp login --help")
    return OK


def _listener(given: Given) -> socket.socket:
    """Where the browser will end, if it is on this machine."""
    try:
        return socket.create_server(("127.0.0.1", given.count("port") or 0))
    except OSError as error:
        raise Stop(f"--port {given.one('port')}: {error.strerror}", name="usage") from error


def _invite(desk: Desk, given: Given, begun: Json) -> None:
    url, scopes = line(text_of(begun, "url")), texts_of(begun, "scopes")
    wanted = f", for {line(' '.join(scopes))}" if scopes else ""
    desk.screen.note(f"its logins are issued by {line(text_of(begun, 'issuer'))}{wanted}")
    opened = False
    if desk.screen.attended and not given.has("no-browser"):
        opened = url.startswith(("http://", "https://")) and webbrowser.open(url)
    desk.screen.note("a browser was opened; or open this:" if opened else "open this, and log in:")
    desk.screen.note(url)


def _answer(desk: Desk, given: Given, begun: Json, ears: socket.socket) -> str:
    """What the browser brings to us, or a person pastes: the address that it ended at."""
    ours = f":{ears.getsockname()[1]}/" in text_of(begun, "redirect")
    typed = desk.screen.attended or not ours or given.has("paste")
    if typed:
        desk.screen.ask("(or paste the address that it ends at) " if ours else "then paste it: ")
    until = time.monotonic() + 900
    while (left := until - time.monotonic()) > 0:
        sources = [ears] if ours else []
        ready = select.select([*sources, *([sys.stdin] if typed else [])], [], [], left)[0]
        if sys.stdin in ready:
            if answer := sys.stdin.readline(_LONGEST).strip():
                return answer
            if not ours:
                break
            typed = False
        elif ready and (answer := _brought(ears)):
            desk.screen.note("")
            return answer
    raise Stop("nobody finished the login", hint=f"holdfast mcp login {given.word()}", code=REFUSED)


def _brought(ears: socket.socket) -> str:
    """What one visitor asks for, if it is the end of a login; others are sent away."""
    visitor, _ = ears.accept()
    with visitor:
        visitor.settimeout(5)
        head = b""
        try:
            while b"\r\n\r\n" not in head and len(head) < _LONGEST:
                if not (piece := visitor.recv(4096)):
                    break
                head += piece
            words = head.partition(b"\r\n")[0].split(b" ")
            good = len(words) == 3 and words[:1] == [b"GET"] and words[1].startswith(b"/callback?")
            visitor.sendall(_THERE if good else _GONE)
        except OSError:
            return ""
    host, port = ears.getsockname()[:2]
    return f"http://{host}:{port}{words[1].decode('ascii', 'replace')}" if good else ""


def _made(desk: Desk, given: Given, made: Json) -> int:
    if given.has("json"):
        desk.screen.json(made)
        return OK
    name = text_of(made, "server")
    desk.screen.note(f"logged in to {name}", mark="good")
    if note := text_of(made, "note"):
        desk.screen.note(line(note))
    desk.screen.note(f"to look at its tools and agree to them: holdfast mcp trust {name}")
    return OK


def _row(login: Json) -> tuple[str, ...]:
    until, state = count_of(login, "expires_at"), text_of(login, "state")
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(until / 1000)) if until else "-"
    return (
        text_of(login, "server"),
        {"in": "logged in", "over": "over"}.get(state, "none"),
        line(text_of(login, "issuer")) or "-",
        line(" ".join(texts_of(login, "scopes"))) or "-",
        "renewed by itself" if login.get("lasts") and state == "in" else when,
        line(text_of(login, "note")),
    )
