"""Names have one spelling, addresses are what they are, and what is not allowed is not."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.egress import (
    Target,
    dialable,
    host_of,
    is_literal,
    kind_of,
    opened,
    permitted,
    place_of,
    target_of,
)
from holdfast.core.error import NotAllowed
from holdfast.core.reach import Allowed, Reach

LABEL = st.from_regex(r"[a-z][a-z0-9-]{0,10}[a-z]", fullmatch=True)
NAMES = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
LAYERED = Allowed(host="a.example", path="/v1/*")
V4 = st.ip_addresses(v=4)
V6 = st.ip_addresses(v=6)


def reach(*allowed: Allowed, **more: object) -> Reach:
    return Reach(task="t", agent="a", allowed=allowed, **more)  # pyright: ignore[reportArgumentType]


def code(refused: pytest.ExceptionInfo[NotAllowed]) -> str:
    return refused.value.code


@given(NAMES)
def test_every_spelling_of_a_name_is_one(name: str):
    for spelling in (name, name.upper(), f"{name}.", name.title(), name.replace(".", "\u3002")):
        assert host_of(spelling) == name
    assert host_of(host_of(name)) == name


@pytest.mark.parametrize(
    ("name", "spelt"),
    [
        ("B\u00dcCHER.example", "xn--bcher-kva.example"),
        ("fa\u00df.de", "xn--fa-hia.de"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("_dmarc.example.com", "_dmarc.example.com"),
    ],
)
def test_names_of_all_languages_are_spelt_in_ascii(name: str, spelt: str):
    assert host_of(name) == spelt


@pytest.mark.parametrize(
    "name",
    (
        *("", ".", "..", "a..b", ".a", "a b", "a\tb", "a\nb", "a\0b", "a%00b", "a%2eb", "a/b"),
        *("a\\b", "a?b", "a#b", "a@b", "a:b", "a[b", "-a.b", "a-.b", "a" * 64, "a,b", "a'b"),
        *('a"b', "a<b", "a;b", ".".join(["a" * 63] * 5), "a\u2044x", "\uff05.example"),
        *("a\u2028b", "a\ud800"),
    ),
)
def test_what_is_no_name_is_refused(name: str):
    with pytest.raises(NotAllowed):
        host_of(name)


@given(V4, st.booleans())
def test_an_address_is_one_in_its_usual_spelling_only(address: ipaddress.IPv4Address, wide: bool):
    number = int(address)
    a, b, c, d = address.packed
    odd = [
        str(number),
        hex(number),
        f"0{number:o}",
        f"{a}.{number & 0xFFFFFF}",
        f"{a}.{b}.{number & 0xFFFF}",
        f"{hex(a)}.{hex(b)}.{hex(c)}.{hex(d)}",
        f"0{a:o}.0{b:o}.0{c:o}.0{d:o}",
        f"{a:04}.{b}.{c}.{d}",
        f"{address}.",
        f"{address}.0",
        f"[{address}]",
    ]
    if wide:
        odd.append(str(address).translate({n: n + 0xFEE0 for n in b"0123456789"}))
    assert host_of(str(address)) == str(address)
    assert is_literal(str(address))
    for spelling in odd:
        with pytest.raises(NotAllowed) as refused:
            host_of(spelling)
        assert code(refused) == "egress_literal"


@given(V6)
def test_an_address_of_version_six_needs_its_brackets(address: ipaddress.IPv6Address):
    for spelling in (address.compressed, address.exploded, address.exploded.upper()):
        assert host_of(f"[{spelling}]") == address.compressed
        with pytest.raises(NotAllowed):
            host_of(spelling)
        with pytest.raises(NotAllowed):
            host_of(f"[{spelling}%25eth0]")


@given(V4 | V6)
def test_no_address_is_public_that_the_library_does_not_call_global(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
):
    embedded = address in ipaddress.ip_network("64:ff9b::/96") or getattr(
        address, "ipv4_mapped", None
    )
    if kind_of(str(address)) == "public" and not embedded:
        assert address.is_global
        assert not address.is_multicast


@given(V4)
def test_an_address_within_another_counts_as_itself(address: ipaddress.IPv4Address):
    number = int(address)
    inner = kind_of(str(address))
    assert kind_of(f"::ffff:{address}") == inner
    through = kind_of(str(ipaddress.IPv6Address((0x64FF9B << 96) | number)))
    assert (through == "public") == (inner == "public")
    assert through != "private"
    sixth = ipaddress.IPv6Address((0x2002 << 112) | (number << 80))
    teredo = ipaddress.IPv6Address((0x20010000 << 96) | (number << 64) | (number ^ 0xFFFFFFFF))
    assert kind_of(str(sixth)) == kind_of(str(teredo)) == "special"


@given(st.text(max_size=40))
def test_whatever_is_given_as_a_url_is_a_target_or_refused(text: str):
    for url in (text, f"http://{text}", f"https://a.example/{text}"):
        try:
            target = target_of(url)
        except NotAllowed:
            continue
        assert host_of(f"[{target.host}]" if ":" in target.host else target.host) == target.host
        assert target_of(target.url) == target
        assert (target.path + target.query).isascii()
        assert not set(target.url) & set(" \r\n\t\0\\")


@given(NAMES, NAMES)
def test_what_is_allowed_is_what_its_pattern_says(name: str, other: str):
    exact, below = reach(Allowed(host=name)), reach(Allowed(host=f"*.{name}"))

    def passes(one: Reach, host: str) -> bool:
        try:
            permitted(one, Target(scheme="https", host=host, port=443), "GET")
        except NotAllowed:
            return False
        return True

    assert passes(exact, name)
    assert passes(exact, other) == (other == name)
    assert passes(below, f"{other}.{name}")
    assert not passes(below, name)
    assert not passes(below, f"{other}x{name}")


@pytest.mark.parametrize(
    ("way", "url", "method", "said"),
    [
        (Allowed(host="a.example"), "https://b.example/", "GET", "egress_host"),
        (Allowed(host="a.example"), "http://a.example/", "GET", "egress_port"),
        (Allowed(host="*", port=0), "https://a.example:22/", "GET", "egress_port"),
        (Allowed(host="*", port=0), "https://a.example:1024/", "GET", ""),
        (Allowed(host="a.example", methods=("GET",)), "https://a.example/", "PUT", "egress_method"),
        (Allowed(host="a.example", path="/v1/*"), "https://a.example/v1/x/y?z=/../", "GET", ""),
        (Allowed(host="a.example", path="/v1/*"), "https://a.example/v2", "GET", "egress_path"),
        (
            Allowed(host="a.example", path="/v1/*"),
            "https://a.example/v1/../x",
            "GET",
            "egress_path",
        ),
        (
            Allowed(host="a.example", path="/v1/*"),
            "https://a.example/v1/%252e./x",
            "GET",
            "egress_path",
        ),
        (Allowed(host="a.example", path="/v1/*"), "https://a.example/%76%31/x", "GET", ""),
        (Allowed(host="a.example", path="/v1/*"), "https://a.example/v1/%252541", "GET", ""),
        (LAYERED, "https://a.example/v1/%" + "25" * 30_000 + "41", "GET", "egress_path"),
        (Allowed(host="a.example"), "https://a.example/v1/../x", "GET", ""),
        (Allowed(host="*"), "https://127.0.0.1/", "GET", "egress_literal"),
    ],
)
def test_a_request_passes_or_is_told_why_not(way: Allowed, url: str, method: str, said: str):
    if not said:
        assert permitted(reach(way), target_of(url), method) == way
        return
    with pytest.raises(NotAllowed) as refused:
        permitted(reach(way), target_of(url), method)
    assert code(refused) == said


def test_the_first_that_fits_counts_and_the_web_comes_last():
    keyed = Allowed(host="a.example", path="/v1/*", headers={"X": "y"})
    both = reach(keyed, web=True)
    assert permitted(both, target_of("https://a.example/v1/x"), "POST") == keyed
    assert permitted(both, target_of("https://a.example/v2"), "GET").headers == {}
    with pytest.raises(NotAllowed) as refused:
        permitted(both, target_of("https://a.example/v2"), "POST")
    assert code(refused) == "egress_path"


def test_tls_is_opened_where_something_must_be_seen_inside():
    ruled, free = Allowed(host="a.example", path="/v1/*"), Allowed(host="b.example")
    assert opened(reach(ruled, free, intercept=True), "a.example", 443)
    assert not opened(reach(ruled, free, intercept=True), "b.example", 443)
    assert not opened(reach(ruled, free), "b.example", 443)
    with pytest.raises(NotAllowed) as refused:
        opened(reach(ruled, free), "a.example", 443)
    assert code(refused) == "egress_closed"


def test_inner_addresses_are_for_the_hosts_that_are_named():
    home = reach(private=("wiki.lan", "*.corp.example", "169.254.169.254"))
    dialable(home, "wiki.lan", "10.0.0.1")
    dialable(home, "a.corp.example", "fd00::1")
    dialable(home, "169.254.169.254", "169.254.169.254")
    dialable(home, "elsewhere.example", "93.184.216.34")
    for host, address in [
        ("elsewhere.example", "10.0.0.1"),
        ("wiki.lan", "169.254.169.254"),
        ("wiki.lan", "fe80::1%eth0"),
        ("wiki.lan", "224.0.0.1"),
        ("wiki.lan", "no address"),
        ("corp.example", "10.0.0.1"),
    ]:
        with pytest.raises(NotAllowed) as refused:
            dialable(home, host, address)
        assert code(refused) == "egress_address"


@pytest.mark.parametrize("text", ["a.example", "a.example:", "a.example:0", "a.example:65536"])
def test_a_place_needs_a_port(text: str):
    with pytest.raises(NotAllowed):
        place_of(text)
