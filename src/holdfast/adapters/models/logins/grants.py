"""The conversations with whoever issues logins: device codes, browser logins, refresh, revoke.

Nothing of what goes out or comes back is ever quoted in an error: only the OAuth error code is.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Mapping
from typing import Any, Literal, cast
from urllib.parse import urlencode

import anyio
import httpx2
import msgspec
from msgspec import Struct

from holdfast.adapters.models.expecting import Client

from .token import Token, account_of, claims, expiry
from .vendors import PLAN_SCOPE, Vendor

_SECONDS = 30.0
_DEVICE_LIFE = 900
_REGISTERS = "dynamic_agent_client"  # documented as the way to register, and no client itself
_DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_CODE = re.compile(r"[a-zA-Z0-9_]{1,60}")
_OVER = frozenset({"invalid_grant", "invalid_client", "unauthorized_client", "access_denied"})
_OVER_TOO = ("refresh_token", "status_4", "invalid", "token")
_LONGEST = 1 << 20


class Unreachable(Exception):
    """The issuer cannot be asked now, or answers with what is no answer."""


class Rejected(Exception):
    """The issuer says no: `code` is its word for why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Device(Struct, frozen=True, kw_only=True):
    """A code for a person to type elsewhere. `secret` is what we ask with."""

    secret: str
    code: str
    url: str
    seconds: int
    interval: int

    def __repr__(self) -> str:
        return f"Device(url={self.url!r})"


class Browser(Struct, frozen=True, kw_only=True):
    """An address to open, and what proves that the answer belongs to it."""

    url: str
    state: str
    verifier: str
    nonce: str
    client_id: str

    def __repr__(self) -> str:
        return "Browser()"


class Waiting(Struct, frozen=True, kw_only=True):
    """Not finished yet; `slower`: ask less often from now on."""

    slower: bool = False


async def begin_device(vendor: Vendor) -> Device:
    if vendor.flow == "openai-device":
        told = await _asked(f"{vendor.device_url}/usercode", json={"client_id": vendor.client_id})
        secret, url = _text(told, "device_auth_id"), vendor.authorize_url
        code = _text(told, "user_code", "usercode")
    else:
        form = {"client_id": vendor.client_id, "scope": vendor.scope}
        told = await _asked(vendor.device_url, form=form)
        secret, code = _text(told, "device_code"), _text(told, "user_code")
        url = _text(told, "verification_uri", "verification_url")
    if not (secret and code and url):
        raise Unreachable("it gave no code to type")
    return Device(
        secret=secret,
        code=code,
        url=url,
        seconds=_count(told, "expires_in", _DEVICE_LIFE),
        interval=_count(told, "interval", 5),
    )


async def poll_device(vendor: Vendor, device: Device, now: float) -> Token | Waiting:
    """The token once the person has typed the code. Raises `Rejected` when they never will."""
    if vendor.flow == "openai-device":
        return await _poll_openai(vendor, device, now)
    form = {
        "client_id": vendor.client_id,
        "device_code": device.secret,
        "grant_type": _DEVICE_GRANT,
    }
    try:
        told = await _asked(vendor.token_url, form=form)
    except Rejected as no:
        if no.code in {"authorization_pending", "slow_down"}:
            return Waiting(slower=no.code == "slow_down")
        raise
    github = Token(access="", refresh=_needed(told, "access_token"))
    return await refreshed(vendor, github, vendor.client_id, now)


async def _poll_openai(vendor: Vendor, device: Device, now: float) -> Token | Waiting:
    body = {"device_auth_id": device.secret, "user_code": device.code}
    try:
        told = await _asked(f"{vendor.device_url}/token", json=body)
    except Rejected as no:
        # Until the code is typed this address knows nothing: 403 or 404, with or without a word.
        if no.code == "slow_down":
            return Waiting(slower=True)
        if no.code in {"status_403", "status_404", "authorization_pending"} or (
            no.code.startswith("deviceauth_") and no.code.endswith(("pending", "unknown"))
        ):
            return Waiting()
        raise
    code, verifier = _needed(told, "authorization_code"), _needed(told, "code_verifier")
    return await _exchanged(vendor, code, verifier, now)


def begin_browser(vendor: Vendor, *, host: str = "", registered: str = "") -> Browser:
    """An authorization request with PKCE (S256) and a state.

    `host` names this installation, and `registered` the client that an earlier login was given,
    for an issuer that registers one for each person.
    """
    client_id = vendor.client_id or registered
    verifier, state = secrets.token_urlsafe(48), secrets.token_hex(24)
    digest = hashlib.sha256(verifier.encode()).digest()
    asked = {
        "response_type": "code",
        "client_id": client_id or _REGISTERS,
        "redirect_uri": vendor.redirect_url,
        "scope": vendor.scope,
        "state": state,
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    if vendor.json:
        asked = {"code": "true", **asked}
    elif vendor.kind == "codex":
        asked |= {"id_token_add_organizations": "true"}
    nonce = secrets.token_urlsafe(16)
    if vendor.resource:
        asked |= {"resource": vendor.resource, "nonce": nonce, "ext_agent_host_id": host}
        asked |= {} if client_id else {"agent_name_hint": "Holdfast"}
    return Browser(
        url=f"{vendor.authorize_url}?{urlencode(asked)}",
        state=state,
        verifier=verifier,
        nonce=nonce,
        client_id=client_id,
    )


async def finish_browser(
    vendor: Vendor, begun: Browser, code: str, now: float, *, issued: str = ""
) -> Token:
    """The tokens for the code. `issued` is the client that the login was given just now."""
    client_id = begun.client_id or issued
    if client_id in {"", _REGISTERS}:
        raise Rejected("no_client_was_issued")
    asked = {
        "grant_type": "authorization_code",
        "client_id": client_id,
        "code": code,
        "code_verifier": begun.verifier,
        "redirect_uri": vendor.redirect_url,
    }
    if vendor.json:
        asked["state"] = begun.state
    if not vendor.resource:
        told = await _tokens(vendor, asked)
    else:
        told = await _tokens(vendor, {**asked, "resource": vendor.resource})
        _check_plan(vendor, told, client_id, begun.nonce)
    return _token(vendor, told, Token(access="", client_id=client_id), now)


def _check_plan(vendor: Vendor, told: Mapping[str, Any], client_id: str, nonce: str) -> None:
    """The login is the one that was begun, and its person allowed the use of their plan."""
    said = claims(_text(told, "id_token"))
    audience = said.get("aud")
    there = cast("list[object]", audience) if isinstance(audience, list) else [audience]
    issuer = httpx2.URL(vendor.token_url).copy_with(raw_path=b"/")
    ours = (said.get("iss"), said.get("nonce")) == (str(issuer).rstrip("/"), nonce)
    if not ours or client_id not in there:
        raise Rejected("another_login")
    if PLAN_SCOPE not in _text(told, "scope").split():
        raise Rejected("plan_not_allowed")


async def _exchanged(vendor: Vendor, code: str, verifier: str, now: float) -> Token:
    asked = {
        "grant_type": "authorization_code",
        "client_id": vendor.client_id,
        "code": code,
        "code_verifier": verifier,
        "redirect_uri": vendor.redirect_url,
    }
    return _token(vendor, await _tokens(vendor, asked), Token(access=""), now)


async def refreshed(vendor: Vendor, old: Token, client_id: str, now: float) -> Token:
    """A new token for the old one's right. Raises `Rejected` when that is over."""
    if vendor.exchange_url:
        return await _copilot(vendor, old, now)
    asked = {"grant_type": "refresh_token", "refresh_token": old.refresh, "client_id": client_id}
    asked |= {"resource": vendor.resource} if vendor.resource else {}
    try:
        told = await _tokens(vendor, asked)
    except Rejected as no:
        if no.code in _OVER or no.code.startswith(_OVER_TOO):
            raise
        raise Unreachable(f"it answered {no.code}") from None
    return _token(vendor, told, old, now)


async def _copilot(vendor: Vendor, old: Token, now: float) -> Token:
    """GitHub's token, exchanged for a short one; where there is no exchange, itself."""
    headers = {"authorization": f"token {old.refresh}", "accept": "application/json"}
    try:
        told = await _asked(vendor.exchange_url, headers=headers, method="GET")
    except Rejected as no:
        if no.code != "status_404":
            raise
        return msgspec.structs.replace(old, access=old.refresh, expires_at=0.0)
    endpoints = told.get("endpoints")
    places: Mapping[str, Any] = (
        cast("Mapping[str, Any]", endpoints) if isinstance(endpoints, dict) else {}
    )
    return Token(
        access=_needed(told, "token"),
        refresh=old.refresh,
        expires_at=float(_count(told, "expires_at", round(now) + 1500)),
        base_url=_text(places, "api"),
        models=old.models,
    )


async def models_of(vendor: Vendor, token: Token, headers: Mapping[str, str]) -> tuple[str, ...]:
    """The models that the login may ask; none if the provider does not say."""
    try:
        told = await _asked(
            f"{token.base_url or vendor.base_url}/models", headers=headers, method="GET"
        )
    except (Rejected, Unreachable):
        return ()
    found = told.get("data")
    rows = cast("list[object]", found) if isinstance(found, list) else []
    named = [_text(cast("dict[str, Any]", row), "id") for row in rows if isinstance(row, dict)]
    return tuple(dict.fromkeys(filter(None, named)))[:50]


async def revoke(vendor: Vendor, token: Token) -> bool:
    """Ask the issuer to take the login back; whether it did."""
    if not vendor.revoke_url:
        return False
    form = {"token": token.refresh or token.access}
    if client_id := vendor.client_id or token.client_id:
        form["client_id"] = client_id
    try:
        await _asked(vendor.revoke_url, form=form, empty=True)
    except (Rejected, Unreachable):
        return False
    return True


async def _tokens(vendor: Vendor, asked: Mapping[str, str]) -> Mapping[str, Any]:
    if vendor.json:
        return await _asked(vendor.token_url, json=asked)
    return await _asked(vendor.token_url, form=asked)


def _token(vendor: Vendor, told: Mapping[str, Any], old: Token, now: float) -> Token:
    access, identity = _needed(told, "access_token"), _text(told, "id_token")
    seconds = _count(told, "expires_in", 0)
    return Token(
        access=access,
        refresh=_text(told, "refresh_token") or old.refresh,
        expires_at=now + seconds if seconds else expiry(access),
        account=account_of(identity, access) or old.account,
        client_id=vendor.client_id or old.client_id,
        base_url=old.base_url,
        models=old.models,
    )


async def aws_renewed(address: str, kept: Mapping[str, str]) -> tuple[str, str, int]:
    """The next token of an AWS SSO session, what renews it, and for how many seconds it is good."""
    asked = {name: kept[name] for name in ("clientId", "clientSecret", "refreshToken")}
    told = await _asked(f"{address}/token", json={**asked, "grantType": "refresh_token"})
    renews = _text(told, "refreshToken") or asked["refreshToken"]
    return _needed(told, "accessToken"), renews, _count(told, "expiresIn", 0)


async def _asked(
    url: str,
    *,
    form: Mapping[str, str] | None = None,
    json: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    method: Literal["GET", "POST"] = "POST",
    empty: bool = False,
) -> Mapping[str, Any]:
    """One request. Raises `Rejected` with the OAuth error or the status, and `Unreachable`."""
    loopback = {f"all://{host}": None for host in ("127.0.0.1", "localhost", "[::1]")}
    told = {"accept": "application/json", **(headers or {})}
    try:
        with anyio.fail_after(_SECONDS):
            async with Client(mounts=loopback, timeout=_SECONDS) as client:
                response = await client.request(
                    method,
                    url,
                    headers=told,
                    data=dict(form) if form is not None else None,
                    json=dict(json) if json is not None else None,
                )
    except TimeoutError:
        raise Unreachable("it did not answer in time") from None
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise Unreachable(type(error).__name__) from None
    return _answer(response, empty=empty)


def _answer(response: httpx2.Response, *, empty: bool) -> Mapping[str, Any]:
    fields = _object(response)
    if response.status_code >= 500 or response.status_code == 429:
        raise Unreachable(f"it answered with status {response.status_code}")
    if code := _error(fields):
        raise Rejected(code)
    if response.status_code >= 400:
        raise Rejected(f"status_{response.status_code}")
    if not fields and not empty:
        raise Unreachable("what came is not JSON")
    return fields


def _object(response: httpx2.Response) -> Mapping[str, Any]:
    try:
        told: object = response.json() if len(response.content) <= _LONGEST else None
    except (ValueError, RecursionError):
        return {}
    return cast("Mapping[str, Any]", told) if isinstance(told, dict) else {}


def _error(fields: Mapping[str, Any]) -> str:
    """The error's code, which OAuth gives as a text and others as an object with one."""
    found = fields.get("error")
    if isinstance(found, dict):
        inner = cast("Mapping[str, Any]", found)
        found = inner.get("code") or inner.get("type") or "refused"
    if not isinstance(found, str):
        return ""
    return found if _CODE.fullmatch(found) else "refused"


def _needed(fields: Mapping[str, Any], name: str) -> str:
    if found := _text(fields, name):
        return found
    raise Unreachable(f"its answer has no {name}")


def _text(fields: Mapping[str, Any], *names: str) -> str:
    for name in names:
        found = fields.get(name)
        if isinstance(found, str) and found:
            return found
    return ""


def _count(fields: Mapping[str, Any], name: str, otherwise: int) -> int:
    """A number, which some write as a text."""
    found = fields.get(name)
    if isinstance(found, str) and found.isdecimal() and len(found) < 12:
        return int(found)
    if isinstance(found, int | float) and not isinstance(found, bool) and found >= 0:
        return int(found)
    return otherwise
