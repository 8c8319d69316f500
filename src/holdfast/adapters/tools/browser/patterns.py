"""What looks like a key is not shown: pages hold other people's secrets too."""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import quote, quote_plus

REDACTED = "[REDACTED]"
SECRET = "[secret]"  # noqa: S105 - what stands in place of one
_KEYS = re.compile(
    r"sk-[A-Za-z0-9_-]{16,}"
    r"|gh[pousr]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{16,}"
    r"|xox[abeprs]-[A-Za-z0-9-]{10,}"
    r"|(?<![A-Za-z0-9])A[KS]IA[A-Z0-9]{16}(?![A-Za-z0-9])"
)
_RUNS = re.compile(r"[A-Za-z0-9+/_-]{40,}={0,2}")
_HEX = re.compile(r"[0-9a-fA-F]{40,}")
SHORTEST = 6
"""Characters of a value that is looked for: shorter ones are in everything."""

_WORD = 12


def redacted(text: str) -> str:
    """`text` without what looks like keys: well-known forms, and 40 or more of hex or base64."""
    return _RUNS.sub(_judged, _KEYS.sub(REDACTED, text))


def without(secrets: Collection[str], text: str) -> str:
    """`text` without these values, as they are and as addresses have them."""
    forms = set(secrets).union(*(_written(each) for each in secrets))
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, SECRET)
    return text


def _written(secret: str) -> set[str]:
    """How addresses have it: escaped, in one of the usual encodings."""
    return {
        how(secret, safe="", encoding=encoding, errors="replace")
        for how in (quote, quote_plus)
        for encoding in ("utf-8", "latin-1")
    }


def _judged(found: re.Match[str]) -> str:
    """Words and paths are long too: base64 has digits and letters of both cases."""
    run = found[0]
    return REDACTED if _is_mixed(run) else _HEX.sub(REDACTED, run)


def _is_mixed(run: str) -> bool:
    breaks = sum(run.count(mark) for mark in "/_-")
    digits, lower, upper = (any(map(kind, run)) for kind in (str.isdigit, str.islower, str.isupper))
    return digits and lower and upper and breaks * _WORD < len(run)
