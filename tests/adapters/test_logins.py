"""Logins over real HTTP: device codes, browsers, and refreshes that lose nothing."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import anyio
import pytest

from holdfast.adapters.models.logins import grants
from holdfast.adapters.models.logins.login import Login
from holdfast.adapters.models.logins.shelves import (
    ClaudeFile,
    CodexFile,
    QwenFile,
    VaultShelf,
    place_of,
)
from holdfast.adapters.models.logins.token import Token
from holdfast.adapters.models.logins.vendors import VENDORS, Addresses, Vendor, configured
from holdfast.adapters.vaults.files import FileVault
from holdfast.core.error import Unavailable
from holdfast.ports.model import ModelFailure
from holdfast.testing.login_server import LoginServer, jwt

pytestmark = pytest.mark.anyio


@pytest.fixture
def server() -> Generator[LoginServer]:
    with LoginServer() as one:
        yield one


def at(server: LoginServer, name: str, **more: str) -> Vendor:
    """The vendor as the configuration moves it to the server."""
    url = server.url
    device = {"copilot": "/login/device/code", "chatgpt": "/api/accounts/deviceauth"}
    token = "/login/oauth/access_token" if name == "copilot" else "/oauth/token"
    told: dict[str, str] = {
        "client_id": "our-client",
        "base_url": url,
        "device_url": f"{url}{device.get(name, '/none')}",
        "authorize_url": f"{url}/oauth/authorize",
        "token_url": f"{url}{token}",
        "exchange_url": f"{url}/copilot_internal/v2/token" if name == "copilot" else "",
        "revoke_url": f"{url}/oauth/revoke",
    }
    return configured(VENDORS[name], Addresses(**(told | more)))


def made(server: LoginServer, tmp_path: Path, name: str = "codex", life: float = 0) -> Login:
    """A login that was made before, in a vault; its token ends in `life` seconds."""
    access, refresh = server.issuer.family()
    shelf = VaultShelf(FileVault(tmp_path / "vault"), name)
    shelf.save(Token(access=access, refresh=refresh, expires_at=time.time() + life))
    return Login(at(server, name), shelf, tmp_path / "run" / "lock")


@pytest.mark.parametrize("name", ["copilot", "chatgpt"])
async def test_a_device_login_waits_slows_down_and_arrives(name: str, server: LoginServer):
    """Part of row OK-94."""
    vendor = at(server, name)
    device = await grants.begin_device(vendor)
    assert device.code in {"WXYZ-1234", "ABCD-98765"}
    assert "canary" not in repr(device)
    assert await grants.poll_device(vendor, device, 0) == grants.Waiting()
    if name == "copilot":
        server.issuer.slow = True
        assert await grants.poll_device(vendor, device, 0) == grants.Waiting(slower=True)
    server.approve()
    token = await grants.poll_device(vendor, device, time.time())
    assert isinstance(token, Token)
    assert token.access in server.issuer.live
    assert token.refresh
    assert token.expires_at == pytest.approx(time.time() + 3600, abs=5)
    assert token.account == ("account-1" if name == "chatgpt" else "")
    assert "canary" not in repr(token)


@pytest.mark.parametrize("name", ["copilot", "chatgpt"])
async def test_a_device_login_that_is_denied_or_over_says_so(name: str, server: LoginServer):
    vendor = at(server, name)
    device = await grants.begin_device(vendor)
    server.deny()
    with pytest.raises(grants.Rejected, match="access_denied"):
        await grants.poll_device(vendor, device, 0)
    over = grants.Device(secret="gone", code="x", url="x", seconds=1, interval=1)
    with pytest.raises(grants.Rejected, match="expired_token"):
        await grants.poll_device(vendor, over, 0)
    with pytest.raises(grants.Rejected):
        await grants.begin_device(at(server, name, client_id="somebody-else"))


async def test_where_copilot_has_no_exchange_githubs_own_token_counts(server: LoginServer):
    vendor = at(server, "copilot")
    device = await grants.begin_device(vendor)
    server.approve()
    server.issuer.no_exchange = True
    token = await grants.poll_device(vendor, device, 0)
    assert isinstance(token, Token)
    assert token.access == token.refresh


@pytest.mark.parametrize("name", ["claude", "codex"])
async def test_a_browser_login_is_bound_by_its_verifier(name: str, server: LoginServer):
    """Part of row KV-40."""
    vendor = at(server, name)
    begun = grants.begin_browser(vendor)
    code = server.log_in(begun.url).partition("#")[0]
    other = grants.begin_browser(vendor)
    with pytest.raises(grants.Rejected, match="invalid_grant"):
        await grants.finish_browser(vendor, other, code, 0)
    code = server.log_in(begun.url).partition("#")[0]
    token = await grants.finish_browser(vendor, begun, code, 0)
    assert token.access in server.issuer.live
    with pytest.raises(grants.Rejected):
        await grants.finish_browser(vendor, begun, code, 0)


async def test_ten_calls_near_the_end_refresh_once(server: LoginServer, tmp_path: Path):
    """Part of row KV-41."""
    login = made(server, tmp_path, life=59)
    old = await Login(login.vendor, _shelf(tmp_path), tmp_path / "other").token(early=0)
    found: list[Token] = []

    async def ask() -> None:
        found.append(await login.token())

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(ask)
    assert server.issuer.refreshes == 1
    assert {token.access for token in found} == {found[0].access} != {old.access}
    (path,) = (tmp_path / "vault").glob("login~*")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    kept = _shelf(tmp_path).load()
    assert kept
    assert kept == found[0]
    assert kept.refresh


async def test_a_token_that_holds_is_not_refreshed(server: LoginServer, tmp_path: Path):
    login = made(server, tmp_path, life=61)
    await login.token()
    assert server.requests == []
    assert server.issuer.refreshes == 0


async def test_a_rejected_token_is_refreshed_once_for_all_who_were_rejected(
    server: LoginServer, tmp_path: Path
):
    login = made(server, tmp_path, life=3600)
    old = await login.token()
    first = await login.token(rejected=old.access)
    second = await login.token(rejected=old.access)
    assert first == second != old
    assert server.issuer.refreshes == 1


REFRESHER = """
import sys, anyio, pathlib
from holdfast.adapters.models.logins.login import Login
from holdfast.adapters.models.logins.shelves import VaultShelf
from holdfast.adapters.models.logins.vendors import VENDORS, Addresses, configured
from holdfast.adapters.vaults.files import FileVault
home = pathlib.Path(sys.argv[1])
told = Addresses(token_url=sys.argv[2] + "/oauth/token", client_id="our-client")
login = Login(configured(VENDORS["codex"], told), VaultShelf(FileVault(home / "vault"), "codex"),
              home / "run" / "lock")
sys.stdout.write("ready\\n"); sys.stdout.flush()
sys.stdin.readline()
print(anyio.run(login.token).access)
"""


def refresher(tmp_path: Path, server: LoginServer) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", REFRESHER, str(tmp_path), server.url]
    one = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert one.stdout
    assert one.stdout.readline() == "ready\n"
    return one


def test_processes_share_one_refresh(server: LoginServer, tmp_path: Path):
    made(server, tmp_path)
    many = [refresher(tmp_path, server) for _ in range(4)]
    said = {one.communicate("go\n", timeout=30)[0] for one in many}
    assert len(said) == 1
    assert server.issuer.refreshes == 1
    assert server.issuer.reused == 0


@pytest.mark.slow
def test_a_kill_around_a_refresh_never_loses_the_login(server: LoginServer, tmp_path: Path):
    """Killed before the issuer is asked, or when the new token is on disk: the next one goes on.

    Only while the answer is on its way can nobody know it; that window is the issuer's.
    """
    made(server, tmp_path)
    for _ in range(12):
        expire(tmp_path)
        one = refresher(tmp_path, server)
        before = server.issuer.refreshes
        one.stdin.write("go\n")  # type: ignore[union-attr]
        one.stdin.flush()  # type: ignore[union-attr]
        until(lambda before=before: server.issuer.refreshes > before and saved(tmp_path))
        one.kill()
        one.communicate(timeout=10)
        fresh = refresher(tmp_path, server)
        access = fresh.communicate("go\n", timeout=30)[0].strip()
        assert access in server.issuer.live
    assert server.issuer.reused == 0


def expire(tmp_path: Path) -> None:
    token = _shelf(tmp_path).load()
    assert token
    _shelf(tmp_path).save(Token(access=token.access, refresh=token.refresh, expires_at=1))


def saved(tmp_path: Path) -> bool:
    token = _shelf(tmp_path).load()
    return token is not None and token.expires_at > 1


def until(true: Any) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.001)


class FullDisk(VaultShelf):
    """Cannot be written until it is mended."""

    full = True

    def save(self, token: Token) -> None:
        if self.full:
            raise Unavailable("no space left", code="vault_unwritable")
        super().save(token)


async def test_a_new_token_that_cannot_be_saved_is_not_used_and_not_lost(
    server: LoginServer, tmp_path: Path
):
    made(server, tmp_path)
    shelf = FullDisk(FileVault(tmp_path / "vault"), "codex")
    login = Login(at(server, "codex"), shelf, tmp_path / "run" / "lock")
    for _ in range(3):
        with pytest.raises(ModelFailure) as failure:
            await login.token()
        assert (failure.value.code, failure.value.retryable) == ("connection", True)
    shelf.full = False
    token = await login.token()
    assert token == _shelf(tmp_path).load()
    assert (server.issuer.refreshes, server.issuer.reused) == (1, 0)


async def test_who_gives_up_waiting_does_not_lose_the_answer(server: LoginServer, tmp_path: Path):
    login = made(server, tmp_path)
    server.hold()
    async with anyio.create_task_group() as group:
        group.start_soon(login.token)
        with anyio.fail_after(10):
            while not server.asked("/oauth/token"):
                await anyio.sleep(0.001)
        group.cancel_scope.cancel()
        server.release()
    kept = _shelf(tmp_path).load()
    assert kept
    assert kept.access in server.issuer.live
    assert kept.expires_at > time.time()


@pytest.mark.parametrize(
    ("refresh", "error", "says"),
    [
        ("", "", "has expired. Log in again: holdfast connect codex"),
        ("x", "invalid_grant", "does not accept the login any more. Log in again: holdfast"),
        ("x", "refresh_token_reused", "does not accept the login any more"),
    ],
)
async def test_a_login_that_is_over_says_what_to_do(
    refresh: str, error: str, says: str, server: LoginServer, tmp_path: Path
):
    """Part of row KV-41."""
    _shelf(tmp_path).save(Token(access="a-canary", refresh=refresh, expires_at=1))
    server.issuer.error = error
    login = Login(at(server, "codex"), _shelf(tmp_path), tmp_path / "lock")
    with pytest.raises(ModelFailure) as failure:
        await login.token()
    assert (failure.value.code, failure.value.retryable) == ("auth", False)
    assert says in str(failure.value)
    assert "canary" not in str(failure.value)
    assert failure.value.paid is False


async def test_an_issuer_that_is_away_is_tried_again_and_the_old_token_used_while_it_holds(
    server: LoginServer, tmp_path: Path
):
    away = "http://127.0.0.1:9/oauth/token"
    for life, usable in ((30, True), (-1, False)):
        made(server, tmp_path, life=life)
        login = Login(at(server, "codex", token_url=away), _shelf(tmp_path), tmp_path / "lock")
        if usable:
            assert (await login.token()).access in server.issuer.live
            continue
        with pytest.raises(ModelFailure) as failure:
            await login.token()
        assert (failure.value.code, failure.value.retryable) == ("connection", True)


def codex_file(path: Path, server: LoginServer, hours: float) -> CodexFile:
    refresh = server.issuer.family()[1]
    access = jwt(exp=time.time() + hours * 3600, client_id="their-client")
    tokens = {"access_token": access, "refresh_token": refresh, "id_token": "i", "account_id": "a"}
    content = {"OPENAI_API_KEY": None, "tokens": tokens, "last_refresh": "old", "more": {"x": 1}}
    path.write_text(json.dumps(content))
    path.chmod(0o600)
    return CodexFile(path)


@pytest.mark.parametrize(("hours", "posts"), [(1, 1), (48, 0)])
async def test_a_borrowed_login_is_refreshed_a_day_early_and_its_file_keeps_the_rest(
    hours: float, posts: int, server: LoginServer, tmp_path: Path
):
    """Row KV-44."""
    path = tmp_path / "auth.json"
    shelf = codex_file(path, server, hours)
    before = json.loads(path.read_text())
    login = Login(at(server, "codex", client_id=""), shelf, tmp_path / "lock")
    token = await login.token(early=86_400)
    asked = server.asked("/oauth/token")
    assert len(asked) == posts
    after = json.loads(path.read_text())
    if posts:
        assert asked[0]["client_id"] == "their-client", "it is asked for as whom it was issued to"
        assert asked[0]["refresh_token"] == before["tokens"]["refresh_token"]
        assert after["tokens"]["access_token"] == token.access != before["tokens"]["access_token"]
        assert after["last_refresh"] != "old"
        kept = ("OPENAI_API_KEY", "more")
        assert [after[name] for name in kept] == [before[name] for name in kept]
        assert after["tokens"]["account_id"] == "a"
    else:
        assert after == before
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert token.account == ("account-1" if posts else "a")


async def test_the_files_of_claude_and_qwen_are_read_and_keep_the_rest(tmp_path: Path):
    soon = round(time.time() * 1000) + 3_600_000
    claude = tmp_path / "claude.json"
    told = {"accessToken": "a", "refreshToken": "r", "expiresAt": soon, "scopes": ["s"]}
    claude.write_text(json.dumps({"claudeAiOauth": told, "mcpOAuth": {"k": 1}}))
    qwen = tmp_path / "qwen.json"
    qwen.write_text(
        json.dumps(
            {
                "access_token": "a",
                "refresh_token": "r",
                "expiry_date": soon,
                "resource_url": "portal.qwen.ai",
                "token_type": "Bearer",
            }
        )
    )
    for path, kind in ((claude, ClaudeFile), (qwen, QwenFile)):
        path.chmod(0o600)
        shelf = kind(path)
        token = shelf.load()
        assert token
        assert (token.access, token.refresh) == ("a", "r")
        assert token.expires_at == pytest.approx(soon / 1000)
        shelf.save(Token(access="b", refresh="s", expires_at=9.0))
        again = shelf.load()
        assert again
        assert (again.access, again.refresh, again.expires_at) == ("b", "s", 9.0)
    after = json.loads(claude.read_text())
    assert after["mcpOAuth"] == {"k": 1}
    assert after["claudeAiOauth"]["scopes"] == ["s"]
    assert json.loads(qwen.read_text())["token_type"] == "Bearer"
    loaded = QwenFile(qwen).load()
    assert loaded
    assert loaded.base_url == "https://portal.qwen.ai/v1"


async def test_a_borrowed_login_that_others_may_read_is_not_used(
    server: LoginServer, tmp_path: Path
):
    path = tmp_path / "auth.json"
    shelf = codex_file(path, server, 48)
    path.chmod(0o644)
    with pytest.raises(ModelFailure, match="can be opened by others"):
        await Login(at(server, "codex"), shelf, tmp_path / "lock").token()


async def test_a_login_can_be_taken_back(server: LoginServer, tmp_path: Path):
    token = await made(server, tmp_path, life=3600).token()
    assert await grants.revoke(at(server, "codex"), token)
    assert token.access not in server.issuer.live
    assert not await grants.revoke(at(server, "codex", revoke_url="http://127.0.0.1:9/"), token)


def _shelf(tmp_path: Path) -> VaultShelf:
    assert place_of("codex") == "login/codex"
    return VaultShelf(FileVault(tmp_path / "vault"), "codex")
