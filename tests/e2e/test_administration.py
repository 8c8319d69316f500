"""What whoever runs an installation does over HTTP, from the first look to a bundle."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest

from holdfast.testing.daemon import Daemon, stage

from .at_home import ENVIRONMENT, until

VALUE = "canary-0123456789"
AROUND = {**ENVIRONMENT, "HOLDFAST_SERVER_HTTP": "true", "HOLDFAST_SERVER_PORT": "0"}
OVER = {"SUCCEEDED", "FAILED", "CANCELED", "DEAD_LETTER"}


class Desk:
    """The interface as its owner uses it, over TCP, with the token of the home."""

    def __init__(self, daemon: Daemon, url: str) -> None:
        self.daemon, self.url = daemon, url
        token = (daemon.home / "token").read_text().strip()
        self.client = self.as_holder_of(token)

    def as_holder_of(self, token: str) -> httpx2.Client:
        bearer = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx2.Client(
            base_url=f"{self.url}/api/v1", headers=bearer, timeout=60, trust_env=False
        )

    def get(self, path: str, **query: Any) -> Any:
        answer = self.client.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: Any, status: int = 200) -> Any:
        answer = self.client.post(path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    def done(self, prompt: str, session: str) -> Any:
        task = self.post("/tasks", {"prompt": prompt, "session": session}, 202)["id"]
        until(lambda: self.get(f"/tasks/{task}")["status"] in OVER)
        return self.get(f"/tasks/{task}")


@contextmanager
def desk() -> Generator[Desk]:
    with stage("desk") as folder, Daemon(folder / "home", AROUND) as daemon:
        daemon.start()
        (url,) = [one for one in daemon.get("/api/v1/status")["listening"] if "http" in one]
        at = Desk(daemon, url)
        with at.client:
            yield at


def test_an_installation_is_looked_after_over_http():
    """Part of row OC-96: status, configuration, secrets, sessions and what was said in them, keys,
    and what happened in a task. Schedules, an agent's documents and memory are no rooms yet."""
    with desk() as at:
        row = at.done("hello", "talk")
        status = at.get("/status")
        assert status["counts"]["SUCCEEDED"] == 1
        assert status["model"]
        assert (status["running"], status["config_problem"]) == (0, "")
        _the_configuration(at)
        _the_secrets(at)
        assert [one["id"] for one in at.get("/sessions")["sessions"]] == ["talk"]
        (said,) = at.get("/sessions/talk")["exchanges"]
        assert (said["prompt"], said["answer"]) == ("hello", row["answer"])
        _the_keys(at)
        kinds = [one["kind"] for one in at.get(f"/tasks/{row['id']}/events")["events"]]
        assert (kinds[0], kinds[-1]) == ("Submitted", "Finished")
        bundle = zipfile.ZipFile(io.BytesIO(at.client.get(f"/tasks/{row['id']}/bundle").content))
        assert bundle.testzip() is None
        assert VALUE.encode() not in b"".join(bundle.read(name) for name in bundle.namelist())
        assert at.get(f"/tasks/{row['id']}/verify")["ok"]


def _the_configuration(at: Desk) -> None:
    found = at.client.get("/config")
    lab = {"base_url": "http://127.0.0.1:9/v1", "api_key": VALUE}
    change = {"set": {"limits.steps": 7, "models.providers": {"lab": lab}}}
    late = at.client.patch("/config", json=change, headers={"If-Match": '"another"'})
    assert late.status_code == 412
    told = at.client.patch("/config", json=change, headers={"If-Match": found.headers["etag"]})
    assert told.status_code == 200, told.text
    assert VALUE not in told.text
    assert VALUE not in at.client.get("/config").text
    assert told.json()["fingerprint"] != found.json()["fingerprint"]
    until(lambda: at.get("/status")["config"] == told.json()["fingerprint"])


def _the_secrets(at: Desk) -> None:
    at.post("/secrets", {"name": "github", "value": VALUE})
    listed = at.client.get("/secrets")
    assert "github" in listed.text
    assert VALUE not in listed.text


def _the_keys(at: Desk) -> None:
    made = at.post("/keys", {"name": "ci", "scopes": ["status"]}, 201)
    assert made["key"] not in at.client.get("/keys").text
    with at.as_holder_of(made["key"]) as client:
        assert client.get("/status").status_code == 200
        for path in ("/config", "/secrets", "/sessions", "/keys"):
            assert client.get(path).status_code == 403, path
        at.post("/keys/ci/revoke", {})
        assert client.get("/status").status_code == 401


ADMINISTRATION = ("/status", "/config", "/secrets", "/sessions", "/keys", "/tasks", "/mcp")


@pytest.mark.parametrize("token", ["", "wrong"])
def test_nothing_of_it_is_for_who_has_no_token(token: str):
    """Part of row OC-96."""
    with desk() as at, at.as_holder_of(token) as client:
        for path in ADMINISTRATION:
            assert client.get(path).status_code == 401, path


def test_what_is_in_force_has_a_name_in_the_configuration_and_in_the_status():
    """Part of row GC-70: which configuration, under which policy. There are no skills yet."""
    with desk() as at:

        def named() -> tuple[str, str]:
            config, status = at.get("/config"), at.get("/status")
            assert config["policy"] == status["policy"]
            return status["config"], status["policy"]

        first = named()
        assert all(first)
        policy = at.daemon.home / "policy.toml"
        policy.write_text('[[rule]]\nsay = "deny"\ntools = ["exec"]\n')
        policy.chmod(0o600)
        until(lambda: named()[1] != first[1])
        (at.daemon.home / "config.toml").write_text("[limits]\nsteps = 7\n")
        until(lambda: at.get("/config")["fingerprint"] != first[0])
        until(lambda: named()[0] == at.get("/config")["fingerprint"])
