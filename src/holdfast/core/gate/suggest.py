"""A rule for calls like one that was just seen: as narrow as can be said."""

from __future__ import annotations

from holdfast.core.error import Invalid
from holdfast.core.message import ToolCall

from .commands import parsed
from .matter import COMMAND, Matter
from .policy import Rule, Say, parse_rule

_SIGNS = ("[", "*", "?")


def suggested(call: ToolCall) -> Rule:
    """The rule that allows this call again. Raises `Invalid` where none can be said."""
    matter = Matter(call)
    if call.tool == COMMAND:
        if not matter.line.plain or not matter.line.commands:
            hint = "name a rule yourself, for example exec:git push *"
            message = f"{call.target!r} is more than plain words: no rule can allow it again"
            raise Invalid(message, code="no_rule_for_line", hint=hint)
        words = tuple(tuple(map(_exactly, argv)) for argv in matter.line.commands)
        return Rule(say=Say.ALLOW, tools=(call.tool,), command=words)
    if matter.paths:
        return Rule(say=Say.ALLOW, tools=(call.tool,), paths=tuple(map(_exactly, matter.paths)))
    if matter.host:
        hosts, methods = (_exactly(matter.host),), (matter.method,)
        return Rule(say=Say.ALLOW, tools=(call.tool,), hosts=hosts, methods=methods)
    return Rule(say=Say.ALLOW, tools=(call.tool,), target=_exactly(call.target) or "*")


def allowing(text: str) -> Rule:
    """`tool` or `tool:pattern` as a rule; for command lines the pattern is one for each word."""
    rule = parse_rule(text, Say.ALLOW, name="")
    if rule.tool != COMMAND or rule.target == "*":
        return rule
    line = parsed(rule.target.replace("*", "x").replace("?", "x"))
    words = rule.target.split()
    if not line.plain or len(line.commands) != 1 or len(line.commands[0]) != len(words):
        hint = "write a pattern for each word of one command: exec:git push *"
        raise Invalid(f"{text!r} is not one plain command", code="bad_rule", hint=hint)
    return Rule(say=Say.ALLOW, tools=(COMMAND,), command=(tuple(words),))


def _exactly(text: str) -> str:
    """A pattern that fits this text alone."""
    return "".join(f"[{letter}]" if letter in _SIGNS else letter for letter in text)
