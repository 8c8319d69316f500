"""What is allowed: rules, layers, presets; and that a deny rule can only narrow."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.error import Invalid
from holdfast.core.gate.judge import layers_for
from holdfast.core.gate.matter import Matter
from holdfast.core.gate.policy import Allow, Ask, Deny, Leave, Rule, Rules, Say, Verdict, parse_rule
from holdfast.core.gate.presets import PRESETS
from holdfast.core.message import EffectClass, ToolCall
from tests.core.given import call, judge, read, shell, write

TOOLS = ("read", "write", "exec", "edit", "fetch")
PATTERNS = st.sampled_from(["*", "a*", "*.txt", "a b", "[!a]*", "git *", "rm *"])
TARGETS = st.sampled_from(["", "a", "a.txt", "b", "git status", "rm -rf a; ls", "a b && git x"])
LAYERS = st.lists(
    st.lists(
        st.builds(
            Rule,
            say=st.sampled_from(Say),
            tool=st.sampled_from(["*", *TOOLS, "e*"]),
            effect=st.sampled_from(["*", *EffectClass]),
            target=PATTERNS,
        ),
        max_size=4,
    ).map(tuple),
    max_size=4,
).map(tuple)


def proposal(tool: str, effect: EffectClass, target: str) -> ToolCall:
    return call("c", tool, effect, target=target)


CALLS = st.builds(
    proposal, tool=st.sampled_from(TOOLS), effect=st.sampled_from(EffectClass), target=TARGETS
)
Layers = tuple[tuple[Rule, ...], ...]
FREEDOM = {Deny: 0, Ask: 1, Allow: 2}


def judged(proposed: ToolCall, *layers: tuple[Rule, ...], unattended: bool = False) -> Verdict:
    return judge(proposed, layers, unattended=unattended, until=99)


def freedom(verdict: Verdict) -> int:
    return FREEDOM[type(verdict)]


def allow(tool: str = "*", target: str = "*") -> Rule:
    return Rule(say=Say.ALLOW, tool=tool, target=target)


def deny(tool: str = "*", target: str = "*") -> Rule:
    return Rule(say=Say.DENY, tool=tool, target=target)


def asks(tool: str = "*", target: str = "*") -> Rule:
    return Rule(say=Say.ASK, tool=tool, target=target)


# Order


@given(CALLS, st.booleans())
def test_without_a_rule_everything_is_denied(proposed: ToolCall, unattended: bool):
    verdict = judged(proposed, unattended=unattended)
    assert verdict == Deny(rule="default deny", reason="no rule allows this")


@given(CALLS, LAYERS, LAYERS.filter(bool), st.booleans(), st.data())
def test_one_more_deny_rule_never_widens_what_is_allowed(
    proposed: ToolCall, layers: Layers, more: Layers, unattended: bool, data: st.DataObject
):
    rule = deny(data.draw(st.sampled_from(["*", *TOOLS])), data.draw(PATTERNS))
    place = data.draw(st.integers(0, len(layers)))
    narrower = (*layers[:place], (rule,), *layers[place:])
    before = judged(proposed, *layers, unattended=unattended)
    assert freedom(judged(proposed, *narrower, unattended=unattended)) <= freedom(before)


@given(CALLS, LAYERS)
def test_nobody_there_to_ask_never_widens_what_is_allowed(proposed: ToolCall, layers: Layers):
    attended, alone = judged(proposed, *layers), judged(proposed, *layers, unattended=True)
    assert alone == attended or (isinstance(attended, Ask) and isinstance(alone, Deny))


@given(CALLS, LAYERS)
def test_a_call_is_allowed_only_by_a_rule_that_allows_it(proposed: ToolCall, layers: Layers):
    verdict = judged(proposed, *layers)
    rules = [rule for layer in layers for rule in layer if rule.matches(Matter(proposed))]
    if isinstance(verdict, Allow):
        assert any(rule.say is Say.ALLOW for rule in rules)
        assert not any(rule.say is Say.DENY for rule in rules)
    if any(rule.say is Say.DENY for rule in rules):
        assert isinstance(verdict, Deny)


def test_a_deny_wins_from_any_layer():
    verdict = judged(write("w"), (allow("write"),), (deny("write", "*.txt"),))
    assert verdict == Deny(rule="deny write *.txt", reason="denied by rule: deny write *.txt")


def test_the_first_layer_that_speaks_decides():
    assert isinstance(judged(write("w"), (allow("write"),), (asks(),)), Allow)
    assert isinstance(judged(write("w"), (asks(),), (allow("write"),)), Ask)
    assert isinstance(judged(write("w"), (allow("read"),), (asks(),)), Ask)


def test_inside_a_layer_asking_beats_allowing():
    assert isinstance(judged(write("w"), (allow(), asks("write"))), Ask)


def test_a_question_names_the_call_and_its_deadline():
    verdict = judged(shell("s", "make"), (asks(),))
    assert verdict == Ask(rule="ask * *", question="May I exec make?", until=99)
    assert judged(call("c", "pay"), (asks(),)) == Ask(
        rule="ask * *", question="May I pay?", until=99
    )


def test_a_rule_is_known_by_its_name_if_it_has_one():
    rule = Rule(say=Say.DENY, name="house: nothing is sent", reason="not here")
    assert judged(write("w"), (rule,)) == Deny(rule="house: nothing is sent", reason="not here")


# Command lines


@given(
    st.sampled_from(["git *", "git status*", "g*", "?*", "**", "[!r]*", "git status; rm x"]),
    st.text(alphabet="git status;|&$`<>()\n\\rmx", max_size=30),
)
def test_a_pattern_never_allows_a_chained_command(pattern: str, line: str):
    verdict = judged(shell("s", line), (allow("exec", pattern),))
    if set(line) & set(";|&$`<>()\n\\"):
        assert isinstance(verdict, Deny)


def test_a_pattern_allows_a_plain_command():
    assert isinstance(judged(shell("s", "git status"), (allow("exec", "git *"),)), Allow)
    assert isinstance(judged(shell("s", "ls; ls"), (allow("exec"),)), Allow)
    assert isinstance(judged(write("w", "a;b"), (allow("write", "a*"),)), Allow)


@pytest.mark.parametrize(
    "line", ["rm -rf .", "ls; rm -rf .", "ls && rm x", "x=$(rm y)", "ls |\n  rm z", "true&rm a"]
)
def test_to_deny_or_to_ask_one_command_in_the_line_is_enough(line: str):
    assert isinstance(judged(shell("s", line), (deny("exec", "rm *"),), (allow(),)), Deny)
    assert isinstance(judged(shell("s", line), (asks("exec", "rm *"),), (allow(),)), Ask)


# Presets


@pytest.mark.parametrize(
    ("preset", "verdicts"),
    [
        ("read-only", (Allow, Deny, Deny, Deny)),
        ("ask", (Allow, Ask, Ask, Ask)),
        ("workspace", (Allow, Allow, Ask, Deny)),
        ("open", (Allow, Allow, Allow, Allow)),
    ],
)
def test_each_preset_says_what_its_name_says(preset: str, verdicts: tuple[type[Verdict], ...]):
    proposed = (read("r"), write("w"), shell("s"), call("m", "send_mail"))
    said = [judged(one, PRESETS[preset]) for one in proposed]
    assert tuple(type(verdict) for verdict in said) == verdicts


def test_read_only_denies_even_what_could_be_repeated():
    stamp = call("t", "stamp", EffectClass.REPEATABLE)
    assert isinstance(judged(stamp, (allow(),), PRESETS["read-only"]), Deny)


# What the submitter adds


def test_a_rule_is_written_as_a_tool_and_a_pattern():
    assert parse_rule("exec:git *", Say.ALLOW, name="x") == Rule(
        say=Say.ALLOW, tool="exec", target="git *", name="x"
    )
    assert parse_rule("write", Say.DENY, name="y") == Rule(say=Say.DENY, tool="write", name="y")
    assert parse_rule("exec:a:b", Say.ALLOW, name="x").target == "a:b"


@pytest.mark.parametrize("text", ["", " ", ":", "exec:", ":git *", "exec: "])
def test_half_a_rule_is_invalid_and_never_means_everything(text: str):
    with pytest.raises(Invalid) as invalid:
        parse_rule(text, Say.ALLOW, name="x")
    assert invalid.value.code == "bad_rule"
    assert invalid.value.hint


def test_layers_are_the_submitter_then_grants_then_the_house_then_the_preset():
    house, grant = (deny("mail"),), allow("pay")
    rules = Rules(layers=(house, PRESETS["open"]))
    leave = Leave(preset="ask", allow=("exec",), deny=("fetch",))
    mine, grants, *below = layers_for(leave, (grant,), rules)
    assert [rule.label for rule in mine] == ["--deny fetch", "--allow exec"]
    assert (grants, below) == ((grant,), [house, PRESETS["ask"]])
    assert layers_for(Leave(), (), rules) == ((), (), house, PRESETS["open"])


def test_an_unknown_preset_is_invalid():
    with pytest.raises(Invalid, match="read-only, ask, workspace, open"):
        layers_for(Leave(preset="carefree"), (), Rules())
