"""Hides from models what looks like a secret, and puts it back into what they answer.

A guess, by the shapes in which keys and passwords are usually written: nobody need have told us
about them. The same text always gets the same placeholder, so that a model can speak about it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import TypeVar

from .redact import mapped

_PLACEHOLDER = re.compile(r"<<([A-Z]+_[0-9a-f]{12})>>")
_UNFINISHED = re.compile(r"<(?:<(?:[A-Z]+(?:_[0-9a-f]{0,12}>?)?)?)?\Z")
T = TypeVar("T")

SHAPES: Mapping[str, re.Pattern[str]] = {
    "PEM": re.compile(
        r"-----BEGIN (?P<pem>[A-Z ]{0,40}PRIVATE KEY)-----"
        r"(?:[^-]|-(?!----)){1,10000}-----END (?P=pem)-----"
    ),
    "JWT": re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"),
    "AWS": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "GITHUB": re.compile(r"\bgh[pousr]_[A-Za-z0-9]{36,}\b|\bgithub_pat_[A-Za-z0-9_]{22,}\b"),
    "ANTHROPIC": re.compile(r"\bsk-ant-[A-Za-z0-9_-]{20,}"),
    "STRIPE": re.compile(
        r"\b[sr]k_(?:test|live)_[A-Za-z0-9]{16,}|\bpk_(?:test|live)_[A-Za-z0-9]{16,}"
    ),
    "SK": re.compile(r"\bsk-[A-Za-z0-9_-]{20,}"),
    "SLACK": re.compile(r"\bxox[a-z]-[A-Za-z0-9-]{10,}"),
    "BEARER": re.compile(r"(?<=[Bb]earer )[A-Za-z0-9._~+/=-]{16,}"),
    "URL": re.compile(r"(?<=://)[^\s:/@]{1,100}:[^\s/@]{3,200}(?=@)"),
    "KEY": re.compile(
        r"(?i)(?<![a-z])(?:api[_-]?key|access[_-]?key|secret[_-]?access[_-]?key|auth[_-]?token|token)"
        r"[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?P<value>[A-Za-z0-9/+_.=-]{16,200})"
    ),
    "PASSWORD": re.compile(
        r"(?i)(?<![a-z])(?:password|passwd|pwd)[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?P<value>[^\s\"'<>,;]{4,200})"
    ),
    "SECRET": re.compile(
        r"(?i)(?<![a-z])(?:client[_-])?secret[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?P<value>[^\s\"'<>,;]{8,200})"
    ),
}
"""By kind, the surest first. A group `value` is the secret of a match that says more."""


class Disguise:
    """Placeholders and what they stand for, for as long as this lives. `key` makes them its own."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._behind: dict[str, str] = {}

    def put_on(self, value: T) -> T:
        """The value with everything hidden that looks like a secret."""
        return mapped(value, self.masked)

    def take_off(self, value: T) -> T:
        """The value with everything put back that was hidden."""
        return mapped(value, self.bare)

    def masked(self, text: str) -> str:
        for kind, shape in SHAPES.items():
            text = shape.sub(lambda found, kind=kind: self._hidden(kind, found), text)
        return text

    def bare(self, text: str) -> str:
        if "<<" not in text:
            return text
        return _PLACEHOLDER.sub(lambda found: self._behind.get(found[1], found[0]), text)

    def cut(self, text: str) -> int:
        """How much of the beginning can be let through: its end may begin a placeholder."""
        found = _UNFINISHED.search(text)
        return found.start() if found else len(text)

    def _hidden(self, kind: str, found: re.Match[str]) -> str:
        whole = found[0]
        secret = found["value"] if "value" in found.re.groupindex else whole
        if _PLACEHOLDER.search(secret) or secret.startswith("$SECRET{"):
            return whole
        mark = hmac.new(self._key, secret.encode(errors="replace"), hashlib.sha256).hexdigest()
        name = f"{kind}_{mark[:12]}"
        self._behind[name] = secret
        start = found.start("value") - found.start() if secret is not whole else 0
        return f"{whole[:start]}<<{name}>>{whole[start + len(secret) :]}"
