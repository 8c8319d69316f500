"""Keys: made once, shown once, kept as a hash, good for what they say and no more."""

import json
from pathlib import Path

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as some

from holdfast.adapters.kept import Kept
from holdfast.core.error import Broken
from holdfast.core.message import Reply
from holdfast.doors.http.access import Access
from holdfast.doors.http.pace import Buckets
from holdfast.doors.http.scopes import RULES, check, needed
from holdfast.doors.http.table import ROUTES
from holdfast.runtime.keyring import Key, Keyring, Keys, digest
from holdfast.runtime.scopes import SCOPES
from tests.doors.house import Plan, client, street

pytestmark = pytest.mark.anyio

PREFIXES = ("/v1", "/ag-ui", "/ws", "/mcp", "/a2a")
"""Doors that are not in the table of routes."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def error(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_a_key_is_shown_once_and_what_it_does_is_done_by_its_name(tmp_path: Path):
    """Part of row GC-79."""
    async with street(tmp_path, [Reply(text="hello")]) as at:
        made = await at.local.post("/api/v1/keys", json={"name": "ci", "scopes": ["tasks.write"]})
        text = made.json()["key"]
        assert text.startswith(f"hfk_{made.json()['ident']}_")
        assert len(text) > 50
        async with client(at.app, headers={"Authorization": f"Bearer {text}"}) as ci:
            row = (await ci.post("/api/v1/tasks", json={"prompt": "x"})).json()
        assert row["by"] == "key:ci"
        told = (await at.local.get("/api/v1/keys")).text
        assert text not in told
        assert '"state":"open"' in told
        records = (await at.local.get("/api/v1/audit?kind=access")).json()["records"]
        facts = [one["fact"] for one in records]
        assert [(one["subject"], one["after"]) for one in facts] == [("key:ci", "made")]
        assert text not in json.dumps(facts)


async def test_a_key_may_come_in_the_header_of_keys_too(tmp_path: Path):
    async with street(tmp_path) as at, await at.keyed("status") as ci:
        key = ci.headers["authorization"].removeprefix("Bearer ")
        async with client(at.app, headers={"X-API-Key": key}) as other:
            assert (await other.get("/api/v1/me")).json()["by"] == "key:ci"


async def test_a_key_does_what_its_scopes_say_and_nothing_else(tmp_path: Path):
    """Scope by scope, over every route of the table; and without a key, or with one that is none,
    nothing but what is for everybody. Row OL-02."""
    access = Access(tries_per_minute=10_000)
    async with street(tmp_path, plan=Plan(access=access)) as at:
        for wrong in ({}, {"Authorization": "Bearer hfk_00_wrong"}):
            async with client(at.app, headers=wrong) as nobody:
                for entry in ROUTES:
                    path = entry.path.replace("{", "").replace("}", "")
                    answer = await nobody.request(entry.method, path)
                    public = needed(entry.method, entry.path) == ""
                    assert (answer.status_code == 401) is not public, (entry.method, path)
        for scope in SCOPES:
            async with await at.keyed(scope, name=f"only-{scope}") as holder:
                for entry in ROUTES:
                    if entry.path == "/api/v1/logout" or entry.streams:
                        continue
                    path = entry.path.replace("{", "").replace("}", "")
                    answer = await holder.request(entry.method, path)
                    refused = answer.status_code == 403 and answer.json()["code"] == "no_scope"
                    need = needed(entry.method, entry.path)
                    may = scope == "admin" or need in ("", "*", scope)
                    assert refused is not may, (scope, entry.method, entry.path)


async def test_a_revoked_or_expired_key_opens_nothing(tmp_path: Path):
    async with street(tmp_path) as at, await at.keyed("status") as ci:
        assert (await ci.get("/api/v1/status")).status_code == 200
        for _ in range(2):
            gone = await at.local.post("/api/v1/keys/ci/revoke")
            assert gone.json()["state"] == "revoked"
        assert error(await ci.get("/api/v1/status")) == (401, "unauthenticated")
        again = {"name": "ci", "scopes": ["status"]}
        assert error(await at.local.post("/api/v1/keys", json=again)) == (409, "key_exists")
        async with await at.keyed("status", name="brief", days=1e-9) as brief:
            assert at.house.keys.get("brief").expires_at, "however short, it is no key for ever"
            while at.house.clock.now() < at.house.keys.get("brief").expires_at:
                pass
            assert error(await brief.get("/api/v1/status")) == (401, "unauthenticated")
        nobody = await at.local.post("/api/v1/keys/nobody/revoke")
        assert error(nobody) == (404, "key_not_found")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"name": "Über", "scopes": ["status"]}, "bad_name"),
        ({"name": "../x", "scopes": ["status"]}, "bad_name"),
        ({"name": "ci", "scopes": ["everything"]}, "bad_scope"),
        ({"name": "ci", "scopes": []}, "bad_scope"),
        ({"name": "ci"}, "invalid"),
        ({"name": "ci", "scopes": ["status"], "by": "root"}, "invalid"),
    ],
)
async def test_a_key_that_makes_no_sense_is_not_made(
    tmp_path: Path, body: dict[str, object], code: str
):
    async with street(tmp_path) as at:
        assert error(await at.local.post("/api/v1/keys", json=body)) == (422, code)
        assert (await at.local.get("/api/v1/keys")).json()["keys"] == []


async def test_a_key_for_other_agents_neither_gives_work_nor_sees_it(tmp_path: Path):
    """Row GC-79."""
    async with street(tmp_path, [Reply(text="hello")]) as at:
        row = await at.done()
        async with await at.keyed("tasks.read", "tasks.write", agents=["writer"]) as other:
            answer = await other.post("/api/v1/tasks", json={"prompt": "x"})
            assert error(answer) == (403, "other_agent")
            for path in ("", "/events", "/bundle", "/verify"):
                seen = await other.get(f"/api/v1/tasks/{row['id']}{path}")
                assert error(seen) == (403, "other_agent"), path
            said = await other.post(f"/api/v1/tasks/{row['id']}/retry")
            assert error(said) == (403, "other_agent")
            assert (await other.get("/api/v1/tasks")).json()["tasks"] == []
        async with await at.keyed("tasks.read", name="mine", agents=["def*"]) as mine:
            assert len((await mine.get("/api/v1/tasks")).json()["tasks"]) == 1


async def test_an_agents_key_is_its_name_and_opens_nothing_of_another(tmp_path: Path):
    """Whatever a request says of itself, it is done by whose key it came with. Row OL-03."""
    async with street(tmp_path, [Reply(text="hello")] * 2) as at:
        scopes = ("tasks.read", "tasks.write")
        mine = await at.keyed(*scopes, name="ann", agents=["default"])
        other = await at.keyed(*scopes, name="bob", agents=["bob"])
        async with mine, other, client(at.app) as nobody:
            row = (await mine.post("/api/v1/tasks", json={"prompt": "x"})).json()
            assert row["by"] == "key:ann"
            place = f"/api/v1/tasks/{row['id']}"
            assert error(await nobody.get(place)) == (401, "unauthenticated")
            cut = mine.headers["authorization"][:-1]
            answer = await nobody.get(place, headers={"Authorization": cut})
            assert error(answer) == (401, "unauthenticated")
            for answer in (
                await other.get(place),
                await other.get(f"{place}/events"),
                await other.post(f"{place}/cancel", json={}),
                await other.post(f"{place}/say", json={"text": "do mine"}),
            ):
                assert error(answer) == (403, "other_agent")
            for forged in ({"by": "key:ann"}, {"agent_id": "default"}, {"agent": "default"}):
                answer = await other.post("/api/v1/tasks", json={"prompt": "x", **forged})
                assert error(answer) in {(422, "invalid"), (403, "other_agent")}, forged
                answer = await other.get(place, params=forged)
                assert answer.status_code in {403, 422}, forged


async def test_a_key_that_asks_too_often_is_told_when_to_come_back(tmp_path: Path):
    """Row GC-80."""
    async with street(tmp_path) as at, await at.keyed("status", per_minute=60, burst=10) as ci:
        for left in reversed(range(10)):
            answer = await ci.get("/api/v1/status")
            assert answer.status_code == 200
            assert answer.headers["ratelimit"].startswith(f'"key";r={left};')
        answer = await ci.get("/api/v1/status")
        assert error(answer) == (429, "rate_limited")
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["ratelimit-policy"] == '"key";q=60;w=60'
        assert (await at.tcp.get("/api/v1/status")).status_code == 200, "others do not wait"


async def test_guessing_costs_the_guesser_and_nobody_else(tmp_path: Path):
    async with street(tmp_path) as at:
        async with client(at.app, headers={"Authorization": "Bearer hfk_0_wrong"}) as guesser:
            codes = [(await guesser.get("/api/v1/status")).status_code for _ in range(40)]
        assert (codes[:30], set(codes[30:])) == ([401] * 30, {429})
        assert (await at.tcp.get("/api/v1/status")).status_code == 200


def test_keys_outlive_the_process_and_only_as_hashes(tmp_path: Path):
    path, key = tmp_path / "keys.json", Key(name="ci", ident="ab", hash="0", scopes=("status",))
    Kept(path, Keys()).write(Keys(keys=(key,)))
    assert Keyring(Kept(path, Keys())).get("ci") == key
    assert path.stat().st_mode & 0o077 == 0
    path.write_text("[")
    with pytest.raises(Broken, match="is damaged"):
        Kept(path, Keys()).read()


@given(some.text(max_size=80))
def test_only_the_text_of_a_key_opens_it(text: str):
    key = Key(name="ci", ident="ab", hash=digest("hfk_ab_right"), scopes=("status",))
    ring = Keyring()
    ring._keys = {"ci": key}  # pyright: ignore[reportPrivateUsage]
    for one in (text, f"hfk_ab_{text}"):
        assert (ring.known(one, 1) is key) == (one == "hfk_ab_right")
    assert ring.known("hfk_ab_right", 1) is key


@given(
    some.integers(1, 600),
    some.integers(1, 50),
    some.lists(some.floats(0, 30), min_size=1, max_size=200),
)
def test_nobody_gets_more_than_the_bucket_holds_and_time_brings(
    per_minute: int, burst: int, waits: list[float]
):
    buckets, now, served = Buckets(), 0.0, 0
    for wait in waits:
        now += wait
        pace = buckets.take("x", per_minute, burst, now)
        assert pace is not None
        served += pace.left >= 0
        if pace.left < 0:
            later = buckets.take("x", per_minute, burst, now + pace.wait)
            assert later is not None
            assert later.left >= 0, "who waits as told is let in"
            served, now = served + 1, now + pace.wait
        assert served <= burst + now * per_minute / 60 + 1e-6


def test_every_route_of_the_table_has_a_scope_that_exists():
    for entry in ROUTES:
        assert needed(entry.method, entry.path) in {*SCOPES, "", "*"}, entry.path


def test_a_route_that_nobody_thought_about_does_not_start():
    """Fail-closed: forgetting the rule is an error at the start, not a hole."""
    from starlette.responses import Response
    from starlette.routing import Mount, Route

    async def hello(_: object) -> Response:
        return Response()

    check([Route("/api/v1/new", hello), Mount("/v1", routes=[Route("/x", hello)])])
    for bad in ([Route("/new", hello)], [Mount("/other", routes=[Route("/x", hello)])]):
        with pytest.raises(ValueError, match="has no scope"):
            check(bad)


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/api/v1/tasks/t1/calls/c1", "tasks.read"),
        ("POST", "/api/v1/tasks/t1/calls/c1/approve", "approve"),
        ("POST", "/api/v1/tasks/t1/cancel", "tasks.write"),
        ("POST", "/api/v1/keys", "admin"),
        ("GET", "/api/v1/anything/new", "admin"),
        ("POST", "/v1/chat/completions", "chat"),
        ("GET", "/ws", "chat"),
        ("GET", "/.well-known/agent-card.json", ""),
        ("GET", "/elsewhere", None),
        ("GET", "/", None),
    ],
)
def test_the_longest_rule_counts(method: str, path: str, scope: str | None):
    assert needed(method, path) == scope


def test_no_rule_is_about_a_path_that_there_is_not():
    """Such a rule says of a scope what is not so."""
    served = [entry.path for entry in ROUTES] + ["/.well-known", *PREFIXES]
    for rule in RULES:
        assert any(path.startswith(rule.path.replace("*", "{ref}")) for path in served), rule
