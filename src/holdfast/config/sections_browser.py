"""The table of the browser that agents use."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from .section import Section, number, word

_DAY = 86_400


class Browser(Section):
    """The browser that agents use: one for each task that wants one."""

    tier: Literal["local", "stealth", "remote"] = Field(
        default="local",
        description="`local`: one of this machine, in a box; `stealth`: one there that hides that "
        "it is driven, named by `executable`; `remote`: one elsewhere, at `remote_url`.",
        examples=["remote"],
    )
    executable: str = word(
        "",
        "The program, a Chromium; empty: the first that is found.",
        "/usr/bin/chromium",
    )
    remote_url: str = word(
        "",
        "The DevTools address (ws or wss) of a remote browser; `$SECRET{name}` is a secret.",
        "wss://browser.example/?token=$SECRET{browser/token}",
    )
    width: int = number(1280, 320, 4096, "pixels", "The width of its window.")
    height: int = number(720, 240, 4096, "pixels", "The height of its window.")
    most: int = number(4, 1, 64, "browsers", "Browsers that are open at once.")
    idle_seconds: float = number(
        300.0, 1, _DAY, "s", "After this long without use one is closed, and what it had is gone."
    )
    load_seconds: float = number(30.0, 1, 600, "s", "How long a page may take to load.")
    act_seconds: float = number(
        10.0, 0.1, 600, "s", "How long a click waits for its element, and a script may run."
    )
    memory_mb: int = number(1024, 256, 1 << 20, "MiB", "Memory of one browser.")

    secret_hosts: tuple[str, ...] = Field(
        default=("*",),
        strict=False,
        description="Hosts (shell patterns) into whose pages secrets may be typed, over https.",
        examples=[["*.example.com"]],
    )

    @field_validator("remote_url")
    @classmethod
    def _is_a_devtools_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (parts.scheme not in {"ws", "wss"} or not parts.netloc):
            raise ValueError("expected an address that begins with ws:// or wss://")
        if parts.password:
            raise ValueError("expected no password in the address; write $SECRET{name} for it")
        return value
