"""Domains of work, and what a level of trust in one means: a layer of rules, made by a function."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from fnmatch import fnmatchcase

from msgspec import Struct
from msgspec.structs import replace

from holdfast.core.gate.policy import Rule, Rules, Say
from holdfast.core.gate.presets import PRESETS
from holdfast.core.ids import digest
from holdfast.core.message import EffectClass


class Level(StrEnum):
    """How far agents are trusted in a domain, from nothing upwards."""

    NONE = "none"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


MEANS: Mapping[Level, str] = {
    Level.NONE: "its calls are denied",
    Level.LOW: "whatever changes something asks",
    Level.MEDIUM: "it asks with a proposed rule; one yes answers all the very same questions",
    Level.HIGH: "its calls run, unless a rule, a label or a ceiling says otherwise",
}
"""Each level in a sentence."""

EVERYBODY = ""
_MARK = "trust: "
_DESTROYING = next(rule for rule in PRESETS["coder"] if rule.command)
_ACTS = (EffectClass.REPEATABLE, EffectClass.WRITES)
_HIGHER = {level: place for place, level in enumerate(Level)}


class Domain(Struct, frozen=True, kw_only=True):
    """A kind of work; what meets the conditions of one of `calls` belongs to it."""

    name: str
    calls: tuple[Rule, ...]
    about: str = ""

    @property
    def digest(self) -> str:
        """What it stands for when something is granted in it."""
        return digest([self.name, self.calls])[:16]


class Grant(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A level that a person gave: in a domain as it was then (`of`), to one agent or to all."""

    domain: str
    level: Level
    agent: str = EVERYBODY
    of: str = ""
    by: str = ""
    at: int = 0
    reason: str = ""


Grants = Mapping[tuple[str, str], Grant]
"""By domain and agent."""


def level_of(domain: Domain, grants: Grants, agent: str = EVERYBODY) -> Level:
    """The level that counts, else low. More than low holds only for the domain as it was when it
    was granted."""
    grant = grant_of(domain, grants, agent)
    return Level.LOW if grant is None or is_stale(domain, grant) else grant.level


def grant_of(domain: Domain, grants: Grants, agent: str = EVERYBODY) -> Grant | None:
    """What was granted and counts: an agent's own, else everybody's. None for everybody is none
    for each."""
    own, everybody = grants.get((domain.name, agent)), grants.get((domain.name, EVERYBODY))
    none_at_all = everybody is not None and everybody.level is Level.NONE
    return everybody if own is None or none_at_all else own


def is_stale(domain: Domain, grant: Grant) -> bool:
    """True where the domain has become another one since more than low was granted in it."""
    return _HIGHER[grant.level] > _HIGHER[Level.LOW] and grant.of != domain.digest


def trusted(rules: Rules, domains: Sequence[Domain], grants: Grants) -> Rules:
    """The rules with what trust says: below the installation's own, above the preset."""
    if not domains:
        return rules
    layers = tuple(filter(None, layers_of(domains, grants)))
    told = {
        agent: _levels(domains, grants, agent) for agent in (EVERYBODY, *_with_their_own(grants))
    }
    version = "policy-" + digest([rules.version, layers, told])[:16]
    laid = (*rules.layers[:-1], *layers, rules.layers[-1])
    return replace(rules, layers=laid, trust=told, version=version)


def _levels(domains: Sequence[Domain], grants: Grants, agent: str) -> tuple[str, ...]:
    """As rules name them."""
    return tuple(f"{one.name}:{level_of(one, grants, agent)}" for one in domains)


def _with_their_own(grants: Grants) -> list[str]:
    return sorted({agent for _, agent in grants if agent != EVERYBODY})


def layers_of(domains: Sequence[Domain], grants: Grants) -> tuple[tuple[Rule, ...], ...]:
    """One layer for agents that have levels of their own, and below it one for all others.

    The first has everything that counts for such an agent: nothing below it is looked at there.
    """
    own = [
        replace(rule, agents=(_exactly(agent),))
        for agent in _with_their_own(grants)
        for domain in domains
        for calls in domain.calls
        if calls.concerns(agent)
        for rule in _said(domain.name, calls, level_of(domain, grants, agent))
    ]
    return tuple(own), tuple(
        rule
        for domain in domains
        for calls in domain.calls
        for rule in _said(domain.name, calls, level_of(domain, grants))
    )


def _said(domain: str, calls: Rule, level: Level) -> Iterable[Rule]:
    """The rules of a level about some calls of a domain."""
    named = replace(calls, name=rule_name(domain, level))
    match level:
        case Level.NONE:
            reason = f"agents are not trusted with {domain}"
            yield replace(named, say=Say.DENY, reason=reason)
        case Level.LOW | Level.MEDIUM:
            if effects := tuple(one for one in _ACTS if _has(calls, one)):
                yield replace(named, say=Say.ASK, effect="*", effects=effects)
        case Level.HIGH:
            yield replace(named, say=Say.ALLOW)
            if _may_be_commands(calls):
                yield replace(_DESTROYING, agents=calls.agents, principals=calls.principals)


def _has(calls: Rule, effect: str) -> bool:
    return not calls.effects or any(fnmatchcase(effect, one) for one in calls.effects)


def _may_be_commands(calls: Rule) -> bool:
    """Whether command lines can belong to it; then what destroys for good still asks."""
    named = not calls.tools or any(fnmatchcase("exec", one) for one in calls.tools)
    return named and not (calls.paths or calls.hosts or calls.methods)


def rule_name(domain: str, level: Level) -> str:
    """What decided, as verdicts and the audit call it."""
    return f"{_MARK}{domain} is {level}"


def read_name(rule: str) -> tuple[str, Level] | None:
    """The domain and level that a rule's name tells; None for rules that are not about trust."""
    domain, found, level = rule.removeprefix(_MARK).rpartition(" is ")
    if not rule.startswith(_MARK) or not found or level not in _HIGHER:
        return None
    return domain, Level(level)


def _exactly(agent: str) -> str:
    """A pattern that fits this name alone."""
    return "".join(f"[{letter}]" if letter in "[*?" else letter for letter in agent)
