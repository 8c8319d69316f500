"""All agents elsewhere that ours may ask: of the configuration, and added by hand."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
import msgspec
from anyio import to_thread
from msgspec import Struct

from holdfast.adapters import private
from holdfast.adapters.tools.output import Fitted, Spool
from holdfast.core.error import Broken, Invalid, NotFound, Refused, Unavailable
from holdfast.core.foreign import NotJson, decoded
from holdfast.core.ids import CallId, TaskId
from holdfast.ports.tools import Job, Tool

from .saying import Peer, Refusal, origin_of
from .spec import PeerCard, PeerSpec
from .tool import AskPeer, Means, tool_name

PLACE = "peers.json"
_LARGEST = 1 << 20
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_ADDRESS = re.compile(r"https?://[a-z0-9.\[\]:-]+(?:/[!-~]*)?", re.ASCII)
_SECRET = re.compile(r"[a-z0-9][a-z0-9._/-]{0,199}")


class _Saved(Struct, frozen=True, kw_only=True):
    peers: tuple[PeerSpec, ...] = ()


class SavedPeers:
    """Implements `ports.Peers`, and `ports.Tools` with one tool for each.

    `configured` are those of the configuration, `taken` the names of other tools.
    """

    def __init__(
        self,
        home: Path,
        configured: Sequence[PeerSpec],
        means: Means,
        spool: Spool,
        taken: frozenset[str] = frozenset(),
    ) -> None:
        self._path, self._home = home / PLACE, home
        self._configured, self._means, self._spool = configured, means, spool
        self._taken = taken
        self._added: Mapping[str, PeerSpec] = _read(self._path)
        self._writing = anyio.Lock()
        self._built: tuple[object, ...] = ()
        self._tools: Mapping[str, Tool] = {}

    # For agents.

    def get(self, name: str) -> Tool | None:
        return self._usable().get(name)

    def usable(self) -> Sequence[Tool]:
        return tuple(self._usable().values())

    def _usable(self) -> Mapping[str, Tool]:
        """Made anew only when something changed."""
        specs = tuple(self._specs().values())
        if self._built != specs:
            self._tools = {
                tool_name(spec): Fitted(AskPeer(spec, self._means), self._spool) for spec in specs
            }
            self._built = specs
        return self._tools

    # For people.

    def all(self) -> Sequence[PeerSpec]:
        return [spec for _, spec in sorted(self._specs().items())]

    async def look(self, name: str) -> PeerCard:
        spec = self._spec(name)
        job = Job(
            task=TaskId(f"look_{name}"),
            call=CallId("look"),
            workspace=self._home,
        )
        reach = self._means.reach(job, f"peer:{name}")
        try:
            return await Peer(spec, self._means.egress, reach).card()
        except Refusal as refusal:
            raise Unavailable(f"the agent {name}: {refusal}", code="peer_refused") from refusal

    async def add(self, told: Mapping[str, Any]) -> PeerSpec:
        try:
            spec = msgspec.convert({**told, "added": True}, PeerSpec)
        except msgspec.ValidationError as error:
            raise Invalid(f"that is no agent: {error}", code="bad_peer") from None
        if wrong := problem(spec):
            raise Invalid(wrong, code="bad_peer")
        async with self._writing:
            others = self._specs()
            names = self._taken | set(map(tool_name, others.values()))
            if spec.name in others or tool_name(spec) in names:
                hint = f"holdfast peer remove {spec.name}"
                what = f"there is an agent or a tool of the name {spec.name} already"
                raise Refused(what, code="peer_exists", hint=hint)
            await self._save({**self._added, spec.name: spec})
        return spec

    async def remove(self, name: str) -> None:
        async with self._writing:
            if not self._spec(name).added:
                hint = f"take [a2a.peers.{name}] out of it"
                what = f"the agent {name} is in the configuration"
                raise Refused(what, code="peer_configured", hint=hint)
            await self._save({key: spec for key, spec in self._added.items() if key != name})

    def _specs(self) -> dict[str, PeerSpec]:
        return {**self._added, **{spec.name: spec for spec in self._configured}}

    def _spec(self, name: str) -> PeerSpec:
        found = self._specs().get(name)
        if found is None:
            hint = "holdfast peer list"
            raise NotFound(f"there is no agent {name}", code="peer_not_found", hint=hint)
        return found

    async def _save(self, peers: Mapping[str, PeerSpec]) -> None:
        """While `_writing` is held."""
        await to_thread.run_sync(_write, self._path, peers)
        self._added = peers


class OfPeers:
    """Implements `ports.Tools` over the peers."""

    def __init__(self, peers: SavedPeers) -> None:
        self._peers = peers

    def get(self, name: str) -> Tool | None:
        return self._peers.get(name)

    def all(self) -> Sequence[Tool]:
        return self._peers.usable()


def problem(spec: PeerSpec) -> str:
    """What is wrong with a description, as a sentence for a person; empty if nothing is."""
    if not _NAME.fullmatch(spec.name):
        return f"expected a name like books or our-lawyer, at most 32 long, not {spec.name[:40]!r}"
    if not (_ADDRESS.fullmatch(spec.url) and origin_of(spec.url)[1]):
        return f"expected a url like https://agents.example.com for {spec.name}, in lower case"
    if spec.secret and not _SECRET.fullmatch(spec.secret):
        return f"expected the name of a secret for {spec.name}, not the secret itself"
    if not 1 <= spec.seconds <= 86_400:
        return f"expected 1 to 86400 seconds for {spec.name}"
    return ""


def _read(path: Path) -> Mapping[str, PeerSpec]:
    data = private.read(path, _LARGEST)
    if data is None:
        return {}
    try:
        found = decoded(data, _Saved)
    except NotJson as error:
        hint = "move it away, and add the agents again"
        raise Broken(f"{path} is damaged: {error}", code="peers_damaged", hint=hint) from None
    return {spec.name: spec for spec in found.peers}


def _write(path: Path, peers: Mapping[str, PeerSpec]) -> None:
    kept = _Saved(peers=tuple(peers[name] for name in sorted(peers)))
    try:
        private.write(path, msgspec.json.format(msgspec.json.encode(kept), indent=2) + b"\n")
    except OSError as error:
        what = f"{path} cannot be written: {error.strerror}"
        raise Unavailable(what, code="not_kept", hint="holdfast doctor") from error
