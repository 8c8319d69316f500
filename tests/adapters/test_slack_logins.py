"""Connecting a Slack workspace: who we are, whose token it is, and that it never runs out."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import msgspec
import pytest

from holdfast.adapters.vaults.memory import MemoryVault
from holdfast.core.error import Invalid, NotAllowed, NotFound, Unavailable
from holdfast.core.reach import Reach
from holdfast.testing.fake_slack import CLIENT, SECRET, FakeSlack, no, reply
from holdfast.testing.website import Reply
from tests.adapters.slack_stage import Stage, logged_in

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]


def kept(stage: Stage, alias: str = "default") -> dict[str, Any]:
    return msgspec.json.decode(stage.vault.get(f"login/slack/{alias}") or "{}")


async def test_a_login_asks_for_a_persons_scopes_and_knows_whose_it_is(tmp_path: Path):
    """Part of row KV-46."""
    with FakeSlack() as slack:
        stage = Stage(slack, tmp_path)
        begun = await stage.workspaces.begin(
            "work", {"client_id": CLIENT, "client_secret": SECRET, "team": "T0LAB"}
        )
        assert "user_scope=channels%3Ahistory%2Cgroups%3Ahistory" in begun.authorize
        assert "code_challenge_method=S256" in begun.authorize
        assert "team=T0LAB" in begun.authorize
        assert "&scope=" not in begun.authorize, "no bot is asked for"
        assert begun.redirect == "http://127.0.0.1:7898/callback"
        made = await stage.workspaces.finish(begun.attempt, slack.agree(begun.authorize))
        assert (made.state, made.user_id, made.team) == ("in", "U0ME", "The Lab")
        assert "chat:write" in made.scopes
        assert made.lasts
        assert made.expires_at == stage.clock.now() + 43_200_000
        assert SECRET not in repr(made)
        assert kept(stage, "work")["access"] in slack.tokens


async def test_the_app_is_kept_even_when_the_login_fails_and_need_not_be_said_again(tmp_path: Path):
    """Part of row KV-46."""
    with FakeSlack() as slack:
        stage = Stage(slack, tmp_path)
        told = {"client_id": CLIENT, "client_secret": SECRET}
        begun = await stage.workspaces.begin("default", told)
        end = f"{begun.redirect}?error=access_denied&state="
        state = begun.authorize.partition("state=")[2].partition("&")[0]
        with pytest.raises(NotAllowed, match="access_denied"):
            await stage.workspaces.finish(begun.attempt, end + state)
        (row,) = await stage.workspaces.all()
        assert (row.state, row.note) == ("none", "only a login helps: holdfast slack login default")
        assert not stage.offered.all(), "there are no tools without a workspace"
        again = await stage.workspaces.begin("default", {})
        made = await stage.workspaces.finish(again.attempt, slack.agree(again.authorize))
        assert made.state == "in"
        assert len(stage.offered.all()) == 12


@pytest.mark.parametrize(
    ("alias", "told", "code"),
    [
        ("default", {}, "slack_no_app"),
        ("", {"client_id": CLIENT}, "bad_alias"),
        ("..", {"client_id": CLIENT}, "bad_alias"),
        ("a b", {"client_id": CLIENT}, "bad_alias"),
        ("Work", {"client_id": CLIENT}, "bad_alias"),
        ("x", {"client_id": CLIENT, "redirect": "http://evil.example/callback"}, "bad_redirect"),
        ("x", {"client_id": CLIENT, "redirect": "javascript:alert(1)"}, "bad_redirect"),
        ("x", {"client_id": CLIENT, "redirect": "http://localhost.evil.example/"}, "bad_redirect"),
    ],
)
async def test_what_makes_no_sense_is_refused_before_anything_is_kept(
    tmp_path: Path, alias: str, told: dict[str, str], code: str
):
    with FakeSlack() as slack:
        stage = Stage(slack, tmp_path)
        with pytest.raises(Invalid) as refusal:
            await stage.workspaces.begin(alias, told)
        assert refusal.value.code == code
        assert refusal.value.hint
        assert not stage.vault.names()


async def test_an_answer_of_another_login_is_not_taken(tmp_path: Path):
    with FakeSlack() as slack:
        stage = Stage(slack, tmp_path)
        told = {"client_id": CLIENT, "client_secret": SECRET}
        one = await stage.workspaces.begin("one", told)
        two = await stage.workspaces.begin("two", told)
        with pytest.raises(Unavailable, match="its state is another"):
            await stage.workspaces.finish(one.attempt, slack.agree(two.authorize))
        with pytest.raises(NotFound):
            await stage.workspaces.finish("guessed", slack.agree(one.authorize))
        await stage.workspaces.begin("one", told)
        with pytest.raises(NotFound):
            await stage.workspaces.finish(one.attempt, slack.agree(one.authorize))
        stage.clock.advance(901)
        with pytest.raises(NotFound, match="this login is over"):
            await stage.workspaces.finish(two.attempt, slack.agree(two.authorize))


async def test_a_login_to_another_workspace_than_was_wanted_is_given_back(tmp_path: Path):
    with FakeSlack() as slack:
        stage = Stage(slack, tmp_path)
        told = {"client_id": CLIENT, "client_secret": SECRET, "team": "T0HOME"}
        begun = await stage.workspaces.begin("home", told)
        answer = slack.agree(begun.authorize, team="T0OTHER")
        with pytest.raises(NotAllowed, match=r"that was the workspace The Lab \(T0OTHER\)"):
            await stage.workspaces.finish(begun.attempt, answer)
        assert slack.count("auth.revoke") == 1
        assert "access" not in kept(stage, "home")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"ok": True, "access_token": "xoxb-1", "token_type": "bot"}, "of the kind 'bot'"),
        ({"ok": True, "authed_user": {"id": "U0ME"}}, "holds no token"),
        (no("bad_client_secret"), "bad_client_secret"),
        ({"ok": True, "authed_user": ["odd"], "access_token": 7}, "holds no token"),
    ],
)
async def test_what_is_no_token_of_a_person_is_not_kept(
    tmp_path: Path, answer: dict[str, Any], why: str
):
    with FakeSlack() as slack:
        stage = Stage(slack, tmp_path)
        begun = await stage.workspaces.begin("x", {"client_id": CLIENT, "client_secret": SECRET})
        back = slack.agree(begun.authorize)
        slack.troubles.append(reply(answer))
        with pytest.raises((NotAllowed, Unavailable), match=why):
            await stage.workspaces.finish(begun.attempt, back)
        assert "access" not in kept(stage, "x")


async def test_a_token_that_ended_is_renewed_once_for_all_who_ask(tmp_path: Path):
    """Part of row KV-48."""
    async with logged_in(tmp_path) as stage:
        old = kept(stage)
        stage.slack.say("C0GENERAL", "hello")
        stage.slack.end()
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(_reads, stage)
        assert stage.slack.count("oauth.v2.access") == 2, "the login, and one renewal"
        new = kept(stage)
        assert new["refresh"] not in ("", old["refresh"])
        assert new["access"] != old["access"]
        again = Stage(stage.slack, tmp_path, vault=stage.vault, clock=stage.clock)
        assert "hello" in await again.says("slack_channel_history", channel="C0GENERAL")
        assert stage.slack.count("oauth.v2.access") == 2, "what is on the disk counts"


async def _reads(stage: Stage) -> None:
    assert "hello" in await stage.says("slack_channel_history", channel="C0GENERAL")


async def test_a_token_near_its_end_is_renewed_before_it_is_used(tmp_path: Path):
    """Part of row KV-48."""
    async with logged_in(tmp_path) as stage:
        stage.clock.advance(43_200 - 200)
        await stage.says("slack_whoami")
        assert stage.slack.count("oauth.v2.access") == 2
        assert [name for name, _ in stage.slack.asked].count("auth.test") == 2


async def test_a_token_that_nobody_uses_is_renewed_before_it_ends(tmp_path: Path):
    """Row KV-48."""
    async with logged_in(tmp_path) as stage, anyio.create_task_group() as group:
        group.start_soon(stage.workspaces.keep)
        first = kept(stage)["access"]
        ended = list[str]()
        for _ in range(60):
            stage.clock.advance(1_800)
            with anyio.fail_after(20):
                while stage.workspaces.usable()["default"].due(7_200_000) <= stage.clock.now():
                    await anyio.sleep(0.005)
            one = stage.workspaces.usable()["default"]
            if one.expires_at <= stage.clock.now():
                ended.append(one.access)
        assert not ended, "it never ran out in thirty hours"
        assert kept(stage)["access"] != first
        assert 3 <= stage.slack.count("oauth.v2.access") <= 5
        group.cancel_scope.cancel()


async def test_slack_that_is_away_costs_no_login_and_is_asked_again(tmp_path: Path):
    """Part of row KV-48."""
    async with logged_in(tmp_path) as stage:
        stage.clock.advance(43_200 - 200)
        stage.slack.troubles.append(Reply(status=503))
        assert "ada" in await stage.says("slack_whoami"), "the old one still counts"
        stage.clock.advance(300)
        stage.slack.troubles.append(Reply(status=503))
        code, text = await stage.fails("slack_whoami")
        assert code == "slack_login_stuck"
        assert "try again later" in text
        assert "ada" in await stage.says("slack_whoami")


async def test_a_login_that_slack_took_back_is_over_and_says_what_to_do(tmp_path: Path):
    """Part of row KV-48."""
    async with logged_in(tmp_path) as stage:
        stage.slack.end()
        stage.slack.refreshes.clear()
        code, text = await stage.fails("slack_whoami")
        assert code == "slack_login_needed"
        assert "holdfast slack login default" in text
        (row,) = await stage.workspaces.all()
        assert row.state == "over"
        assert (await stage.fails("slack_whoami"))[0] == "slack_login_needed"
        assert stage.slack.count("oauth.v2.access") == 2, "it is not asked for ever"
        assert (await stage.log_in()).state == "in"
        assert "ada" in await stage.says("slack_whoami")


async def test_a_token_that_lasts_for_ever_is_never_renewed(tmp_path: Path):
    async with logged_in(tmp_path, seconds=0) as stage:
        (row,) = await stage.workspaces.all()
        assert (row.expires_at, row.lasts) == (0, False)
        stage.clock.advance(10_000_000)
        assert "ada" in await stage.says("slack_whoami")
        assert stage.slack.count("oauth.v2.access") == 1


async def test_logging_out_takes_the_token_back_once_and_leaves_nothing(tmp_path: Path):
    """Row KV-47."""
    async with logged_in(tmp_path) as stage:
        await stage.log_in("second")
        assert await stage.workspaces.forget("default", local_only=False)
        assert stage.slack.count("auth.revoke") == 1
        assert not await stage.workspaces.forget("second", local_only=True)
        assert stage.slack.count("auth.revoke") == 1, "with local_only Slack is told nothing"
        assert not stage.vault.names()
        assert not stage.offered.all()
        with pytest.raises(NotFound, match="no Slack workspace default"):
            await stage.workspaces.forget("default", local_only=False)


async def test_a_token_that_slack_does_not_know_any_more_is_forgotten_all_the_same(tmp_path: Path):
    """Part of row KV-47."""
    async with logged_in(tmp_path) as stage:
        stage.slack.end()
        assert not await stage.workspaces.forget("default", local_only=False)
        assert not stage.vault.names()


async def test_a_damaged_login_is_none_and_can_be_made_anew(tmp_path: Path):
    async with logged_in(tmp_path) as stage:
        stage.vault.put("login/slack/default", "{broken")
        again = Stage(stage.slack, tmp_path, vault=stage.vault)
        assert not again.offered.all()
        assert (await again.log_in()).state == "in"
        assert len(again.offered.all()) == 12


async def test_a_login_is_bound_to_the_place_that_it_was_made_at(tmp_path: Path):
    async with logged_in(tmp_path) as stage:
        with FakeSlack() as elsewhere:
            moved = Stage(elsewhere, tmp_path, vault=stage.vault)
            assert not moved.offered.all()
            assert not elsewhere.asked


async def test_a_new_app_does_not_spoil_the_login_that_is_in_use(tmp_path: Path):
    async with logged_in(tmp_path) as stage:
        await stage.workspaces.begin("default", {"client_id": "999.1", "client_secret": "another"})
        stage.slack.end()
        assert "ada" in await stage.says("slack_whoami"), "renewed as the app that it is of"


async def test_the_token_is_for_our_own_tools_only(tmp_path: Path):
    async with logged_in(tmp_path) as stage:
        for tool in ("http", "web_fetch", "mcp:slack", "exec", ""):
            with pytest.raises(NotAllowed):
                await stage.workspaces.token("default", Reach(task="t", agent="a", tool=tool))
        told = await stage.workspaces.token("default", Reach(task="t", agent="a", tool="slack_x"))
        assert told in stage.slack.tokens


@pytest.mark.parametrize("meanwhile", ["logout", "login", "begin"])
async def test_what_happens_while_a_token_is_renewed_waits_for_it(tmp_path: Path, meanwhile: str):
    """A renewal that ends late brings no login back, and spoils none."""
    async with logged_in(tmp_path) as stage:
        asked, answer = threading.Event(), threading.Event()
        begun = await stage.workspaces.begin("default", {})

        def late(method: str) -> Reply | None:
            if method == "oauth.v2.access" and not asked.is_set():
                asked.set()
                answer.wait(20)
            return None

        stage.slack.after = late
        stage.slack.end()
        async with anyio.create_task_group() as group:
            group.start_soon(stage.run, "slack_whoami")
            await anyio.to_thread.run_sync(asked.wait, 20)
            match meanwhile:
                case "logout":
                    group.start_soon(partial(stage.workspaces.forget, "default", local_only=True))
                case "login":
                    back = stage.slack.agree(begun.authorize)
                    group.start_soon(stage.workspaces.finish, begun.attempt, back)
                case _:
                    group.start_soon(stage.workspaces.begin, "default", {"client_id": CLIENT})
            await anyio.wait_all_tasks_blocked()
            answer.set()
        names = stage.vault.names()
        if meanwhile == "logout":
            assert not names, "it is gone, and stays so"
        else:
            told = kept(stage)
            assert told["access"] in stage.slack.tokens
            assert told["refresh"] in stage.slack.refreshes
            assert "ada" in await stage.says("slack_whoami")


class FullVault(MemoryVault):
    """Cannot be written to while it is full."""

    full = False

    def put(self, name: str, value: str) -> None:
        if self.full:
            raise Unavailable("the disk is full", code="vault_unwritable")
        super().put(name, value)


async def test_a_renewed_token_that_cannot_be_written_down_is_not_lost(tmp_path: Path):
    """Slack gives it once: it is kept in mind, written as soon as that goes, not used before."""
    with FakeSlack() as slack:
        vault = FullVault()
        stage = Stage(slack, tmp_path, vault=vault)
        await stage.log_in()
        slack.end()
        vault.full = True
        code, text = await stage.fails("slack_whoami")
        assert (code, "the disk is full" in text) == ("vault_unwritable", True)
        assert (await stage.fails("slack_whoami"))[0] == "vault_unwritable"
        vault.full = False
        assert "ada" in await stage.says("slack_whoami")
        assert slack.count("oauth.v2.access") == 2
        assert kept(stage)["access"] in slack.tokens
