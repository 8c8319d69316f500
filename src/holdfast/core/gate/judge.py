"""The one function that judges a call, and the one that explains what it said.

A deny that matches anywhere wins. Otherwise the first layer with a matching rule decides, and
inside a layer *ask* beats *allow*. An ask about labels is not silenced by a rule that says nothing
of labels. Nothing matches: denied. Leases only answer what would be asked, or what nobody speaks
of; ceilings and newer rules can only narrow. So adding a deny rule can only narrow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from holdfast.core.error import Invalid
from holdfast.core.ids import Instant
from holdfast.core.message import ToolCall

from .book import matching
from .matter import Asking, Matter
from .policy import Allow, Ask, Deny, Lease, Leave, Rule, Rules, Say, Verdict, parse_rule
from .presets import PRESETS

Layers = tuple[tuple[Rule, ...], ...]
_Until = Callable[[Rule], Instant]

_NOBODY = "this needs approval and nobody is there to ask; use --allow or --yes beforehand"
_BEYOND = "beyond the ceiling"
_STRICTNESS = {Allow: 0, Ask: 1, Deny: 2}


class Standing(Struct, frozen=True, kw_only=True):
    """What a task brings along when it is judged: its leave, its grants, and who it is."""

    leave: Leave = Leave()
    grants: tuple[Rule, ...] = ()
    asking: Asking = Asking()


class Match(NamedTuple):
    """A rule that matches, where it stands, and whether it decided."""

    where: str
    rule: Rule
    decided: bool = False


class Explanation(NamedTuple):
    """A verdict, under which rules, and all that matched; the strongest layer first."""

    verdict: Verdict
    version: str
    matches: tuple[Match, ...]


def layers_for(leave: Leave, grants: Iterable[Rule], rules: Rules) -> Layers:
    """Every layer that applies to one task, strongest first. Raises `Invalid` on a bad leave."""
    mine = tuple(parse_rule(t, Say.DENY, name=f"--deny {t}") for t in leave.deny)
    mine += tuple(parse_rule(t, Say.ALLOW, name=f"--allow {t}") for t in leave.allow)
    own = rules.layers[:-1] if leave.preset else rules.layers
    below = (_preset(leave.preset),) if leave.preset else ()
    for name in leave.ceilings:
        _preset(name)
    return (mine, tuple(grants), *own, *below)


def _preset(name: str) -> tuple[Rule, ...]:
    if name not in PRESETS:
        known = ", ".join(PRESETS)
        raise Invalid(f"there is no preset {name!r}: use {known}", code="no_such_preset")
    return PRESETS[name]


def decided(
    call: ToolCall, standing: Standing, rules: Rules, taken: Mapping[str, int] | None = None
) -> Verdict:
    """The verdict on a call of one task. `taken` are uses of leases that are not counted yet."""
    verdict = _known(call, standing, rules, taken or {})
    if rules.newer is not None:
        verdict = _stricter(verdict, _known(call, standing, rules.newer, taken or {}))
    return verdict


def _known(call: ToolCall, standing: Standing, rules: Rules, taken: Mapping[str, int]) -> Verdict:
    """The verdict; where labels are only reported, as if there were none, with what they say."""
    verdict = _decided(call, standing, rules, taken)
    if not call.labels or not rules.reports:
        return verdict
    bare = _decided(replace(call, labels=()), standing, rules, taken)
    if isinstance(bare, Deny) or _STRICTNESS[type(bare)] >= _STRICTNESS[type(verdict)]:
        return verdict
    return replace(bare, reported=verdict.rule)


def _decided(call: ToolCall, standing: Standing, rules: Rules, taken: Mapping[str, int]) -> Verdict:
    leave, asking = standing.leave, standing.asking

    def until(rule: Rule) -> Instant:
        return asking.at + (rule.expires or rules.approval_seconds) * 1000

    matter = rules.matter(call, asking)
    layers = [matching(one, matter) for one in layers_for(leave, standing.grants, rules)]
    verdict = _weighed(layers, call, unattended=leave.unattended, until=until)
    if not isinstance(verdict, Allow):
        verdict = _leased(verdict, layers, matter, (rules.leases, leave, until, taken))
    for ceiling in _ceilings(leave, asking, rules):
        found = [matching(layer, matter) for layer in ceiling]
        most = _weighed(found, call, unattended=leave.unattended, until=until)
        if not any(found):
            most = Deny(rule=_BEYOND, reason="a ceiling over this agent does not allow it")
        verdict = _stricter(verdict, most)
    return verdict


def _weighed(
    layers: Sequence[Sequence[Rule]], call: ToolCall, *, unattended: bool, until: _Until
) -> Verdict:
    rule = deciding(layers)
    if rule is None:
        return Deny(rule="default deny", reason="no rule allows this")
    match rule.say:
        case Say.DENY:
            return Deny(rule=rule.label, reason=rule.reason or f"denied by rule: {rule.label}")
        case Say.ASK if unattended:
            return Deny(rule=rule.label, reason=_NOBODY)
        case Say.ASK:
            return Ask(rule=rule.label, question=question(call, rule.reason), until=until(rule))
        case Say.ALLOW:
            return Allow(rule=rule.label)


def deciding(layers: Sequence[Sequence[Rule]]) -> Rule | None:
    """Of the rules that match, the one that decides."""
    firm: Rule | None = None
    for rule in (rule for layer in layers for rule in layer):
        if rule.say is Say.DENY:
            return rule
        if rule.say is Say.ASK and rule.labels and firm is None:
            firm = rule
    for layer in layers:
        for rule in layer:
            if rule.say is Say.ASK:
                return rule
        if layer and firm is not None:
            return next((rule for rule in layer if rule.labels), firm)
        if layer:
            return layer[0]
    return None


def _leased(
    verdict: Verdict,
    layers: Sequence[Sequence[Rule]],
    matter: Matter,
    beside: tuple[Sequence[Lease], Leave, _Until, Mapping[str, int]],
) -> Verdict:
    """The verdict with the first lease that allows the call, if any does."""
    leases, leave, until, taken = beside
    for lease in leases:
        if not lease.covers(matter.asking, taken.get(lease.id, 0)):
            continue
        rule = leased(lease)
        if not rule.matches(matter):
            continue
        with_it = [[rule], *layers]
        found = _weighed(with_it, matter.call, unattended=leave.unattended, until=until)
        if isinstance(found, Allow):
            return replace(found, lease=lease.id)
    return verdict


def leased(lease: Lease) -> Rule:
    """The rule of a lease, under the name by which people know the lease."""
    return replace(lease.rule, say=Say.ALLOW, name=f"lease {lease.id}: {lease.rule.label}")


def _ceilings(leave: Leave, asking: Asking, rules: Rules) -> list[Layers]:
    over = [one.layers for one in rules.ceilings if one.is_over(asking.agent)]
    return over + [(_preset(name),) for name in leave.ceilings]


def _stricter(one: Verdict, other: Verdict) -> Verdict:
    """The one that allows less; of two that allow, the one that uses a lease, so that it counts."""
    if isinstance(one, Allow) and isinstance(other, Allow):
        return one if one.lease else other if other.lease else one
    return other if _STRICTNESS[type(other)] > _STRICTNESS[type(one)] else one


def explained(call: ToolCall, standing: Standing, rules: Rules) -> Explanation:
    """The verdict, and every rule that matches: what decided, and what else would have."""
    verdict = decided(call, standing, rules)
    matches = _matches(call, standing, rules, verdict)
    if rules.newer is not None:
        newer = _matches(call, standing, rules.newer, verdict)
        matches += [one._replace(where=f"newer {one.where}") for one in newer]
    return Explanation(verdict, rules.version, tuple(matches))


def _matches(call: ToolCall, standing: Standing, rules: Rules, verdict: Verdict) -> list[Match]:
    leave, asking = standing.leave, standing.asking
    matter = rules.matter(call, asking)
    layers = layers_for(leave, standing.grants, rules)
    own = [f"policy {place + 1}" if place else "policy" for place in range(len(layers) - 3)]
    names = ["the task's own", "granted in the task", *own, "preset"]
    live = tuple(leased(one) for one in rules.leases if one.covers(asking))
    placed = list(zip(names, layers, strict=False))
    placed.insert(2, ("lease", live))
    placed += [("ceiling", one) for ceiling in _ceilings(leave, asking, rules) for one in ceiling]
    return [
        Match(where, rule, decided=rule.label == verdict.rule)
        for where, layer in placed
        for rule in matching(layer, matter)
    ]


def question(call: ToolCall, reason: str = "") -> str:
    """What a person is asked: the call, why, and where what led to it came from."""
    asked = f"May I {call.tool} {call.target}?".replace(" ?", "?")
    why = f" ({reason})" if reason else ""
    labels = f" What led to it: {', '.join(call.labels)}." if call.labels else ""
    return f"{asked}{why}{labels}"
