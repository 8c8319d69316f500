"""Single checks of the gate, each of which would be missed alone: found by removing them."""

from __future__ import annotations

import pytest

from holdfast.core.egress import place_of, target_of
from holdfast.core.error import Invalid, NotAllowed
from holdfast.core.gate.judge import Standing, decided, layers_for
from holdfast.core.gate.matter import Asking
from holdfast.core.gate.policy import Allow, Ask, Lease, Leave, Rule, Rules, Say
from tests.core.given import call

ASKS = Rules(layers=((Rule(say=Say.ASK, tool="pay"),),))


@pytest.mark.parametrize(
    ("url", "authority", "whole", "secure"),
    [
        ("http://a.example", "a.example", "http://a.example/", False),
        ("HTTPS://A.example:443/b?c", "a.example", "https://a.example/b?c", True),
        ("http://a.example:443/", "a.example:443", "http://a.example:443/", False),
        ("https://a.example:80", "a.example:80", "https://a.example:80/", True),
        ("https://[2001:DB8::1]/", "[2001:db8::1]", "https://[2001:db8::1]/", True),
        ("http://[::1]:8080/x", "[::1]:8080", "http://[::1]:8080/x", False),
    ],
)
def test_a_target_is_written_in_one_way(url: str, authority: str, whole: str, secure: bool):
    target = target_of(url)
    assert (target.authority, target.url, target.secure) == (authority, whole, secure)


@pytest.mark.parametrize("odd", ["\x00", "\n", "\x7f", "\\"])
def test_a_target_holds_nothing_that_two_readers_read_differently(odd: str):
    for url in (f"http://a.example/{odd}", f"http://a.example/x?{odd}y"):
        with pytest.raises(NotAllowed) as refused:
            target_of(url)
        assert refused.value.code == "egress_malformed"


def test_an_address_with_a_name_in_it_is_called_what_it_is():
    with pytest.raises(NotAllowed, match="a user name in it"):
        place_of("ann@a.example", 80)


def lease(**more: int) -> Rules:
    rule = Rule(say=Say.ALLOW, tool="pay")
    return Rules(layers=ASKS.layers, leases=(Lease(id="l", rule=rule, **more),))


def test_uses_of_a_lease_in_the_same_turn_count_though_nobody_has_written_them_down():
    rules = lease(uses=2)
    said = [decided(call("p", "pay"), Standing(), rules, {"l": taken}) for taken in range(4)]
    assert [type(one) for one in said] == [Allow, Allow, Ask, Ask]
    newer = Rules(layers=ASKS.layers, newer=rules)
    both = Rules(layers=rules.layers, leases=rules.leases, newer=rules)
    for under in (newer, both):
        assert isinstance(decided(call("p", "pay"), Standing(), under, {"l": 2}), Ask)


@pytest.mark.parametrize(("until", "said"), [(0, Allow), (999, Ask), (1000, Ask), (1001, Allow)])
def test_a_lease_ends_at_its_moment_and_not_after_it(until: int, said: type):
    standing = Standing(asking=Asking(at=1000))
    assert isinstance(decided(call("p", "pay"), standing, lease(until=until)), said)


def test_a_ceiling_that_there_is_not_is_refused_before_anything_is_judged():
    with pytest.raises(Invalid, match="no preset 'sky'"):
        layers_for(Leave(ceilings=("sky",)), (), Rules())
