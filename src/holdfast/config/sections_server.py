"""The table `[server]`: where the daemon listens, to whom, and how patiently."""

from __future__ import annotations

import ipaddress
import re
from typing import Literal

from pydantic import Field, field_validator

from .section import Section, number, word

_NAME = re.compile(r"(?!-)[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*")
_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:\d{1,5})?|https?://\[[0-9a-f:]+\](:\d{1,5})?")


class Server(Section):
    """Where programs reach the daemon. The command line uses a Unix socket in the home instead."""

    http: bool = word(True, "Listen for HTTP on a TCP port.")
    host: str = word("127.0.0.1", "The address to listen on; one that others reach needs `tls`.")
    port: int = number(7799, 0, 65_535, "", "The port to listen on; 0 takes any free one.")
    tls: Literal["off", "own", "files"] = Field(
        default="off",
        description="`own`: a certificate made here (holdfast serve cert); `files`: yours.",
        examples=["own"],
    )
    certificate: str = word("", "For `files`: the certificate and its chain, PEM.", "cert.pem")
    certificate_key: str = word("", "For `files`: its private key, PEM.", "key.pem")
    names: tuple[str, ...] = Field(
        default=(),
        strict=False,
        description="Names and addresses it is asked by, besides this machine's own.",
        examples=[["agents.lan", "192.168.1.20"]],
    )
    origins: tuple[str, ...] = Field(
        default=(),
        strict=False,
        description="Web pages of others that may ask (CORS).",
        examples=[["https://app.example.com"]],
    )
    proxies: tuple[str, ...] = Field(
        default=(),
        strict=False,
        description="Networks whose X-Forwarded-For and -Proto are believed.",
        examples=[["10.0.0.0/8"]],
    )
    connections: int = number(512, 8, 100_000, "connections", "The most over TCP at once.")
    head_seconds: float = number(10.0, 0.1, 600, "s", "For the head of a request to arrive.")
    body_seconds: float = number(60.0, 0.1, 3600, "s", "For its body to arrive.")
    max_body_mb: int = number(10, 1, 1024, "MB", "The largest body that is read.")
    session_hours: float = number(12.0, 0.1, 8760, "h", "How long a browser stays logged in.")
    tries: int = number(30, 1, 10_000, "tries a minute", "Wrong keys from one address.")

    @field_validator("names")
    @classmethod
    def _are_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_plain_name(one) for one in value)

    @field_validator("origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            if not _ORIGIN.fullmatch(one):
                raise ValueError(f"expected scheme://host[:port] and nothing else, not {one!r}")
        return value

    @field_validator("proxies")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            try:
                ipaddress.ip_network(one)
            except ValueError as error:
                raise ValueError(f"expected a network like 10.0.0.0/8: {error}") from None
        return value

    @property
    def exposed(self) -> bool:
        """Whether others than this machine reach it."""
        try:
            return not ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host != "localhost"


def _plain_name(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        pass
    if not _NAME.fullmatch(text):
        raise ValueError(f"expected a host's name in lower case or an address, not {text!r}")
    return text
