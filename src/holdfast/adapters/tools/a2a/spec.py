"""How an agent elsewhere is described here, and what it said of itself."""

from __future__ import annotations

from msgspec import Struct


class PeerSpec(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One of them: `url` is where its card is, or the host whose card it is.

    `secret` names what it is shown as a bearer token; `agents` are shell patterns of ours that may
    ask; `private`: the name may lead to a private address; `added`: by hand.
    """

    name: str
    url: str
    description: str = ""
    secret: str = ""
    agents: tuple[str, ...] = ("*",)
    seconds: float = 600.0
    private: bool = False
    added: bool = False


class PeerCard(Struct, frozen=True, kw_only=True):
    """What one said of itself just now; `once`: a message that comes twice is one there."""

    name: str
    title: str
    description: str
    version: str
    endpoint: str
    skills: tuple[str, ...]
    once: bool
    milliseconds: int
