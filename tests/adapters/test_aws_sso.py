"""AWS SSO sessions are renewed before they end, and nothing of them is ever shown."""

from __future__ import annotations

import hashlib
import json
import stat
import threading
from collections.abc import Generator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from holdfast.adapters.models.logins.aws_sso import AwsSessions, aws_sessions

pytestmark = pytest.mark.anyio
NOW = 1_800_000_000.0
OLD = "canary-old-refresh-token"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Issuer:
    """Speaks as the OIDC endpoint of AWS does; a refresh token counts once."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.answer: tuple[int, Any] | None = None
        self.url = ""

    def reply(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        assert path == "/token"
        self.asked.append(body)
        if self.answer:
            return self.answer
        number = len(self.asked)
        return 200, {
            "accessToken": f"access-{number}",
            "refreshToken": f"refresh-{number}",
            "expiresIn": 3600,
            "tokenType": "Bearer",
        }


@pytest.fixture
def issuer() -> Generator[Issuer]:
    one = Issuer()

    class Desk(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status, told = one.reply(self.path, body)
            data = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Desk)
    one.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield one
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


def home(place: Path, config: str = "[sso-session work]\nsso_region = eu-central-1\n") -> Path:
    (place / ".aws" / "sso" / "cache").mkdir(parents=True)
    (place / ".aws" / "config").write_text(config)
    return place


def cache(place: Path, name: str = "work") -> Path:
    return place / ".aws" / "sso" / "cache" / f"{hashlib.sha1(name.encode()).hexdigest()}.json"


def cached(place: Path, ends: float, name: str = "work", **more: Any) -> Path:
    end = datetime.fromtimestamp(ends, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    fields = {
        "startUrl": "https://x.test/start",
        "region": "eu-central-1",
        "accessToken": "canary-old-access",
        "expiresAt": end,
        "clientId": "client",
        "clientSecret": "canary-client-secret",
        "refreshToken": OLD,
        **more,
    }
    path = cache(place, name)
    path.write_text(json.dumps(fields))
    path.chmod(0o600)
    return path


def sessions(place: Path, issuer: Issuer) -> AwsSessions:
    environment = {"HOME": str(place), "AWS_ENDPOINT_URL_SSO_OIDC": issuer.url}
    return aws_sessions(environment, lambda: NOW)


async def test_one_that_ends_soon_is_renewed_and_the_rest_of_its_file_stays(
    tmp_path: Path, issuer: Issuer
):
    """Row KV-45."""
    path = cached(home(tmp_path), NOW + 599)
    assert await sessions(tmp_path, issuer).renew() == 1
    assert issuer.asked == [
        {
            "clientId": "client",
            "clientSecret": "canary-client-secret",
            "grantType": "refresh_token",
            "refreshToken": OLD,
        }
    ]
    kept = json.loads(path.read_text())
    assert (kept["accessToken"], kept["refreshToken"]) == ("access-1", "refresh-1")
    assert kept["expiresAt"] == "2027-01-15T09:00:00Z"
    assert kept["startUrl"] == "https://x.test/start"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in path.parent.iterdir()] == [path.name], "nothing is left beside it"
    assert await sessions(tmp_path, issuer).renew() == 0, "it is good for an hour now"


async def test_one_that_is_good_for_longer_is_left_alone(tmp_path: Path, issuer: Issuer):
    """Part of row KV-45."""
    cached(home(tmp_path), NOW + 601)
    assert await sessions(tmp_path, issuer).renew() == 0
    assert issuer.asked == []


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("{not json", "malformed"),
        ("[]", "malformed"),
        ('{"refreshToken": "r", "expiresAt": "x"}', "nothing to renew it with"),
        ('{"accessToken": "a"}', ""),
    ],
)
async def test_what_is_malformed_is_skipped_and_said_once(
    tmp_path: Path, issuer: Issuer, caplog: pytest.LogCaptureFixture, damage: str, said: str
):
    """Part of row KV-45."""
    path = cached(home(tmp_path), NOW)
    path.write_text(damage)
    renewing = sessions(tmp_path, issuer)
    assert [await renewing.renew(), await renewing.renew()] == [0, 0]
    assert [said in record.message for record in caplog.records] == ([True] if said else [])
    assert path.read_text() == damage
    assert issuer.asked == []


async def test_an_old_profile_is_said_once_and_a_missing_cache_not_at_all(
    tmp_path: Path, issuer: Issuer, caplog: pytest.LogCaptureFixture
):
    """Part of row KV-45."""
    text = (
        "[profile old]\nsso_start_url = https://x.test\n[sso-session b]\nsso_region = us-east-1\n"
    )
    renewing = sessions(home(tmp_path, text), issuer)
    await renewing.renew()
    await renewing.renew()
    assert [record.message for record in caplog.records] == [
        "the AWS profile old is of the old kind, without an sso-session: not renewed"
    ]


async def test_a_session_that_is_over_and_an_endpoint_that_fails_change_nothing(
    tmp_path: Path, issuer: Issuer, caplog: pytest.LogCaptureFixture
):
    """Part of row KV-45."""
    path = cached(home(tmp_path), NOW)
    before = path.read_text()
    nothing: dict[str, str] = {}
    bad: list[tuple[int, Any]] = [(400, {"error": "invalid_grant"}), (500, nothing), (200, nothing)]
    for answer in (*bad, (200, [OLD])):
        issuer.answer = answer
        assert await sessions(tmp_path, issuer).renew() == 0
    assert path.read_text() == before
    assert "aws sso login" in caplog.records[0].message
    assert not any("canary" in record.message for record in caplog.records)


async def test_a_region_cannot_lead_elsewhere(tmp_path: Path, issuer: Issuer):
    cached(home(tmp_path, "[sso-session work]\nsso_region = x.evil.test/\n"), NOW)
    asked: list[str] = []

    def address(region: str) -> str:
        asked.append(region)
        return issuer.url

    folder = tmp_path / ".aws"
    renewing = AwsSessions(folder / "config", folder / "sso" / "cache", address, lambda: NOW)
    assert await renewing.renew() == 0
    assert asked == issuer.asked == []


async def test_without_an_aws_configuration_there_is_nothing_to_do(tmp_path: Path, issuer: Issuer):
    assert await sessions(tmp_path, issuer).renew() == 0
