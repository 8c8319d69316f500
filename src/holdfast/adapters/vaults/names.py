"""Which names and values a vault takes."""

from __future__ import annotations

import re

from holdfast.core.error import Invalid

LONGEST = 64 << 10
_WORD = r"[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_-])?"
_NAME = re.compile(f"{_WORD}(?:/{_WORD})*")
_LONGEST_NAME = 200


def checked_name(name: str) -> str:
    """The name itself. Raises `Invalid`."""
    if len(name) <= _LONGEST_NAME and _NAME.fullmatch(name):
        return name
    hint = "lower-case words with / - _ and . between them, like provider/openai/api_key"
    raise Invalid("that is not a name for a secret", code="bad_name", hint=hint)


def checked_value(value: str) -> bytes:
    """The value's bytes. Raises `Invalid`, without telling the value."""
    try:
        data = value.encode("utf-8")
    except UnicodeEncodeError:
        raise Invalid("the secret is not a text", code="bad_secret") from None
    if len(data) > LONGEST:
        raise Invalid(f"the secret is longer than {LONGEST >> 10} KiB", code="bad_secret")
    return data
