"""What the parts of the house are given."""

from __future__ import annotations

from holdfast.core.agent import Agent
from holdfast.core.budget import Limits
from holdfast.core.ids import digest
from holdfast.core.policy import PRESETS, Rule, Rules, Say
from holdfast.ports.box import BoxLimits
from holdfast.ports.ledger import Budget

from .sections import Settings


def to_rules(config: Settings) -> Rules:
    """The policy in force: the configured rules, and below them the preset."""
    own = tuple(
        Rule(**{**row.model_dump(), "say": Say(row.say)}, name=f"config: {row.say} {row.tool}")
        for row in config.policy.rule
    )
    layers = (own, PRESETS[config.policy.preset])
    seconds = config.policy.approval_seconds
    version = "policy-" + digest([layers, seconds])[:16]
    return Rules(layers=layers, version=version, approval_seconds=seconds)


def to_limits(config: Settings) -> Limits:
    """What a task may use that sets no limits of its own."""
    limits = config.limits
    return Limits(
        steps=limits.steps,
        tokens=limits.tokens or None,
        cost=None if limits.cost_usd is None else round(limits.cost_usd * 1e6),
        seconds=limits.seconds or None,
        attempts=limits.attempts,
        attempt_seconds=limits.attempt_seconds,
        check_rounds=limits.check_rounds,
    )


def to_agent(config: Settings) -> Agent:
    """The agent that works on tasks that name no other."""
    return Agent(
        name=config.agent.name,
        instructions=config.agent.instructions,
        tools=config.agent.tools,
        limits=to_limits(config),
        lanes=config.engine.agent_lanes,
        context_chars=config.agent.context_chars,
    )


def to_budgets(config: Settings) -> tuple[Budget, ...]:
    """What may be used above each task."""
    return tuple(
        Budget(
            scope=row.scope,
            of=row.of,
            per=row.per,
            cost=None if row.usd is None else round(row.usd * 1e6),
            tokens=row.tokens,
            calls=row.calls,
            warn=row.warn,
        )
        for row in config.budget
    )


def to_box_limits(config: Settings) -> BoxLimits:
    """What one command may use."""
    box = config.box
    return BoxLimits(seconds=box.seconds, memory=box.memory_mb << 20, processes=box.processes)
