"""The tables about what agents may do: in `policy.toml`, or under `[policy]` in config.toml."""

from __future__ import annotations

import difflib
import re
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, cast

from pydantic import Field, ValidationInfo, field_validator, model_validator

from holdfast.core.error import Invalid
from holdfast.core.gate.hours import is_within
from holdfast.core.message import EffectClass
from holdfast.runtime.domains import Level

from .section import Section, number, word

_DAY = 86_400
_SPAN = re.compile(r"[1-9][0-9]{0,5}[smhd]")
_WHICH = ("tools", "effects", "paths", "command", "hosts")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
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


_Bounds = dict[Annotated[str, Field(min_length=1)], Annotated[float, Field(ge=0, le=1e15)]]


class Conditions(Section):
    """Which calls: all that it says must hold, and of each list one pattern must fit."""

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

    @field_validator("effects")
    @classmethod
    def _can_all_match(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(_can_match, value))

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

    @field_validator("agents", "principals", "tools", "paths")
    @classmethod
    def _are_not_empty(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _not_empty(value)

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


def _can_match(value: str) -> str:
    if not any(fnmatchcase(effect, value) for effect in EffectClass):
        raise ValueError(f"expected a pattern for {', '.join(EffectClass)}")
    return value


def _not_empty(value: tuple[str, ...]) -> tuple[str, ...]:
    if not all(one.strip() for one in value):
        raise ValueError("expected patterns that are not empty")
    return value


class RuleRow(Conditions):
    """One rule of policy; all that it says must hold, and of each list one pattern must fit."""

    say: Literal["allow", "ask", "deny"] = Field(description="What it says.", examples=["ask"])
    name: str = word("", "What it is called where it decided.", "no pushing at night")
    reason: str = word("", "What the model, or who is asked, is told.", "ask me first")
    expires: str = word("", "How long one may answer what it asks; then it is denied.", "10m")
    hours: str = word("", "When it counts, by this machine's clock.", "08:00-18:00 Mon-Fri")
    labels: tuple[str, ...] = _several("Patterns for where data came from.", "untrusted*")
    most: _Bounds = Field(
        default={},
        description="Bounds for numbers in arguments. To allow, each must be there and at most "
        "that; to ask or deny, one that is more, or is no number, is enough.",
        examples=[{"amount": 100}],
    )
    trust: tuple[str, ...] = _several(
        "How far the agent is trusted: patterns for DOMAIN:LEVEL.", "email:high"
    )
    tool: str = word("*", "One pattern for the tool's name.", "exec")
    effect: str = word("*", "A pattern for `reads`, `repeatable` or `writes`.", "writes")
    target: str = word("*", "A pattern for the path or command line as text.", "git *")

    @field_validator("effect")
    @classmethod
    def _fits_one(cls, value: str) -> str:
        return _can_match(value)

    @field_validator("labels")
    @classmethod
    def _labels_are_not_empty(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _not_empty(value)

    @field_validator("trust")
    @classmethod
    def _are_levels(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            domain, _, level = one.partition(":")
            if not domain or not any(fnmatchcase(known, level) for known in Level):
                raise ValueError(
                    f"expected DOMAIN:LEVEL with one of {', '.join(Level)}, not {one!r}"
                )
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


class DomainTable(Conditions):
    """A kind of work in which agents can be trusted more or less: which calls belong to it."""

    about: str = word("", "What it is, in a few words.", "letters to customers")
    calls: tuple[Conditions, ...] = Field(
        default=(), strict=False, description="More calls that belong to it, in the same words."
    )

    @property
    def kinds(self) -> tuple[Conditions, ...]:
        """All that belongs to it: what fits one of these."""
        alone = not any(getattr(self, name) for name in Conditions.model_fields)
        return self.calls if alone and self.calls else (self, *self.calls)

    @model_validator(mode="after")
    def _says_which(self) -> DomainTable:
        for one in self.kinds:
            if not any(getattr(one, name) for name in _WHICH):
                raise ValueError(f"expected one of {', '.join(_WHICH)} wherever it names calls")
        return self


class AnswerTable(Conditions):
    """Who may answer the questions about some calls."""

    domain: str = word("", "Only calls that belong to this domain.", "email")
    by: tuple[str, ...] = _several(
        "Who may: principals or patterns for them, and groups; empty: all who may answer.",
        "user:alice",
        "group:finance",
    )
    most: _Bounds = Field(
        default={},
        description="Only where a number in an argument is more than that, or no number.",
        examples=[{"amount": 1000}],
    )
    not_requester: bool = word(False, "Not whoever submitted the task.", True)

    @field_validator("by")
    @classmethod
    def _are_principals(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _principals(value)

    @model_validator(mode="after")
    def _says_who(self) -> AnswerTable:
        if not (self.by or self.not_requester):
            raise ValueError("expected by or not_requester")
        return self


def _principals(value: tuple[str, ...]) -> tuple[str, ...]:
    for one in value:
        kind, _, name = one.partition(":")
        if not kind or not name:
            raise ValueError(f"expected user:{one}, key:{one} or group:{one}, not {one!r} alone")
    return value


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
    domain: dict[str, DomainTable] = Field(
        default={},
        description="Kinds of work, for levels of trust: `[policy.domain.NAME]`.",
    )
    rule: tuple[RuleRow, ...] = Field(
        default=(), strict=False, description="Your rules, strongest first: `[[policy.rule]]`."
    )
    ceiling: dict[str, CeilingTable] = Field(
        default={},
        description="The most that an agent may do: `[policy.ceiling.NAME]`; NAME is a pattern.",
    )
    group: dict[str, Annotated[tuple[str, ...], Field(strict=False)]] = Field(
        default={},
        description="Principals by the name of their group, for `by`: `[policy.group]`.",
        examples=[{"finance": ["key:carol", "user:bob"]}],
    )
    answer: tuple[AnswerTable, ...] = Field(
        default=(), strict=False, description="Who may answer which questions: `[[policy.answer]]`."
    )

    @field_validator("apart")
    @classmethod
    def _name_something(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(one.strip() for one in value):
            raise ValueError("expected patterns that are not empty")
        return value

    @field_validator("domain")
    @classmethod
    def _have_names(cls, value: dict[str, DomainTable]) -> dict[str, DomainTable]:
        if odd := [name for name in value if not _NAME.fullmatch(name)]:
            raise ValueError(f"expected names of letters, digits, - and _, not {odd[0]!r}")
        return value

    @field_validator("rule")
    @classmethod
    def _know_their_domains(
        cls, value: tuple[RuleRow, ...], told: ValidationInfo
    ) -> tuple[RuleRow, ...]:
        _check_trust(value, told)
        return value

    @field_validator("ceiling")
    @classmethod
    def _know_domains(
        cls, value: dict[str, CeilingTable], told: ValidationInfo
    ) -> dict[str, CeilingTable]:
        for table in value.values():
            _check_trust(table.rule, told)
        return value

    @field_validator("group")
    @classmethod
    def _have_members(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for name, members in value.items():
            if nested := [one for one in _principals(members) if one.startswith("group:")]:
                raise ValueError(f"expected principals in {name}, not {nested[0]}")
        return value

    @field_validator("answer")
    @classmethod
    def _are_known(
        cls, value: tuple[AnswerTable, ...], told: ValidationInfo
    ) -> tuple[AnswerTable, ...]:
        for one in value:
            named = [who.removeprefix("group:") for who in one.by if who.startswith("group:")]
            _check_known("group", named, told)
            _check_known("domain", [one.domain] if one.domain else [], told)
        return value


def _check_trust(rules: tuple[RuleRow, ...], told: ValidationInfo) -> None:
    named = [level.partition(":")[0] for rule in rules for level in rule.trust]
    _check_known("domain", [one for one in named if _NAME.fullmatch(one)], told)


def _check_known(kind: str, named: list[str], told: ValidationInfo) -> None:
    """A name that is misspelt would leave an answer to everybody, or to nobody."""
    if kind not in told.data:
        return  # it was refused itself
    known = list(told.data[kind])
    for name in named:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            there = f"there are: {', '.join(known)}" if known else "there is none"
            meant = f"did you mean {close[0]}?" if close else there
            raise ValueError(f"expected a {kind} that there is, not {name!r}; {meant}")
