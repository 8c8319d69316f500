"""What is allowed, as data: rules, leases, ceilings; what a task brings along; and verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from fnmatch import fnmatchcase

from msgspec import Struct

from holdfast.core.error import Invalid
from holdfast.core.ids import Instant
from holdfast.core.message import ToolCall

from .commands import fits, is_chained
from .hours import Zone, is_within
from .matter import COMMAND, Asking, Matter


class Say(StrEnum):
    """What a rule says."""

    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"


DENY = Say.DENY


class Rule(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of policy; all its conditions must hold. Of a list, it is enough that one fits.

    To ask or to deny, it is enough that any path, any command in a line or any label fits. To
    allow, every path must, and every command of a line that is nothing but plain words.
    `tool`, `effect` and `target` are single patterns; `target` sees a path or a command line as
    text, and never allows one with signs of chaining in it. `most` bounds numbers in arguments: to
    allow, each must be there and at most that; to ask or to deny, it is enough that one is more, or
    no number. `trust`: how far the agent is trusted, as `email:high`. `expires`: seconds for an
    answer.
    """

    say: Say
    tool: str = "*"
    effect: str = "*"
    target: str = "*"
    reason: str = ""
    name: str = ""
    agents: tuple[str, ...] = ()
    principals: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    effects: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    command: tuple[tuple[str, ...], ...] = ()
    hosts: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    hours: str = ""
    labels: tuple[str, ...] = ()
    most: tuple[tuple[str, float], ...] = ()
    trust: tuple[str, ...] = ()
    expires: int = 0

    def matches(self, matter: Matter) -> bool:
        call, asking = matter.call, matter.asking
        return (
            (self.tool == "*" or _fits(call.tool, self.tool))
            and (self.effect == "*" or _fits(call.effect, self.effect))
            and _is_one(call.tool, self.tools)
            and _is_one(call.effect, self.effects)
            and _is_one(asking.agent, self.agents)
            and _is_one(asking.principal, self.principals)
            and (not self.methods or _is_one(matter.method, self.methods))
            and (not self.hosts or (bool(matter.host) and _is_one(matter.host, self.hosts)))
            and (not self.labels or self._meets_labels(call.labels))
            and (not self.trust or any(_is_one(level, self.trust) for level in matter.trust))
            and (self.target == "*" or self._meets_target(matter))
            and (not self.paths or self._meets_paths(matter))
            and (not self.command or self._meets_command(matter))
            and (not self.most or self._meets_most(matter))
            and (not self.hours or is_within(self.hours, asking.at, matter.zone))
        )

    def concerns(self, agent: str) -> bool:
        """True unless the rule is about other agents."""
        return _is_one(agent, self.agents)

    def _meets_labels(self, labels: tuple[str, ...]) -> bool:
        found = [_is_one(label, self.labels) for label in labels]
        return any(found) and (self.say is not Say.ALLOW or all(found))

    def _meets_target(self, matter: Matter) -> bool:
        if self.say is not Say.ALLOW:
            parts = (*matter.touched, *matter.rough)
            return any(fnmatchcase(part, self.target) for part in parts)
        chained = matter.call.tool == COMMAND and is_chained(matter.call.target)
        return not chained and all(fnmatchcase(part, self.target) for part in matter.touched)

    def _meets_paths(self, matter: Matter) -> bool:
        if self.say is Say.ALLOW:
            outside = any(path.startswith("/") for path in matter.paths)
            absolute = any(pattern.startswith("/") for pattern in self.paths)
            inside = all(_is_beneath(path, self.paths) for path in matter.paths)
            return bool(matter.paths) and inside and (absolute or not outside)
        if any(_is_beneath(path, self.paths) for path in matter.paths):
            return True
        return matter.covered and any(_holds(path, self.paths) for path in matter.paths)

    def _meets_command(self, matter: Matter) -> bool:
        if self.say is Say.ALLOW:
            line = matter.line
            return (
                line.plain
                and bool(line.commands)
                and all(any(fits(argv, words) for words in self.command) for argv in line.commands)
            )
        return any(
            fits(argv, words, anywhere=True) for argv in matter.commands for words in self.command
        )

    def _meets_most(self, matter: Matter) -> bool:
        given, allows = matter.call.arguments, self.say is Say.ALLOW
        within = (
            _is_at_most(given[name], most) if name in given else not allows
            for name, most in self.most
        )
        return all(within) is allows

    @property
    def label(self) -> str:
        if self.name:
            return self.name
        about = (*self.hosts, *self.paths, *(" ".join(words) for words in self.command))
        target = ", ".join((*about, *self.labels)) or self.target
        return f"{self.say} {', '.join(self.tools) or self.tool} {target}"


def _fits(word: str, pattern: str) -> bool:
    return pattern == "*" or word == pattern or fnmatchcase(word, pattern)


def _is_one(word: str, patterns: tuple[str, ...]) -> bool:
    if not patterns or word in patterns:
        return True
    return any(_fits(word, pattern) for pattern in patterns)


def _is_at_most(value: object, most: float) -> bool:
    """Whether it is a number, whatever its sign, of no more than that."""
    try:
        return abs(float(str(value))) <= most
    except ValueError:
        return False


def _is_beneath(path: str, patterns: tuple[str, ...]) -> bool:
    """True for what a pattern names, and for all that is in a folder that it names."""
    return any(fnmatchcase(path, one) or fnmatchcase(path, f"{one}/*") for one in patterns)


def _holds(path: str, patterns: tuple[str, ...]) -> bool:
    """True for a folder in which something lies that a pattern names."""
    return any(
        path == "." or f"{folder}/".startswith(f"{path}/")
        for one in patterns
        if (folder := literal(one))
    )


def literal(pattern: str) -> str:
    """The folders at the start of a pattern for paths that hold no signs of a pattern."""
    sign = next((place for place, letter in enumerate(pattern) if letter in "*?["), None)
    return pattern.rstrip("/") if sign is None else pattern[:sign].rpartition("/")[0]


class Lease(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Leave that a person gave beforehand, so many times (0: any number), until a moment (0: any).

    `scope` is task, session, agent or all; `of` says which one. `used` is counted in the commit of
    the verdict.
    """

    id: str
    rule: Rule
    scope: str = "all"
    of: str = ""
    uses: int = 0
    used: int = 0
    until: Instant = 0
    by: str = ""
    reason: str = ""
    at: Instant = 0

    def covers(self, asking: Asking, taken: int = 0) -> bool:
        """True if it may still be used for this; `taken` are uses that are not counted yet."""
        spent = self.uses and self.used + taken >= self.uses
        late = self.until and self.until <= asking.at
        return not spent and not late and self.scope in LEASE_SCOPES and self._is_for(asking)

    def _is_for(self, asking: Asking) -> bool:
        return self.scope == "all" or self.of == getattr(asking, self.scope)


LEASE_SCOPES = ("task", "session", "agent", "all")


class Ceiling(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The most that some agents may do, whatever else is allowed: it can only narrow."""

    agents: tuple[str, ...]
    layers: tuple[tuple[Rule, ...], ...]

    def is_over(self, agent: str) -> bool:
        return _is_one(agent, self.agents)


class Rules(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The policy in force: layers, strongest first; the preset is the last one.

    `zone` tells the hour; `trust` the levels of an agent, as `email:high`, under "" everybody's.
    `reports`: what labels would ask or deny is only written down; `apart`: patterns of the sources
    whose answers no agent sees. A try keeps the rules that it began with;
    `newer` are those that have come since: what they forbid is forbidden at once, what they allow
    begins with the next try.
    """

    layers: tuple[tuple[Rule, ...], ...] = ()
    version: str = ""
    approval_seconds: int = 86_400
    ceilings: tuple[Ceiling, ...] = ()
    leases: tuple[Lease, ...] = ()
    zone: Zone = ()
    trust: Mapping[str, tuple[str, ...]] = {}
    reports: bool = False
    apart: tuple[str, ...] = ()
    newer: Rules | None = None

    def matter(self, call: ToolCall, asking: Asking) -> Matter:
        trust = self.trust.get(asking.agent, self.trust.get("", ()))
        return Matter(call, asking, self.zone, trust)

    def limits_of(self, agent: str) -> tuple[tuple[Rule, ...], ...]:
        """The layers of every ceiling over an agent."""
        over = (one for one in self.ceilings if one.is_over(agent))
        return tuple(layer for one in over for layer in one.layers)


class Allow(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="allow"):
    """The call may run; `lease` is the id of the one that it used. `reported`: the rule about
    labels that would have said otherwise, were labels more than reported."""

    rule: str
    lease: str = ""
    reported: str = ""


class Deny(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="deny"):
    """The call may not run."""

    rule: str
    reason: str


class Ask(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="ask"):
    """A human decides, until `until`."""

    rule: str
    question: str
    until: Instant
    reported: str = ""


Verdict = Allow | Deny | Ask


class Leave(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the submitter adds to the policy for one task.

    `allow` and `deny` are `tool` or `tool:pattern`. `unattended` turns every *ask* into a *deny*,
    because nobody is there to answer. `ceilings` are presets beyond which nothing is allowed.
    """

    preset: str = ""
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    unattended: bool = False
    ceilings: tuple[str, ...] = ()


def parse_rule(text: str, say: Say, *, name: str) -> Rule:
    """`tool` or `tool:pattern` as one rule, as `--allow` and `--deny` take it.

    Raises `Invalid` on an empty half: a variable that was not set must not allow everything.
    """
    tool, colon, target = (part.strip() for part in text.partition(":"))
    if not tool or (colon and not target):
        hint = "write `tool` or `tool:pattern`; `*` stands for everything"
        raise Invalid(f"the {say} rule {text!r} is incomplete", code="bad_rule", hint=hint)
    return Rule(say=say, tool=tool, target=target or "*", name=name)
