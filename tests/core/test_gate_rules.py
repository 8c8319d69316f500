"""Conditions of rules, ceilings, leases and labels; and what must never widen."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from holdfast.core.error import Invalid
from holdfast.core.gate.book import Book
from holdfast.core.gate.hours import is_within
from holdfast.core.gate.judge import Standing, decided, explained
from holdfast.core.gate.matter import Asking, Matter
from holdfast.core.gate.policy import (
    Allow,
    Ask,
    Ceiling,
    Deny,
    Lease,
    Leave,
    Rule,
    Rules,
    Say,
    Verdict,
)
from holdfast.core.gate.presets import ABOUT, PRESETS
from holdfast.core.gate.suggest import allowing, suggested
from holdfast.core.ids import CallId
from holdfast.core.message import EffectClass, ToolCall
from holdfast.runtime.examples import examples
from tests.core.given import judge

NOON = 1_796_212_800_000  # Wednesday, 2 December 2026, 12:00 UTC
FREEDOM = {Deny: 0, Ask: 1, Allow: 2}


def path(tool: str, *paths: str, effect: str = "writes") -> ToolCall:
    target, *also = paths
    return ToolCall(
        id=CallId("c"),
        tool=tool,
        arguments={},
        effect=EffectClass(effect),
        target=target,
        also=tuple(also),
        names_paths=True,
    )


def line(text: str) -> ToolCall:
    return ToolCall(id=CallId("c"), tool="exec", arguments={}, target=text)


def web(url: str, method: str = "GET", tool: str = "http") -> ToolCall:
    return ToolCall(id=CallId("c"), tool=tool, arguments={"method": method}, target=url)


def verdict(call: ToolCall, *rules: Rule, **asking: Any) -> Verdict:
    who = replace(Asking(at=NOON), **asking)
    return judge(call, (rules,), unattended=False, until=NOON, asking=who)


def allows(rule: Rule, call: ToolCall, **asking: Any) -> bool:
    return isinstance(verdict(call, rule, **asking), Allow)


def denies(rule: Rule, call: ToolCall, **asking: Any) -> bool:
    """Whether a deny makes a difference where everything else is allowed."""
    return isinstance(verdict(call, Rule(say=Say.ALLOW), rule, **asking), Deny)


def allow(**conditions: Any) -> Rule:
    return Rule(say=Say.ALLOW, **conditions)


def deny(**conditions: Any) -> Rule:
    return Rule(say=Say.DENY, **conditions)


def test_every_condition_of_a_rule_must_hold():
    """Row OC-14. Part of rows OL-22, OL-24."""
    rule = allow(tools=("write", "edit"), agents=("crew-*",), principals=("ann",), paths=("src",))
    call, who = path("write", "src/a"), {"agent": "crew-1", "principal": "ann"}
    assert allows(rule, call, **who)
    assert not allows(rule, path("delete", "src/a"), **who)
    assert not allows(rule, path("write", "a"), **who)
    assert not allows(rule, call, **{**who, "agent": "default"})
    assert not allows(rule, call, **{**who, "principal": "bob"})


def test_to_allow_every_path_must_fit_and_to_deny_one_is_enough():
    """Part of row OK-105."""
    both, one = path("move", "src/a", "src/b"), path("move", "src/a", "b")
    assert allows(allow(paths=("src",)), both)
    assert not allows(allow(paths=("src",)), one)
    assert denies(deny(paths=("b",)), one)
    assert not denies(deny(paths=("c",)), one)
    assert not allows(allow(paths=("*",)), line("ls"))
    assert not allows(allow(paths=("*",)), path("read", "/etc/passwd"))


def test_a_rule_about_a_folder_is_about_all_in_it_and_meets_who_takes_the_whole():
    rule = deny(paths=("keys/private/*.pem",))
    assert denies(deny(paths=("keys",)), path("read", "keys/a/b", effect="reads"))
    assert denies(rule, path("delete", "keys"))
    assert denies(rule, path("move", "keys/private", "x"))
    assert denies(rule, path("search", ".", effect="reads"))
    assert not denies(rule, path("list", "keys", effect="reads"))
    assert not denies(rule, path("delete", "other"))


def test_a_command_is_allowed_only_if_every_piece_of_the_line_is():
    rule = allow(command=(("git", "status", "*"), ("wc", "*")))
    assert allows(rule, line("git status -s | wc -l"))
    for other in (
        "git push",
        "git status; rm x",
        "git status > x",
        "X=1 git status",
        "git status $(x)",
    ):
        assert not allows(rule, line(other)), other
    assert not allows(allow(command=(("git", "*"),)), web("https://git/"))


def test_a_command_is_denied_wherever_it_stands_in_the_line():
    """Part of row OK-107."""
    rule = deny(command=(("git", "**", "push", "**"),))
    for text in ("ls && git -C x push -f", "sudo git push", "sh -c 'git push'", "echo $(git push)"):
        assert denies(rule, line(text)), text
    assert not denies(rule, line("git pull"))


def test_hosts_and_methods_are_those_of_the_request():
    rule = allow(hosts=("*.example.com",), methods=("GET",))
    assert allows(rule, web("https://api.example.com/x"))
    assert allows(rule, web("https://API.example.com:8443/x", tool="web_fetch"))
    for url in (
        "https://example.org/",
        "https://api.example.com@evil.org/",
        "https://evil.org/?api.example.com",
        "https://evil.org\\@api.example.com/",
        "file:///api.example.com",
    ):
        assert not allows(rule, web(url)), url
    assert not allows(rule, web("https://api.example.com/x", "POST"))
    assert not allows(allow(hosts=("*",)), line("curl x"))


def test_a_rule_about_labels_meets_any_of_them():
    rule = deny(labels=("untrusted*",))
    call = replace(line("ls"), labels=("private:file", "untrusted:web:example.com"))
    assert denies(rule, call)
    assert not denies(rule, replace(call, labels=("private:file",)))
    assert not denies(rule, line("ls"))


def test_a_rule_that_allows_what_came_from_somebody_means_nobody_else():
    """What a trusted host said vouches for nothing that another one said besides."""
    rule = allow(labels=("copied:web:trusted.test",), tool="*")
    call = replace(line("ls"), labels=("copied:web:trusted.test",))
    assert allows(rule, call)
    assert not allows(rule, replace(call, labels=("copied:web:evil.test", *call.labels)))
    assert allows(allow(labels=("copied:*",), tool="*"), replace(call, labels=("copied:web:a",)))


def test_an_ask_about_labels_is_not_silenced_by_who_says_nothing_of_them():
    ask = Rule(say=Say.ASK, labels=("untrusted*",), effects=("writes",))
    tainted = replace(line("git push"), labels=("untrusted:web:a.example",))
    leave = Leave(allow=("exec",))
    rules = Rules(layers=((ask,), PRESETS["ask"]))
    standing = Standing(leave=leave, asking=Asking(at=NOON))
    assert isinstance(decided(line("git push"), standing, rules), Allow)
    asked = decided(tainted, standing, rules)
    assert isinstance(asked, Ask)
    assert "untrusted:web:a.example" in asked.question
    lease = Lease(id="l", rule=allow(tools=("exec",)))
    leased = replace(rules, leases=(lease,))
    plain = Standing(asking=Asking(at=NOON))
    assert isinstance(decided(line("git push"), plain, leased), Allow)
    assert isinstance(decided(tainted, plain, leased), Ask)
    knowing = replace(lease, rule=allow(tools=("exec",), labels=("untrusted:*",)))
    assert isinstance(decided(tainted, plain, replace(rules, leases=(knowing,))), Allow)


@pytest.mark.parametrize(
    ("hours", "within"),
    [
        ("08:00-18:00 Mon-Fri", True),
        ("08:00-12:00", False),
        ("12:00-12:01 Wed", True),
        ("22:00-13:00 Tue", True),
        ("22:00-13:00 Wed", False),
        ("00:00-24:00 Sat-Mon", False),
        ("00:00-24:00 Fri-Wed", True),
        ("08:00-09:00, 11:00-13:00 Wed", True),
    ],
)
def test_hours_are_those_of_the_clock_on_the_wall(hours: str, within: bool):
    assert is_within(hours, NOON, ()) is within
    assert is_within(hours, NOON - 7_200_000, ((0, 0), (NOON - 86_400_000, 120))) is within


@pytest.mark.parametrize(
    "hours", ["", "noon", "25:00-26:00", "08:00", "08:00-08:00", "08:61-09:00"]
)
def test_what_are_no_hours_is_said(hours: str):
    with pytest.raises(Invalid, match="no hours of the week"):
        is_within(hours, NOON, ())


def test_a_ceiling_bounds_what_everything_else_allows():
    """Part of row GC-89b."""
    ceiling = Ceiling(agents=("crew-*",), layers=((), PRESETS["reader"]))
    rules = Rules(layers=((), PRESETS["open"]), ceilings=(ceiling,))
    crew = Standing(leave=Leave(allow=("*",)), asking=Asking(agent="crew-1"))
    assert isinstance(decided(path("write", "a"), crew, rules), Deny)
    assert isinstance(decided(path("read", "a", effect="reads"), crew, rules), Allow)
    other = replace(crew, asking=Asking(agent="default"))
    assert isinstance(decided(path("write", "a"), other, rules), Allow)
    child = Standing(leave=Leave(allow=("*",), ceilings=("reader",)))
    assert isinstance(decided(path("write", "a"), child, rules), Deny)


def test_what_has_come_since_a_try_began_narrows_it_at_once_and_widens_nothing():
    """Part of row GC-89f."""
    old = Rules(layers=((allow(tools=("write",)),), PRESETS["ask"]), version="1")
    new = Rules(layers=((deny(tools=("write",)),), PRESETS["open"]), version="2")
    both, who = replace(old, newer=new), Standing(asking=Asking(at=NOON))
    assert isinstance(decided(path("write", "a"), who, both), Deny)
    assert isinstance(decided(line("ls"), who, both), Ask)
    assert isinstance(decided(line("ls"), who, new), Allow)


def test_a_lease_counts_down_ends_and_belongs_to_somebody():
    rules = Rules(layers=((), PRESETS["ask"]))
    lease = Lease(
        id="l", rule=allow(tools=("exec",)), scope="agent", of="a", uses=2, until=NOON + 1
    )
    under = replace(rules, leases=(lease,))

    def say(call: ToolCall, taken: int = 0, **asking: Any) -> Verdict:
        standing = Standing(asking=replace(Asking(agent="a", at=NOON), **asking))
        return decided(call, standing, under, {"l": taken})

    found = say(line("ls"))
    assert isinstance(found, Allow)
    assert found.lease == "l"
    assert isinstance(say(line("ls"), 1), Allow)
    assert isinstance(say(line("ls"), 2), Ask)
    assert isinstance(say(line("ls"), agent="b"), Ask)
    assert isinstance(say(line("ls"), at=NOON + 1), Ask)
    free = say(path("read", "a", effect="reads"))
    assert isinstance(free, Allow)
    assert not free.lease
    denied = replace(under, layers=((deny(tools=("exec",)),), PRESETS["ask"]))
    standing = Standing(asking=Asking(agent="a", at=NOON))
    assert isinstance(decided(line("ls"), standing, denied), Deny)


@pytest.mark.parametrize(
    "call",
    [
        line("git commit -m 'a * b'"),
        line("ls | wc -l"),
        path("move", "a[1].txt", "b/c"),
        web("https://api.example.com/x", "POST"),
        ToolCall(id=CallId("c"), tool="pay", arguments={}, target="ann?"),
        ToolCall(id=CallId("c"), tool="browser_click", arguments={}),
    ],
)
def test_the_suggested_rule_allows_this_call(call: ToolCall):
    assert suggested(call).matches(Matter(call))


def test_the_suggested_rule_allows_no_other_call():
    rule = suggested(line("git push origin"))
    for other in ("git push", "git push origin x", "git push origin; rm x", "git push *"):
        assert not rule.matches(Matter(line(other)))
    with pytest.raises(Invalid, match="more than plain words"):
        suggested(line("git push $x"))
    for bad in ("exec:a; b", "exec:'a", "exec:", ":x"):
        with pytest.raises(Invalid):
            allowing(bad)
    assert allowing("exec:git push *").matches(Matter(line("git push a b")))


def test_each_preset_is_explained_and_does_what_it_says():
    """Part of row GC-89c."""
    assert ABOUT.keys() == PRESETS.keys()

    def say(preset: str, call: ToolCall) -> str:
        found = judge(call, (PRESETS[preset],), unattended=False, until=0)
        return type(found).__name__

    read, write = path("read", "a", effect="reads"), path("write", "a", effect="repeatable")
    page = replace(web("https://a.example/", tool="web_fetch"), effect=EffectClass.READS)
    calls = (read, page, write, line("make"), line("git push --force"), path("write", ".env"))
    told = {name: [say(name, one) for one in calls] for name in PRESETS}
    assert told == {
        "nothing": ["Deny"] * 6,
        "read-only": ["Allow", "Allow", "Deny", "Deny", "Deny", "Deny"],
        "ask": ["Allow", "Allow", "Ask", "Ask", "Ask", "Ask"],
        "workspace": ["Allow", "Allow", "Allow", "Ask", "Ask", "Allow"],
        "open": ["Allow"] * 6,
        "reader": ["Allow", "Deny", "Deny", "Deny", "Deny", "Deny"],
        "researcher": ["Allow", "Allow", "Ask", "Ask", "Ask", "Ask"],
        "coder": ["Allow", "Allow", "Allow", "Allow", "Ask", "Deny"],
        "operator": ["Allow", "Allow", "Allow", "Allow", "Ask", "Deny"],
    }


@pytest.mark.parametrize(
    "text",
    [
        "rm -rf /",
        "rm -fr x",
        "rm --recursive x",
        "cd x && rm -r y",
        "git push --force",
        "git push -f origin",
        "git push origin +main",
        "git -C x reset --hard HEAD~3",
        "git clean -fd",
        "dd if=a of=b",
        "psql -c 'DROP TABLE users'",
        "find . -name x -delete",
        "sudo mkfs.ext4 /dev/sda",
    ],
)
def test_what_destroys_for_good_asks(text: str):
    """Row OK-107."""
    for preset in ("coder", "operator"):
        found = judge(line(text), (PRESETS[preset],), unattended=False, until=0)
        assert isinstance(found, Ask), preset


@pytest.mark.parametrize(
    "name", [".env", "a/.env.local", "prod.env", "x.key", "aws/credentials", "id_rsa"]
)
def test_credentials_are_not_written(name: str):
    """Row OK-105."""
    found = judge(path("write", name), (PRESETS["operator"],), unattended=False, until=0)
    assert isinstance(found, Deny)


# Laws

WORDS = st.sampled_from(["git", "push", "rm", "*", "**", "-rf"])
CONDITIONS: dict[str, st.SearchStrategy[Any]] = {
    "tools": st.sampled_from([(), ("write",), ("exec", "http"), ("*",)]),
    "effects": st.sampled_from([(), ("writes",), ("reads", "repeatable")]),
    "agents": st.sampled_from([(), ("a",), ("b*",)]),
    "principals": st.sampled_from([(), ("ann",)]),
    "paths": st.sampled_from([(), ("src",), ("*.md", "src/x"), ("*",), (".env*",)]),
    "command": st.lists(st.lists(WORDS, min_size=1, max_size=3).map(tuple), max_size=2).map(tuple),
    "hosts": st.sampled_from([(), ("a.example",), ("*.a.example",)]),
    "methods": st.sampled_from([(), ("GET",)]),
    "hours": st.sampled_from(["", "08:00-18:00", "22:00-06:00 Sat-Sun"]),
    "labels": st.sampled_from([(), ("untrusted*",), ("untrusted:web",), ("private*",)]),
    "target": st.sampled_from(["*", "git *", "src/*"]),
}


def rule_of(say: Say, chosen: dict[str, Any]) -> Rule:
    return Rule(say=say, **chosen)


ANY_RULE = st.builds(
    rule_of,
    st.sampled_from(Say),
    st.fixed_dictionaries({}, optional=CONDITIONS),
)
LAYER = st.lists(ANY_RULE, max_size=5).map(tuple)
LAYERS = st.lists(LAYER, max_size=3).map(tuple)
LABELS = st.sampled_from([(), ("untrusted:web",), ("private:file", "untrusted:mail")])
CALLS = st.one_of(
    st.builds(
        path,
        st.sampled_from(["read", "write", "search"]),
        st.sampled_from(["src", "src/x", "a.md", ".env", "/etc/x", "."]),
        effect=st.sampled_from(list(EffectClass)),
    ),
    st.builds(
        line, st.sampled_from(["git push", "git push; rm -rf x", "rm -rf $x", "sudo rm -rf x", ""])
    ),
    st.builds(web, st.sampled_from(["https://a.example/x", "https://b.a.example", "http://["])),
    st.builds(ToolCall, id=st.just(CallId("c")), tool=st.text(max_size=5), arguments=st.just({})),
).flatmap(lambda call: LABELS.map(lambda labels: replace(call, labels=labels)))
LEASES = st.lists(
    st.builds(
        Lease,
        id=st.sampled_from(["l1", "l2"]),
        rule=ANY_RULE.map(lambda rule: replace(rule, say=Say.ALLOW)),
        scope=st.sampled_from(["all", "agent", "task"]),
        of=st.sampled_from(["a", "t"]),
        uses=st.integers(0, 2),
        used=st.integers(0, 2),
    ),
    max_size=2,
).map(tuple)
CEILINGS = st.lists(
    st.builds(Ceiling, agents=st.sampled_from([("a",), ("*",)]), layers=LAYERS), max_size=2
).map(tuple)
POLICIES = st.builds(
    Rules,
    layers=st.tuples(LAYER, st.sampled_from(list(PRESETS.values()))),
    leases=LEASES,
    ceilings=CEILINGS,
    reports=st.booleans(),
)
LEAVES = st.builds(
    Leave,
    allow=st.sampled_from([(), ("*",), ("exec:git *",)]),
    deny=st.sampled_from([(), ("write",)]),
    unattended=st.booleans(),
    preset=st.sampled_from(["", "ask", "open"]),
)
STANDINGS = st.builds(
    Standing,
    leave=LEAVES,
    grants=st.lists(ANY_RULE, max_size=2).map(tuple),
    asking=st.builds(
        Asking,
        agent=st.sampled_from(["a", "b1"]),
        principal=st.sampled_from(["ann", "bob"]),
        task=st.just("t"),
        at=st.integers(NOON, NOON + 7 * 86_400_000),
    ),
)


def freedom(verdict: Verdict) -> int:
    return FREEDOM[type(verdict)]


@given(CALLS, STANDINGS, POLICIES)
def test_every_call_gets_one_verdict_and_always_the_same(
    call: ToolCall, standing: Standing, rules: Rules
):
    first = decided(call, standing, rules)
    assert first == decided(call, standing, rules)
    assert explained(call, standing, rules).verdict == first


@given(CALLS, STANDINGS, POLICIES, ANY_RULE, st.integers(0, 5), st.integers(0, 1))
def test_one_more_deny_never_widens(
    call: ToolCall, standing: Standing, rules: Rules, rule: Rule, place: int, layer: int
):
    layers = list(rules.layers)
    added = replace(rule, say=Say.DENY)
    layers[layer] = (*layers[layer][:place], added, *layers[layer][place:])
    narrower = replace(rules, layers=tuple(layers))
    assert freedom(decided(call, standing, narrower)) <= freedom(decided(call, standing, rules))


NARROWER: list[Callable[[Leave], Leave]] = [
    lambda leave: leave,
    lambda leave: replace(leave, ceilings=(*leave.ceilings, "reader")),
    lambda leave: replace(leave, ceilings=(*leave.ceilings, "coder")),
    lambda leave: replace(leave, deny=(*leave.deny, "exec")),
    lambda leave: replace(leave, unattended=True),
]


@given(CALLS, STANDINGS, POLICIES, st.sampled_from(NARROWER))
def test_a_child_may_never_more_than_its_parent(
    call: ToolCall, parent: Standing, rules: Rules, narrow: Callable[[Leave], Leave]
):
    child = replace(parent, leave=narrow(parent.leave))
    assert freedom(decided(call, child, rules)) <= freedom(decided(call, parent, rules))


@given(CALLS, STANDINGS, POLICIES, CEILINGS)
def test_one_more_ceiling_never_widens(
    call: ToolCall, standing: Standing, rules: Rules, more: tuple[Ceiling, ...]
):
    narrower = replace(rules, ceilings=(*rules.ceilings, *more))
    assert freedom(decided(call, standing, narrower)) <= freedom(decided(call, standing, rules))


@given(CALLS, STANDINGS, POLICIES, POLICIES)
def test_newer_rules_never_widen(call: ToolCall, standing: Standing, rules: Rules, newer: Rules):
    both = decided(call, standing, replace(rules, newer=newer))
    alone = (decided(call, standing, rules), decided(call, standing, newer))
    assert freedom(both) == min(map(freedom, alone))


@given(CALLS, STANDINGS, POLICIES)
def test_labels_that_only_report_never_narrow_and_say_what_they_would_have(
    call: ToolCall, standing: Standing, rules: Rules
):
    """What is denied or asked without a look at labels stays so; else the rule is written down."""
    strict = decided(call, standing, replace(rules, reports=False))
    found = decided(call, standing, replace(rules, reports=True))
    bare = decided(replace(call, labels=()), standing, replace(rules, reports=False))
    assert freedom(found) == max(freedom(strict), freedom(bare))
    if freedom(found) > freedom(strict):
        assert not isinstance(found, Deny)
        assert found.reported == strict.rule
    else:
        assert found == strict


@given(CALLS, STANDINGS, POLICIES)
def test_no_lease_allows_what_is_denied_by_a_rule(call: ToolCall, standing: Standing, rules: Rules):
    without = decided(call, standing, replace(rules, leases=()))
    if isinstance(without, Deny) and without.rule != "default deny":
        found = decided(call, standing, rules)
        assert isinstance(found, Deny) or "nobody is there" in without.reason


@given(CALLS, st.lists(ANY_RULE, max_size=40), STANDINGS)
def test_a_book_finds_exactly_the_rules_that_match(
    call: ToolCall, rules: list[Rule], standing: Standing
):
    matter = Matter(call, standing.asking)
    assert Book(rules).matching(matter) == [rule for rule in rules if rule.matches(matter)]


@given(ANY_RULE)
def test_examples_can_be_made_of_every_rule(rule: Rule):
    for example in examples(Rules(layers=((rule,),))):
        assert example.call.tool
