"""Which models there are to choose from, and which are chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct


class Card(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of one model. Zero and None: nobody says.

    `window` and `output` are the most tokens in and out of one call; `input_price` and
    `output_price` are micro-dollars for a million tokens.
    """

    name: str
    window: int = 0
    output: int = 0
    input_price: int | None = None
    output_price: int | None = None
    tools: bool | None = None
    thinking: bool | None = None
    vision: bool | None = None


class Choice(Struct, frozen=True, kw_only=True):
    """The model that was chosen for a role. `note` says why it is not the one that is used."""

    role: str
    model: str
    note: str = ""


class Choosing(Protocol):
    """What can be chosen, and what was. A choice counts at once and over a restart."""

    async def cards(self, *, fresh: bool = False) -> Sequence[Card]:
        """All models of all providers here. `fresh`: each provider is asked for its list now.

        A provider that cannot be asked has the models that were known before.
        """
        ...

    def roles(self) -> Mapping[str, str]:
        """The model that each role has now."""
        ...

    async def choose(self, model: str, role: str) -> Choice:
        """From now on `role` has `model`; "" goes back to what it had without a choice.

        Raises `Invalid` for a model or a role that is not here.
        """
        ...
