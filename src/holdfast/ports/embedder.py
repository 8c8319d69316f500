"""Models that turn texts into vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from msgspec import Struct

from holdfast.core.message import Usage

from .model import Account

Purpose = Literal["document", "query"]
"""What a text is: one that is kept, or one that is looked for. Some models tell them apart."""


class Embedded(Struct, frozen=True, kw_only=True):
    """A vector for each text, in the order of the texts and all of one length; who made them."""

    vectors: tuple[tuple[float, ...], ...]
    usage: Usage
    model: str


class Embedder(Protocol):
    """All embedding models this installation can reach."""

    async def embed(
        self, name: str, texts: Sequence[str], account: Account, purpose: Purpose = "document"
    ) -> Embedded:
        """The vectors of `texts` by `name`: `provider/model`, a provider, or "" for `@embedder`.

        Never by another model, for vectors of two models cannot be compared. What is too much for
        one request is sent in several; each try of each is held on `account` before it is sent.
        Raises `Invalid` before anything is held, for no texts, empty, too many or too long ones,
        and models that do not embed; whatever `account.hold` raises; and `ModelFailure` with what
        was tried. Requests that were answered before a failure stay paid. May be cancelled.
        """
        ...
