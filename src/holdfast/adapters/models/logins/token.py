"""A login's tokens, and what a signed one says about itself."""

from __future__ import annotations

import base64
import binascii
from typing import Any, cast

import msgspec
from msgspec import Struct

EARLY = 60.0


class Token(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a login consists of. `expires_at` in seconds since the epoch; 0 when nobody says.

    `account` and `base_url` are what the issuer said about them; `models` can be asked with it.
    """

    access: str
    refresh: str = ""
    expires_at: float = 0.0
    account: str = ""
    client_id: str = ""
    base_url: str = ""
    models: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Token(expires_at={self.expires_at:.0f})"

    def fresh(self, now: float, early: float = EARLY) -> bool:
        return not self.expires_at or now < self.expires_at - early


def claims(token: str) -> dict[str, Any]:
    """The claims of a JWT, unverified: hints, never an authority. Empty for anything else."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        told: object = msgspec.json.decode(base64.urlsafe_b64decode(parts[1] + "=="))
    except (binascii.Error, ValueError):
        return {}
    return cast("dict[str, Any]", told) if isinstance(told, dict) else {}


def expiry(token: str) -> float:
    """When a JWT ends; 0 if it does not say."""
    found = claims(token).get("exp")
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else 0.0


def issued_to(access: str, identity: str = "") -> str:
    """The client that the tokens were issued to, as they say themselves."""
    client = claims(access).get("client_id")
    if isinstance(client, str):
        return client
    audience = claims(identity).get("aud")
    if isinstance(audience, list):
        named = [one for one in cast("list[object]", audience) if isinstance(one, str)]
        return named[0] if len(named) == 1 else ""
    return audience if isinstance(audience, str) else ""


def account_of(*tokens: str) -> str:
    """The ChatGPT account that one of the tokens is for."""
    for token in tokens:
        told = claims(token)
        inner = told.get("https://api.openai.com/auth")
        places = [cast("dict[str, Any]", inner)] if isinstance(inner, dict) else []
        for place in (*places, told):
            if isinstance(found := place.get("chatgpt_account_id"), str):
                return found
    return ""
