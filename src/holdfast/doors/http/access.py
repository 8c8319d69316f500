"""Whom the door listens to: names it has, pages it trusts, proxies it believes; and who it was."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import Scope

from holdfast.core.error import NotAllowed
from holdfast.runtime.keyring import Key
from holdfast.runtime.scopes import ADMIN

from .scopes import ANYBODY, PUBLIC

MAX_BODY = 10_000_000

EVERY = "*"
"""Instead of an agent's name: only a key for all of them may use it."""

GRANT = "holdfast.grant"
"""Key of the scope: what the principal may do."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """What the configuration says about who may come. Nothing of it names a person.

    `names` are hosts besides this machine's own; `origins` web pages besides our own; `proxies`
    addresses whose X-Forwarded headers are believed.
    """

    names: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()
    proxies: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()
    session_seconds: int = 12 * 3600
    tries_per_minute: int = 30
    max_body: int = MAX_BODY

    def check_host(self, headers: Headers) -> None:
        """A web page may point its own name at this machine; the name then tells on it."""
        named = headers.getlist("host")
        if len(named) != 1 or not self._is_ours(named[0]):
            told = ", ".join(named)[:200] or "nothing"
            hint = "ask for 127.0.0.1, [::1] or localhost, or add the name to server.names"
            raise NotAllowed(f"the Host header names {told}", code="wrong_host", hint=hint)

    def check_page(self, scope: Scope, headers: Headers) -> None:
        origin = headers.get("origin")
        if origin is None or origin in self.origins:
            return
        if origin != f"{self.scheme(scope)}://{headers.get('host', '')}":
            hint = "server.origins lists the pages that may"
            raise NotAllowed(
                f"pages of {origin[:200]} may not ask", code="foreign_origin", hint=hint
            )

    def client(self, scope: Scope) -> str:
        """The address of whoever asks: as a proxy says, if that is one we believe."""
        address = str((scope.get("client") or ("",))[0])
        if not self._believed(address):
            return address
        said = ",".join(Headers(scope=scope).getlist("x-forwarded-for")).split(",")
        for one in reversed([part.strip() for part in said if part.strip()]):
            address = one
            if not self._believed(one):
                break
        return address[:64]

    def scheme(self, scope: Scope) -> str:
        """`https` if that is what the browser sees."""
        address = str((scope.get("client") or ("",))[0])
        if self._believed(address):
            said = Headers(scope=scope).get("x-forwarded-proto", "").strip().lower()
            if said in ("http", "https"):
                return said
        told = str(scope.get("scheme", "http"))
        return {"ws": "http", "wss": "https"}.get(told, told)

    def _believed(self, address: str) -> bool:
        if not self.proxies:
            return False
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self.proxies)

    def _is_ours(self, host: str) -> bool:
        return is_here(host) or _name(host) in self.names


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Who it is and what they may do. Without a key: everything; `csrf` if it came by cookie."""

    by: str
    key: Key | None = None
    csrf: str = ""

    @property
    def scopes(self) -> tuple[str, ...]:
        return self.key.scopes if self.key else (ADMIN,)

    def may(self, scope: str | None) -> bool:
        """A path that no rule knows is for those who may do everything: it is not there."""
        if scope == PUBLIC:
            return True
        if not self.by:
            return False
        if self.key is None or scope == ANYBODY or ADMIN in self.key.scopes:
            return True
        return scope in self.key.scopes

    def check(self, scope: str) -> None:
        """Raises `NotAllowed` for who has not this scope."""
        if not self.may(scope):
            hint = "make a key that has it: holdfast key create --scope"
            raise NotAllowed(
                f"{self.by or 'nobody'} has no scope {scope}", code="no_scope", hint=hint
            )

    def may_use(self, agent: str) -> bool:
        """Whether this agent, and what it does, is for them."""
        return self.key is None or self.key.may_use(agent)

    def check_agent(self, agent: str) -> None:
        """Raises `NotAllowed` for a key that is for other agents."""
        if not self.may_use(agent):
            what = f"{self.by} may not use the agent {agent}"
            raise NotAllowed(what, code="other_agent", hint="holdfast key list")


def grant(scope: Mapping[str, object]) -> Grant:
    """What whoever asks may do."""
    found = scope.get(GRANT)
    return found if isinstance(found, Grant) else Grant(by="")


def is_here(host: str) -> bool:
    """Whether a Host header names this machine as only itself can."""
    name = _name(host)
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _name(host: str) -> str:
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name.lower().rstrip(".")
