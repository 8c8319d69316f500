"""Trust as rules: what each level says, and that granting never opens what something forbids."""

from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from holdfast.core.audit.fact import Fact
from holdfast.core.gate.judge import Standing, decided
from holdfast.core.gate.matter import Asking, Matter
from holdfast.core.gate.policy import Allow, Ask, Ceiling, Deny, Leave, Rule, Rules, Say
from holdfast.core.gate.presets import PRESETS
from holdfast.core.ids import CallId
from holdfast.core.message import EffectClass, ToolCall
from holdfast.runtime.answerers import Answerers, words
from holdfast.runtime.autonomy import Answers, advised, undone, weighed
from holdfast.runtime.domains import (
    Domain,
    Grant,
    Level,
    layers_of,
    level_of,
    read_name,
    rule_name,
    trusted,
)

MAIL = Domain(name="email", calls=(Rule(say=Say.ASK, tools=("mail_*",)),))
DEPLOY = Domain(name="deploy", calls=(Rule(say=Say.ASK, command=(("git", "push", "**"),)),))
FILES = Domain(name="files", calls=(Rule(say=Say.ASK, tools=("write",), paths=("docs",)),))
ASKING = Asking(agent="secretary", principal="user:ann", task="task_1", at=1_000)
SEND = ToolCall(
    id=CallId("c"), tool="mail_send", arguments={}, effect=EffectClass.WRITES, target="bob"
)


def line(text: str) -> ToolCall:
    return replace(SEND, tool="exec", target=text)


def given_to(*domains: Domain, level: Level, agent: str = "") -> dict[tuple[str, str], Grant]:
    return {
        (one.name, agent): Grant(domain=one.name, level=level, agent=agent, of=one.digest)
        for one in domains
    }


def said(call: ToolCall, level: Level | None, rules: Rules | None = None, domain: Domain = MAIL):
    grants = given_to(domain, level=level) if level else {}
    laid = trusted(rules or Rules(layers=((), PRESETS["ask"])), [domain], grants)
    return decided(call, Standing(asking=ASKING), laid)


@pytest.mark.parametrize(
    ("level", "verdict", "rule"),
    [
        (Level.NONE, Deny, "trust: email is none"),
        (Level.LOW, Ask, "trust: email is low"),
        (None, Ask, "trust: email is low"),
        (Level.MEDIUM, Ask, "trust: email is medium"),
        (Level.HIGH, Allow, "trust: email is high"),
    ],
)
def test_each_level_says_what_it_means(level: Level, verdict: type, rule: str):
    """Row OK-49."""
    found = said(SEND, level)
    assert (type(found), found.rule) == (verdict, rule)
    assert said(replace(SEND, tool="write"), level).rule == (
        "preset ask: changing and executing asks"
    ), "what belongs to no domain is as ever"


def test_reading_in_a_domain_is_as_ever_below_high():
    reads = replace(SEND, tool="mail_list", effect=EffectClass.READS)
    assert isinstance(said(reads, Level.LOW), Allow)
    assert isinstance(said(reads, Level.NONE), Deny)


def test_what_destroys_for_good_asks_at_every_level():
    """Row OK-107."""
    assert isinstance(said(line("git push origin"), Level.HIGH, domain=DEPLOY), Allow)
    forced = said(line("git push --force origin"), Level.HIGH, domain=DEPLOY)
    assert isinstance(forced, Ask)
    assert forced.rule == "preset: what destroys for good asks"


def test_a_label_is_not_silenced_by_trust():
    labelled = replace(SEND, labels=("untrusted:web:evil.example",))
    found = said(labelled, Level.HIGH)
    assert isinstance(found, Ask)
    assert found.rule == "preset: what nobody here has said asks"


def test_ones_own_rules_stand_above_trust():
    asks = Rule(say=Say.ASK, tool="mail_*", target="boss", name="mine")
    rules = Rules(layers=((asks,), PRESETS["ask"]))
    assert said(replace(SEND, target="boss"), Level.HIGH, rules).rule == "mine"
    assert isinstance(said(SEND, Level.HIGH, rules), Allow)


def test_a_ceiling_stands_above_trust():
    ceiling = Ceiling(agents=("secret*",), layers=(PRESETS["reader"],))
    rules = Rules(layers=((), PRESETS["ask"]), ceilings=(ceiling,))
    assert isinstance(said(SEND, Level.HIGH, rules), Deny)


def test_nobody_is_there_to_ask_so_low_is_no_and_high_runs():
    """Row OK-51."""
    for level, verdict in ((Level.LOW, Deny), (Level.HIGH, Allow)):
        laid = trusted(Rules(layers=((), PRESETS["ask"])), [MAIL], given_to(MAIL, level=level))
        alone = Standing(leave=Leave(unattended=True), asking=ASKING)
        assert isinstance(decided(SEND, alone, laid), verdict)


def test_an_agent_has_its_own_level_and_none_is_for_all():
    high = given_to(MAIL, level=Level.HIGH, agent="secretary")
    assert level_of(MAIL, high, "secretary") is Level.HIGH
    assert level_of(MAIL, high, "other") is Level.LOW
    assert level_of(MAIL, high | given_to(MAIL, level=Level.NONE), "secretary") is Level.NONE
    for agent, verdict in (("secretary", Allow), ("other", Ask), ("secretary2", Ask)):
        laid = trusted(Rules(layers=((), PRESETS["ask"])), [MAIL], high)
        who = Standing(asking=replace(ASKING, agent=agent))
        assert isinstance(decided(SEND, who, laid), verdict), agent


def test_an_agents_own_level_in_one_domain_opens_no_other():
    both = Domain(name="letters", calls=(Rule(say=Say.ASK, tools=("mail_send",)),))
    grants = given_to(MAIL, level=Level.HIGH, agent="secretary")
    laid = trusted(Rules(layers=((), PRESETS["ask"])), [MAIL, both], grants)
    found = decided(SEND, Standing(asking=ASKING), laid)
    assert isinstance(found, Ask)
    assert found.rule == "trust: letters is low"


def test_more_than_low_holds_only_for_the_domain_as_it_was_granted():
    wider = replace(MAIL, calls=(Rule(say=Say.ASK, tools=("*",)),))
    assert level_of(wider, given_to(MAIL, level=Level.HIGH)) is Level.LOW
    assert level_of(wider, given_to(MAIL, level=Level.NONE)) is Level.NONE


def test_a_rule_may_say_how_far_an_agent_is_trusted():
    """It counts at the level that holds for that agent: its own, else everybody's, else low."""
    mine = Rule(say=Say.ALLOW, tools=("mail_send",), name="mine", trust=("email:medium",))
    rules = Rules(layers=((mine,), PRESETS["ask"]))

    def of(agent: str, grants: dict[tuple[str, str], Grant], *domains: Domain) -> str:
        laid = trusted(rules, domains or (MAIL, DEPLOY), grants)
        return decided(SEND, Standing(asking=replace(ASKING, agent=agent)), laid).rule

    everybody = given_to(MAIL, level=Level.MEDIUM)
    secretary = given_to(MAIL, level=Level.MEDIUM, agent="secretary")
    assert of("secretary", {}) == "trust: email is low"
    assert of("secretary", everybody) == of("newcomer", everybody) == "mine"
    assert of("secretary", secretary) == "mine"
    assert of("newcomer", secretary) == "trust: email is low"
    newcomer = everybody | given_to(MAIL, level=Level.HIGH, agent="newcomer")
    assert of("newcomer", newcomer) == "trust: email is high"
    assert of("secretary", given_to(DEPLOY, level=Level.MEDIUM)) == "trust: email is low"
    changed = replace(MAIL, calls=(Rule(say=Say.ASK, tools=("mail_send",)),))
    assert of("secretary", everybody, changed) == "trust: email is low"
    assert decided(SEND, Standing(asking=ASKING), rules).rule != "mine"


@given(level=st.sampled_from(Level), patterns=st.lists(st.sampled_from(["email:*", *(
    f"{name}:{level}" for name in ("email", "deploy", "*") for level in Level
)]), min_size=1))  # fmt: skip
def test_of_the_levels_of_a_rule_it_is_enough_that_one_fits(level: Level, patterns: list[str]):
    rule = Rule(say=Say.DENY, name="no", trust=tuple(patterns))
    grants = given_to(MAIL, level=level)
    laid = trusted(Rules(layers=((rule,), PRESETS["open"])), [MAIL], grants)
    fits = {"email:*", f"email:{level}", f"*:{level}"} & set(patterns)
    verdict = decided(SEND, Standing(asking=ASKING), laid)
    assert (verdict.rule == "no") is bool(fits)


def test_the_version_of_the_policy_follows_the_level():
    plain = Rules(layers=((), PRESETS["ask"]), version="policy-1")
    assert trusted(plain, [], {}) is plain
    versions = {trusted(plain, [MAIL], given_to(MAIL, level=level)).version for level in Level}
    assert len(versions) == len(Level)


WORDS = st.sampled_from(["mail_send", "*", "mail_*", "exec", "write"])
TARGETS = st.sampled_from(["*", "bob", "docs/a", "rm -rf x", "git push"])
CALLS = st.builds(
    ToolCall,
    id=st.just(CallId("c")),
    tool=st.sampled_from(["mail_send", "mail_send", "mail_list", "write", "exec"]),
    arguments=st.just({}),
    effect=st.sampled_from(EffectClass),
    target=TARGETS.filter(lambda one: one != "*"),
    names_paths=st.booleans(),
    labels=st.sampled_from([(), ("untrusted:web:x",), ("unsaid:mail:bob",)]),
)
RULES = st.builds(
    Rule,
    say=st.sampled_from([Say.ASK, Say.ASK, Say.ALLOW, Say.DENY]),
    tool=WORDS,
    target=st.one_of(st.just("*"), TARGETS),
    effect=st.sampled_from(["*", "*", "writes", "reads"]),
    labels=st.sampled_from([(), (), ("untrusted:*",)]),
    name=st.text(string.ascii_lowercase, min_size=3, max_size=6),
)
LAYER = st.lists(RULES, max_size=2).map(tuple)
CEILINGS = st.builds(
    Ceiling,
    agents=st.sampled_from([("secretary",), ("*",), ("other",)]),
    layers=st.tuples(LAYER, st.sampled_from(sorted(PRESETS)).map(PRESETS.__getitem__)),
)
POLICIES = st.builds(
    Rules,
    layers=st.tuples(LAYER, st.sampled_from(sorted(PRESETS)).map(PRESETS.__getitem__)),
    ceilings=st.lists(CEILINGS, max_size=1).map(tuple),
)
LEAVES = st.builds(
    Leave,
    preset=st.sampled_from(["", "", "", *sorted(PRESETS)]),
    deny=st.sampled_from([(), (), ("mail_send",), ("exec:rm *",)]),
    unattended=st.booleans(),
    ceilings=st.sampled_from([(), (), (), ("reader",), ("ask",)]),
)
EVERYTHING = Domain(name="all", calls=(Rule(say=Say.ASK),))
DOMAINS = st.sampled_from([[MAIL], [MAIL, DEPLOY], [MAIL, FILES, DEPLOY], [EVERYTHING], [FILES]])
LEVELS = st.lists(
    st.tuples(
        st.sampled_from(["email", "deploy", "files", "all"]),
        st.sampled_from(["", "", "secretary", "other"]),
        st.sampled_from([Level.HIGH, Level.HIGH, *Level]),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=300)
@given(CALLS, POLICIES, LEAVES, DOMAINS, LEVELS)
def test_granting_trust_never_allows_what_something_forbids(
    call: ToolCall,
    rules: Rules,
    leave: Leave,
    domains: list[Domain],
    levels: list[tuple[str, str, Level]],
):
    """Neither what a deny rule, one's own asking rule or a label holds back, nor a ceiling."""
    known = {one.name: one for one in domains}
    grants = {
        (name, agent): Grant(domain=name, agent=agent, level=level, of=known[name].digest)
        for name, agent, level in levels
        if name in known
    }
    check_nothing_is_opened(call, leave, rules, trusted(rules, domains, grants))


@settings(max_examples=300)
@given(CALLS, LAYER, st.sampled_from(["ask", "open", "operator"]))
def test_the_highest_trust_in_everything_opens_nothing_that_is_forbidden(
    call: ToolCall, own: tuple[Rule, ...], preset: str
):
    rules = Rules(layers=(own, PRESETS[preset]))
    highest = trusted(rules, [EVERYTHING], given_to(EVERYTHING, level=Level.HIGH))
    check_nothing_is_opened(call, Leave(), rules, highest)


def check_nothing_is_opened(call: ToolCall, leave: Leave, plain: Rules, laid: Rules) -> None:
    standing, matter = Standing(leave=leave, asking=ASKING), Matter(call, ASKING)
    before, after = decided(call, standing, plain), decided(call, standing, laid)
    if not isinstance(after, Allow):
        return
    preset = PRESETS[leave.preset] if leave.preset else plain.layers[-1]
    met = [one for one in (*plain.layers[0], *preset) if one.matches(matter)]
    limits = (one for layer in plain.limits_of("secretary") for one in layer)
    assert not any(one.say is Say.DENY for one in met)
    assert not any(one.say is Say.DENY and one.matches(matter) for one in limits)
    assert not any(one.say is Say.ASK and one.matches(matter) for one in plain.layers[0])
    if any(one.say is Say.ASK and one.labels for one in met):
        assert isinstance(before, Allow), "only what was allowed without trust as well"
    assert before.rule != "beyond the ceiling"


@given(DOMAINS, LEVELS)
def test_every_rule_of_trust_names_its_domain_and_level(
    domains: list[Domain], levels: list[tuple[str, str, Level]]
):
    grants = {(d, a): Grant(domain=d, agent=a, level=level) for d, a, level in levels}
    for layer in layers_of(domains, grants):
        for rule in layer:
            named = read_name(rule.name)
            assert named is None or rule_name(*named) == rule.name
            assert named is not None or rule.say is Say.ASK
            assert not rule.labels, "a rule of trust with labels would silence those that ask"


@pytest.mark.parametrize(
    ("right", "acts", "level", "advice"),
    [
        (4, 4, Level.LOW, "not enough"),
        (5, 5, Level.LOW, "raise"),
        (19, 20, Level.MEDIUM, "raise"),
        (5, 6, Level.HIGH, "keep"),
        (20, 20, Level.HIGH, "keep"),
        (16, 20, Level.LOW, "keep"),
        (15, 20, Level.HIGH, "lower"),
        (0, 9, Level.NONE, "keep"),
    ],
)
def test_the_advice_follows_what_stood(right: int, acts: int, level: Level, advice: str):
    """Part of row OK-50."""
    assert advised(level, right, acts) == advice


def test_who_may_answer_is_all_that_speak_of_a_call():
    one = Answerers(
        calls=Rule(say=Say.ASK, tools=("mail_*",)),
        by=("group:finance",),
        members=("key:carol", "user:b*"),
        not_requester=True,
    )
    assert one.may("key:carol", "user:ann")
    assert one.may("user:bob", "user:ann")
    assert not one.may("key:dave", "user:ann")
    assert not one.may("user:bob", "user:bob")
    assert words([one], "user:ann") == ("group:finance", "not user:ann, who asked for it")
    assert one.may_meet(("mail_send",))
    assert one.may_meet(("m*",))
    assert not one.may_meet(("exec",))


def judged(task: str, call: str, level: Level, digest: str = "") -> Fact:
    verdict = "allow" if level is Level.HIGH else "ask"
    rule = rule_name("email", level)
    told = digest or f"{task} {call}"
    return Fact(
        kind="call.judged", at=1, task=task, call=call, verdict=verdict, rule=rule, digest=told
    )


def undo(number: int, *, of: int = 0, call: str = "") -> Fact:
    before = f"t.{of}" if of else ""
    subject = f"t.{number}"
    return Fact(
        kind="task.undone", at=1, by="key:ann", task="t", subject=subject, before=before, call=call
    )


def test_an_undo_that_is_taken_back_takes_no_other_back():
    a, b = ("t", "a"), ("t", "b")
    facts = [undo(1, call="a"), undo(2, call="b"), undo(3, of=1)]
    assert undone(facts) == {b: "key:ann"}
    assert undone([*facts, undo(4, of=3)]) == {a: "key:ann", b: "key:ann"}
    assert undone([*facts, undo(3, of=1)]) == {b: "key:ann"}, "one that was cut off and resumed"
    assert undone([undo(3, of=1)]) == {}, "what it takes back is longer ago than one looks"


def test_what_people_made_of_an_act_is_found_in_what_they_did():
    """Part of row OK-50: undone, cancelled, refused later; the rest stands."""
    high, low = Level.HIGH, Level.LOW
    facts = [
        judged("t1", "a", high),
        judged("t1", "b", high),
        judged("t2", "a", high, "same"),
        judged("t3", "a", high),
        judged("t3", "b", high),
        judged("t4", "a", low, "same"),
        judged("t5", "a", low),
        judged("t6", "a", low),
        judged("t7", "a", low),
    ]
    answers = Answers(
        yes={("t5", "a"): "key:ann", ("t7", "a"): "key:ann"},
        no={("t4", "a"): "key:bob"},
        cancelled={"t1": "user:cy"},
        undone={("t3", ""): "user:dan", ("t7", "a"): "user:dan"},
    )
    found = [(one.task, one.call, one.overridden, one.by) for one in weighed(facts, answers)]
    assert found == [
        ("t1", "a", "", ""),
        ("t1", "b", "cancelled", "user:cy"),
        ("t2", "a", "refused later", "key:bob"),
        ("t3", "a", "undone", "user:dan"),
        ("t3", "b", "undone", "user:dan"),
        ("t4", "a", "refused", "key:bob"),
        ("t5", "a", "", "key:ann"),
        ("t7", "a", "undone", "user:dan"),
    ], "nobody answered t6: it says nothing"
