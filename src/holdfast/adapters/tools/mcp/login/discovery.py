"""Who issues a server's logins: what it says when it refuses us, and what the issuer publishes.

RFC 9728 (what a protected resource says of itself), RFC 8414 and OpenID Connect (what an issuer
does), and where there is nothing of that, the addresses that servers of early 2025 have.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from msgspec import Struct

from .asking import Asking, Json, NoLogin, place_of, text, texts

_PARAMETER = re.compile(r'([a-zA-Z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_BEARER = re.compile(r"(?:^|,)\s*(?:bearer|dpop)\s", re.IGNORECASE)
_LONGEST = 4_000
_RESOURCE = "/.well-known/oauth-protected-resource"
_SERVER = "/.well-known/oauth-authorization-server"
_OPENID = "/.well-known/openid-configuration"


class Challenge(Struct, frozen=True, kw_only=True):
    """What a server said when it refused us. `metadata` is where it describes itself."""

    metadata: str = ""
    scopes: tuple[str, ...] = ()
    error: str = ""


class Resource(Struct, frozen=True, kw_only=True):
    """A server as those who issue its logins know it; empty where it does not say."""

    name: str
    issuers: tuple[str, ...]
    scopes: tuple[str, ...] = ()
    told: bool = True


class Issuer(Struct, frozen=True, kw_only=True):
    """Somebody who issues logins. `says_who`: it names itself in what a browser brings back."""

    name: str
    authorize: str
    token: str
    register: str = ""
    revoke: str = ""
    scopes: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    documents: bool = False
    says_who: bool = False


def challenge_of(headers: Mapping[str, str]) -> Challenge:
    """What `WWW-Authenticate` tells; nothing of it is believed before it is looked at."""
    told = next((v for k, v in headers.items() if k.lower() == "www-authenticate"), "")[:_LONGEST]
    found = _BEARER.search(told)
    words = {
        name.lower(): quoted or plain
        for name, quoted, plain in _PARAMETER.findall(told[found.end() :] if found else "")
    }
    return Challenge(
        metadata=words.get("resource_metadata", ""),
        scopes=tuple(words.get("scope", "").split()[:50]),
        error=words.get("error", ""),
    )


async def resource_of(asking: Asking, url: str, challenge: Challenge) -> Resource:
    """What the server says of itself. Raises `NoLogin` if that is about another."""
    for place in _told_at(url, challenge):
        fields = await asking.found(place)
        if fields is None:
            continue
        name, issuers = text(fields, "resource"), texts(fields, "authorization_servers")
        if not issuers:
            continue
        if not covers(name, url):
            raise NoLogin(f"what it says of itself is about another: {name[:200]!r}")
        return Resource(name=name, issuers=issuers, scopes=texts(fields, "scopes_supported"))
    scheme, _, _ = place_of(url)
    origin = f"{scheme}://{urlsplit(url).netloc}"
    return Resource(name=url, issuers=(origin,), told=False)


async def issuer_of(asking: Asking, resource: Resource) -> Issuer:
    """How logins for it are issued. Raises `NoLogin`."""
    name = resource.issuers[0]
    for place in _published_at(name):
        fields = await asking.found(place)
        if fields is not None:
            return _issuer(name, fields)
    if not resource.told:
        return Issuer(
            name=name,
            authorize=f"{name}/authorize",
            token=f"{name}/token",
            register=f"{name}/register",
        )
    raise NoLogin(f"{name[:200]} does not say how it issues logins")


def covers(resource: str, url: str) -> bool:
    """What is about `resource` is about `url` too: the same place, and above it or itself."""
    try:
        if place_of(resource) != place_of(url):
            return False
    except NoLogin:
        return False
    above, path = urlsplit(resource).path.rstrip("/"), urlsplit(url).path.rstrip("/")
    return not urlsplit(resource).query and (path == above or path.startswith(f"{above}/"))


def _told_at(url: str, challenge: Challenge) -> Iterator[str]:
    if challenge.metadata:
        yield challenge.metadata
        return
    parts = urlsplit(url)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    if path:
        yield f"{origin}{_RESOURCE}{path}"
    yield f"{origin}{_RESOURCE}"


def _published_at(issuer: str) -> Iterator[str]:
    place_of(issuer)
    parts = urlsplit(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    yield f"{origin}{_SERVER}{path}"
    yield f"{origin}{_OPENID}{path}"
    if path:
        yield f"{origin}{path}{_OPENID}"


def _issuer(name: str, fields: Json) -> Issuer:
    said = text(fields, "issuer")
    if said != name and said.rstrip("/") != name.rstrip("/"):
        raise NoLogin(f"{name[:200]} says that it is {said[:200]!r}: another may answer for it")
    if "S256" not in texts(fields, "code_challenge_methods_supported"):
        raise NoLogin(f"{name[:200]} does not protect a login against being stolen (PKCE, S256)")
    issuer = Issuer(
        name=said,
        authorize=text(fields, "authorization_endpoint"),
        token=text(fields, "token_endpoint"),
        register=text(fields, "registration_endpoint"),
        revoke=text(fields, "revocation_endpoint"),
        scopes=texts(fields, "scopes_supported"),
        methods=texts(fields, "token_endpoint_auth_methods_supported"),
        documents=fields.get("client_id_metadata_document_supported") is True,
        says_who=fields.get("authorization_response_iss_parameter_supported") is True,
    )
    place_of(issuer.token)
    return issuer
