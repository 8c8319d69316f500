"""Logins through the front door: begun, finished, used, refreshed, forgotten."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from holdfast.testing.daemon import Answered, Daemon, stage
from holdfast.testing.login_provider import TEXT
from holdfast.testing.login_server import LoginServer, jwt
from tests.e2e.at_home import holdfast, until


@pytest.fixture
def home() -> Generator[Path]:
    with stage("login") as place:
        yield place / "home"
        holdfast(place / "home", "serve", "stop")  # a command may have started one of its own


@pytest.fixture
def server() -> Generator[LoginServer]:
    with LoginServer() as one:
        yield one


def configured(home: Path, server: LoginServer, *switches: str, client_id: str = "our-client"):
    """Every login goes to the server."""
    home.mkdir(mode=0o700, exist_ok=True)
    lines = ["[models.logins]", *(f"{name} = true" for name in switches)]
    device = {"copilot": "/login/device/code", "chatgpt": "/api/accounts/deviceauth"}
    for name in ("copilot", "chatgpt", "claude", "codex", "qwen-code"):
        token = "/login/oauth/access_token" if name == "copilot" else "/oauth/token"
        lines += [
            f"[models.logins.clients.{name}]",
            f'base_url = "{server.url}"',
            f'device_url = "{server.url}{device.get(name, "/none")}"',
            f'authorize_url = "{server.url}/oauth/authorize"',
            f'token_url = "{server.url}{token}"',
            f'exchange_url = "{server.url}/copilot_internal/v2/token"' if name == "copilot" else "",
            f'revoke_url = "{server.url}/oauth/revoke"',
            f'client_id = "{client_id}"' if client_id else "",
        ]
    (home / "config.toml").write_text("\n".join(lines) + "\n")
    (home / "config.toml").chmod(0o600)


def connect(home: Path, *words: str, stdin: str = "") -> Any:
    piped, pipe = os.pipe()
    os.write(pipe, stdin.encode())
    os.close(pipe)
    try:
        return holdfast(home, *words, stdin=piped)
    finally:
        os.close(piped)


@pytest.mark.parametrize(
    ("name", "path", "model"),
    [("copilot", "/chat/completions", "m1"), ("chatgpt", "/responses", "gpt-5.6-luna")],
)
def test_a_device_login_is_finished_used_refreshed_and_forgotten(
    name: str, path: str, model: str, home: Path, server: LoginServer
):
    """Row OK-94."""
    configured(home, server)
    with Daemon(home) as daemon:
        daemon.start()
        invited = daemon.post(f"/api/v1/connections/{name}/login", {})
        assert invited["url"]
        waiting = daemon.post(f"/api/v1/logins/{invited['attempt']}", {})
        assert waiting == {"connection": None}
        server.approve()
        made = daemon.post(f"/api/v1/logins/{invited['attempt']}", {})["connection"]
        assert (made["name"], made["source"], made["models"][0]) == (name, "login", model)
        with pytest.raises(Answered, match="no_attempt"):
            daemon.post(f"/api/v1/logins/{invited['attempt']}", {})
        assert daemon.get("/api/v1/models")["default"] == f"{name}/{model}", "it was wanted"
        assert holdfast(home, "run", "hello").stdout.strip() == TEXT
        (asked,) = [headers for _, at, headers, _ in server.requests if at == path]
        if name == "chatgpt":
            assert asked["chatgpt-account-id"] == "account-1"
        server.expire()
        refreshed = server.issuer.refreshes
        assert holdfast(home, "run", "hello").stdout.strip() == TEXT, "a 401 refreshes, once"
        assert server.issuer.refreshes == refreshed + 1
        daemon.kill()
        daemon.start()
        assert holdfast(home, "run", "hello").stdout.strip() == TEXT
        gone = json.loads(holdfast(home, "disconnect", name, "--json").stdout)
        assert gone["login"] is True
        assert gone["revoked"] is (name == "chatgpt") or name == "copilot"
        assert daemon.get("/api/v1/models")["default"] == "offline/rules"


def test_the_command_line_waits_until_the_code_is_typed(home: Path, server: LoginServer):
    configured(home, server)
    with Daemon(home) as daemon:
        daemon.start()
        server.issuer.approve_after = 2
        said = holdfast(home, "connect", "copilot")
        assert said.returncode == 0, said.stderr
        assert "open https://github.com/login/device" in said.stderr
        assert "WXYZ-1234" in said.stderr
        assert "copilot: connected, from login; use it as copilot/m1" in said.stdout


def test_a_denied_login_says_so(home: Path, server: LoginServer):
    configured(home, server)
    with Daemon(home) as daemon:
        daemon.start()
        for name in ("copilot", "chatgpt"):
            invited = daemon.post(f"/api/v1/connections/{name}/login", {})
            server.deny()
            with pytest.raises(Answered, match="the login was denied") as said:
                daemon.post(f"/api/v1/logins/{invited['attempt']}", {})
            assert said.value.status == 403


@pytest.mark.parametrize(("name", "path"), [("claude", "/v1/messages"), ("codex", "/responses")])
def test_a_browser_login_is_pasted_back(name: str, path: str, home: Path, server: LoginServer):
    """Rows KV-40, KV-42."""
    configured(home, server, name)
    with Daemon(home) as daemon:
        daemon.start()
        invited = daemon.post(f"/api/v1/connections/{name}/login", {})
        assert "does not document" in invited["note"]
        code, _, state = server.log_in(invited["url"]).partition("#")
        for wrong in (f"{code}#{'0' * len(state)}", code, f"http://localhost/?code={code}"):
            with pytest.raises(Answered, match="state_mismatch"):
                daemon.post(f"/api/v1/logins/{invited['attempt']}", {"answer": wrong})
            invited = daemon.post(f"/api/v1/connections/{name}/login", {})
            code, _, state = server.log_in(invited["url"]).partition("#")
        back = f"http://localhost:1455/auth/callback?code={code}&state={state}"
        made = daemon.post(f"/api/v1/logins/{invited['attempt']}", {"answer": back})["connection"]
        assert (made["source"], made["automatic"]) == ("login", False)
        assert daemon.get("/api/v1/models")["default"] == "offline/rules", (
            "never because it is there"
        )
        assert holdfast(home, "run", "-m", name, "hello").stdout.strip() == TEXT
        (asked,) = [headers for _, at, headers, _ in server.requests if at == path]
        assert asked["authorization"].removeprefix("Bearer ") in server.issuer.live
        assert "x-api-key" not in asked
        if name == "claude":
            assert "oauth-2025-04-20" in asked["anthropic-beta"]
            assert "prompt-caching-2024-07-31" in asked["anthropic-beta"]
    configured(home, server)  # switched off again
    with Daemon(home) as daemon:
        daemon.start()
        said = holdfast(home, "run", "-m", name, "hello")
        assert said.returncode != 0
        assert daemon.get("/api/v1/connections")["connections"] == []


def left_by_codex(place: Path, server: LoginServer, hours: float = 48) -> Path:
    access, refresh = server.issuer.family()
    if hours < 48:
        access = jwt(exp=time.time() + hours * 3600, client_id="their-client")
        server.issuer.live[access] = "x"
    path = place / "codex" / "auth.json"
    path.parent.mkdir(exist_ok=True)
    tokens = {"access_token": access, "refresh_token": refresh, "account_id": "acc", "id_token": ""}
    path.write_text(json.dumps({"tokens": tokens, "OPENAI_API_KEY": None}))
    path.chmod(0o600)
    return path


def test_the_login_that_codex_left_is_used_when_switched_on(home: Path, server: LoginServer):
    """Part of row KV-43. We say who we are: `originator` is our own name."""
    configured(home, server)
    path = left_by_codex(home.parent, server)
    environment = {"CODEX_HOME": str(path.parent)}
    with Daemon(home, environment) as daemon:
        daemon.start()
        assert daemon.get("/api/v1/connections")["connections"] == [], "off by default"
        refused = holdfast(home, "connect", "codex")
        assert refused.returncode == 3
        assert "does not document this use" in refused.stderr
        assert "[models.logins] codex = true" in refused.stderr
    configured(home, server, "codex")
    with Daemon(home, environment) as daemon:
        daemon.start()
        (found,) = daemon.get("/api/v1/connections")["connections"]
        assert (found["source"], found["automatic"]) == (str(path), False)
        assert "does not document" in holdfast(home, "connect").stdout
        for _ in range(2):
            said = holdfast(home, "run", "-m", "codex/gpt-5.6-luna", "hello")
            assert said.stdout.strip() == TEXT, said.stderr
        first, second = server.asked("/responses")
        assert first["prompt_cache_key"] == second["prompt_cache_key"]
        assert first["stream"] is True
        assert first["store"] is False
        assert "max_output_tokens" not in first
        (headers, _) = [headers for _, at, headers, _ in server.requests if at == "/responses"]
        assert headers["chatgpt-account-id"] == "acc"
        assert headers["openai-beta"] == "responses=experimental"
        assert headers["originator"] == "holdfast"
        path.unlink()
        gone = holdfast(home, "run", "-m", "codex/gpt-5.6-luna", "hello")
        assert "Log in again with its own program: codex login" in gone.stderr
    assert holdfast(home, "disconnect", "codex").returncode == 0


def test_a_login_that_rests_is_kept_alive(home: Path, server: LoginServer):
    """Part of row KV-44."""
    configured(home, server, "codex", client_id="")
    path = left_by_codex(home.parent, server, hours=1)
    before = json.loads(path.read_text())
    with Daemon(home, {"CODEX_HOME": str(path.parent)}) as daemon:
        daemon.start()
        until(lambda: json.loads(path.read_text()) != before)
    assert server.issuer.refreshes == 1
    assert json.loads(path.read_text())["OPENAI_API_KEY"] is None


def test_without_a_client_id_it_says_where_one_goes(home: Path, server: LoginServer):
    configured(home, server, "claude", client_id="")
    with Daemon(home) as daemon:
        daemon.start()
        for name in ("copilot", "claude"):
            said = holdfast(home, "connect", name)
            assert said.returncode == 2
            assert f"set client_id in [models.logins.clients.{name}]" in said.stderr


def test_without_a_client_id_chatgpt_registers_one_as_openai_documents(
    home: Path, server: LoginServer
):
    configured(home, server, client_id="")
    with Daemon(home) as daemon:
        daemon.start()
        invited = daemon.post("/api/v1/connections/chatgpt/login", {})
        assert invited["code"] == ""
        assert "client_id=dynamic_agent_client" in invited["url"]
        back = server.log_in(invited["url"])
        said = connect(home, "connect", "chatgpt", stdin="x#y")
        assert "its state is another" in said.stderr
        invited = daemon.post("/api/v1/connections/chatgpt/login", {})
        server.issuer.scope = "openid"
        back = server.log_in(invited["url"])
        with pytest.raises(Answered, match="did not allow the use of your ChatGPT plan"):
            daemon.post(f"/api/v1/logins/{invited['attempt']}", {"answer": back})
        server.issuer.scope = "openid chatgpt.tokens.use.direct"
        invited = daemon.post("/api/v1/connections/chatgpt/login", {})
        back = server.log_in(invited["url"])
        made = daemon.post(f"/api/v1/logins/{invited['attempt']}", {"answer": back})["connection"]
        assert (made["name"], made["source"]) == ("chatgpt", "login")
        assert holdfast(home, "run", "hello").stdout.strip() == TEXT
        (body,) = server.asked("/responses")
        assert body["store"] is False
        assert "max_output_tokens" not in body
        server.expire()
        assert holdfast(home, "run", "hello").stdout.strip() == TEXT
        refresh = server.asked("/oauth/token")[-1]
        assert refresh["client_id"] == "issued-client"
        assert refresh["resource"] == "https://api.openai.com/v1"
        again = daemon.post("/api/v1/connections/chatgpt/login", {})
        assert "client_id=issued-client" in again["url"], "the registration is used again"
