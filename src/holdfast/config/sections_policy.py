"""The tables about what agents may do: in `policy.toml`, or under `[policy]` in config.toml."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, cast

from pydantic import Field, ValidationInfo, field_validator

from holdfast.core.error import Invalid
from holdfast.core.gate.hours import is_within
from holdfast.core.message import EffectClass

from .section import Section, number, word

_DAY = 86_400
_SPAN = re.compile(r"[1-9][0-9]{0,5}[smhd]")
Preset = Literal[
    "nothing",
    "read-only",
    "ask",
    "workspace",
    "open",
    "reader",
    "researcher",
    "coder",
    "operator",
]


def _several(text: str, *examples: str) -> Any:
    return Field(default=(), strict=False, description=text, examples=[list(examples)])


class RuleRow(Section):
    """One rule of policy; all that it says must hold, and of each list one pattern must fit."""

    say: Literal["allow", "ask", "deny"] = Field(description="What it says.", examples=["ask"])
    name: str = word("", "What it is called where it decided.", "no pushing at night")
    reason: str = word("", "What the model, or who is asked, is told.", "ask me first")
    agents: tuple[str, ...] = _several("Patterns for the agent.", "research*")
    principals: tuple[str, ...] = _several("Patterns for who submitted the task.", "local")
    tools: tuple[str, ...] = _several("Patterns for the tool's name.", "write", "edit")
    effects: tuple[str, ...] = _several("What a second run would do.", "writes")
    paths: tuple[str, ...] = _several(
        "Patterns for paths below the workspace; a folder stands for all in it.", "src", "*.md"
    )
    command: tuple[Annotated[tuple[str, ...], Field(strict=False)], ...] = Field(
        default=(),
        strict=False,
        description="A command, a pattern for each word; `**`: any number. Or a list of commands.",
        examples=[["git", "push", "*"]],
    )
    hosts: tuple[str, ...] = _several("Patterns for the host that is spoken to.", "*.example.com")
    methods: tuple[str, ...] = _several("HTTP methods.", "GET")
    expires: str = word("", "How long one may answer what it asks; then it is denied.", "10m")
    hours: str = word("", "When it counts, by this machine's clock.", "08:00-18:00 Mon-Fri")
    labels: tuple[str, ...] = _several("Patterns for where data came from.", "untrusted*")
    tool: str = word("*", "One pattern for the tool's name.", "exec")
    effect: str = word("*", "A pattern for `reads`, `repeatable` or `writes`.", "writes")
    target: str = word("*", "A pattern for the path or command line as text.", "git *")

    @field_validator("effect")
    @classmethod
    def _can_match(cls, value: str) -> str:
        if not any(fnmatchcase(effect, value) for effect in EffectClass):
            raise ValueError(f"expected a pattern for {', '.join(EffectClass)}")
        return value

    @field_validator("effects")
    @classmethod
    def _can_all_match(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(cls._can_match, value))

    @field_validator("methods")
    @classmethod
    def _are_methods(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(one.upper() for one in value)

    @field_validator("hosts")
    @classmethod
    def _are_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            if not one or "/" in one or (":" in one.strip("[]:") and one.count(":") == 1):
                raise ValueError("expected the name of a host, without scheme, port and path")
        return tuple(one.lower().rstrip(".") for one in value)

    @field_validator("agents", "principals", "tools", "labels", "paths")
    @classmethod
    def _are_not_empty(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(one.strip() for one in value):
            raise ValueError("expected patterns that are not empty")
        return value

    @field_validator("command", mode="before")
    @classmethod
    def _is_one_or_several(cls, value: Any) -> Any:
        """One command is a list of texts; several are a list of such lists."""
        given = cast("list[Any]", value) if isinstance(value, list) else []
        return [given] if given and isinstance(given[0], str) else cast("Any", value)

    @field_validator("command")
    @classmethod
    def _are_words(cls, value: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
        if not all(words and all(words) for words in value):
            raise ValueError("expected a pattern for each word, and none of them empty")
        if any(len(words) == 1 and " " in words[0] for words in value):
            raise ValueError('expected a pattern for each word, as in ["git", "push", "*"]')
        return value

    @field_validator("expires")
    @classmethod
    def _is_a_span(cls, value: str, told: ValidationInfo) -> str:
        if value and not _SPAN.fullmatch(value):
            raise ValueError("expected a span, as 90s, 10m, 2h or 7d")
        if value and told.data.get("say") != "ask":
            raise ValueError("expected only in a rule that asks")
        return value

    @field_validator("hours")
    @classmethod
    def _are_hours(cls, value: str) -> str:
        try:
            if value:
                is_within(value, 0, ())
        except Invalid:
            raise ValueError("expected hours of the week") from None
        return value


class CeilingTable(Section):
    """The most that some agents may do; beyond it nothing else allows anything."""

    preset: Preset = Field(
        default="nothing", description="The rules below its own.", examples=["reader"]
    )
    rule: tuple[RuleRow, ...] = Field(
        default=(), strict=False, description="Its own rules: `[[ceiling.NAME.rule]]`."
    )


class Policy(Section):
    """What agents may do. In `policy.toml` the same keys stand at the top, without `policy.`."""

    preset: Preset = Field(default="ask", description="The rules below your own.", examples=["ask"])
    approval_seconds: int = number(_DAY, 1, 365 * _DAY, "s", "How long a question stays open.")
    labels: Literal["enforce", "report"] = Field(
        default="enforce",
        description="`report`: rules about labels decide nothing; what they would say is recorded.",
        examples=["report"],
    )
    apart: tuple[str, ...] = Field(
        default=(),
        strict=False,
        description="Sources whose answers no agent sees: it gets a handle, and reads numbers, "
        "dates and choices out of it with `read_apart`.",
        examples=[["web:*", "mcp:mail"]],
    )
    rule: tuple[RuleRow, ...] = Field(
        default=(), strict=False, description="Your rules, strongest first: `[[policy.rule]]`."
    )
    ceiling: dict[str, CeilingTable] = Field(
        default={},
        description="The most that an agent may do: `[policy.ceiling.NAME]`; NAME is a pattern.",
    )

    @field_validator("apart")
    @classmethod
    def _name_something(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(one.strip() for one in value):
            raise ValueError("expected patterns that are not empty")
        return value
