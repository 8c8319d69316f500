"""What the parts of the house are given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from holdfast.core.agent import Agent, Shape, Style
from holdfast.core.budget import Limits
from holdfast.core.error import Invalid
from holdfast.core.mcp import ServerSpec
from holdfast.ports.box import BoxLimits
from holdfast.ports.ledger import Budget
from holdfast.runtime.chatting import ChatTerms
from holdfast.runtime.hospitality import Hospitality

from .read import Config
from .sections import Settings

_LONGEST_SCHEMA = 1 << 20


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


def to_agent(config: Config) -> Agent:
    """The agent that works on tasks that name no other."""
    return Agent(
        name=config.agent.name,
        team=config.agent.team,
        instructions=config.agent.instructions,
        tools=config.agent.tools,
        limits=to_limits(config),
        lanes=config.engine.agent_lanes,
        context_chars=config.agent.context_chars,
        style=Style(
            thinking=config.agent.thinking,
            temperature=config.agent.temperature,
            max_output=config.agent.max_output,
        ),
        shape=_to_shape(config),
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


def _to_shape(config: Config) -> Shape | None:
    """What answers must look like, its schema read from the file that is named."""
    if (output := config.agent.output) is None:
        return None
    if output.schema_file:
        schema = _schema_in(config.path.parent / Path(output.schema_file).expanduser())
    else:
        schema = output.json_schema
    return Shape(schema=schema, retries=output.retries, strict=output.strict)


def _schema_in(path: Path) -> dict[str, Any]:
    """Raises `Invalid` for what is not the file of a schema."""
    why = ""
    found: object = None
    try:
        with path.open("rb") as file:
            text = file.read(_LONGEST_SCHEMA + 1)
        why = "is longer than a schema may be" if len(text) > _LONGEST_SCHEMA else ""
        found = None if why else json.loads(text)
    except OSError as error:
        why = f"cannot be read: {error.strerror}"
    except (ValueError, RecursionError) as error:
        why = f"is not JSON: {error}"
    if not why and not isinstance(found, dict):
        why = "holds no JSON object"
    if why:
        raise Invalid(f"agent.output.schema_file: {path} {why}", code="bad_config")
    return cast("dict[str, Any]", found)


def to_servers(config: Settings) -> tuple[ServerSpec, ...]:
    """The servers whose tools agents may use."""
    return tuple(one.spec(name) for name, one in config.mcp.servers.items())


def to_a2a(config: Settings) -> Hospitality:
    """What other agents find here."""
    return Hospitality(**config.a2a.model_dump(exclude={"peers"}))


def to_chat(config: Settings) -> ChatTerms:
    """Who may speak through bridges."""
    return ChatTerms(**config.chat.model_dump())


def to_box_limits(config: Settings) -> BoxLimits:
    """What the commands of one box may use."""
    box = config.box
    return BoxLimits(
        seconds=box.seconds,
        memory=box.memory_mb << 20,
        processes=box.processes,
        cpus=box.cpus,
        files=box.files,
        file_size=box.file_mb << 20,
        scratch=box.scratch_mb << 20,
        disk=box.disk_mb << 20,
        inodes=box.new_files,
    )
