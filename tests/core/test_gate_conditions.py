"""What each condition of a rule looks at, one at a time, and what suggestions and names say."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from holdfast.core.error import Invalid
from holdfast.core.event import CallApproved, Replied
from holdfast.core.gate.hours import is_within
from holdfast.core.gate.judge import Standing, decided, deciding, explained
from holdfast.core.gate.matter import Asking, Matter
from holdfast.core.gate.policy import Allow, Ask, Ceiling, Deny, Lease, Rule, Rules, Say
from holdfast.core.gate.suggest import allowing, suggested
from holdfast.core.gate.using import given, retold
from holdfast.core.ids import CallId
from holdfast.core.message import ModelSaid, ToolCall
from holdfast.core.task import JudgedCall
from tests.core.given import call
from tests.core.test_gate_rules import NOON, allow, allows, denies, deny, line, path, web


def ask(**conditions: Any) -> Rule:
    return Rule(say=Say.ASK, **conditions)


def test_a_rule_of_hours_holds_in_them_and_not_outside():
    rule = allow(hours="12:00-13:00 Wed")
    assert allows(rule, line("ls"))
    assert not allows(rule, line("ls"), at=NOON + 7_200_000)
    assert denies(deny(hours="12:00-13:00"), line("ls"))
    assert not denies(deny(hours="08:00-09:00"), line("ls"))


def pay(**arguments: Any) -> ToolCall:
    return replace(call("p1", "pay"), arguments=arguments)


@pytest.mark.parametrize(
    ("given", "within"),
    [
        ({"amount": 100}, True),
        ({"amount": "99.5"}, True),
        ({"amount": -100}, True),
        ({"amount": 100.01}, False),
        ({"amount": -101}, False),
        ({"amount": "1e3"}, False),
        ({"amount": "100 EUR"}, False),
        ({"amount": float("nan")}, False),
        ({"amount": True}, False),
        ({"amount": None}, False),
        ({"amount": [50]}, False),
    ],
)
def test_a_bound_for_a_number_holds_whatever_it_is_written_as(given: dict[str, Any], within: bool):
    """To allow it must be known to be no more; to ask or deny it is enough that it is not."""
    most = (("amount", 100.0),)
    assert allows(allow(tools=("pay",), most=most), pay(**given)) is within
    assert denies(deny(tools=("pay",), most=most), pay(**given)) is not within


def test_without_the_number_nothing_is_allowed_by_its_bound_and_nothing_denied():
    most = (("amount", 100.0), ("fee", 5.0))
    assert not allows(allow(most=most), pay(amount=1))
    assert allows(allow(most=most), pay(amount=1, fee=5))
    assert not denies(deny(most=most), pay(to="ann"))
    assert denies(deny(most=most), pay(amount=1, fee=6))


@pytest.mark.parametrize(
    ("hours", "within"),
    [
        ("11:59-13:00", True),
        ("00:00-24:00", True),
        ("00:00-24:00 Wed", True),
        ("00:00-24:00 Tue", False),
        ("12:00-24:00 Wed", True),
        ("13:00-12:00 Wed", False),
        ("12:00-12:01 Tue", False),
    ],
)
def test_hours_without_a_day_are_of_every_day_and_with_one_of_that(hours: str, within: bool):
    assert is_within(hours, NOON, ()) is within


@pytest.mark.parametrize("hours", ["08:00-09:00 Xyz", "08:00-09:00 Mon-Xyz", "08:60-09:00"])
def test_a_day_or_a_minute_that_there_is_not_is_said(hours: str):
    with pytest.raises(Invalid, match="no hours of the week"):
        is_within(hours, NOON, ())


def test_the_last_minute_of_an_hour_is_one():
    assert is_within("11:59-12:59", NOON, ())


def test_leave_for_a_target_wants_all_that_is_touched():
    rule = allow(target="src/*")
    assert allows(rule, path("move", "src/a", "src/b"))
    assert not allows(rule, path("move", "src/a", "b"))


def test_leave_for_paths_reaches_outside_only_where_it_says_so():
    tmp = allow(paths=("/tmp/*", "src"))
    assert allows(tmp, path("read", "/tmp/x"))
    assert allows(tmp, path("move", "src/a", "/tmp/x"))
    anywhere = allow(paths=("*",))
    assert allows(anywhere, path("move", "a", "b"))
    assert not allows(anywhere, path("move", "a", "/etc/x"))


def test_a_denial_meets_any_path_of_a_call_that_stops_at_what_it_names():
    assert denies(deny(paths=("b",)), path("read", "a", "b", effect="reads"))


def test_what_may_lie_anywhere_is_in_no_folder_for_sure():
    rule = deny(paths=("*.pem",))
    assert denies(rule, path("delete", "keys/a.pem"))
    assert not denies(rule, path("search", ".", effect="reads"))


def test_leave_for_commands_is_none_for_a_line_without_or_for_another_tool():
    rule = allow(command=(("**",),))
    for text in ("", " ", "# only words"):
        assert not allows(rule, line(text)), text
    git = allow(command=(("git", "*"),))
    assert allows(git, line("git status"))
    assert not allows(git, path("write", "git status"))


def test_a_denied_program_may_be_named_by_its_path_and_an_allowed_one_not():
    assert denies(deny(command=(("git", "*"),)), line("/usr/bin/git push"))
    assert not allows(allow(command=(("git", "*"),)), line("/usr/bin/git push"))


def test_a_rule_of_methods_is_about_requests():
    assert allows(allow(methods=("GET",)), web("https://a.example/"))
    assert not allows(allow(methods=("GET",)), line("ls"))
    assert not denies(deny(methods=("GET",)), path("read", "a"))


def test_what_is_named_letter_by_letter_is_meant_though_it_looks_like_a_pattern():
    rule = deny(labels=("copied:a[1].txt",))
    assert denies(rule, replace(line("ls"), labels=("copied:a[1].txt",)))
    assert denies(deny(tool="t[1]"), replace(line("ls"), tool="t[1]"))


@pytest.mark.parametrize(
    "odd",
    [
        "ftp://a.example/",
        "//a.example/",
        "a.example",
        "https://a.exa\tmple/",
        "https://a.example/x y",
        "https://a.example\\@b.example/",
        "https:///x",
        "https://[/",
    ],
)
def test_an_odd_address_has_no_host(odd: str):
    assert Matter(web(odd)).host == ""
    assert Matter(web("HTTPS://A.Example.:80/")).host == "a.example"


def test_only_a_command_line_is_rough_like_one():
    assert "b" in {one.strip() for one in Matter(line("a; b")).rough}
    assert Matter(path("write", "a; b")).rough == ("a; b/",)


def test_a_rule_without_a_name_is_called_by_what_it_is_about():
    assert allow(tool="exec", target="git *").label == "allow exec git *"
    assert deny(hosts=("a.example",), labels=("x",)).label == "deny * a.example, x"
    assert allow(tools=("a", "b"), command=(("git", "*"),)).label == "allow a, b git *"


def test_a_lease_of_a_scope_that_there_is_not_covers_nobody():
    lease = Lease(id="l", rule=allow(), scope="principal", of="ann")
    assert not lease.covers(Asking(principal="ann"))


def test_a_ceiling_limits_its_own_agents():
    layer = (allow(tool="read"),)
    rules = Rules(ceilings=(Ceiling(agents=("crew-*",), layers=(layer, ())),))
    assert rules.limits_of("crew-1") == (layer, ())
    assert rules.limits_of("default") == ()


# Which rule decides


PAY = call("c1", "pay", labels=("untrusted:web",))


def says(*layers: tuple[Rule, ...], **more: Any) -> str:
    verdict = decided(PAY, Standing(asking=Asking(at=NOON)), Rules(layers=layers, **more))
    return f"{type(verdict).__name__} {verdict.rule}"


def test_of_rules_that_allow_the_stronger_one_says_so():
    labelled = allow(labels=("untrusted:*",), name="labelled")
    assert says((allow(name="plain"),), (labelled,)) == "Allow plain"


def test_of_asks_about_labels_the_first_is_put():
    first, second = (ask(labels=("untrusted:*",), name=name) for name in ("first", "second"))
    assert says((allow(name="plain"),), (first,), (second,)) == "Ask first"


def test_an_ask_about_labels_is_silenced_by_stronger_leave_about_labels_only():
    asks, knows = ask(labels=("untrusted:*",), name="asks"), allow(labels=("*",), name="knows")
    assert says((), (knows,), (asks,)) == "Allow knows"
    assert deciding([[], [knows], [asks]]) is knows
    assert says((), (allow(),), (asks,)) == "Ask asks"


def test_a_ceiling_with_a_rule_for_it_says_which():
    over = Ceiling(agents=("*",), layers=((), (deny(tool="pay", name="no pay"),)))
    assert says((allow(),), ceilings=(over,)) == "Deny no pay"
    other = Ceiling(agents=("*",), layers=((allow(tool="read"),), ()))
    assert says((allow(),), ceilings=(other,)) == "Deny beyond the ceiling"


def test_of_two_policies_that_say_the_same_the_one_the_try_began_with_is_named():
    for make in (allow, ask, deny):
        newer = Rules(layers=((make(name="newer"),),))
        assert says((make(name="older"),), newer=newer).endswith(" older")


def test_a_lease_is_used_only_for_what_would_be_asked():
    lease = Lease(id="l", rule=allow())
    free = Rules(layers=((allow(name="free"),),), leases=(lease,))
    verdict = decided(PAY, Standing(), free)
    assert isinstance(verdict, Allow)
    assert (verdict.rule, verdict.lease) == ("free", "")


def test_of_two_leases_the_one_of_the_rules_that_the_try_began_with_counts():
    asks = ((ask(),),)
    older = Rules(layers=asks, leases=(Lease(id="old", rule=allow()),))
    newer = Rules(layers=asks, leases=(Lease(id="new", rule=allow()),))
    verdict = decided(PAY, Standing(), replace(older, newer=newer))
    assert isinstance(verdict, Allow)
    assert verdict.lease == "old"


def test_an_explanation_lists_leases_that_hold_newer_rules_and_nothing_for_an_empty_policy():
    live, spent = Lease(id="live", rule=allow()), Lease(id="spent", rule=allow(), uses=1, used=1)
    rules = Rules(layers=((ask(name="mine"),), (allow(name="preset"),)), leases=(spent, live))
    told = explained(PAY, Standing(), replace(rules, newer=Rules(layers=((deny(name="no"),),))))
    assert isinstance(told.verdict, Deny)
    assert [(one.where, one.rule.name, one.decided) for one in told.matches] == [
        ("lease", "lease live: allow * *", False),
        ("policy", "mine", False),
        ("preset", "preset", False),
        ("newer preset", "no", True),
    ]
    nothing = explained(PAY, Standing(), Rules())
    assert isinstance(nothing.verdict, Deny)
    assert nothing.matches == ()


def test_labels_that_are_only_reported_ask_nobody_and_are_told():
    """What would be asked for its labels is allowed; a deny, and an ask of its own, stay."""

    def verdict(*rules: Rule) -> Any:
        return decided(PAY, Standing(), Rules(layers=(rules,), reports=True))

    labelled, free = ask(labels=("untrusted:*",), name="labelled"), allow(name="free")
    reported = verdict(labelled, free)
    assert isinstance(reported, Allow)
    assert (reported.rule, reported.reported) == ("free", "labelled")
    assert verdict(free) == Allow(rule="free")
    assert isinstance(verdict(labelled), Ask), "without labels nothing would allow it"
    assert verdict(ask(name="asks"), labelled).rule == "asks"
    newer = Rules(layers=((labelled, free),), reports=True)
    assert isinstance(decided(PAY, Standing(), replace(newer, reports=False)), Ask)


# Suggestions


def test_no_rule_is_suggested_for_a_line_without_a_command():
    for text in ("", "# words"):
        with pytest.raises(Invalid, match="more than plain words"):
            suggested(line(text))


def test_a_rule_is_suggested_for_the_host_and_for_no_target_any():
    rule = suggested(web("https://api.example.com/x", "POST"))
    assert (rule.hosts, rule.methods, rule.target) == (("api.example.com",), ("POST",), "*")
    assert suggested(call("c1", "click")).target == "*"
    assert suggested(call("c1", "pay", target="ann")).target == "ann"


def test_leave_for_all_commands_is_said_by_the_name_of_the_tool():
    assert allowing("exec").matches(Matter(line("a; b | c > d")))


@pytest.mark.parametrize("text", ["exec:a;b", "exec:git commit -m 'a b'", "exec:a|b"])
def test_leave_for_a_line_is_for_one_command_word_by_word(text: str):
    with pytest.raises(Invalid, match="not one plain command"):
        allowing(text)


def test_only_what_was_leased_is_a_lease_told_again():
    mine = call("c1", "pay", target="ann")
    judged = tuple(
        JudgedCall(call=mine, verdict=verdict)
        for verdict in (Allow(rule="r"), Ask(rule="r", question="?", until=1))
    )
    assert retold(Replied(said=ModelSaid(calls=(mine,)), judged=judged)) == ()


def test_of_several_patterns_one_that_fits_is_enough():
    for tools in (("x*", "re*"), ("re*", "x*")):
        assert allows(allow(tools=tools), path("read", "a"))
    assert not allows(allow(tools=("x*", "y*")), path("read", "a"))


def test_the_leases_that_approvals_bring_along_are_found_and_nothing_else():
    lease = Lease(id="l1", rule=allow(tools=("pay",)))
    plain = CallApproved(call_id=CallId("c1"), by="ann", digest="d")
    assert given((plain, replace(plain, lease=lease))) == (lease,)
    assert given((plain,)) == ()


def test_a_lease_answers_for_nothing_but_what_its_rule_is_about():
    lease = Lease(id="l1", rule=allow(tools=("pay",)))
    rules = Rules(layers=((ask(),),), leases=(lease,))
    assert isinstance(decided(call("c1", "pay"), Standing(), rules), Allow)
    assert isinstance(decided(call("c1", "send"), Standing(), rules), Ask)
