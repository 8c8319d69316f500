"""The tables of agents elsewhere that ours may ask."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from .section import Section, number, word

_DAY = 86_400


class PeerRow(Section):
    """An agent elsewhere (A2A). Ours have the tool `ask_NAME` for it."""

    url: str = Field(
        default="",
        description="The host whose card it is, or where the card is.",
        examples=["https://agents.example.com"],
    )
    description: str = word("", "What it is for: stands in its tool's description.", "our lawyer")
    secret: str = word("", "Name of the secret that it is shown as a bearer token.", "peers/lawyer")
    agents: tuple[str, ...] = Field(
        default=("*",),
        strict=False,
        description="Agents that may ask it: shell patterns.",
        examples=[["crew-*"]],
    )
    timeout_seconds: float = number(600.0, 1, _DAY, "s", "The longest an answer is waited for.")
    private: bool = word(False, "The name in `url` may lead to a private address.")

    def told(self, name: str) -> dict[str, Any]:
        """The same as its adapter wants it."""
        told = self.model_dump(exclude={"timeout_seconds"})
        return {"name": name, "seconds": self.timeout_seconds, **told}
