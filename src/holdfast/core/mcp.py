"""How a server of the Model Context Protocol is described."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

from msgspec import Struct

from .message import EffectClass


class ServerSpec(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One server: a `command` that runs in a box and talks on its stdin and stdout, or a `url`.

    `agents` and `tools` are shell patterns; of `effects` the first pattern that matches a tool
    counts, without one it writes. `reveal`: secrets that the process itself may see, which only its
    `environment` can hold. `seconds` is how long a call may take, `start_seconds` how long it may
    take to come up. `shared`: one process for all tasks, in a folder of its own.
    """

    name: str
    command: tuple[str, ...] = ()
    url: str = ""
    headers: Mapping[str, str] = {}
    environment: Mapping[str, str] = {}
    reveal: tuple[str, ...] = ()
    agents: tuple[str, ...] = ("*",)
    tools: tuple[str, ...] = ("*",)
    effects: Mapping[str, EffectClass] = {}
    believe_hints: bool = False
    seconds: float = 60.0
    start_seconds: float = 30.0
    idle_seconds: float = 300.0
    prefix: str | None = None
    description: str = ""
    read_only: tuple[str, ...] = ()
    shared: bool = False
    private: bool = False

    @property
    def place(self) -> tuple[str, int]:
        """Host and port of the `url`."""
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)

    @property
    def here(self) -> bool:
        """The `url` leads to this machine, whatever a name server says."""
        host, _ = self.place
        if host == "localhost":
            return True
        try:
            return ip_address(host).is_loopback
        except ValueError:
            return False
