"""What a browser may be and use."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Tier = Literal["local", "stealth", "remote"]


class BrowserOptions(Struct, frozen=True, kw_only=True):
    """`tier`: one of this machine in a box, one there that hides that it is driven, one elsewhere.

    `executable` is the browser's program ("": the first that is found); `remote_url` a DevTools
    address (ws, wss), in which `$SECRET{name}` stands for a secret. `most` browsers are open at
    once; one that is not used for `idle_seconds` is closed. A page has `load_seconds` to come and
    `act_seconds` for everything else. `memory_mb` is for all processes of one browser. Secrets are
    typed only at `secret_hosts`, which are shell patterns.
    """

    tier: Tier = "local"
    executable: str = ""
    remote_url: str = ""
    width: int = 1280
    height: int = 720
    most: int = 4
    idle_seconds: float = 300.0
    load_seconds: float = 30.0
    act_seconds: float = 10.0
    memory_mb: int = 1024
    secret_hosts: tuple[str, ...] = ("*",)
