"""What is planted: secrets of many kinds, fresh in each run."""

from __future__ import annotations

import base64
import json
import secrets
import string
from collections.abc import Callable, Mapping

from msgspec import Struct

_LETTERS = string.ascii_letters + string.digits
_LINE = 64


class Canary(Struct, frozen=True, kw_only=True):
    """A value that must be found nowhere, and what it is called."""

    name: str
    kind: str
    value: str


def word(length: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(length))


def planted(count: int) -> list[Canary]:
    """So many for the vault, of each kind in turn."""
    kinds = list(KINDS)
    return [
        Canary(name=f"plant/{number:02}", kind=kind, value=KINDS[kind]())
        for number in range(count)
        for kind in [kinds[number % len(kinds)]]
    ]


def _pem() -> str:
    body = base64.b64encode(secrets.token_bytes(300)).decode()
    lines = [body[at : at + _LINE] for at in range(0, len(body), _LINE)]
    return "\n".join(["-----BEGIN PRIVATE KEY-----", *lines, "-----END PRIVATE KEY-----"])


def _record() -> str:
    return json.dumps({"user": word(6), "password": word(20), "url": f"https://{word(8)}/x"})


KINDS: Mapping[str, Callable[[], str]] = {
    "short": lambda: word(8),
    "hex": lambda: secrets.token_hex(20),
    "long": lambda: word(700),
    "unicode": lambda: f"pä$$wört-{word(6)}-密码-\N{KEY}-{word(6)}",
    "lines": lambda: f"{word(24)}\n{word(30)}\n{word(26)}",
    "quotes": lambda: f"{word(6)}\"'`\\{word(4)}'\\''\"{word(4)}",
    "address": lambda: f"{word(5)}&a=b/c?d%25e+f g#{word(5)}<{word(4)}>",
    "base64": lambda: f"{base64.b64encode(secrets.token_bytes(31)).decode()}",
    "json": _record,
    "pem": _pem,
}
"""Name -> how one is made."""
