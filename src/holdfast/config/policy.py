"""The policy in force, made of its tables; and one file of policy, looked at by itself."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from pydantic import ValidationError

from holdfast.core.error import Invalid
from holdfast.core.gate.hours import Zone
from holdfast.core.gate.policy import Ceiling, Rule, Rules, Say
from holdfast.core.gate.presets import PRESETS
from holdfast.core.ids import digest
from holdfast.runtime.answerers import Answerers
from holdfast.runtime.domains import Domain

from .read import POLICY_HINT, parsed, text_of
from .sections import Settings
from .sections_policy import Conditions, RuleRow
from .words import problem, spot

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_FIRST, _LAST, _STEP = 1_577_836_800, 2_840_140_800, 7 * 86_400  # 2020 to 2060, in weeks


def to_rules(config: Settings) -> Rules:
    """The policy in force: the configured rules, and below them the preset."""
    policy = config.policy
    own = to_rule_rows(policy.rule)
    layers = (own, PRESETS[policy.preset])
    ceilings = tuple(
        Ceiling(agents=(name,), layers=(to_rule_rows(table.rule), PRESETS[table.preset]))
        for name, table in policy.ceiling.items()
    )
    seconds = policy.approval_seconds
    reports, apart = policy.labels == "report", policy.apart
    more = [one for one in (ceilings, apart, reports) if one]
    version = "policy-" + digest([layers, seconds, *more])[:16]
    every = (*own, *(rule for one in ceilings for layer in one.layers for rule in layer))
    zone = machine_zone() if any(rule.hours for rule in every) else ()
    return Rules(
        layers=layers,
        version=version,
        approval_seconds=seconds,
        ceilings=ceilings,
        zone=zone,
        reports=reports,
        apart=apart,
    )


def to_domains(config: Settings) -> tuple[Domain, ...]:
    """The kinds of work in which agents can be trusted, in the order of the file."""
    return tuple(
        Domain(name=name, calls=tuple(map(_calls, table.kinds)), about=table.about)
        for name, table in config.policy.domain.items()
    )


def to_answerers(config: Settings) -> tuple[Answerers, ...]:
    """Who may answer which questions; of a domain, both its conditions and those of the table."""
    found: list[Answerers] = []
    for table in config.policy.answer:
        domain = config.policy.domain[table.domain].kinds if table.domain else ()
        found.append(
            Answerers(
                calls=replace(_calls(table), most=_most(table.most)),
                domain=tuple(map(_calls, domain)),
                by=table.by,
                members=tuple(_members(table.by, config.policy.group)),
                not_requester=table.not_requester,
            )
        )
    return tuple(found)


def _members(by: tuple[str, ...], groups: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    for one in by:
        yield from groups[one.removeprefix("group:")] if one.startswith("group:") else (one,)


def _calls(table: Conditions) -> Rule:
    """The conditions of a table, as a rule that is met where any of them could be."""
    told = {name: getattr(table, name) for name in Conditions.model_fields}
    told["paths"] = tuple(plain for one in table.paths for plain in _paths(one))
    return Rule(say=Say.ASK, **told)


def to_rule_rows(rows: tuple[RuleRow, ...]) -> tuple[Rule, ...]:
    return tuple(map(to_rule, rows))


def to_rule(row: RuleRow) -> Rule:
    told = row.model_dump()
    told["say"] = Say(row.say)
    told["expires"] = int(row.expires[:-1]) * _UNITS[row.expires[-1]] if row.expires else 0
    told["paths"] = tuple(plain for one in row.paths for plain in _paths(one))
    told["most"] = _most(row.most)
    rule = Rule(**told)
    return rule if row.name else replace(rule, name=f"config: {rule.label}")


def _most(bounds: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    return tuple(sorted(bounds.items()))


def _paths(pattern: str) -> tuple[str, ...]:
    """The pattern as it is compared: `**/x` is also the `x` at the top."""
    pattern = pattern.removeprefix("./").rstrip("/") or "*"
    top = pattern.removeprefix("**/")
    return (pattern,) if top == pattern else (pattern, top)


def machine_zone() -> Zone:
    """How far this machine's clock on the wall is ahead of UTC, and since when."""
    found = [(0, _ahead(_FIRST))]
    for start in range(_FIRST, _LAST, _STEP):
        if _ahead(start + _STEP) != found[-1][1]:
            found.append(_change(start, start + _STEP))
    return tuple(found)


def _change(before: int, after: int) -> tuple[int, int]:
    """The second at which the clocks are put to what they show `after`."""
    target = _ahead(after)
    while after - before > 1:
        middle = (before + after) // 2
        before, after = (before, middle) if _ahead(middle) == target else (middle, after)
    return after * 1000, target


def _ahead(at: int) -> int:
    return time.localtime(at).tm_gmtoff // 60


def checked_policy(path: Path) -> Settings:
    """One file of policy, by itself. Raises `Invalid` naming every problem, its line and column."""
    return policy_in(text_of(path, required="the command line"), path)


def policy_in(text: str, path: Path) -> Settings:
    """The same of a text that was read from `path`."""
    told: Mapping[str, Any] = {"policy": parsed(path, text)}
    try:
        return Settings.model_validate(told)
    except ValidationError as failure:
        found = [
            f"{path}:{spot(text, one['loc'][1:])}: {problem(one['loc'], one)}"
            for one in failure.errors(include_url=False)
        ]
        raise Invalid("\n".join(found), code="bad_policy", hint=POLICY_HINT) from None
