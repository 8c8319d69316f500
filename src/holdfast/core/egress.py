"""Who may reach what on the network, judged by name and by address; nothing is looked up here.

A name has one spelling, and an address in any other than its own is no name. What a name resolves
to is judged again, address by address, before one of them is dialled.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Literal, NoReturn
from urllib.parse import quote, unquote

import idna
from msgspec import Struct

from .error import NotAllowed
from .reach import Allowed, Reach

_URL = re.compile(r"(https?)://([^/?#]*)([^?#]*)(\?[^#]*)?(?:#.*)?", re.IGNORECASE | re.DOTALL)
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_UNSAID = re.compile(r"[\x00-\x1f\x7f\\]")
_KEPT = "!$%&'()*+,/:;=?@[]~"
_LAYERS = 3
_HINT = "what may be reached is said in [egress] of config.toml"
_PORTS = {"http": 80, "https": 443}

Kind = Literal["public", "private", "special"]
_TABLE: tuple[tuple[Kind, str], ...] = (
    # Addresses of cloud platforms that are none of a machine's own: they hand out credentials.
    ("special", "100.100.100.200/32 168.63.129.16/32 fd00:ec2::/32 fd20:ce::/32"),
    ("private", "10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 172.16.0.0/12 192.168.0.0/16 198.18.0.0/15"),
    ("special", "0.0.0.0/8 169.254.0.0/16 192.0.0.0/24 192.0.2.0/24 192.88.99.0/24"),
    ("special", "198.51.100.0/24 203.0.113.0/24 224.0.0.0/3"),
    ("public", "0.0.0.0/0"),
    ("private", "::1/128 fc00::/7"),
    # Teredo and other protocols, documentation, 6to4: ways to write another address.
    ("special", "2001::/23 2001:db8::/32 2002::/16 3fff::/20"),
    ("public", "2000::/3"),
    ("special", "::/0"),
)
_NETWORKS: tuple[tuple[Kind, IPv4Network | IPv6Network], ...] = tuple(
    (kind, ip_network(text)) for kind, line in _TABLE for text in line.split()
)
_WITHIN = (ip_network("::ffff:0:0/96"), ip_network("64:ff9b::/96"))


class Target(Struct, frozen=True, kw_only=True):
    """Where one request goes. `query` begins with its question mark."""

    scheme: str
    host: str
    port: int
    path: str = "/"
    query: str = ""

    @property
    def secure(self) -> bool:
        return self.scheme == "https"

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}{self.query}"


def target_of(url: str) -> Target:
    """Raises `NotAllowed` for what is no plain http or https URL."""
    found = _URL.fullmatch(url.strip(" "))
    if found is None or _UNSAID.search(url):
        _refuse("egress_malformed", f"{url[:200]!r} is not an http or https URL")
    scheme, authority, path, query = found.groups(default="")
    scheme = scheme.lower()
    host, port = place_of(authority, _PORTS[scheme])
    path, query = (quote(part, _KEPT, errors="replace") for part in (path or "/", query))
    return Target(scheme=scheme, host=host, port=port, path=path, query=query)


def place_of(authority: str, usual: int = 0) -> tuple[str, int]:
    """Host and port. Raises `NotAllowed`; so does a missing port when there is no usual one."""
    if "@" in authority:
        _refuse("egress_malformed", "an address with a user name in it is not followed")
    end = authority.rfind("]") + 1
    host, colon, port = authority[end:].partition(":")
    host = authority[:end] + host
    if (colon and not (_PORT.fullmatch(port) and int(port) < 1 << 16)) or not (colon or usual):
        _refuse("egress_malformed", f"{authority[:200]!r} has no proper port")
    return host_of(host), int(port) if colon else usual


def host_of(text: str) -> str:
    """The one spelling of a name or address: ASCII, lower case, no dot at the end.

    Raises `NotAllowed` for what is neither; an address must be written the usual way.
    """
    if text.startswith("["):
        return literal(text[1:-1] if text.endswith("]") and ":" in text else "")
    name = text
    if not text.isascii():
        try:
            name = idna.encode(text, uts46=True).decode()
        except idna.IDNAError:
            _refuse("egress_malformed", f"{text[:200]!r} is not the name of a host")
    name = name.lower().removesuffix(".")
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return literal(text)
    if len(name) > 253 or not all(map(_LABEL.fullmatch, labels)):
        _refuse("egress_malformed", f"{text[:200]!r} is not the name of a host")
    return name


def literal(text: str) -> str:
    """An address in its one spelling. Raises `NotAllowed` for every other."""
    try:
        return ip_address(text.replace("%", " ")).compressed
    except ValueError:
        _refuse("egress_literal", f"{text[:200]!r} is no address written the usual way")


def is_literal(host: str) -> bool:
    return ":" in host or _NUMBER.fullmatch(host.rpartition(".")[2]) is not None


def permitted(reach: Reach, target: Target, method: str) -> Allowed:
    """The first entry that lets this request through. Raises `NotAllowed`, and says what is not."""
    ways = _ways(reach, target.host, target.port)
    ways = [way for way in ways if not way.methods or method in way.methods]
    if not ways:
        _refuse("egress_method", f"{method} is not allowed at {target.host}")
    path, odd = _plain_path(target.path)
    ways = [way for way in ways if way.path == "*" or (not odd and fnmatchcase(path, way.path))]
    if not ways:
        _refuse("egress_path", f"{method} {target.path[:200]} is not allowed at {target.host}")
    return ways[0]


def opened(reach: Reach, host: str, port: int) -> bool:
    """Whether TLS to there is opened to look inside; False: it passes closed. `NotAllowed`."""
    ways = _ways(reach, host, port)
    if reach.intercept and any(way.ruled for way in ways):
        return True
    if all(way.ruled for way in ways):
        _refuse("egress_closed", f"what is allowed at {host} cannot be checked inside of TLS")
    return False


def dialable(reach: Reach, host: str, address: str) -> None:
    """Whether `address`, which `host` resolved to, may be dialled. Raises `NotAllowed`."""
    kind = kind_of(address)
    if kind == "public" or (is_literal(host) and host in reach.private):
        return
    if kind == "special" or not named(reach.private, host):
        _refuse("egress_address", f"{host} is at {address}, which is not on the public internet")


def kind_of(address: str) -> Kind:
    """What an address is for; that of one within another counts."""
    try:
        found = ip_address(address)
    except ValueError:
        return "special"
    if isinstance(found, IPv6Address):
        if found.scope_id:
            return "special"
        if any(found in network for network in _WITHIN):
            inner = kind_of(str(IPv4Address(int(found) & 0xFFFFFFFF)))
            return "special" if inner == "private" and found not in _WITHIN[0] else inner
    return next(kind for kind, network in _NETWORKS if found in network)


def named(patterns: Sequence[str], host: str) -> bool:
    """Whether one of the patterns means this host: a name, `*.name` for all below it, or `*`."""
    return any(
        pattern == host
        or pattern == "*"
        or (pattern.startswith("*.") and host.endswith(pattern[1:]) and not is_literal(host))
        for pattern in map(str.lower, patterns)
    )


def _ways(reach: Reach, host: str, port: int) -> list[Allowed]:
    if is_literal(host) and host not in reach.private:
        _refuse("egress_literal", f"{host} is an address: only names are reached")
    ways = [way for way in reach.ways if named((way.host,), host)]
    if not ways:
        _refuse("egress_host", f"{host} is not among the hosts that may be reached")
    usual = port in _PORTS.values() or port >= 1024
    ways = [way for way in ways if (way.port == port if way.port else usual)]
    if not ways:
        _refuse("egress_port", f"port {port} of {host} may not be reached")
    return ways


def _plain_path(path: str) -> tuple[str, bool]:
    """What servers make of a path, and whether they could make something else of it."""
    for _ in range(_LAYERS):
        if (plain := unquote(path)) == path:
            break
        path = plain
    steps = any(part.partition(";")[0] in {".", ".."} for part in re.split(r"[/\\]", path))
    return path, steps or unquote(path) != path


def _refuse(code: str, sentence: str) -> NoReturn:
    raise NotAllowed(sentence, code=code, hint=_HINT)
