"""The table `[a2a]`: what other agents find here."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import Field, field_validator

from .section import Section, word
from .sections_peers import PeerRow


class A2A(Section):
    """Other agents that give tasks to this one (A2A)."""

    enabled: bool = word(True, "Let other agents ask: the card and `/a2a` are there.")
    name: str = word("Holdfast", "What the card calls this agent.")
    description: str = word(
        "An agent that works on files and the web, step by step, and can be asked.",
        "What the card says that it is for.",
    )
    url: str = word(
        "",
        "Where others reach this door, for the card; left empty: where they have found it.",
        "https://agents.example.com",
    )
    persons: tuple[str, ...] = Field(
        default=("user:*", "token:default"),
        strict=False,
        description="Shell patterns of the principals who are persons: what others say over A2A is"
        " a stranger's word, and their yes counts for nothing.",
        examples=[["user:*"]],
    )

    peers: dict[str, PeerRow] = Field(
        default={}, description="One table per agent elsewhere: `[a2a.peers.NAME]`."
    )

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (parts.scheme not in ("http", "https") or not parts.netloc or parts.query):
            raise ValueError("expected an http or https address, or nothing")
        return value
