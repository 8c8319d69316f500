"""Calls that a rule is about, made of its own patterns: what a change of policy is tried on."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, product
from typing import Any, NamedTuple

from holdfast.core.gate.matter import COMMAND, Asking
from holdfast.core.gate.policy import Rule, Rules, Say
from holdfast.core.ids import CallId
from holdfast.core.message import EffectClass, ToolCall

_MOST = 16


class Example(NamedTuple):
    """A call, and who wants it."""

    call: ToolCall
    asking: Asking


def examples(rules: Rules) -> Iterator[Example]:
    """At most a few for each rule, of every layer and ceiling."""
    every = [rule for layer in rules.layers for rule in layer]
    every += [rule for one in rules.ceilings for layer in one.layers for rule in layer]
    for rule in every:
        yield from islice(_of(rule), _MOST)


def _of(rule: Rule) -> Iterator[Example]:
    agents, principals = map(_filled, rule.agents or ("",)), map(_filled, rule.principals or ("",))
    labels = tuple(sorted(map(_filled, rule.labels[:1])))
    for agent, principal, tool in product(agents, principals, _tools(rule)):
        for target in _targets(rule, tool):
            given: dict[str, Any] = {"method": rule.methods[0]} if rule.methods else {}
            beyond = 0 if rule.say is Say.ALLOW else 1
            given |= {name: most + beyond for name, most in rule.most}
            call = ToolCall(
                id=CallId("example"),
                tool=tool,
                arguments=given,
                effect=_effect(rule),
                target=target,
                names_paths=bool(rule.paths),
                labels=labels,
            )
            yield Example(call, Asking(agent=agent, principal=principal))


def _tools(rule: Rule) -> tuple[str, ...]:
    if rule.command:
        return (COMMAND,)
    named = rule.tools or (rule.tool,)
    return tuple(
        ("http" if rule.hosts else "write" if rule.paths else "read")
        if name == "*"
        else _filled(name)
        for name in named
    )


def _targets(rule: Rule, tool: str) -> tuple[str, ...]:
    if rule.command:
        return tuple(" ".join(filter(None, map(_word, words))) for words in rule.command)
    if rule.paths:
        return tuple(map(_filled, rule.paths))
    if rule.hosts:
        return tuple(f"https://{_filled(host)}/" for host in rule.hosts)
    if rule.target != "*":
        return (_filled(rule.target),)
    return ("true",) if tool == COMMAND else ("example",)


def _word(pattern: str) -> str:
    return "" if pattern == "**" else _filled(pattern)


def _effect(rule: Rule) -> EffectClass:
    wanted = (*rule.effects, rule.effect)
    return next((one for one in EffectClass if one in wanted), EffectClass.WRITES)


def _filled(pattern: str) -> str:
    """A text that fits a pattern, near enough."""
    filled, place = "", 0
    while place < len(pattern):
        letter = pattern[place]
        if letter == "[" and "]" in pattern[place + 2 :]:
            end = pattern.index("]", place + 2)
            inner = pattern[place + 1 : end]
            filled, place = filled + ("x" if inner[0] == "!" else inner[0]), end
        else:
            filled += "x" if letter in "*?" else letter
        place += 1
    return filled
