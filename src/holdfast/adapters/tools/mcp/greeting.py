"""How a conversation begins: who the server is, and which revision of the protocol is spoken.

Servers of the newest revision are asked who they are. Those that do not know the question are
greeted with the handshake of the revisions before it, and remembered for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec
from msgspec import Struct

from holdfast.core.mcp import ServerSpec

from .messages import VERSION, VERSIONS, shaped
from .speech import LEVEL, STATELESS, US
from .talk import Peer
from .trouble import Gone, Odd, Said, Silent, Trouble, TurnedAway

_UNSUPPORTED = -32_022
_TRIES, _PATIENCE = 2, 20.0


class Greeting(Struct, frozen=True, kw_only=True):
    """Who it says it is, and what it has. `tells`: it says when its tools are others; `updates`: it
    says so of a resource that somebody watches."""

    title: str
    version: str
    protocol: str
    has_tools: bool
    has_resources: bool = False
    tells: bool = False
    updates: bool = False


class Known:
    """The servers that are known to want a handshake: they are asked nothing else first."""

    def __init__(self) -> None:
        self._known: dict[str, ServerSpec] = {}

    def shakes_hands(self, spec: ServerSpec) -> bool:
        return self._known.get(spec.name) == spec

    def remember(self, spec: ServerSpec, *, handshake: bool) -> None:
        if handshake:
            self._known[spec.name] = spec
        else:
            self._known.pop(spec.name, None)


async def greeted(peer: Peer, known: Known) -> Greeting:
    """Begin to talk. Raises `Trouble`."""
    spec = peer.host.spec
    if not (spec.handshake or known.shakes_hands(spec)):
        try:
            found = await _discovered(peer)
        except Gone as gone:
            if not spec.url and not isinstance(gone, TurnedAway):
                known.remember(spec, handshake=True)  # the question was too much for it
            raise
        if found is not None:
            return found
    try:
        greeting = await _shaken(peer)
    except Trouble as trouble:
        known.remember(spec, handshake=False)
        # It was slow to come up, and answered the first question after we stopped waiting.
        newer = isinstance(trouble, Said) and trouble.number == _UNSUPPORTED
        if spec.handshake or not newer or not (found := await _discovered(peer)):
            raise
        return found
    known.remember(spec, handshake=True)
    return greeting


class _Identity(Struct, frozen=True):
    name: str = ""
    version: str = ""


class _Tools(Struct, frozen=True, rename="camel"):
    list_changed: bool = False


class _Resources(Struct, frozen=True):
    subscribe: bool = False


class _Abilities(Struct, frozen=True):
    tools: _Tools | None = None
    resources: _Resources | None = None
    logging: dict[str, Any] | None = None


class _Welcome(Struct, frozen=True, rename="camel"):
    protocol_version: str
    capabilities: _Abilities = _Abilities()
    server_info: _Identity = _Identity()


class _Meta(Struct, frozen=True):
    server: _Identity = msgspec.field(
        name="io.modelcontextprotocol/serverInfo", default=_Identity()
    )


class _Discovered(Struct, frozen=True, rename="camel"):
    supported_versions: list[str]
    capabilities: _Abilities = _Abilities()
    server_info: _Identity = _Identity()
    meta: _Meta = msgspec.field(name="_meta", default=_Meta())


class _Supported(Struct, frozen=True):
    supported: list[str] = []


async def _discovered(peer: Peer) -> Greeting | None:
    """What a server says that needs no handshake; None for any other. Raises `Trouble`."""
    patience = min(_PATIENCE, peer.host.spec.start_seconds / 2)
    for _ in range(_TRIES):
        peer.speech.protocol = STATELESS
        try:
            answer = await peer.call("server/discover", {}, seconds=patience)
            told = shaped(answer, _Discovered, "what it says of itself")
        except Said as said:
            if said.number == _UNSUPPORTED and STATELESS in _spoken(said):
                continue
        except (Silent, Odd, TurnedAway):
            pass
        else:
            if STATELESS in told.supported_versions:
                peer.speech.listens = told.capabilities.logging is not None
                who = told.server_info if told.server_info.name else told.meta.server
                return _greeting(STATELESS, told.capabilities, who)
        break
    peer.speech.protocol = ""
    return None


async def _shaken(peer: Peer) -> Greeting:
    able, seconds = peer.host.abilities, peer.host.spec.start_seconds
    params = {"protocolVersion": VERSION, "capabilities": able, "clientInfo": US}
    answer = await peer.call("initialize", params, seconds=seconds)
    welcome = shaped(answer, _Welcome, "its greeting")
    if welcome.protocol_version not in VERSIONS:
        spoken = welcome.protocol_version[:40]
        ours = ", ".join(sorted({*VERSIONS, STATELESS}))
        raise Odd(f"it speaks version {spoken!r}; we speak {ours}")
    peer.speech.protocol = welcome.protocol_version
    await peer.notify("notifications/initialized")
    if welcome.capabilities.logging is not None:
        with suppress(Said, Silent):  # it talks as it likes
            await peer.call("logging/setLevel", {"level": LEVEL}, seconds=min(_PATIENCE, seconds))
    return _greeting(welcome.protocol_version, welcome.capabilities, welcome.server_info)


def _greeting(protocol: str, able: _Abilities, who: _Identity) -> Greeting:
    return Greeting(
        title=who.name[:100],
        version=who.version[:40],
        protocol=protocol,
        has_tools=able.tools is not None,
        has_resources=able.resources is not None,
        tells=able.tools is not None and able.tools.list_changed,
        updates=able.resources is not None and able.resources.subscribe,
    )


def _spoken(said: Said) -> Sequence[str]:
    """The revisions that it says it speaks, where it refuses another."""
    try:
        return shaped(said.data, _Supported, "why it refuses").supported
    except Odd:
        return ()
