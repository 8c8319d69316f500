"""Who is let in, check by check: what each of them alone would have missed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from holdfast.core.message import Reply
from holdfast.doors.http.access import Access
from holdfast.doors.http.app import create_app
from holdfast.doors.http.auth import PEER
from holdfast.doors.http.cookies import CSRF
from tests.doors.house import TOKEN, Plan, client, street

pytestmark = pytest.mark.anyio


def said(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_a_door_without_a_token_is_not_built(tmp_path: Path):
    async with street(tmp_path) as at:
        with pytest.raises(ValueError, match="let anybody in"):
            create_app(at.house, token="", stop=lambda: None)


async def test_where_tries_are_not_counted_a_wrong_key_is_only_wrong(tmp_path: Path):
    async with (
        street(tmp_path, plan=Plan(access=Access(tries_per_minute=0))) as at,
        client(at.app, headers={"Authorization": "Bearer wrong"}) as guessing,
    ):
        for _ in range(3):
            assert said(await guessing.get("/api/v1/me")) == (401, "unauthenticated")


async def test_who_shows_no_key_guesses_none_and_one_who_guesses_waits(tmp_path: Path):
    plan = Plan(access=Access(tries_per_minute=1))
    async with street(tmp_path, plan=plan) as at, client(at.app) as nobody:
        wrong = {"X-API-Key": "wrong"}
        for _ in range(3):
            assert (await nobody.get("/api/v1/me")).status_code == 401
            assert (await nobody.get("/healthz", headers=wrong)).status_code == 200
        assert (await nobody.get("/api/v1/me", headers=wrong)).status_code == 401
        assert said(await nobody.get("/api/v1/me", headers=wrong)) == (429, "rate_limited")
        assert (await at.tcp.get("/api/v1/me")).status_code == 200, "a right key never waits"


async def test_one_kind_of_key_counts_and_another_beside_it_does_not(tmp_path: Path):
    async with street(tmp_path) as at, client(at.app) as asking:
        for headers, status in (
            ({"Authorization": f"BEARER  {TOKEN} "}, 200),
            ({"X-API-Key": f" {TOKEN} "}, 200),
            ({"Authorization": f"Basic {TOKEN}"}, 401),
            ({"Authorization": "Basic x", "X-API-Key": TOKEN}, 401),
            ({"Authorization": "Bearer wrong", "X-API-Key": TOKEN}, 401),
            ({"Authorization": TOKEN}, 401),
        ):
            answer = await asking.get("/api/v1/me", headers=headers)
            assert answer.status_code == status, headers


async def test_a_user_without_a_name_is_a_number(tmp_path: Path):
    async with street(tmp_path) as at:

        async def from_nowhere(scope: Any, receive: Any, send: Any) -> None:
            await at.app({**scope, "state": {PEER: 4_242_424}}, receive, send)

        async with client(from_nowhere) as asking:
            assert (await asking.get("/api/v1/me")).json()["by"] == "user:4242424"


@pytest.mark.parametrize("query", ["token=x", "API_KEY=", "a=1&b=hfk_abc", "Key=1"])
async def test_a_key_in_an_address_is_refused(tmp_path: Path, query: str):
    async with street(tmp_path) as at:
        assert said(await at.tcp.get(f"/api/v1/me?{query}")) == (422, "key_in_url")
        other = await at.tcp.get("/api/v1/me?next=hf&tokens=1")
        assert said(other) == (422, "invalid"), "it is only not asked for"


async def pieces(*sizes: int) -> AsyncIterator[bytes]:
    for size in sizes:
        yield b" " * size


@pytest.mark.parametrize(
    ("sizes", "told", "large"),
    [
        ((100,), "100", False),
        ((101,), "101", True),
        ((1,), "99", False),
        ((1,), "0" * 4 + "101", True),
        ((1,), "9" * 5_000, True),
        ((1,), "²", False),
        ((1,), "-1", False),
        ((60, 40), "", False),
        ((60, 41), "", True),
        ((60, 41), "1", True),
    ],
)
async def test_a_body_has_its_bound_whether_or_not_it_says_how_large_it_is(
    tmp_path: Path, sizes: tuple[int, ...], told: str, large: bool
):
    async with street(tmp_path, plan=Plan(access=Access(max_body=100))) as at:
        headers = [(b"content-length", told.encode())] if told else []
        request = at.tcp.build_request(
            "POST", "/api/v1/tasks", content=pieces(*sizes), headers=headers
        )
        answer = await at.tcp.send(request)
        assert (answer.status_code == 413) is large, answer.text


async def test_what_a_key_lacks_is_named_and_for_an_unknown_path_that_is_all(tmp_path: Path):
    async with street(tmp_path) as at, await at.keyed("status") as ci:
        lacks = (await ci.get("/api/v1/tasks")).json()
        assert (lacks["code"], "tasks.read" in lacks["detail"]) == ("no_scope", True)
        unknown = (await ci.get("/nowhere")).json()
        assert (unknown["code"], "admin" in unknown["detail"]) == ("no_scope", True)


async def test_what_shows_of_all_agents_is_for_no_key_of_some(tmp_path: Path):
    async with street(tmp_path) as at:
        some = await at.keyed("status", "tasks.read", name="some", agents=["crew-*"])
        whole = await at.keyed("status", "tasks.read", name="whole")
        for path in ("/api/v1/costs", "/api/v1/sessions", "/metrics"):
            assert said(await some.get(path)) == (403, "other_agent"), path
            assert (await whole.get(path)).status_code == 200, path


async def test_a_token_of_pages_is_for_sessions_and_means_nothing_beside_a_key(tmp_path: Path):
    async with street(tmp_path, [Reply(text="hi")]) as at:
        body, headers = {"prompt": "x"}, {CSRF: "of another page"}
        answer = await at.tcp.post("/api/v1/tasks", json=body, headers=headers)
        assert answer.status_code == 202


async def test_only_a_key_is_told_its_pace(tmp_path: Path):
    async with street(tmp_path) as at, await at.keyed("status", per_minute=60, burst=2) as ci:
        first, second, third = [await ci.get("/api/v1/me") for _ in range(3)]
        assert [first.status_code, second.status_code] == [200, 200]
        assert '"key";r=1' in first.headers["RateLimit"]
        assert said(third) == (429, "rate_limited")
        assert "RateLimit" not in (await at.tcp.get("/api/v1/me")).headers


async def test_a_key_without_a_pace_has_none(tmp_path: Path):
    async with street(tmp_path) as at, await at.keyed("status", per_minute=0) as ci:
        answers = [await ci.get("/api/v1/me") for _ in range(5)]
        assert {one.status_code for one in answers} == {200}
        assert "RateLimit" not in answers[0].headers


async def test_what_the_server_says_of_its_life_passes(tmp_path: Path):
    async with street(tmp_path) as at:
        heard: list[Any] = []
        told = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

        async def receive() -> Any:
            return next(told)

        async def send(message: Any) -> None:
            heard.append(message["type"])

        await at.app({"type": "lifespan"}, receive, send)
        assert heard == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
