"""How the daemon is reached: addresses, TLS, whom it listens to. What is unsafe does not start."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

from holdfast.adapters import certificates
from holdfast.config import Config
from holdfast.core.error import Broken, NotAllowed, Refused
from holdfast.core.ids import Instant
from holdfast.doors.http.access import Access
from holdfast.doors.http.patience import Reception
from holdfast.doors.http.route import Certificate

TLS = "tls"
_HERE = ("localhost", "127.0.0.1", "::1")
_SHORTEST, _FEWEST = 32, 10


class Tls:
    """The certificate of the door and the context that shows it, which may get another one."""

    def __init__(self, config: Config, now: Callable[[], Instant]) -> None:
        self._server, self._home, self._now = config.server, config.home, now
        self.context = self._made() if config.server.tls != "off" else None

    def certificate(self, renew: bool) -> Certificate:
        """The one there is; renewed, those who connect from then on see the new one."""
        if renew and self._server.tls == "files":
            what = "server.certificate is yours: replace the file and restart"
            raise Refused(what, code="not_ours")
        found = self._found(renew=renew)
        if renew and self.context is not None:
            self.context.load_cert_chain(found.path, found.key_path)
        return Certificate(
            path=found.path,
            fingerprint=found.fingerprint,
            names=found.names,
            expires_at=found.expires_at,
        )

    def _found(self, *, renew: bool) -> certificates.Certificate:
        server, home = self._server, self._home
        if server.tls == "files":
            return certificates.read(home / server.certificate, home / server.certificate_key)
        names = dict.fromkeys([*_HERE, *_own_names(server.host), *server.names])
        return certificates.own(home / TLS, [*names], self._now(), renew=renew)

    def _made(self) -> ssl.SSLContext:
        found = self._found(renew=False)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(found.path, found.key_path)
        except (OSError, ssl.SSLError) as error:
            what = f"{found.path} and {found.key_path} are not a certificate and its key: {error}"
            raise Broken(what, code="bad_certificate", hint="server.certificate_key") from None
        return context


def reception(config: Config, tls: Tls) -> Reception:
    server = config.server
    return Reception(
        tls=tls.context,
        head=server.head_seconds,
        body=server.body_seconds,
        connections=server.connections,
    )


def access(config: Config) -> Access:
    """Who may come, by what the configuration says."""
    server = config.server
    return Access(
        names=frozenset({*_own_names(server.host), *server.names}),
        origins=frozenset(server.origins),
        proxies=tuple(ipaddress.ip_network(one) for one in server.proxies),
        session_seconds=round(server.session_hours * 3600),
        tries_per_minute=server.tries,
        max_body=server.max_body_mb * 1_000_000,
    )


def check_strength(config: Config, token: str) -> None:
    """Raises `NotAllowed` for a token that others could guess, where others can try."""
    weak = len(token) < _SHORTEST or len(set(token)) < _FEWEST
    if config.server.exposed and weak:
        path = Path(config.home, "token")
        what = f"server.host {config.server.host!r} is reached by others, and {path} can be guessed"
        raise NotAllowed(what, code="weak_token", hint=f"delete {path}: a strong one is made")


def _own_names(host: str) -> list[str]:
    """What others call this machine, as far as it knows: its address, and its own name."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return [host.lower()] if host else []
    if address.is_loopback:
        return []
    name = socket.gethostname().lower()
    own = [name] if name.replace("-", "").replace(".", "").isalnum() and name.isascii() else []
    return own if address.is_unspecified else [str(address), *own]
