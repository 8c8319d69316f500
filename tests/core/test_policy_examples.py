"""The calls on which a change of policy is tried: for each rule, of what it is about."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.core.gate.matter import Matter
from holdfast.core.gate.policy import Ceiling, Rule, Rules, Say
from holdfast.runtime.examples import examples
from tests.core.test_gate_rules import allow


def told(rule: Rule) -> list[tuple[str, str]]:
    """Tool and target of each example."""
    return [(one.call.tool, one.call.target) for one in examples(Rules(layers=((rule,),)))]


@pytest.mark.parametrize(
    ("conditions", "calls"),
    [
        ({}, [("read", "example")]),
        ({"tool": "pay"}, [("pay", "example")]),
        ({"tool": "pay", "tools": ("buy", "se*")}, [("buy", "example"), ("sex", "example")]),
        ({"tool": "exec"}, [("exec", "true")]),
        ({"target": "a*"}, [("read", "ax")]),
        ({"paths": ("src", "a?b")}, [("write", "src"), ("write", "axb")]),
        ({"paths": ("src",), "tool": "read"}, [("read", "src")]),
        (
            {"hosts": ("a.example", "*.b")},
            [("http", "https://a.example/"), ("http", "https://x.b/")],
        ),
        (
            {"hosts": ("a",), "tools": ("*", "web_fetch")},
            [("http", "https://a/"), ("web_fetch", "https://a/")],
        ),
        ({"command": (("git", "**", "-f"), ("rm", "*"))}, [("exec", "git -f"), ("exec", "rm x")]),
        ({"command": (("ls",),), "tool": "pay"}, [("exec", "ls")]),
        ({"target": "[ab]c[!d]e[f"}, [("read", "acxe[f")]),
        ({"target": "[]x"}, [("read", "[]x")]),
    ],
)
def test_examples_are_of_what_a_rule_is_about(conditions: Any, calls: list[tuple[str, str]]):
    assert told(allow(**conditions)) == calls


@pytest.mark.parametrize(
    "conditions",
    [
        {"hosts": ("a.example",), "methods": ("POST",)},
        {"paths": ("src/*.py",), "effect": "reads", "tool": "read"},
        {"effects": ("repeatable",), "agents": ("crew-*",), "principals": ("ann",)},
        {"command": (("git", "push"),), "labels": ("untrusted:*",)},
    ],
)
def test_a_rule_matches_its_own_example(conditions: Any):
    (example,) = examples(Rules(layers=((allow(**conditions),),)))
    assert allow(**conditions).matches(Matter(example.call, example.asking))


def test_an_example_is_of_nobody_and_without_a_method_where_the_rule_names_none():
    (example,) = examples(Rules(layers=((Rule(say=Say.DENY),),)))
    assert (example.asking.agent, example.asking.principal) == ("", "")
    assert example.call.arguments == {}
    assert (example.call.effect, example.call.names_paths) == ("writes", False)


def test_rules_of_every_layer_and_ceiling_have_examples_and_no_rule_more_than_a_few():
    many = allow(tools=tuple(f"t{n}" for n in range(100)))
    over = Ceiling(agents=("*",), layers=((allow(tool="c"),), (allow(tool="d"),)))
    rules = Rules(layers=((allow(tool="a"),), (many, allow(tool="b"))), ceilings=(over,))
    tools = [one.call.tool for one in examples(rules)]
    assert tools == ["a", *(f"t{n}" for n in range(16)), "b", "c", "d"]
