"""Texts to vectors through the door: paid for as `embedder`, refused in time."""

from pathlib import Path
from typing import Any

import pytest

from holdfast.adapters.models.catalog import Catalog
from holdfast.adapters.models.settings import ModelsConfig, Price, Provider, Role
from holdfast.ports.ledger import Budget, CostQuery
from holdfast.testing.model_embeddings import vector_of
from holdfast.testing.model_server import ModelServer, Reply, Usage
from tests.doors.house import Plan, in_memory, street
from tests.doors.test_http_stream import heard

pytestmark = pytest.mark.anyio

EMBED = "/api/v1/models/embed"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def catalog(server: ModelServer) -> Catalog:
    here = Provider(kind="openai", base_url=f"{server.url}/v1", api_key="k", free=False)
    return Catalog(
        ModelsConfig(
            providers={"here": here},
            roles={"embedder": Role(model="here/text-embedding-3-small")},
            prices={"here/*": Price(input=2.0)},
            probe=False,
        )
    )


async def test_texts_become_vectors_that_are_paid_for_as_the_embedder(tmp_path: Path):
    """Part of rows OL-26, OK-85: the embedder is a model of its own, at its own provider."""
    with ModelServer([Reply(usage=Usage(input=70))]) as server:
        models = catalog(server)
        async with street(tmp_path, plan=Plan(embedder=models.embedder)) as at:
            said = (await at.tcp.post(EMBED, json={"texts": ["red", "blue"]})).json()
            assert said["model"] == "here/text-embedding-3-small"
            assert [tuple(one) for one in said["vectors"]] == [vector_of("red"), vector_of("blue")]
            assert (said["usage"]["input"], said["cost_usd"]) == (70, 0.00014)
            (cost,) = await at.house.ledger.costs(CostQuery(by=("role", "model")))
            assert cost.group == ("embedder", "here/text-embedding-3-small")
            assert (cost.calls, cost.input, cost.cost) == (1, 70, 140)
            assert server.requests[0].headers["authorization"] == "Bearer k"
        await models.close()


async def test_the_role_is_in_the_report_of_costs(tmp_path: Path):
    async with street(tmp_path) as at:
        await at.tcp.post(EMBED, json={"texts": ["red"], "model": "fake"})
        rows = (await at.tcp.get("/api/v1/costs?by=role")).json()["rows"]
        assert [row["group"]["role"] for row in rows] == ["embedder"]


async def test_over_the_stream_it_is_the_same(tmp_path: Path):
    async with (
        street(tmp_path) as at,
        at.tcp.stream("POST", EMBED, json={"texts": ["red"], "stream": True}) as answer,
    ):
        (one,) = [item async for item in heard(answer)]
    assert one.kind == "reply"
    assert [tuple(vector) for vector in one.data["vectors"]] == [vector_of("red")]


async def test_a_budget_refuses_before_the_request_is_sent(tmp_path: Path):
    with ModelServer(default=Reply()) as server:
        models, ledger = catalog(server), in_memory()
        ledger.budgets([Budget(scope="installation", per="day", cost=50)])
        plan = Plan(embedder=models.embedder, ledger=ledger)
        async with street(tmp_path, plan=plan) as at:
            answer = await at.tcp.post(EMBED, json={"texts": ["x" * 100]})
            assert (answer.status_code, answer.json()["code"]) == (409, "budget_exceeded")
        assert server.requests == []
        await models.close()


BAD: list[tuple[dict[str, Any], str]] = [
    ({}, "texts"),
    ({"texts": []}, "texts"),
    ({"texts": ["a", " "]}, "text 2 is empty"),
    ({"texts": ["a"] * 1_001}, "texts"),
    ({"texts": ["a" * 200_001]}, "200,000"),
    ({"texts": ["a"], "purpose": "fun"}, "purpose"),
    ({"texts": ["a"], "model": "nobody/knows"}, "nobody"),
    ({"texts": [1]}, "texts"),
]


@pytest.mark.parametrize(("body", "says"), BAD)
async def test_what_cannot_be_embedded_is_said(tmp_path: Path, body: dict[str, Any], says: str):
    async with street(tmp_path) as at:
        answer = await at.tcp.post(EMBED, json=body)
        assert answer.status_code == 422
        assert says in answer.json()["detail"]
        assert await at.house.ledger.costs(CostQuery(by=("role",))) == ()


async def test_half_a_character_is_refused_and_breaks_nothing(tmp_path: Path):
    async with street(tmp_path) as at:
        raw = b'{"texts": ["\\ud83d"]}'
        answer = await at.tcp.post(EMBED, content=raw, headers={"content-type": "application/json"})
        assert answer.status_code == 422


async def test_a_provider_that_fails_is_an_error_with_what_was_tried(tmp_path: Path):
    with ModelServer(default=Reply(status=401)) as server:
        models = catalog(server)
        async with street(tmp_path, plan=Plan(embedder=models.embedder)) as at:
            answer = await at.tcp.post(EMBED, json={"texts": ["a"]})
        await models.close()
    said = answer.json()
    assert (answer.status_code, said["code"]) == (502, "auth")
    assert [one["model"] for one in said["tried"]] == ["here/text-embedding-3-small"]
