"""A server of tools that wants a login, and who issues it: on one website, with ways to be odd."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from typing import Any
from urllib.parse import parse_qs, urlencode

from holdfast.testing.website import Asked, Reply
from tests.adapters.mcp_far import JSON, Far

CANARY = "canary-of-a-login"


def said(status: int, **fields: Any) -> Reply:
    headers = {"Content-Type": "application/json"}
    return Reply(status=status, headers=headers, body=json.dumps(fields).encode())


class Locked(Far):
    """Takes only the tokens of its own issuer. `metadata` and `resource` are what is published;
    `wants` are the scopes that a call of a tool needs; `life` is how long a token is good for."""

    def __init__(self) -> None:
        super().__init__()
        self.url = ""
        self.metadata: dict[str, Any] = {}
        self.resource: dict[str, Any] = {}
        self.wants: tuple[str, ...] = ("read",)
        self.life = 3_600
        self.back: dict[str, str] = {}
        self.error = ""
        self.rotates = True
        self.tokens: dict[str, tuple[str, ...]] = {}
        self.rights: dict[str, tuple[str, ...]] = {}
        self.revoked: list[str] = []
        self.forms: list[dict[str, str]] = []
        self._codes: dict[str, dict[str, str]] = {}

    def at(self, url: str) -> None:
        self.url = url
        self.resource = {"resource": f"{url}/mcp", "authorization_servers": [url]}
        self.metadata = {
            "issuer": url,
            "authorization_endpoint": f"{url}/authorize",
            "token_endpoint": f"{url}/token",
            "registration_endpoint": f"{url}/register",
            "revocation_endpoint": f"{url}/revoke",
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "none"],
        }

    def __call__(self, asked: Asked) -> Reply | None:
        fields = {name: one[0] for name, one in parse_qs(asked.body.decode()).items()}
        match asked.path:
            case "/.well-known/oauth-protected-resource/mcp":
                return said(200, **self.resource) if self.resource else Reply(status=404)
            case "/.well-known/oauth-authorization-server":
                return said(200, **self.metadata)
            case "/register":
                client = {"client_id": "made-for-us", "client_secret": f"{CANARY}-client"}
                return said(201, **client, **json.loads(asked.body))
            case "/authorize":
                return self._authorize(asked)
            case "/token":
                self.forms.append(fields)
                return self._token(fields)
            case "/revoke":
                self.revoked.append(fields["token"])
                return said(200)
            case "/mcp":
                return self._guarded(asked)
            case _:
                return None

    def forget(self) -> None:
        """No token counts any more; the rights to new ones do."""
        self.tokens.clear()

    def _authorize(self, asked: Asked) -> Reply:
        told = {k: v[0] for k, v in parse_qs(asked.target.partition("?")[2]).items()}
        assert (told["code_challenge_method"], told["response_type"]) == ("S256", "code")
        assert told["resource"] == f"{self.url}/mcp"
        code = secrets.token_hex(8)
        self._codes[code] = told
        words = {"code": code, "state": told["state"], **self.back}
        return Reply(status=302, headers={"Location": f"{told['redirect_uri']}?{urlencode(words)}"})

    def _token(self, fields: dict[str, str]) -> Reply:
        if self.error:
            return said(400, error=self.error)
        assert fields["resource"] == f"{self.url}/mcp"
        match fields["grant_type"]:
            case "authorization_code":
                told = self._codes.pop(fields["code"])
                digest = hashlib.sha256(fields["code_verifier"].encode()).digest()
                challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
                assert told["code_challenge"] == challenge
                scopes = tuple(told.get("scope", "").split())
            case "refresh_token":
                if fields["refresh_token"] not in self.rights:
                    return said(400, error="invalid_grant")
                scopes = self.rights.pop(fields["refresh_token"])
            case _:
                scopes = tuple(fields.get("scope", "").split())
        access, right = (f"{CANARY}-{one}-{secrets.token_hex(8)}" for one in ("access", "refresh"))
        self.tokens[access], self.rights[right] = scopes, scopes
        more = {"refresh_token": right} if fields["grant_type"] != "client_credentials" else {}
        return said(
            200,
            access_token=access,
            token_type="Bearer",
            expires_in=self.life,
            scope=" ".join(scopes),
            **more,
        )

    def _guarded(self, asked: Asked) -> Reply | None:
        if asked.method != "POST":
            return Reply(status=405)
        method = json.loads(asked.body).get("method")
        token = asked.headers.get("authorization", "").removeprefix("Bearer ")
        scopes = self.tokens.get(token)
        if scopes is None:
            metadata = f"{self.url}/.well-known/oauth-protected-resource/mcp"
            told = f'Bearer error="invalid_token", resource_metadata="{metadata}", scope="read"'
            return Reply(status=401, headers={"WWW-Authenticate": told})
        missing = set(self.wants) - set(scopes)
        if method == "tools/call" and missing:
            told = f'Bearer error="insufficient_scope", scope="{" ".join(sorted(missing))}"'
            return Reply(status=403, headers={"WWW-Authenticate": told})
        if method == "tools/call":
            parts = {"content": [{"type": "text", "text": f"your token is {token}"}]}
            number = json.loads(asked.body)["id"]
            body = json.dumps({"jsonrpc": "2.0", "id": number, "result": parts}).encode()
            return Reply(headers=JSON, body=body)
        return super().__call__(asked)
