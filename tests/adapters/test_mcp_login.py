"""Logging in to servers of tools: who may, with what, how long; and nobody else learns of it."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.adapters.egress.gateway import Gateway
from holdfast.adapters.tools.mcp.login.discovery import challenge_of, covers
from holdfast.core.error import HoldfastError, NotAllowed, Unavailable
from holdfast.core.mcp import LoginSpec, ServerSpec
from holdfast.core.message import Failed, Returned
from holdfast.core.reach import Reach
from holdfast.engine.clock import SystemClock
from holdfast.ports.mcp import ServerLogin
from holdfast.testing.fake_visits import FakeVisits
from holdfast.testing.website import Asked, Reply, Website
from tests.adapters.mcp_issuer import CANARY, Locked, said
from tests.adapters.mcp_stage import Stage, again, staged

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]


@asynccontextmanager
async def locked(
    place: Path, server: Locked | None = None, **login: Any
) -> AsyncGenerator[tuple[Stage, Locked]]:
    """A house with a server at an address that wants a login."""
    server, stages = server or Locked(), list[Stage]()

    async def secret(name: str, reach: Reach) -> str:
        return await stages[0].servers.logins.used.bearer(name.rpartition("/")[2], reach)

    with Website(rule=server) as site:
        server.at(site.url)
        egress = Gateway(secret=secret, log=FakeVisits(), clock=SystemClock())
        spec = ServerSpec(name="far", url=f"{site.url}/mcp", login=LoginSpec(**login))
        async with staged(place, spec, egress=egress, trusted=False) as stage:
            stages.append(stage)
            yield stage, server


async def open_in_browser(url: str) -> str:
    async with httpx2.AsyncClient(trust_env=False) as browser:
        return (await browser.get(url)).headers["location"]


async def log_in(stage: Stage) -> ServerLogin:
    begun = await stage.servers.logins.begin("far", "http://127.0.0.1:5000/callback")
    return await stage.servers.logins.finish(begun.attempt, await open_in_browser(begun.url))


async def ready(stage: Stage) -> None:
    with pytest.raises(Unavailable) as wanted:
        await stage.trust("far")
    assert (wanted.value.code, wanted.value.hint) == ("mcp_login_needed", "holdfast mcp login far")
    await log_in(stage)
    await stage.trust("far")


async def test_a_person_logs_in_and_the_token_is_put_in_on_the_way_out(tmp_path: Path):
    """Row KV-49. Part of row OL-132."""
    async with locked(tmp_path) as (stage, server):
        await ready(stage)
        told = await stage.says("far_look")
        assert "your token is ***" in told
        assert CANARY not in told
        (state,) = await stage.servers.logins.all()
        assert (state.state, state.issuer, state.scopes) == ("in", server.url, ("read",))
        assert state.lasts
        assert CANARY not in repr(state)
        kept = stage.vault.get("login/mcp/far") or ""
        assert json.loads(kept)["value"] == f"{CANARY}-client"


async def test_what_is_kept_of_a_login_outlives_a_restart_and_is_for_its_server_only(
    tmp_path: Path,
):
    """Part of row KV-49."""
    async with locked(tmp_path) as (stage, _server):
        await ready(stage)
        async with again(stage):
            assert "your token is" in await stage.says("far_look")
            (spec,) = stage.configured
            other = ServerSpec(name="far", url=spec.url.replace("/mcp", "/other"))
            assert stage.servers.logins.used.found(other) is None
            header = stage.servers.logins.used.header(other)
            assert header == {}


async def test_a_token_is_renewed_before_it_ends_and_once_for_all_who_ask(tmp_path: Path):
    """Row KV-50."""
    server = Locked()
    server.life = 30  # less than a minute: to be renewed with each use
    async with locked(tmp_path, server) as (stage, _):
        await log_in(stage)
        server.life = 3_600
        await stage.trust("far")
        first = len(server.forms)
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(stage.says, "far_look")
        assert first == 2, [form["grant_type"] for form in server.forms]
        assert server.forms[1]["grant_type"] == "refresh_token"
        assert len(server.forms) == first, "it was still good"


async def test_a_token_that_is_refused_is_renewed_and_the_request_made_once_more(tmp_path: Path):
    """Part of rows KV-50, KV-53."""
    async with locked(tmp_path) as (stage, server):
        await ready(stage)
        await stage.says("far_look")
        server.forget()
        assert "your token is" in await stage.says("far_look")
        assert [form["grant_type"] for form in server.forms][-1] == "refresh_token"


async def test_when_the_right_to_renew_is_over_only_a_person_can_help(tmp_path: Path):
    """Part of row KV-50."""
    async with locked(tmp_path) as (stage, server):
        await ready(stage)
        server.forget()
        server.rights.clear()
        code, text = await stage.fails("far_look")
        assert code == "mcp_login_needed"
        assert text.startswith("MCP_AUTH_REQUIRED:server=far; reason=")
        (state,) = await stage.servers.logins.all()
        assert (state.state, state.note[-22:]) == ("over", "holdfast mcp login far")
        assert stage.tool("mcp_far_login_required")
        await log_in(stage)
        assert "your token is" in await stage.says("far_look")
        assert stage.servers.get("mcp_far_login_required") is None


async def test_while_the_issuer_is_away_the_old_token_is_used_until_it_ends(tmp_path: Path):
    server = Locked()
    server.life = 30
    async with locked(tmp_path, server) as (stage, _):
        await log_in(stage)
        server.error = "temporarily_unavailable"
        await stage.trust("far")
        assert "your token is" in await stage.says("far_look")
        (state,) = await stage.servers.logins.all()
        assert state.state == "in"


async def test_a_server_that_wants_more_says_so_and_a_new_login_has_both(tmp_path: Path):
    async with locked(tmp_path) as (stage, server):
        await ready(stage)
        server.wants = ("read", "write")
        code, text = await stage.fails("far_look")
        assert code == "mcp_login_needed"
        assert "more rights: write" in text
        (state,) = await stage.servers.logins.all()
        assert state.note == "it wants more (write): holdfast mcp login far"
        assert set((await log_in(stage)).scopes) == {"read", "write"}
        assert "your token is" in await stage.says("far_look")


async def test_an_agent_can_begin_and_finish_a_login_for_its_person(tmp_path: Path):
    """Row KV-50."""
    async with locked(tmp_path) as (stage, _server):
        with pytest.raises(Unavailable):
            await stage.trust("far")
        code, text = await stage.fails("mcp_far_login_required")
        assert (code, text[:29]) == ("mcp_login_needed", "MCP_AUTH_REQUIRED:server=far;")
        for name in ("mcp_login_start", "mcp_login_complete"):
            assert stage.tool(name).traits.source == "mcp", "an issuer's words are a stranger's"
        begun = await stage.says("mcp_login_start", server="far")
        back = await open_in_browser(begun.splitlines()[0])
        done = await stage.run("mcp_login_complete", server="far", callback_url=back)
        assert isinstance(done, Returned), done
        await stage.trust("far")
        assert "your token is" in await stage.says("far_look")


@pytest.mark.parametrize(
    ("back", "words"),
    [
        ({"state": "another"}, "its state is another"),
        ({"iss": "https://evil.example"}, "is from 'https://evil.example'"),
        ({"error": "access_denied", "code": ""}, "says no (access_denied)"),
        ({"code": ""}, "there is no code"),
    ],
)
async def test_what_comes_back_from_elsewhere_is_no_login(
    tmp_path: Path, back: dict[str, str], words: str
):
    """Part of row KV-49."""
    async with locked(tmp_path) as (stage, server):
        server.back = back
        with pytest.raises(HoldfastError) as refused:
            await log_in(stage)
        assert words in str(refused.value)
        assert not server.forms
        assert stage.vault.get("login/mcp/far") is None


async def test_an_answer_without_its_issuer_is_refused_where_one_is_promised(tmp_path: Path):
    async with locked(tmp_path) as (stage, server):
        server.metadata["authorization_response_iss_parameter_supported"] = True
        with pytest.raises(Unavailable, match="does not say which issuer"):
            await log_in(stage)
        server.back = {"iss": server.url}
        assert (await log_in(stage)).state == "in"


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("code_challenge_methods_supported", ["plain"], "PKCE, S256"),
        ("issuer", "https://evil.example", "another may answer for it"),
        ("registration_endpoint", "", "set client_id of its login"),
        ("token_endpoint", "http://evil.example/token", "cannot be asked"),
    ],
)
async def test_an_issuer_that_cannot_be_relied_on_is_left_alone(
    tmp_path: Path, field: str, value: Any, words: str
):
    """Part of row KV-49."""
    async with locked(tmp_path) as (stage, server):
        server.metadata[field] = value
        with pytest.raises(Unavailable) as refused:
            await log_in(stage)
        assert words in str(refused.value), refused.value


async def test_a_server_that_says_it_is_another_gets_no_login(tmp_path: Path):
    async with locked(tmp_path) as (stage, server):
        server.resource["resource"] = "https://bank.example/mcp"
        with pytest.raises(Unavailable, match="about another"):
            await log_in(stage)


async def test_the_house_logs_in_by_itself_where_it_was_given_a_client(tmp_path: Path):
    login: dict[str, Any] = {
        "client_id": "house",
        "client_secret": "$SECRET{far/client}",
        "grant": "own",
    }
    async with locked(tmp_path, **login) as (stage, server):
        stage.secrets["far/client"] = "own-secret"
        await stage.trust("far")
        assert "your token is" in await stage.says("far_look")
        assert [form["grant_type"] for form in server.forms] == ["client_credentials"]
        assert "own-secret" not in (stage.vault.get("login/mcp/far") or "")


async def test_a_login_is_taken_back_and_forgotten(tmp_path: Path):
    """Part of row KV-47."""
    async with locked(tmp_path) as (stage, server):
        await ready(stage)
        assert await stage.servers.logins.forget("far", local_only=False)
        assert [one.startswith(f"{CANARY}-refresh") for one in server.revoked] == [True]
        assert stage.vault.get("login/mcp/far") is None
        outcome = await stage.run("far_look")
        assert isinstance(outcome, Failed)
        assert outcome.code == "mcp_login_needed"
        await log_in(stage)
        assert not await stage.servers.logins.forget("far", local_only=True)
        assert len(server.revoked) == 1


async def test_a_token_goes_to_its_server_and_nowhere_else(tmp_path: Path):
    async with locked(tmp_path) as (stage, _server):
        await ready(stage)
        used = stage.servers.logins.used
        for tool in ("mcp:other", "web_fetch", ""):
            with pytest.raises(NotAllowed):
                await used.bearer("far", Reach(task="t", agent="a", tool=tool))


async def test_a_login_ends_on_the_persons_own_machine(tmp_path: Path):
    async with locked(tmp_path) as (stage, _server):
        for redirect in ("https://evil.example/callback", "http://127.0.0.1.evil.example:1/x"):
            with pytest.raises(HoldfastError) as refused:
                await stage.servers.logins.begin("far", redirect)
            assert refused.value.code == "bad_redirect"


@given(st.text(max_size=300))
def test_whatever_a_server_answers_with_is_a_challenge(text: str):
    found = challenge_of({"WWW-Authenticate": text})
    assert len(found.scopes) <= 50


@pytest.mark.parametrize(
    ("resource", "url", "good"),
    [
        ("https://a.example/mcp", "https://a.example/mcp", True),
        ("https://a.example", "https://a.example/mcp", True),
        ("https://a.example:443/", "https://a.example/mcp/", True),
        ("https://a.example/mc", "https://a.example/mcp", False),
        ("https://a.example/mcp?x=1", "https://a.example/mcp", False),
        ("http://a.example/mcp", "https://a.example/mcp", False),
        ("https://b.example/mcp", "https://a.example/mcp", False),
        ("https://a.example:8443/mcp", "https://a.example/mcp", False),
        ("https://u@a.example/mcp", "https://a.example/mcp", False),
        ("", "https://a.example/mcp", False),
    ],
)
def test_what_is_about_a_server_is_told_from_what_is_about_another(
    resource: str, url: str, good: bool
):
    assert covers(resource, url) is good


class AsSlack(Locked):
    """Gives tokens in Slack's form, knows nobody by itself, and says no with status 200."""

    def at(self, url: str) -> None:
        super().at(url)
        del self.metadata["registration_endpoint"]
        self.metadata["token_endpoint_auth_methods_supported"] = ["client_secret_post"]

    def __call__(self, asked: Asked) -> Reply | None:
        reply = super().__call__(asked)
        if asked.path != "/token" or reply is None or not isinstance(reply.body, bytes):
            return reply
        told = json.loads(reply.body)
        if "error" in told:
            return said(200, ok=False, error=told["error"])
        theirs = {**told, "token_type": "user", "scope": "read,write", "id": "U0ME"}
        return said(200, ok=True, team={"id": "T0LAB"}, authed_user=theirs)


async def test_a_server_whose_logins_are_slacks_is_logged_in_to_as_any_other(tmp_path: Path):
    """Part of row KV-46."""
    server = AsSlack()
    async with locked(tmp_path, server, client_id="made-for-us") as (stage, _):
        await ready(stage)
        assert "your token is ***" in await stage.says("far_look")
        (state,) = await stage.servers.logins.all()
        assert (state.state, state.scopes) == ("in", ("read", "write"))
        server.forget()
        assert "your token is ***" in await stage.says("far_look"), "and renewed so"
