"""Single checks of the gate, each of which would be missed alone: found by removing them."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from holdfast.core.egress import (
    dialable,
    host_of,
    is_literal,
    kind_of,
    named,
    opened,
    permitted,
    place_of,
    target_of,
)
from holdfast.core.error import Invalid, NotAllowed
from holdfast.core.gate.judge import Standing, decided, explained, layers_for
from holdfast.core.gate.matter import Asking
from holdfast.core.gate.policy import Allow, Ask, Ceiling, Deny, Lease, Leave, Rule, Rules, Say
from holdfast.core.reach import Allowed, Reach
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


def test_a_port_that_is_said_needs_no_usual_one():
    assert place_of("a.example:80") == ("a.example", 80)


def test_a_name_has_253_letters_at_the_most_and_a_bracket_two_sides():
    label = "a" * 63
    longest = ".".join((label, label, label, "b" * 61))
    assert (len(longest), host_of(longest)) == (253, longest)
    for odd in (f"{longest}b", "[::1", "[::1x]", "[127.0.0.1]"):
        with pytest.raises(NotAllowed):
            host_of(odd)


def test_an_address_is_no_name_below_another_and_one_of_a_link_is_none_of_ours():
    assert is_literal("fe80::1")
    assert not named(("*.0.0.1",), "127.0.0.1")
    assert kind_of("2001:4860:4860::8888") == "public"
    assert kind_of("2001:4860:4860::8888%eth0") == "special"


RULED = Allowed(host="a.example", methods=("GET",))
FREE = Allowed(host="a.example")


def reach(*ways: Allowed, intercept: bool = False, private: tuple[str, ...] = ()) -> Reach:
    return Reach(task="t", agent="a", allowed=ways, intercept=intercept, private=private)


def test_tls_is_opened_where_any_way_needs_it_and_passes_closed_where_any_does_not():
    assert opened(reach(RULED, FREE, intercept=True), "a.example", 443)
    assert not opened(reach(RULED, FREE), "a.example", 443)
    assert not opened(reach(FREE, intercept=True), "a.example", 443)
    with pytest.raises(NotAllowed) as refused:
        opened(reach(RULED), "a.example", 443)
    assert refused.value.code == "egress_closed"


def test_an_inner_address_is_reached_only_where_exactly_it_is_named():
    way = Allowed(host="127.0.0.1", port=80)
    inner = reach(way, private=("127.0.0.1",))
    assert permitted(inner, target_of("http://127.0.0.1/"), "GET") == way
    dialable(inner, "127.0.0.1", "127.0.0.1")
    for attempt in (
        lambda: permitted(reach(way), target_of("http://127.0.0.1/"), "GET"),
        lambda: dialable(reach(way), "127.0.0.1", "127.0.0.1"),
        lambda: dialable(reach(way, private=("b.example",)), "127.0.0.1", "127.0.0.1"),
    ):
        with pytest.raises(NotAllowed):
            attempt()


def test_what_a_ceiling_says_is_said_and_what_it_does_not_know_is_beyond_it():
    allows = (Rule(say=Say.ALLOW, tool="pay"),)
    denies = (Rule(say=Say.DENY, tool="pay", name="no pay"),)
    for layer, rule in ((denies, "no pay"), ((), "beyond the ceiling")):
        rules = Rules(layers=(allows,), ceilings=(Ceiling(agents=("*",), layers=(layer,)),))
        verdict = decided(call("p", "pay"), Standing(), rules)
        assert isinstance(verdict, Deny)
        assert verdict.rule == rule
    asks = Ceiling(agents=("*",), layers=((Rule(say=Say.ASK, tool="pay"),),))
    verdict = decided(call("p", "pay"), Standing(), Rules(layers=(allows,), ceilings=(asks,)))
    assert isinstance(verdict, Ask)


def lease(*, uses: int = 0, until: int = 0) -> Rules:
    rule = Rule(say=Say.ALLOW, tool="pay")
    return Rules(layers=ASKS.layers, leases=(Lease(id="l", rule=rule, uses=uses, until=until),))


def test_uses_of_a_lease_in_the_same_turn_count_though_nobody_has_written_them_down():
    rules = lease(uses=2)
    said = [decided(call("p", "pay"), Standing(), rules, {"l": taken}) for taken in range(4)]
    assert [type(one) for one in said] == [Allow, Allow, Ask, Ask]
    newer = Rules(layers=ASKS.layers, newer=rules)
    both = Rules(layers=rules.layers, leases=rules.leases, newer=rules)
    freer = Rules(layers=((Rule(say=Say.ALLOW, tool="pay"),),), newer=rules)
    for under in (newer, both, freer):
        assert isinstance(decided(call("p", "pay"), Standing(), under, {"l": 2}), Ask)


@pytest.mark.parametrize(("until", "said"), [(0, Allow), (999, Ask), (1000, Ask), (1001, Allow)])
def test_a_lease_ends_at_its_moment_and_not_after_it(until: int, said: type):
    standing = Standing(asking=Asking(at=1000))
    assert isinstance(decided(call("p", "pay"), standing, lease(until=until)), said)


def test_a_ceiling_that_there_is_not_is_refused_before_anything_is_judged():
    with pytest.raises(Invalid, match="no preset 'sky'"):
        layers_for(Leave(ceilings=("sky",)), (), Rules())


def test_of_two_that_allow_the_one_with_a_lease_counts_whichever_it_is():
    """A try keeps its rules while newer ones have come: a use is a use under either."""
    allows = Rules(layers=((Rule(say=Say.ALLOW, tool="pay"),),))
    lease = Lease(id="l1", rule=Rule(say=Say.ALLOW, tool="pay"))
    leased = Rules(layers=ASKS.layers, leases=(lease,))
    for rules in (replace(allows, newer=leased), replace(leased, newer=allows)):
        verdict = decided(call("c1", "pay"), Standing(), rules)
        assert isinstance(verdict, Allow)
        assert verdict.lease == "l1"


def test_a_question_gives_the_reason_of_its_rule_and_none_where_there_is_none():
    because = Rules(layers=((Rule(say=Say.ASK, tool="pay", reason="money"),),))
    asked, plain = (decided(call("c1", "pay"), Standing(), rules) for rules in (because, ASKS))
    assert isinstance(asked, Ask)
    assert isinstance(plain, Ask)
    assert "(money)" in asked.question
    assert "(" not in plain.question


def test_an_explanation_numbers_all_layers_of_the_policy_but_the_first():
    rule = Rule(say=Say.ALLOW, tool="pay")
    rules = Rules(layers=((rule,), (rule,), (rule,)))
    where = [match.where for match in explained(call("c1", "pay"), Standing(), rules).matches]
    assert where == ["policy", "policy 2", "preset"]
