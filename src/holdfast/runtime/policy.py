"""What may be asked of the policy: what it is, why it says what it says, what a change changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, cast

import anyio.lowlevel
from msgspec import Struct, to_builtins
from msgspec.structs import replace

from holdfast.core.error import Invalid, NotFound, Refused
from holdfast.core.event import Replied
from holdfast.core.evolve import fold
from holdfast.core.gate.judge import Explanation, Standing, decided, explained
from holdfast.core.gate.labels import source_of
from holdfast.core.gate.matter import Asking
from holdfast.core.gate.policy import Allow, Ask, Leave, Rule, Rules, Verdict
from holdfast.core.gate.presets import ABOUT, PRESETS
from holdfast.core.gate.standing import standing_of
from holdfast.core.gate.suggest import suggested
from holdfast.core.ids import CallId, TaskId
from holdfast.core.message import ToolCall
from holdfast.engine.describe import described
from holdfast.ports.journal import Query

from .domains import read_name
from .examples import examples
from .house import House

_TASKS = 200
_CALLS = 5_000
_AT_ONCE = 50


class Supposed(Struct, frozen=True, kw_only=True):
    """A call that nobody made: would it be allowed? `words` are what the tool is told, in order."""

    tool: str
    words: tuple[str, ...] = ()
    agent: str = ""
    principal: str = "local"
    workspace: str = ""
    preset: str = ""
    method: str = ""
    arguments: Mapping[str, Any] = {}
    labels: tuple[str, ...] = ()
    unattended: bool = False
    at: int = 0


class Judged(Struct, frozen=True, kw_only=True):
    """A verdict in words: what, by which rule, and why; and the rule about labels that would have
    said otherwise, where labels are only reported."""

    say: str
    rule: str
    reason: str
    reported: str = ""


class Shift(Struct, frozen=True, kw_only=True):
    """A call that another policy judges differently."""

    call: str
    agent: str
    before: Judged
    after: Judged
    example: bool


class Difference(Struct, frozen=True, kw_only=True):
    """What a change of policy makes wider and narrower, of so many calls that were tried."""

    wider: tuple[Shift, ...]
    narrower: tuple[Shift, ...]
    tried: int


_FREEDOM = {"deny": 0, "ask": 1, "allow": 2}


def judged(verdict: Verdict) -> Judged:
    match verdict:
        case Allow():
            told, more = Judged(say="allow", rule=verdict.rule, reason=""), verdict.reported
        case Ask():
            told = Judged(say="ask", rule=verdict.rule, reason=verdict.question)
            more = verdict.reported
        case _:
            told, more = Judged(say="deny", rule=verdict.rule, reason=verdict.reason), ""
    return replace(told, reported=more)


def supposed_call(house: House, supposed: Supposed) -> ToolCall:
    """The call as it would be judged, its tool's word about itself filled in. Raises `NotFound`."""
    tool = house.tools.get(supposed.tool)
    if tool is None:
        known = ", ".join(sorted(one.spec.name for one in house.tools.all()))
        raise NotFound(
            f"there is no tool {supposed.tool!r}; there are: {known}", code="no_such_tool"
        )
    traits = tool.traits
    names = traits.paths or ((traits.target,) if traits.target else ())
    words = supposed.words if traits.paths else (" ".join(supposed.words),)
    arguments: dict[str, Any] = dict(zip(names, words, strict=False))
    arguments |= supposed.arguments
    if supposed.method:
        arguments["method"] = supposed.method
    call = ToolCall(id=CallId("supposed"), tool=supposed.tool, arguments=arguments)
    workspace = Path(supposed.workspace or house.home / "workspace")
    found = described(call, call.id, {supposed.tool: tool}, workspace)
    return replace(found, problem="", labels=tuple(sorted(supposed.labels)))


def supposed_standing(house: House, supposed: Supposed) -> Standing:
    asking = Asking(
        agent=supposed.agent or house.agent.name,
        principal=supposed.principal,
        at=supposed.at or house.clock.now(),
    )
    leave = Leave(preset=supposed.preset, unattended=supposed.unattended)
    return Standing(leave=leave, asking=asking)


def explain(house: House, supposed: Supposed, rules: Rules | None = None) -> dict[str, Any]:
    """What the policy says of a call that nobody made, and which rules match."""
    call = supposed_call(house, supposed)
    under = rules or house.recorder.authority.current()
    return _told(call, explained(call, supposed_standing(house, supposed), under))


async def explain_recorded(house: House, task_id: TaskId, call_id: str) -> dict[str, Any]:
    """What was said of a call then, and what today's policy says of it; without `call_id` of the
    latest that was asked about, or of the latest. Raises `NotFound`."""
    past = await house.journal.read(task_id)
    made = [
        (place, one)
        for place, recorded in enumerate(past)
        if isinstance(recorded.event, Replied)
        for one in recorded.event.judged
    ]
    named = [(place, one) for place, one in made if call_id in {"", one.call.id}]
    if not named:
        what = f"{task_id} has made no call {call_id}".strip()
        known = ", ".join(one.call.id for _, one in made)
        hint = f"its calls: {known}" if known else ""
        raise NotFound(what, code="call_not_found", hint=hint)
    place, one = max(named, key=lambda each: (isinstance(each[1].verdict, Ask), each[0]))
    recorded, task = past[place], fold(each.event for each in past[:place])
    standing, rules = standing_of(task, recorded.at), house.recorder.authority.current()
    told = _told(one.call, explained(one.call, standing, rules))
    version = cast("Replied", recorded.event).policy or task.policy
    then = {**to_builtins(judged(one.verdict)), "policy": version}
    return {**told, "task": task_id, "call_id": one.call.id, "then": then}


def _told(call: ToolCall, found: Explanation) -> dict[str, Any]:
    said = judged(found.verdict)
    try:
        rule = suggested(call).label if said.say == "ask" else ""
    except Invalid as refusal:
        rule = f"none: {refusal}"
    return {
        "call": f"{call.tool} {call.target}".strip(),
        "effect": call.effect,
        "paths": list(dict.fromkeys((call.target, *call.also))) if call.names_paths else [],
        "labels": list(call.labels),
        "verdict": to_builtins(said),
        "policy": found.version,
        "matches": [
            {
                "where": "trust" if read_name(match.rule.name) else match.where,
                "say": match.rule.say,
                "rule": match.rule.label,
                "reason": match.rule.reason,
                "decided": match.decided,
            }
            for match in found.matches
        ],
        "suggested": rule,
    }


def show(house: House, agent: str = "") -> dict[str, Any]:
    """The policy in force, as far as it concerns an agent."""
    rules = house.rules
    layers = [_layer(layer, agent) for layer in rules.layers]
    name = next((name for name, layer in PRESETS.items() if layer == rules.layers[-1]), "")
    return {
        "version": rules.version,
        "problem": house.in_force.problem,
        "preset": name,
        "about": ABOUT.get(name, ""),
        "rules": [rule for layer in layers[:-1] for rule in layer],
        "preset_rules": layers[-1] if layers else [],
        "ceilings": [
            {"agents": list(one.agents), "rules": [_row(r) for part in one.layers for r in part]}
            for one in rules.ceilings
            if not agent or one.is_over(agent)
        ],
        "labels": "report" if rules.reports else "enforce",
        "apart": list(rules.apart),
        "doubts": list(_doubts(house, rules)),
    }


def _doubts(house: House, rules: Rules) -> Iterator[str]:
    """Rules about tools, and sources kept apart, that there are not: they may be misspelt, and
    would never count."""
    tools = house.tools.all()
    known = [tool.spec.name for tool in tools]
    sources = {source_of(tool.traits.source, "") for tool in tools}
    for pattern in rules.apart:
        if not any(_is_about(pattern, source) for source in sources if source):
            yield f"apart: nothing that there is answers from {pattern!r}"
    own = (rule for layer in rules.layers[:-1] for rule in layer)
    for rule in own:
        for name in rule.tools or (rule.tool,):
            if not any(fnmatchcase(tool, name) for tool in known):
                yield f"{rule.label}: there is no tool {name!r}"


def _is_about(pattern: str, source: str) -> bool:
    """Whether a pattern is about a source, or about one place of its kind."""
    return fnmatchcase(source, pattern) or pattern.partition(":")[0] == source


def _layer(layer: Iterable[Rule], agent: str) -> list[dict[str, Any]]:
    return [_row(rule) for rule in layer if not agent or rule.concerns(agent)]


def _row(rule: Rule) -> dict[str, Any]:
    return {"rule": rule.label, **to_builtins(rule)}


async def difference(house: House, old: Rules, new: Rules) -> Difference:
    """What another policy would have said of recorded calls, and of what its rules are about."""
    wider: dict[tuple[str, str], Shift] = {}
    narrower: dict[tuple[str, str], Shift] = {}
    tried = 0
    for call, standing, example in await _corpus(house, old, new):
        tried += 1
        await _for_others(tried)
        before = judged(decided(call, standing, old))
        after = judged(decided(call, standing, new))
        if before.say == after.say:
            continue
        found = wider if _FREEDOM[after.say] > _FREEDOM[before.say] else narrower
        agent, text = standing.asking.agent, f"{call.tool} {call.target}".strip()
        change = Shift(call=text, agent=agent, before=before, after=after, example=example)
        found.setdefault((agent, text), change)
    return Difference(wider=tuple(wider.values()), narrower=tuple(narrower.values()), tried=tried)


async def _for_others(number: int) -> None:
    """Thousands of rules take seconds to try: between a few, others have their turn."""
    if number % _AT_ONCE == 0:
        await anyio.lowlevel.checkpoint()


async def _corpus(house: House, *policies: Rules) -> list[tuple[ToolCall, Standing, bool]]:
    """The calls of the latest tasks, and examples made of the rules."""
    found: list[tuple[ToolCall, Standing, bool]] = []
    for row in await house.journal.query(Query(limit=_TASKS)):
        try:
            past = await house.journal.read(row.id)
        except Refused:
            continue  # what it said was purged
        task = fold(each.event for each in past)
        for recorded in past:
            if isinstance(recorded.event, Replied):
                standing = standing_of(task, recorded.at)
                found += [(one.call, standing, False) for one in recorded.event.judged]
        if len(found) > _CALLS:
            break
    at = house.clock.now()
    for rules in policies:
        for number, example in enumerate(examples(rules)):
            await _for_others(number)
            call, tool = example.call, house.tools.get(example.call.tool)
            if tool is not None:
                paths = bool(tool.traits.paths)
                call = replace(call, effect=tool.traits.effect, names_paths=paths)
            agent = example.asking.agent or house.agent.name
            asking = replace(example.asking, agent=agent, at=example.asking.at or at)
            found.append((call, Standing(asking=asking), True))
    return found
