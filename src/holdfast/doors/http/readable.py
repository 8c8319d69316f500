"""Which files that come with a message are read."""

from __future__ import annotations

READ = ("text/", "image/", "audio/", "application/pdf", "application/json")
READABLE = ", ".join(f"{kind}*" if kind.endswith("/") else kind for kind in READ)
"""The same in words."""


def is_read(media_type: str) -> bool:
    return media_type.lower().startswith(READ)
