"""Who may answer which questions, and of which calls a level of trust speaks: to the letter."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from holdfast.core.gate.judge import Standing, decided
from holdfast.core.gate.matter import Asking, Matter
from holdfast.core.gate.policy import Allow, Ask, Deny, Rule, Rules, Say
from holdfast.core.gate.presets import PRESETS
from holdfast.core.ids import CallId
from holdfast.core.message import EffectClass, ToolCall
from holdfast.runtime.answerers import Answerers, words
from holdfast.runtime.domains import (
    Domain,
    Grant,
    Level,
    grant_of,
    is_stale,
    layers_of,
    level_of,
    read_name,
    trusted,
)

ANY = Rule(say=Say.ASK)
SEND = ToolCall(
    id=CallId("c"), tool="mail_send", arguments={}, effect=EffectClass.WRITES, target="bob"
)
REMOVE = replace(SEND, tool="exec", target="rm -rf old")


def named(name: str, **conditions: Any) -> Domain:
    return Domain(name=name, calls=(Rule(say=Say.ASK, **conditions),))


def grant(domain: Domain, level: Level, agent: str = "") -> dict[tuple[str, str], Grant]:
    told = Grant(domain=domain.name, level=level, agent=agent, of=domain.digest)
    return {(domain.name, agent): told}


def verdict(call: ToolCall, domain: Domain, level: Level, *, preset: str = "ask", agent: str = "a"):
    rules = trusted(Rules(layers=((), PRESETS[preset])), [domain], grant(domain, level))
    return decided(call, Standing(asking=Asking(agent=agent)), rules)


@pytest.mark.parametrize(
    ("by", "not_requester", "principal", "may"),
    [
        ((), False, "user:ann", True),
        ((), False, "user:bob", True),
        ((), True, "user:ann", False),
        ((), True, "user:bob", True),
        (("user:ann",), False, "user:ann", True),
        (("user:ann",), True, "user:ann", False),
        (("user:b*", "key:x"), False, "user:bob", True),
        (("user:b*", "key:x"), False, "key:x", True),
        (("user:b*", "key:x"), False, "user:ann", False),
    ],
)
def test_who_may_is_who_is_named_and_not_the_requester_where_that_is_said(
    by: tuple[str, ...], not_requester: bool, principal: str, may: bool
):
    one = Answerers(calls=ANY, by=by, members=by, not_requester=not_requester)
    assert one.may(principal, "user:ann") is may


def test_a_group_without_members_is_nobody():
    assert not Answerers(calls=ANY, by=("group:none",)).may("user:ann", "")


def test_a_question_is_theirs_where_the_calls_and_one_kind_of_the_domain_fit():
    mail, web = Rule(say=Say.ASK, tools=("mail_*",)), Rule(say=Say.ASK, tools=("http",))
    both = Answerers(calls=replace(ANY, tools=("mail_send", "http", "exec")), domain=(mail, web))
    assert both.speaks_of(Matter(SEND))
    assert both.speaks_of(Matter(replace(SEND, tool="http")))
    assert not both.speaks_of(Matter(REMOVE))
    assert not both.speaks_of(Matter(replace(SEND, tool="mail_read")))
    assert Answerers(calls=ANY).speaks_of(Matter(REMOVE))


@pytest.mark.parametrize(
    ("calls", "domain", "tools", "meets"),
    [
        ((), (), ("exec",), True),
        (("mail_*",), (), ("exec",), False),
        (("mail_*",), (), ("exec", "mail_send"), True),
        (("mail_*", "exec"), (), ("exec",), True),
        (("exec",), (), ("ex*",), True),
        (("mail_*",), (), ("*_send",), True),  # both are patterns: it may be
        (("exec",), (), ("mail*",), False),
        ((), (("mail_*",),), ("exec",), False),
        ((), (("mail_*",), ()), ("exec",), True),  # a kind that names no tool
        (("exec",), (("mail_*",),), ("exec",), False),
        (("exec",), (("exec",),), ("exec",), True),
    ],
)
def test_whether_calls_of_some_tools_could_be_theirs(
    calls: tuple[str, ...],
    domain: tuple[tuple[str, ...], ...],
    tools: tuple[str, ...],
    meets: bool,
):
    kinds = tuple(Rule(say=Say.ASK, tools=one) for one in domain)
    one = Answerers(calls=Rule(say=Say.ASK, tools=calls), domain=kinds)
    assert one.may_meet(tools) is meets


def test_it_is_told_who_may_in_words():
    chief = Answerers(calls=ANY, by=("user:chief", "user:second"))
    other = Answerers(calls=ANY, not_requester=True)
    assert words([], "user:ann") == ()
    assert words([chief, chief], "user:ann") == ("user:chief or user:second",)
    assert words([other], "user:ann") == ("not user:ann, who asked for it",)
    assert words([chief, other], "user:ann") == (
        "user:chief or user:second",
        "not user:ann, who asked for it",
    )


def test_a_domain_of_other_agents_stays_theirs_whoever_has_a_level_of_its_own():
    crew = named("email", tools=("mail_*",), agents=("crew-*",))
    for agent, says in (("crew-1", Allow), ("other", Ask)):
        rules = trusted(
            Rules(layers=((), PRESETS["ask"])), [crew], grant(crew, Level.HIGH, agent=agent)
        )
        assert type(decided(SEND, Standing(asking=Asking(agent=agent)), rules)) is says


def test_only_agents_with_a_level_of_their_own_have_a_layer():
    mail = named("email", tools=("mail_*",))
    assert layers_of([mail], grant(mail, Level.HIGH))[0] == ()
    assert layers_of([mail], grant(mail, Level.HIGH, agent="a"))[0] != ()


@pytest.mark.parametrize("agent", ["a*", "a?", "[a]", "a"])
def test_the_name_of_an_agent_is_no_pattern(agent: str):
    mail = named("email", tools=("mail_*",))
    rules = trusted(Rules(layers=((), PRESETS["ask"])), [mail], grant(mail, Level.HIGH, agent))
    for other in ("ab", "a", "abc", agent):
        says = Allow if other == agent else Ask
        assert type(decided(SEND, Standing(asking=Asking(agent=other)), rules)) is says


@pytest.mark.parametrize(
    ("effects", "asks"),
    [((), True), (("writes",), True), (("reads",), False), (("reads", "w*"), True)],
)
def test_below_high_a_domain_asks_about_what_acts_if_such_calls_belong_to_it(
    effects: tuple[str, ...], asks: bool
):
    said = verdict(SEND, named("email", effects=effects), Level.LOW, preset="open")
    assert isinstance(said, Ask) is asks
    assert bool(layers_of([named("email", effects=effects)], {})[1]) is asks


@pytest.mark.parametrize(
    ("conditions", "asks"),
    [
        ({"tools": ("exec",)}, True),
        ({"tools": ("mail_*", "ex*")}, True),
        ({"effects": ("writes",)}, True),
        ({"tools": ("mail_*",)}, False),
        ({"tools": ("exec",), "paths": ("docs",)}, False),
        ({"tools": ("exec",), "hosts": ("a.example",)}, False),
        ({"tools": ("exec",), "methods": ("GET",)}, False),
    ],
)
def test_what_destroys_for_good_asks_where_command_lines_can_belong_to_the_domain(
    conditions: dict[str, Any], asks: bool
):
    said = verdict(REMOVE, named("work", **conditions), Level.HIGH, preset="open")
    assert isinstance(said, Ask) is asks


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("trust: email is high", ("email", Level.HIGH)),
        ("trust: a is b is low", ("a is b", Level.LOW)),
        ("email is high", None),
        ("trust: email", None),
        ("trust: high", None),
        ("trust: email is highest", None),
        ("my trust: email is high", None),
        ("", None),
    ],
)
def test_only_the_name_of_a_rule_of_trust_tells_a_domain_and_a_level(rule: str, told: Any):
    assert read_name(rule) == told


def test_only_more_than_low_can_be_out_of_date():
    mail = named("email", tools=("mail_*",))
    for level in Level:
        old = Grant(domain="email", level=level, of="before")
        assert is_stale(mail, old) is (level in (Level.MEDIUM, Level.HIGH))
        assert not is_stale(mail, replace(old, of=mail.digest))


@given(own=st.sampled_from(Level), everybodys=st.sampled_from(Level))
def test_an_agents_own_level_counts_but_where_nobody_is_trusted(own: Level, everybodys: Level):
    mail = named("email", tools=("mail_*",))
    grants = grant(mail, everybodys) | grant(mail, own, "a")
    counts = Level.NONE if everybodys is Level.NONE else own
    assert level_of(mail, grants, "a") is counts
    assert level_of(mail, grants, "b") is everybodys
    found = grant_of(mail, grants, "a")
    assert found is not None
    assert found.agent == ("" if everybodys is Level.NONE else "a")
    assert isinstance(verdict(SEND, mail, Level.NONE), Deny)
