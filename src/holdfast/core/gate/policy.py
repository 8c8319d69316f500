"""What is allowed: rules as data, and the one function that judges a call.

A deny that matches anywhere wins. Otherwise the first layer with a matching rule decides, and
inside a layer *ask* beats *allow*. Nothing matches: denied. So adding a deny rule can only narrow.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from fnmatch import fnmatchcase

from msgspec import Struct

from holdfast.core.error import Invalid
from holdfast.core.ids import Instant
from holdfast.core.message import ToolCall

_CHAINING = frozenset(";|&$`<>()\n\\")


class Say(StrEnum):
    """What a rule says."""

    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"


DENY = Say.DENY


class Rule(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of policy. `tool`, `effect` and `target` are shell patterns; all must match.

    For command lines (the tool `exec`) a pattern other than `*` never allows a line with shell
    chaining in it: `git *` does not let `git status; rm -rf .` through. To ask or to deny, it is
    enough that any command in the line, or any path that the call touches, matches; to allow, all
    must.
    """

    say: Say
    tool: str = "*"
    effect: str = "*"
    target: str = "*"
    reason: str = ""
    name: str = ""

    def matches(self, call: ToolCall) -> bool:
        if not fnmatchcase(call.tool, self.tool) or not fnmatchcase(call.effect, self.effect):
            return False
        if self.target == "*":
            return True
        touched = (call.target, *call.also)
        if self.say is not Say.ALLOW:
            parts = (*touched, *_folders(call), *_pieces(call))
            return any(fnmatchcase(part, self.target) for part in parts)
        chained = call.tool == "exec" and _CHAINING & set(call.target)
        return not chained and all(fnmatchcase(part, self.target) for part in touched)

    @property
    def label(self) -> str:
        return self.name or f"{self.say} {self.tool} {self.target}"


class Rules(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The policy in force: layers, strongest first; the preset is the last one."""

    layers: tuple[tuple[Rule, ...], ...] = ()
    version: str = ""
    approval_seconds: int = 86_400


class Allow(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="allow"):
    """The call may run."""

    rule: str


class Deny(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="deny"):
    """The call may not run."""

    rule: str
    reason: str


class Ask(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="ask"):
    """A human decides, until `until`."""

    rule: str
    question: str
    until: Instant


Verdict = Allow | Deny | Ask


class Leave(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the submitter adds to the policy for one task.

    `allow` and `deny` are `tool` or `tool:pattern`. `unattended` turns every *ask* into a *deny*,
    because nobody is there to answer.
    """

    preset: str = ""
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    unattended: bool = False


_READS = Rule(say=Say.ALLOW, effect="reads", name="preset: reading is allowed")
PRESETS: dict[str, tuple[Rule, ...]] = {
    "read-only": (
        _READS,
        Rule(
            say=Say.DENY,
            effect="writes",
            name="preset read-only: nothing may be changed",
            reason="the preset is read-only",
        ),
        Rule(
            say=Say.DENY,
            effect="repeatable",
            name="preset read-only: nothing may be changed",
            reason="the preset is read-only",
        ),
    ),
    "ask": (
        _READS,
        Rule(say=Say.ASK, effect="writes", name="preset ask: changing and executing asks"),
        Rule(say=Say.ASK, effect="repeatable", name="preset ask: changing and executing asks"),
    ),
    "workspace": (
        _READS,
        Rule(say=Say.ASK, tool="exec", name="preset workspace: executing asks"),
        *(
            Rule(say=Say.ALLOW, tool=tool, name="preset workspace: files may be changed")
            for tool in ("write", "edit", "append", "move", "delete")
        ),
    ),
    "open": (Rule(say=Say.ALLOW, name="preset open: everything in the box is allowed"),),
}
"""From strictest to loosest. `ask` is the default on a terminal."""


def parse_rule(text: str, say: Say, *, name: str) -> Rule:
    """`tool` or `tool:pattern` as one rule, as `--allow` and `--deny` take it.

    Raises `Invalid` on an empty half: a variable that was not set must not allow everything.
    """
    tool, colon, target = (part.strip() for part in text.partition(":"))
    if not tool or (colon and not target):
        hint = "write `tool` or `tool:pattern`; `*` stands for everything"
        raise Invalid(f"the {say} rule {text!r} is incomplete", code="bad_rule", hint=hint)
    return Rule(say=say, tool=tool, target=target or "*", name=name)


def layers_for(leave: Leave, grants: Iterable[Rule], rules: Rules) -> tuple[tuple[Rule, ...], ...]:
    """Every layer that applies to one task, strongest first. Raises `Invalid` on a bad leave."""
    mine = tuple(parse_rule(t, Say.DENY, name=f"--deny {t}") for t in leave.deny)
    mine += tuple(parse_rule(t, Say.ALLOW, name=f"--allow {t}") for t in leave.allow)
    if not leave.preset:
        return (mine, tuple(grants), *rules.layers)
    if leave.preset not in PRESETS:
        known = ", ".join(PRESETS)
        raise Invalid(f"there is no preset {leave.preset!r}: use {known}", code="no_such_preset")
    return (mine, tuple(grants), *rules.layers[:-1], PRESETS[leave.preset])


def judge(
    call: ToolCall, layers: tuple[tuple[Rule, ...], ...], *, unattended: bool, until: Instant
) -> Verdict:
    """The verdict on one call. Pure, total, default deny."""
    matching = [[rule for rule in layer if rule.matches(call)] for layer in layers]
    for rule in (rule for layer in matching for rule in layer if rule.say is Say.DENY):
        return Deny(rule=rule.label, reason=rule.reason or f"denied by rule: {rule.label}")
    for layer in matching:
        asks = [rule for rule in layer if rule.say is Say.ASK]
        if asks and unattended:
            return Deny(rule=asks[0].label, reason=_NOBODY)
        if asks:
            return Ask(rule=asks[0].label, question=_question(call), until=until)
        if layer:
            return Allow(rule=layer[0].label)
    return Deny(rule="default deny", reason="no rule allows this")


_NOBODY = "this needs approval and nobody is there to ask; use --allow or --yes beforehand"


def _question(call: ToolCall) -> str:
    return f"May I {call.tool} {call.target}?".replace(" ?", "?")


def _folders(call: ToolCall) -> list[str]:
    """The paths as folders: a rule about all that is in a folder is about the folder too."""
    return [] if call.tool == "exec" else [f"{path}/" for path in (call.target, *call.also)]


def _pieces(call: ToolCall) -> list[str]:
    """The commands inside a command line, roughly: deny rules look at each of them.

    A speed bump for honest models; the box is the wall.
    """
    if call.tool != "exec":
        return []
    text = call.target
    for sign in _CHAINING:
        text = text.replace(sign, "\n")
    return [piece.strip() for piece in text.split("\n") if piece.strip()]
