"""What an issuer of logins keeps and answers; `login_server` puts it on HTTP."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

Answer = tuple[int, str, bytes]
Fields = dict[str, str]
_JSON = "application/json"
CANARY = "canary"


def said(status: int, **fields: Any) -> Answer:
    return status, _JSON, json.dumps(fields).encode()


class Issuer:
    """Logins by their family: whoever uses a refresh token twice loses all of it.

    Every secret that it makes has the word `canary` in it. `refreshes` counts the good ones;
    `slow` answers the next poll with `slow_down`; with `approve_after` the person types the code
    before the so-manieth poll; `error` answers every token request with it.
    """

    def __init__(self, *, lifetime: int, interval: int) -> None:
        self.lifetime, self.interval = lifetime, interval
        self.live: dict[str, str] = {}
        self.refreshes = self.reused = 0
        self.slow = False
        self.approve_after = 0
        self.url = ""
        self.scope = "openid chatgpt.tokens.use.direct"
        self.error = ""
        self.no_exchange = False
        self.account = "account-1"
        self._rights: dict[str, str] = {}
        self._used: dict[str, str] = {}
        self._devices: dict[str, str] = {}
        self._codes: dict[str, Fields] = {}
        self._lock = threading.Lock()
        self._paths: dict[str, Callable[[dict[str, str], Fields], Answer]] = {
            "/login/device/code": self._github_device,
            "/login/oauth/access_token": self._github_token,
            "/copilot_internal/v2/token": self._copilot,
            "/api/accounts/deviceauth/usercode": self._openai_device,
            "/api/accounts/deviceauth/token": self._openai_poll,
            "/oauth/token": self._token,
            "/oauth/revoke": self._revoke,
        }

    def answer(self, path: str, headers: dict[str, str], fields: Fields) -> Answer | None:
        act = self._paths.get(path)
        if act is None:
            return None
        with self._lock:
            if self.error and path.endswith("token"):
                return said(400, error=self.error)
            return act(headers, fields)

    def decide(self, state: str) -> None:
        with self._lock:
            for code in self._devices:
                self._devices[code] = state

    def authorize(self, asked: Fields) -> str:
        """The person says yes; the code is bound to what was asked. Who registers gets a client."""
        code = f"code-{CANARY}-{secrets.token_hex(8)}"
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        back = f"{code}#{asked['state']}"
        if "nonce" in asked:
            registers = asked["client_id"] == "dynamic_agent_client"
            assert registers is ("agent_name_hint" in asked)
            assert asked["ext_agent_host_id"].startswith("urn:uuid:")
            client = "issued-client" if registers else asked["client_id"]
            asked = {**asked, "client_id": client}
            query = {"code": code, "state": asked["state"], "client_id": client}
            back = f"{asked['redirect_uri']}?{urlencode(query)}"
        self._codes[code] = asked
        return back

    def family(self) -> tuple[str, str]:
        """The access and refresh token of a login that was made elsewhere."""
        with self._lock:
            told = json.loads(self._new(secrets.token_hex(4))[2])
        return told["access_token"], told["refresh_token"]

    def _github_device(self, headers: dict[str, str], fields: Fields) -> Answer:
        if fields.get("client_id") != "our-client":
            return said(200, error="incorrect_client_credentials")
        code = self._device()
        return said(
            200,
            device_code=code,
            user_code="WXYZ-1234",
            verification_uri="https://github.com/login/device",
            expires_in=900,
            interval=self.interval,
        )

    def _github_token(self, headers: dict[str, str], fields: Fields) -> Answer:
        code = fields.get("device_code", "")
        if self.approve_after:
            self.approve_after -= 1
            if not self.approve_after:
                self._devices[code] = "approved"
        match self._devices.get(code, "expired"):
            case "open" if self.slow:
                self.slow = False
                return said(200, error="slow_down", interval=self.interval + 5)
            case "open":
                return said(200, error="authorization_pending")
            case "approved":
                del self._devices[code]
                token = f"gho-{CANARY}-{secrets.token_hex(8)}"
                self._rights[token] = "github"
                return said(200, access_token=token, token_type="bearer", scope="read:user")
            case "denied":
                return said(200, error="access_denied")
            case _:
                return said(200, error="expired_token")

    def _copilot(self, headers: dict[str, str], fields: Fields) -> Answer:
        if self.no_exchange:
            return said(404, message="Not Found")
        if headers.get("authorization", "").removeprefix("token ") not in self._rights:
            return said(401, message="Bad credentials")
        self.refreshes += 1
        token = f"tid={CANARY};{secrets.token_hex(8)}"
        self.live[token] = "github"
        return said(200, token=token, expires_at=int(time.time()) + self.lifetime, refresh_in=1500)

    def _openai_device(self, headers: dict[str, str], fields: Fields) -> Answer:
        if fields.get("client_id") != "our-client":
            return said(401, error={"code": "invalid_client"})
        return said(
            200, device_auth_id=self._device(), user_code="ABCD-98765", interval=str(self.interval)
        )

    def _openai_poll(self, headers: dict[str, str], fields: Fields) -> Answer:
        code = fields.get("device_auth_id", "")
        match self._devices.get(code, "expired"):
            case "open":
                return said(403, error={"code": "deviceauth_authorization_pending"})
            case "approved":
                del self._devices[code]
                verifier = f"verifier-{CANARY}-{secrets.token_hex(16)}"
                challenge = _challenge(verifier)
                asked = {"code_challenge": challenge, "client_id": "our-client", "state": ""}
                granted = f"code-{CANARY}-{secrets.token_hex(8)}"
                self._codes[granted] = asked
                return said(200, authorization_code=granted, code_verifier=verifier)
            case "denied":
                return said(400, error="access_denied")
            case _:
                return said(400, error="expired_token")

    def _token(self, headers: dict[str, str], fields: Fields) -> Answer:
        if fields.get("grant_type") == "refresh_token":
            return self._refresh(fields)
        asked = self._codes.pop(fields.get("code", ""), None)
        if asked is None or asked["client_id"] != fields.get("client_id"):
            return said(400, error="invalid_grant")
        if asked.get("redirect_uri") not in {None, fields.get("redirect_uri")}:
            return said(400, error="invalid_grant", error_description="redirect")
        if asked["code_challenge"] != _challenge(fields.get("code_verifier", "")):
            return said(400, error="invalid_grant", error_description="PKCE")
        if nonce := asked.get("nonce"):
            told = json.loads(self._new(secrets.token_hex(4))[2])
            claims = {"iss": self.url, "aud": [asked["client_id"]], "nonce": nonce}
            return said(200, **told | {"id_token": signed(claims), "scope": self.scope})
        return self._new(secrets.token_hex(4))

    def _refresh(self, fields: Fields) -> Answer:
        right = fields.get("refresh_token", "")
        if not fields.get("client_id"):
            return said(400, error="invalid_client")
        if family := self._used.get(right):
            self.reused += 1
            self._end(family)
            return said(400, error="refresh_token_reused")
        family = self._rights.pop(right, "")
        if not family:
            return said(400, error="invalid_grant")
        self._used[right] = family
        self.refreshes += 1
        return self._new(family)

    def _revoke(self, headers: dict[str, str], fields: Fields) -> Answer:
        if family := self._rights.get(fields.get("token", "")):
            self._end(family)
        return 200, _JSON, b""

    def _end(self, family: str) -> None:
        self._rights = {name: one for name, one in self._rights.items() if one != family}
        self.live = {name: one for name, one in self.live.items() if one != family}

    def _new(self, family: str) -> Answer:
        access = signed(
            {
                "exp": int(time.time()) + self.lifetime,
                "jti": secrets.token_hex(8),
                "client_id": "their-client",
                "https://api.openai.com/auth": {"chatgpt_account_id": self.account},
            }
        )
        right = f"rt-{CANARY}-{secrets.token_hex(8)}"
        self.live[access], self._rights[right] = family, family
        return said(
            200, access_token=access, refresh_token=right, expires_in=self.lifetime, id_token=access
        )

    def _device(self) -> str:
        code = f"device-{CANARY}-{secrets.token_hex(8)}"
        self._devices[code] = "open"
        return code


def signed(claims: dict[str, Any]) -> str:
    """A token that says something about itself, signed by nobody."""
    parts = ({"alg": "none", "typ": "JWT"}, claims)
    text = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts]
    return b".".join([*text, f"sig-{CANARY}".encode()]).decode()


def _challenge(verifier: str) -> str:
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
