"""Every embedder keeps every promise: the fake, and each kind of provider over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest

from holdfast.adapters.models.catalog import Catalog
from holdfast.adapters.models.settings import Kind, ModelsConfig, Price, Provider, Role
from holdfast.ports.embedder import Embedder
from holdfast.testing.embedder_contract import CLAUSES, Clause
from holdfast.testing.fake_embedder import FakeEmbedder
from holdfast.testing.model_server import ModelServer, Reply, Usage

PATHS: dict[Kind, str] = {
    "openai": "/v1",
    "openai-compatible": "/v1",
    "azure": "",
    "ollama": "",
    "google": "",
    "bedrock": "",
}

MODELS: dict[Kind, str] = {"bedrock": "amazon.titan-embed-text-v2:0"}


@asynccontextmanager
async def _open(name: str) -> AsyncGenerator[Embedder]:
    kind: Kind | None = next((kind for kind in PATHS if kind == name), None)
    if kind is None:
        yield FakeEmbedder()
        return
    with ModelServer(default=Reply(usage=Usage(input=3))) as http:
        here = Provider(
            kind=kind,
            base_url=http.url + PATHS[kind],
            api_key="test-key",
            models=(MODELS.get(kind, "embed"),),
            free=False,
        )
        deaf = Provider(kind="anthropic", base_url=http.url, api_key="test-key")
        catalog = Catalog(
            ModelsConfig(
                providers={"here": here, "deaf": deaf},
                roles={"embedder": Role(model="here")},
                prices={"here/*": Price(input=0.02)},
                probe=False,
            )
        )
        yield catalog.embedder
        await catalog.close()


@pytest.mark.parametrize("name", ["fake", *PATHS])
@pytest.mark.parametrize("clause", CLAUSES, ids=lambda clause: clause.__name__)
def test_every_embedder_keeps_the_promise(clause: Clause, name: str):
    async def kept() -> None:
        async with _open(name) as embedder:
            await clause(embedder, "deaf/claude")

    anyio.run(kept)
