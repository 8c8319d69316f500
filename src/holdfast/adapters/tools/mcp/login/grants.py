"""The conversations with an issuer: what we are to it, asking for a login, and keeping it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import cast
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from msgspec import Struct

from holdfast.core.ids import Instant

from .asking import Asking, Json, NoLogin, Rejected, place_of, text
from .assertion import assertion
from .discovery import Issuer

_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_LONGEST_LIFE = 366 * 86_400


class Client(Struct, frozen=True, kw_only=True):
    """What we are to an issuer, and how we prove it: by `secret`, a `key` (PEM), or not at all."""

    id: str
    issuer: str
    secret: str = ""
    key: str = ""
    method: str = "none"
    redirect: str = ""

    def __repr__(self) -> str:
        return f"Client(id={self.id!r})"


class Granted(Struct, frozen=True, kw_only=True):
    """What an issuer gave. `expires_at` is reckoned by our own clock, once; 0 when nobody says."""

    access: str
    refresh: str = ""
    expires_at: Instant = 0
    scopes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Granted(expires_at={self.expires_at})"


class Begun(Struct, frozen=True, kw_only=True):
    """A login that a person has not finished: what proves that an answer belongs to it."""

    url: str
    state: str
    verifier: str

    def __repr__(self) -> str:
        return "Begun()"


class Wish(Struct, frozen=True, kw_only=True):
    """What is asked for: for which server, with which scopes."""

    resource: str
    scopes: tuple[str, ...] = ()


async def registered(asking: Asking, issuer: Issuer, redirect: str) -> Client:
    """A client of our own, registered now (RFC 7591). Raises `NoLogin`."""
    asked = {
        "client_name": "Holdfast",
        "redirect_uris": [redirect],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "application_type": "native",
        "token_endpoint_auth_method": _preferred(issuer, proves=False),
    }
    told = await asking.json(issuer.register, asked)
    name, secret = text(told, "client_id"), text(told, "client_secret")
    if not name:
        raise NoLogin("it was asked to register us, and gave no client id")
    said = text(told, "token_endpoint_auth_method")
    method = said or _preferred(issuer, proves=bool(secret))
    return Client(id=name, issuer=issuer.name, secret=secret, method=method, redirect=redirect)


def method_of(issuer: Issuer, *, secret: str, key: str) -> str:
    """How a client that somebody else registered proves itself."""
    return "private_key_jwt" if key else _preferred(issuer, proves=bool(secret))


def begun(issuer: Issuer, client: Client, wish: Wish) -> Begun:
    """An authorization request for a server (RFC 8707)."""
    asked = {"resource": wish.resource}
    if wish.scopes:
        asked["scope"] = " ".join(wish.scopes)
    if "offline_access" in wish.scopes:
        asked["prompt"] = "consent"
    return begun_for(issuer, client, asked)


def begun_for(issuer: Issuer, client: Client, more: Mapping[str, str]) -> Begun:
    """An authorization request with PKCE (S256), a state, and what is asked for besides."""
    verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(32)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
    asked = {
        "response_type": "code",
        "client_id": client.id,
        "redirect_uri": client.redirect,
        "state": state,
        "code_challenge": challenge.rstrip(b"=").decode(),
        "code_challenge_method": "S256",
        **more,
    }
    place_of(issuer.authorize)
    mark = "&" if urlsplit(issuer.authorize).query else "?"
    return Begun(url=f"{issuer.authorize}{mark}{urlencode(asked)}", state=state, verifier=verifier)


def code_of(answer: str, begun: Begun, issuer: Issuer) -> str:
    """The code in the address that a browser ended at. Raises `NoLogin` if it is not ours."""
    told = parse_qs(urlsplit(answer.strip()).query)
    words = {name: found[0] for name, found in told.items() if len(found) == 1}
    if not hmac.compare_digest(words.get("state", "").encode(), begun.state.encode()):
        raise NoLogin("what came back does not belong to this login: its state is another")
    said = words.get("iss")
    if said is None and issuer.says_who:
        raise NoLogin("what came back does not say which issuer it is from, as it should")
    if said is not None and said != issuer.name:
        raise NoLogin(f"what came back is from {said[:200]!r}, not from {issuer.name[:200]}")
    if "error" in words:
        raise Rejected(words["error"][:60])
    if not words.get("code"):
        raise NoLogin("there is no code in what came back: paste the whole address")
    return words["code"]


async def exchanged(
    asking: Asking, issuer: Issuer, client: Client, asked: Mapping[str, str], now: Instant
) -> Granted:
    """What is given for `asked` (a code, a refresh token, ourselves). Raises `NoLogin`."""
    headers: dict[str, str] = {}
    fields = {**asked}
    match client.method:
        case "client_secret_basic":
            pair = f"{quote(client.id, safe='')}:{quote(client.secret, safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        case "client_secret_post":
            fields |= {"client_id": client.id, "client_secret": client.secret}
        case "private_key_jwt":
            fields |= {"client_id": client.id, "client_assertion_type": _ASSERTION}
            fields["client_assertion"] = signed(client, issuer.name, now)
        case _:
            fields["client_id"] = client.id
    return _granted(await asking.form(issuer.token, fields, headers), asked, now)


def by_code(code: str, begun: Begun, client: Client, wish: Wish) -> Mapping[str, str]:
    return {
        "grant_type": "authorization_code",
        "code": code,
        "code_verifier": begun.verifier,
        "redirect_uri": client.redirect,
        "resource": wish.resource,
    }


def by_refresh(refresh: str, wish: Wish) -> Mapping[str, str]:
    return {"grant_type": "refresh_token", "refresh_token": refresh, "resource": wish.resource}


def by_ourselves(wish: Wish) -> Mapping[str, str]:
    asked = {"grant_type": "client_credentials", "resource": wish.resource}
    return {**asked, "scope": " ".join(wish.scopes)} if wish.scopes else asked


async def revoked(asking: Asking, issuer: Issuer, client: Client, token: str) -> bool:
    """Ask the issuer to take a login back (RFC 7009); whether it did."""
    if not issuer.revoke:
        return False
    fields = {"token": token, "client_id": client.id}
    if client.secret:
        fields["client_secret"] = client.secret
    try:
        await asking.form(issuer.revoke, fields)
    except NoLogin:
        return False
    return True


def _granted(told: Json, asked: Mapping[str, str], now: Instant) -> Granted:
    told = _theirs(told)
    access, kind = text(told, "access_token"), text(told, "token_type")
    if not access or any(not "!" <= one <= "~" for one in access):
        raise NoLogin("the issuer's answer holds no token")
    if kind.lower() not in {"bearer", ""}:
        raise NoLogin(f"the issuer gives tokens of the kind {kind[:40]!r}, which we cannot use")
    seconds = told.get("expires_in")
    if isinstance(seconds, str) and seconds.isdecimal() and len(seconds) < 12:
        seconds = int(seconds)
    good = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    life = min(max(float(seconds), 0.0), _LONGEST_LIFE) if good and seconds is not None else 0.0
    return Granted(
        access=access,
        refresh=text(told, "refresh_token") or asked.get("refresh_token", ""),
        expires_at=now + round(life * 1000) if life else 0,
        scopes=tuple(text(told, "scope").split()),
    )


def _theirs(told: Json) -> Json:
    """Slack says what is a person's below `authed_user`, calls it a token of the kind `user`, and
    puts commas between scopes."""
    found = told.get("authed_user")
    theirs: Json = cast("Json", found) if isinstance(found, dict) else {}
    told = theirs if theirs.get("access_token") else told
    if text(told, "token_type") != "user":
        return told
    return {**told, "token_type": "bearer", "scope": text(told, "scope").replace(",", " ")}


def _preferred(issuer: Issuer, *, proves: bool) -> str:
    """How we prove who we are, of what the issuer takes."""
    if not proves:
        known = ("none", "client_secret_basic", "client_secret_post")
        return next((one for one in known if one in issuer.methods), "none")
    if "client_secret_basic" in issuer.methods or not issuer.methods:
        return "client_secret_basic"
    return "client_secret_post" if "client_secret_post" in issuer.methods else "none"


def signed(client: Client, audience: str, now: Instant) -> str:
    """What proves by a key who we are (RFC 7523)."""
    from_here = now // 1000
    claims = {
        "iss": client.id,
        "sub": client.id,
        "aud": audience,
        "iat": from_here,
        "exp": from_here + 300,
        "jti": secrets.token_urlsafe(16),
    }
    return assertion(client.key, claims)
