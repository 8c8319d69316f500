"""Listens: one server on a Unix socket and a local port, inside the event loop that is there."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import ssl
import stat
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import TaskStatus
from starlette.applications import Starlette
from uvicorn import Config, Server

from holdfast.core.error import HoldfastError, Refused, Unavailable

from .patience import Listener, Reception
from .route import Door
from .ws.speaking import Speaking

_BACKLOG = 256
_FAREWELL = 2
_LONGEST_PATH = 107
_HANDSHAKE = 10.0


async def serve(
    app: Starlette,
    *,
    unix: Path | None,
    host: str = "127.0.0.1",
    port: int | None = None,
    how: Reception | None = None,
    task_status: TaskStatus[tuple[str, ...]] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; `task_status` gets the addresses once somebody answers there.

    `port` None is no TCP, 0 is any free port. Raises `Unavailable` (port_in_use, cannot_listen)
    and `Refused` (already_running). At the end open streams are told, the rest has two seconds.
    """
    how = how or Reception()
    door: Door = app.state.door
    with _sockets(unix, host, port) as sockets:
        server = _server(app, how, door)
        await _started(server, sockets, how.tls)
        door.listening[:] = [_address(one, tls=how.tls is not None) for one in sockets]
        task_status.started(tuple(door.listening))
        async with anyio.create_task_group() as group:
            group.start_soon(app.state.mcp.run)
            try:
                await server.main_loop()
            finally:
                door.closing.set()
                with anyio.CancelScope(shield=True):
                    await server.shutdown(sockets)
                    _hang_up(server)
                group.cancel_scope.cancel()


async def _started(
    server: Server, sockets: Sequence[socket.socket], tls: ssl.SSLContext | None
) -> None:
    """Listen on all of them: in the open on a Unix socket, over TLS elsewhere if there is any."""
    await server.startup([one for one in sockets if one.family == socket.AF_UNIX])
    config, loop = server.config, asyncio.get_running_loop()

    def protocol() -> asyncio.Protocol:
        make: Any = config.http_protocol_class
        state = server.lifespan.state
        return make(config=config, server_state=server.server_state, app_state=state)

    patience: dict[str, Any] = {"ssl_handshake_timeout": _HANDSHAKE} if tls else {}
    for one in sockets:
        if one.family != socket.AF_UNIX:
            made = await loop.create_server(
                protocol, sock=one, ssl=tls, backlog=_BACKLOG, **patience
            )
            server.servers.append(made)


def _server(app: Starlette, how: Reception, door: Door) -> Server:
    """A server that leaves signals, logging and the loop alone."""
    config = Config(
        app,
        http=type("Patient", (Listener,), {"reception": how}),
        ws=Speaking,
        ws_max_size=door.access.max_body,
        ws_ping_interval=door.keep_alive,
        ws_ping_timeout=door.keep_alive,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=_FAREWELL,
    )
    config.load()
    # It tells of every handshake with its path, and so with what does not belong into a path.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    server = Server(config)
    server.lifespan = config.lifespan_class(config)
    return server


def _hang_up(server: Server) -> None:
    """Whoever has not gone by now: cut off."""
    for connection in list(server.server_state.connections):
        transport: Any = connection.transport
        transport.abort()


@contextmanager
def _sockets(unix: Path | None, host: str, port: int | None) -> Generator[list[socket.socket]]:
    sockets: list[socket.socket] = []
    try:
        if port is not None:
            sockets.append(_tcp(host, port))
        if unix is not None:
            sockets.append(_unix(unix))
        yield sockets
    finally:
        for one in sockets:
            one.close()
        if unix is not None and any(one.family == socket.AF_UNIX for one in sockets):
            unix.unlink(missing_ok=True)


def _tcp(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    one = socket.socket(family)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        one.bind(("127.0.0.1" if host == "localhost" else host, port))
        one.listen(_BACKLOG)
    except OSError as error:
        one.close()
        raise _cannot_listen(host, port, error) from error
    one.setblocking(False)
    return one


def _cannot_listen(host: str, port: int, error: OSError) -> HoldfastError:
    if error.errno == errno.EADDRINUSE:
        return Unavailable(
            f"port {port} of {host} is taken",
            code="port_in_use",
            hint=f"`lsof -i :{port}` says by whom; HOLDFAST_SERVER_PORT sets another, 0 any",
        )
    text = f"cannot listen on {host}:{port}: {error.strerror}"
    return Unavailable(text, code="cannot_listen", hint="choose another: HOLDFAST_SERVER_PORT")


def _unix(path: Path) -> socket.socket:
    """A socket that only its owner can open, in a folder that only its owner can enter."""
    if len(os.fsencode(path)) > _LONGEST_PATH:
        hint = f"a socket's path has at most {_LONGEST_PATH} bytes: choose a shorter home"
        raise Unavailable(f"{path} is too long", code="cannot_listen", hint=hint)
    one = socket.socket(socket.AF_UNIX)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.parent.chmod(0o700)
        _remove_stale(path)
        one.bind(str(path))
        path.chmod(0o600)
        one.listen(_BACKLOG)
    except OSError as error:
        one.close()
        raise Unavailable(
            f"cannot listen on {path}: {error.strerror}", code="cannot_listen"
        ) from error
    except HoldfastError:
        one.close()
        raise
    one.setblocking(False)
    return one


def _remove_stale(path: Path) -> None:
    """Remove what a dead daemon left; never a file that is no socket, or one that answers."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise Refused(f"{path} is there and is no socket", code="cannot_listen")
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(1.0)
        if one.connect_ex(str(path)) not in {errno.ECONNREFUSED, errno.ENOENT}:
            hint = "`holdfast status` shows it, `holdfast serve stop` ends it"
            raise Refused(f"a daemon answers on {path}", code="already_running", hint=hint)
    path.unlink(missing_ok=True)


def _address(one: socket.socket, *, tls: bool) -> str:
    name: Any = one.getsockname()
    if one.family == socket.AF_UNIX:
        return f"unix:{name}"
    host = f"[{name[0]}]" if one.family == socket.AF_INET6 else name[0]
    return f"{'https' if tls else 'http'}://{host}:{name[1]}"
