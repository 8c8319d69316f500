"""Of many rules a call meets those that can match it, all of them, and no others."""

from __future__ import annotations

import gc
import weakref
from itertools import product

import pytest
from msgspec.structs import replace

from holdfast.core.gate.book import Book, matching
from holdfast.core.gate.matter import Asking, Matter
from holdfast.core.gate.policy import Rule, Say
from holdfast.core.ids import CallId
from holdfast.core.message import EffectClass, ToolCall
from tests.core.test_gate_rules import allow, deny, line, path, web

LOOKED: list[str] = []


class Watched(Rule, frozen=True, kw_only=True):
    """A rule that says when somebody looks at it."""

    def matches(self, matter: Matter) -> bool:
        LOOKED.append(self.name)
        return super().matches(matter)


OTHERS = (
    *(Watched(say=Say.DENY, tools=(f"tool{n}",), name="tool") for n in range(200)),
    *(Watched(say=Say.DENY, paths=(f"f{n}",), name="path") for n in range(50)),
    *(Watched(say=Say.DENY, hosts=(f"h{n}.x",), name="host") for n in range(50)),
)


def looked_at(rule: Rule, call: ToolCall, agent: str = "") -> list[str]:
    """Which rules were looked at for a call: this one, among many about other things."""
    watched = Watched(**{name: getattr(rule, name) for name in Rule.__struct_fields__})
    LOOKED.clear()
    matching((*OTHERS, watched), Matter(call, Asking(agent=agent)))
    return list(LOOKED)


HTTP = web("https://api.example.com/x")
LABELLED = replace(line("ls"), labels=("untrusted:web",))
RULES = {
    "program": (deny(command=(("git", "**"),), name="it"), line("git push"), line("ls")),
    "program by its path": (
        deny(command=(("rm", "**"),), name="it"),
        line("/bin/rm x"),
        line("ls"),
    ),
    "host": (deny(hosts=("api.example.com",), name="it"), HTTP, web("https://b.example.com/")),
    "hosts beneath": (deny(hosts=("*.example.com",), name="it"), HTTP, web("https://com/")),
    "folder": (deny(paths=("src",), name="it"), path("read", "src/a/b"), path("read", "lib/a")),
    "label": (deny(labels=("untrusted:web",), name="it"), LABELLED, line("ls")),
    "tool": (deny(tool="pay", name="it"), replace(HTTP, tool="pay"), HTTP),
    "tools": (deny(tools=("pay", "sell"), name="it"), replace(HTTP, tool="sell"), HTTP),
}


@pytest.mark.parametrize("kind", RULES)
def test_a_rule_is_looked_at_for_what_it_is_about_and_for_nothing_else(kind: str):
    rule, about, other = RULES[kind]
    assert looked_at(rule, about) == ["it"]
    assert looked_at(rule, other) == []


def test_a_rule_about_an_agent_is_looked_at_for_that_one():
    rule = deny(agents=("crew",), name="it")
    assert looked_at(rule, HTTP, "crew") == ["it"]
    assert looked_at(rule, HTTP, "other") == []


def test_what_takes_a_whole_folder_meets_denials_of_what_is_in_it_and_no_leave():
    beneath = {"paths": ("keys/private/*.pem",), "name": "it"}
    whole, list_it = path("delete", "keys"), path("list", "keys", effect="reads")
    assert looked_at(deny(**beneath), whole) == ["it"]
    assert looked_at(deny(**beneath), list_it) == []
    assert looked_at(allow(**beneath), whole) == []


def test_a_rule_of_which_any_part_is_a_pattern_is_always_looked_at():
    for rule in (
        deny(tools=("pay", "se*"), name="it"),
        deny(hosts=("a.example", "b?.example"), name="it"),
        deny(paths=("src", "*.pem"), name="it"),
        deny(name="it"),
    ):
        assert looked_at(rule, line("ls")) == ["it"]


CONDITIONS = [
    *({"tool": tool} for tool in ("read", "re*", "*")),
    *({"tools": tools} for tools in (("read", "exec"), ("re*", "http"))),
    *({"hosts": hosts} for hosts in (("api.example.com",), ("*.Example.com",), ("a*.com", "x"))),
    *({"paths": paths} for paths in (("src",), ("keys/a/*.pem",), ("*.pem",), ("src", "k*"))),
    *({"labels": labels} for labels in (("untrusted:web",), ("untrusted*",), ("x", "untr*"))),
    *({"agents": agents} for agents in (("crew",), ("cr*",), ("crew", "o*"))),
    *({"command": command} for command in ((("git", "**"),), (("g*", "**"), ("rm", "**")))),
    {},
]
CALLS = [
    *(path(tool, "src/x", effect=effect) for tool, effect in (("read", "reads"), ("x", "writes"))),
    *(path("delete", at) for at in ("keys", "keys/a", ".", "b.pem", "src")),
    path("move", "a", "src/b"),
    *map(line, ("git push", "/bin/rm x", "ls; git x", "")),
    *map(web, ("https://api.example.com/", "https://example.com/", "https://x/", "file:///x")),
    replace(line("ls"), labels=("untrusted:web",)),
    ToolCall(id=CallId("c"), tool="read", arguments={}, effect=EffectClass.READS),
]


def test_no_rule_that_matches_is_missed():
    rules = tuple(
        Rule(say=say, name=f"{say} {conditions}", **conditions)  # type: ignore[arg-type]
        for say, conditions in product(Say, CONDITIONS)
    )
    for call, agent in product(CALLS, ("crew", "other")):
        matter = Matter(call, Asking(agent=agent))
        there = [rule for rule in rules if rule.matches(matter)]
        assert matching(rules, matter) == there
        for rule in rules:
            assert Book([rule]).matching(matter) == [one for one in there if one is rule]


class Layer(list[Rule]):
    """One that may be asked whether it is still there."""


def test_of_the_policies_of_before_the_last_64_are_kept():
    gone: list[weakref.ref[Layer]] = []
    for number in range(80):
        layer = Layer(deny(tools=(f"t{n}",)) for n in range(20 + number))
        assert matching(layer, Matter(line("ls"))) == []
        gone.append(weakref.ref(layer))
        del layer
    gc.collect()
    assert [layer() is None for layer in gone] == [True] * 16 + [False] * 64
