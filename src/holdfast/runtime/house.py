"""Everything a use case may reach, in one frozen value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.core.agent import Agent
from holdfast.core.gate.policy import Rules
from holdfast.core.ids import Instant
from holdfast.core.mcp import ServerSpec
from holdfast.core.reach import Ways
from holdfast.engine.live import Live
from holdfast.engine.record import Recorder
from holdfast.engine.supervise import Supervisor
from holdfast.ports.audit import Audit, Signer
from holdfast.ports.blobs import Blobs, Mentions
from holdfast.ports.box import Boxes
from holdfast.ports.choosing import Choosing
from holdfast.ports.clock import Clock
from holdfast.ports.connections import Connections
from holdfast.ports.egress import Visits
from holdfast.ports.embedder import Embedder
from holdfast.ports.journal import Journal
from holdfast.ports.leases import Leases
from holdfast.ports.ledger import Ledger
from holdfast.ports.mcp import ToolServers
from holdfast.ports.model import Models
from holdfast.ports.responses import Responses
from holdfast.ports.secrets import Safe
from holdfast.ports.tools import Tools
from holdfast.ports.vault import Sealing

from .answerers import Answerers
from .bell import Bell
from .chatting import Chats, ChatTerms
from .connected import Workspaces
from .departures import Departures
from .domains import Domain
from .elsewhere import Peers
from .hospitality import Hospitality
from .keyring import Keyring
from .push import Pushing
from .shelf import Uploads
from .tally import Tally
from .trusting import Trust
from .undoing import Undoing


@dataclass(kw_only=True)
class InForce:
    """What a new configuration replaces while the daemon runs: for tasks that begin from then on.

    `problem` says why the file as it is now was not taken; then the last good one stays. `files`
    are those of the configuration and of the policy. `bell` rings when something of this has
    changed, or what servers offer, or how far agents are trusted.
    """

    rules: Rules
    agent: Agent
    domains: tuple[Domain, ...] = ()
    answerers: tuple[Answerers, ...] = ()
    ways: Ways = field(default_factory=Ways)
    servers: tuple[ServerSpec, ...] = ()
    a2a: Hospitality = field(default_factory=Hospitality)
    chat: ChatTerms = field(default_factory=ChatTerms)
    config: str = ""
    files: tuple[Path, ...] = ()
    problem: str = ""
    show_thinking: str = "never"
    max_thinking_chars: int = 4_000
    bell: Bell = field(default_factory=Bell)


@dataclass(frozen=True, kw_only=True)
class House:
    """The parts, built by `assembly`. `home` is the folder that holds this installation."""

    home: Path
    journal: Journal
    audit: Audit
    signer: Signer
    recorder: Recorder
    supervisor: Supervisor
    live: Live
    models: Models
    embedder: Embedder
    connections: Connections
    choosing: Choosing
    ledger: Ledger
    visits: Visits
    leases: Leases
    secrets: Safe
    vault: Sealing
    tools: Tools
    servers: ToolServers
    peers: Peers
    workspaces: Workspaces
    boxes: Boxes
    departures: Departures
    tally: Tally
    pushes: Pushing
    blobs: Blobs
    mentions: Sequence[Mentions]
    undoing: Undoing
    responses: Responses
    uploads: Uploads
    clock: Clock
    in_force: InForce
    channels: tuple[str, ...]
    started_at: Instant
    version: str
    keys: Keyring = field(default_factory=Keyring)
    chats: Chats = field(default_factory=Chats)
    trust: Trust = field(default_factory=Trust)

    @property
    def rules(self) -> Rules:
        """The rules in force, with what trust says."""
        return self.trust.over(self.in_force)

    @property
    def agent(self) -> Agent:
        return self.in_force.agent
