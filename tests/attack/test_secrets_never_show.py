"""Secrets planted everywhere, everything that can be looked at looked through: none is there."""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from holdfast.testing.daemon import Answered, Daemon, stage
from holdfast.testing.login_server import LoginServer
from holdfast.testing.model_server import Catalogue, ModelServer, Reply
from tests.e2e.at_home import holdfast

WORD = "canary"
ENV_KEY = "sk-canary-in-the-environment-0001"
SAVED_KEY = "sk-canary-saved-0002"
FILE_KEY = "sk-canary-in-the-file-0003"
SERVER_KEY = "sk-canary-of-a-server-0004"
WRONG_KEY = "sk-canary-wrong-0005"


@pytest.fixture
def home() -> Generator[Path]:
    with stage("secrets") as place:
        yield place / "home"


@pytest.fixture
def server() -> Generator[LoginServer]:
    with LoginServer() as one:
        yield one


def quoting() -> Generator[Reply]:
    """What careless providers answer: the key itself, in every kind of error."""
    while True:
        for status in (401, 400, 403, 404, 429, 500):
            for key in (ENV_KEY, SERVER_KEY, FILE_KEY):
                yield Reply(status=status, text=f"Incorrect API key provided: {key}. Try {key}")


def configure(home: Path, model: ModelServer, logins: LoginServer) -> None:
    home.mkdir(mode=0o700)
    (home / "config.toml").write_text(
        f"""
[log]
level = "debug"
[models]
retries = 0
[models.providers.filed]
base_url = "{model.url}/v1"
api_key = "{FILE_KEY}"
models = ["m"]
[models.logins]
codex = true
[models.logins.clients.copilot]
client_id = "our-client"
base_url = "{logins.url}"
device_url = "{logins.url}/login/device/code"
token_url = "{logins.url}/login/oauth/access_token"
exchange_url = "{logins.url}/copilot_internal/v2/token"
[models.logins.clients.codex]
client_id = "our-client"
base_url = "{logins.url}"
authorize_url = "{logins.url}/oauth/authorize"
token_url = "{logins.url}/oauth/token"
"""
    )
    (home / "config.toml").chmod(0o600)


class Looker:
    """Everything that was said to anybody."""

    def __init__(self, home: Path, daemon: Daemon) -> None:
        self.home, self.daemon = home, daemon
        self.said: list[str] = []

    def run(self, *words: str, stdin: str = "") -> Any:
        piped, pipe = os.pipe()
        os.write(pipe, stdin.encode())
        os.close(pipe)
        try:
            done = holdfast(self.home, *words, stdin=piped, OPENAI_API_KEY=ENV_KEY)
        finally:
            os.close(piped)
        self.said += [f"{words[:2]}: {done.stdout}", f"{words[:2]}: {done.stderr}"]
        return done

    def ask(self, target: str, body: dict[str, Any] | None = None) -> Any:
        try:
            told = self.daemon.get(target) if body is None else self.daemon.post(target, body)
        except Answered as refusal:
            self.said.append(f"{target}: {refusal}")
            return {}
        self.said.append(f"{target}: {json.dumps(told)}")
        return told

    def log_in(self, name: str, server: LoginServer) -> None:
        invited = self.ask(f"/api/v1/connections/{name}/login", {})
        answer = ""
        if invited["code"]:
            server.approve()
        else:
            answer = server.log_in(invited["url"])
            self.ask(f"/api/v1/logins/{invited['attempt']}", {"answer": f"{answer}x"})
            invited = self.daemon.post(f"/api/v1/connections/{name}/login", {})
            answer = server.log_in(invited["url"])
        made = self.ask(f"/api/v1/logins/{invited['attempt']}", {"answer": answer})
        assert made["connection"]["name"] == name

    def leaks(self) -> list[str]:
        """Where the word is that only secrets have."""
        found = [text for text in self.said if WORD in text]
        kept = self.home / "config.toml"
        files = [path for path in self.home.rglob("*") if path.is_file() and path != kept]
        return [*found, *(str(path) for path in files if WORD.encode() in path.read_bytes())]


def test_no_secret_is_ever_shown_or_written_down(home: Path, server: LoginServer):
    """Part of row OK-94."""
    errors = quoting()
    with ModelServer(rule=lambda _: next(errors), catalogue=Catalogue(models=("m",))) as model:
        configure(home, model, server)
        environment = {
            "OPENAI_API_KEY": ENV_KEY,
            "OPENAI_BASE_URL": f"{model.url}/v1",
            "ANTHROPIC_BASE_URL": server.url,
        }
        with Daemon(home, environment) as daemon:
            daemon.start()
            look = Looker(home, daemon)
            assert look.run("connect", "openai", "--stdin", stdin=SAVED_KEY).returncode == 0
            url = f"{model.url}/v1"
            added = look.run("connect", "lab", "--url", url, "--stdin", stdin=SERVER_KEY)
            assert added.returncode == 0
            for words in (
                ("connect", "anthropic", "--stdin", "--json"),
                ("connect", "nobody", "--stdin"),
                ("connect", "bad", "--url", "http://127.0.0.1:9/v1", "--stdin"),
                ("connect", "bad", "--url", f"http://u:{WRONG_KEY}@h/v1", "--stdin"),
                ("connect", "bad", "--url", f"{server.url}/none", "--stdin"),
            ):
                assert look.run(*words, stdin=f"{WRONG_KEY} {WRONG_KEY}").returncode
                assert look.run(*words, stdin=WRONG_KEY).returncode
            look.ask("/api/v1/connections/openai", {"api_key": 7, "key": WRONG_KEY})
            look.ask("/api/v1/connections/openai", {"api_key": [WRONG_KEY]})
            for name in ("copilot", "codex"):
                look.log_in(name, server)
            for name in ("openai/gpt-4.1", "lab/m", "filed/m") * 4:
                look.run("run", "-m", name, "hello")
            for name in ("copilot/m1", "codex/gpt-5.6-luna"):
                look.run("run", "-m", name, "hello")
                server.expire()
                server.issuer.error = "invalid_grant"
                server.issuer.no_exchange = True
                look.run("run", "-m", name, "hello")
                server.issuer.error = ""
                server.issuer.no_exchange = False
            for words in (("connect",), ("models",), ("status",), ("doctor",), ("task", "list")):
                look.run(*words)
                look.run(*words, "--json")
            for target in (
                "/api/v1/connections",
                "/api/v1/status",
                "/api/v1/models",
                "/api/v1/tasks",
            ):
                look.ask(target)
            for task in daemon.get("/api/v1/tasks")["tasks"]:
                look.ask(f"/api/v1/tasks/{task['id']}/events")
            for name in ("copilot", "codex", "openai", "lab"):
                look.run("disconnect", name, "--json")
            daemon.stop()
            look.said.append(daemon.said())
        assert len(look.said) > 80
        assert any("[key]" in text for text in look.said), "what providers quote came this far"
        assert look.leaks() == []
    remains = [
        path.name for path in (home / "vault").iterdir() if path.name not in {".lock", ".key"}
    ]
    assert remains == []
