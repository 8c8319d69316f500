"""Where the url of a server leads."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from holdfast.core.mcp import ServerSpec


def place(spec: ServerSpec) -> tuple[str, int]:
    """Host and port."""
    parts = urlsplit(spec.url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def near(spec: ServerSpec) -> bool:
    """To a place that need not be public: to this machine, or where the owner says so."""
    host, _ = place(spec)
    if spec.private or host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
