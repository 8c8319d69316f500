"""An embedder without a network: the same text has the same vector, which is paid for."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.adapters.models import embedding
from holdfast.adapters.models.paying import paid
from holdfast.core.budget import Reservation
from holdfast.core.error import Invalid
from holdfast.core.message import Usage
from holdfast.ports.embedder import Embedded, Purpose
from holdfast.ports.model import Account

from .model_embeddings import vector_of

MODEL = "fake/letters"


class FakeEmbedder:
    """Implements `ports.Embedder` with one model; a token is a letter and costs a micro-dollar."""

    async def embed(
        self, name: str, texts: Sequence[str], account: Account, purpose: Purpose = "document"
    ) -> Embedded:
        if name not in {"", "@embedder", "fake", MODEL}:
            raise Invalid(f"{name} is no embedder here.", code="unknown_model", hint=f"use {MODEL}")
        embedding.check(texts)
        letters = sum(map(len, texts))

        async def ask() -> Embedded:
            usage = Usage(input=letters, cost=letters)
            return Embedded(vectors=tuple(map(vector_of, texts)), usage=usage, model=MODEL)

        return await paid(MODEL, Reservation(tokens=letters, cost=letters), ask, account)
