"""The routes about policy: what it is, why it says what it says, what a change changes, leases."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import anyio
import anyio.lowlevel
from msgspec import Struct, to_builtins
from msgspec.structs import replace
from pydantic import Field

from holdfast.config import policy_in, to_domains, to_rules
from holdfast.core.error import Invalid
from holdfast.core.gate.policy import Lease, Rules
from holdfast.core.ids import Instant
from holdfast.runtime import leases, policy, tasks
from holdfast.runtime.domains import Domain

from .bodies import Body, Name, NoQuery, NotAgain, Nothing, Question, Text
from .route import Ask, Entry

_Words = Annotated[tuple[Text, ...], Field(max_length=20, strict=False)]
_Labels = Annotated[tuple[Name, ...], Field(max_length=100, strict=False)]
_TOML = "A whole policy as TOML; empty: the one in force."


class PolicyAsk(Question):
    """For whom."""

    agent: Name = Field(default="", description="Only what concerns this agent.")


class SupposedCall(Body):
    """A call that nobody made."""

    tool: Name = Field(description="The tool.")
    words: _Words = Field(default=(), description="A command line, an address, or the paths.")
    agent: Name = ""
    principal: Name = Field(default="local", description="Who would have submitted the task.")
    workspace: str = Field(default="", max_length=4096, description="An absolute path.")
    preset: Name = Field(default="", description="The preset of the task.")
    method: Name = Field(default="", description="The HTTP method.")
    arguments: dict[str, Any] = Field(default={}, description="More arguments, by name.")
    labels: _Labels = Field(default=(), description="Where what led to it came from.")
    unattended: bool = Field(default=False, description="Nobody is there to answer.")
    at: Name = Field(default="", description="When: an ISO date and time of this machine.")


class Explain(SupposedCall):
    """A call that nobody made, or one of a task."""

    tool: Name = Field(default="", description="The tool; empty with `task`.")
    task: Name = Field(default="", description="A task, to explain one of its calls instead.")
    call: Name = Field(default="", description="Which of its calls; empty: the first.")


class Expectation(SupposedCall):
    """What the policy is expected to say of a call."""

    say: Literal["allow", "ask", "deny"]
    rule: Name = Field(default="", description="The name of the rule that decides.")


class Trial(Body):
    """Expectations, and the policy that must meet them."""

    expect: Annotated[tuple[Expectation, ...], Field(max_length=10_000, strict=False)]
    policy: Text = Field(default="", description=_TOML)


class Two(Body):
    """Two policies."""

    old: Text = Field(default="", description=_TOML)
    new: Text = Field(default="", description=_TOML)


class Granting(NotAgain):
    """Leave given beforehand."""

    rule: Annotated[str, Field(max_length=1000)] = Field(
        description="`tool` or `tool:pattern`; of a command line a pattern for each word."
    )


class PolicyRow(Struct, frozen=True, kw_only=True):
    """The policy in force, as far as it concerns somebody; `problem`: why a change was not taken.

    `rules` are the installation's own, strongest first; `ceilings` bound what agents may do;
    `doubts` are about rules that may not mean what they say.
    """

    version: str
    problem: str
    preset: str
    about: str
    rules: tuple[dict[str, Any], ...]
    preset_rules: tuple[dict[str, Any], ...]
    ceilings: tuple[dict[str, Any], ...]
    leases: tuple[Lease, ...]
    labels: str
    apart: tuple[str, ...]
    doubts: tuple[str, ...]


class Explained(Struct, frozen=True, kw_only=True):
    """A verdict, and every rule that matches, the strongest layer first.

    `suggested` is a rule that would allow the call again. Of a call that was made, `then` is what
    was said of it, and under which version.
    """

    call: str
    effect: str
    paths: tuple[str, ...]
    labels: tuple[str, ...]
    verdict: policy.Judged
    policy: str
    matches: tuple[dict[str, Any], ...]
    suggested: str
    task: str = ""
    call_id: str = ""
    then: dict[str, str] = {}


class Tried(Struct, frozen=True, kw_only=True):
    """One expectation and what came of it."""

    call: str
    expected: str
    found: policy.Judged
    ok: bool


class Tested(Struct, frozen=True, kw_only=True):
    """Whether a policy does what was expected of it."""

    ok: bool
    version: str
    results: tuple[Tried, ...]


async def policy_show(ask: Ask[PolicyAsk, Nothing]) -> Mapping[str, Any]:
    told = policy.show(ask.house, ask.query.agent)
    return {**told, "leases": [to_builtins(one) for one in leases.live(ask.house)]}


async def policy_explain(ask: Ask[NoQuery, Explain]) -> Mapping[str, Any]:
    said, house = ask.body, ask.house
    if said.task:
        task = await ask.task(said.task)
        return await policy.explain_recorded(house, task, said.call)
    if not said.tool:
        raise Invalid("name a tool, or a task", code="nothing_to_explain")
    return policy.explain(house, _supposed(said))


async def policy_test(ask: Ask[NoQuery, Trial]) -> Tested:
    rules = await _rules(ask, ask.body.policy)
    found: list[Tried] = []
    for one in ask.body.expect:
        await anyio.lowlevel.checkpoint()
        told = policy.explain(ask.house, _supposed(one), rules)
        judged = policy.Judged(**told["verdict"])
        ok = judged.say == one.say and one.rule in {"", judged.rule}
        expected = f"{one.say} by {one.rule}" if one.rule else one.say
        found.append(Tried(call=told["call"], expected=expected, found=judged, ok=ok))
    ok = all(one.ok for one in found)
    return Tested(ok=ok, version=rules.version, results=tuple(found))


async def policy_diff(ask: Ask[NoQuery, Two]) -> policy.Difference:
    old, new = await _rules(ask, ask.body.old), await _rules(ask, ask.body.new)
    return await policy.difference(ask.house, old, new)


async def lease_grant(ask: Ask[NoQuery, Granting]) -> Lease:
    terms = leases.Terms(**ask.body.model_dump(exclude={"rule"}))
    if terms.scope == "task" and terms.of:
        terms = replace(terms, of=await tasks.resolve(ask.house, terms.of))
    return await leases.grant(ask.house, ask.body.rule, terms, by=ask.by)


async def lease_revoke(ask: Ask[NoQuery, Nothing]) -> Lease:
    return await leases.revoke(ask.house, ask.path("id"))


async def _rules(ask: Ask[Any, Any], text: str) -> Rules:
    if not text:
        return ask.house.rules
    return ask.house.trust.laid(*await anyio.to_thread.run_sync(_read, text))


def _read(text: str) -> tuple[Rules, tuple[Domain, ...]]:
    told = policy_in(text, Path("policy.toml"))
    return to_rules(told), to_domains(told)


def _supposed(said: SupposedCall) -> policy.Supposed:
    return policy.Supposed(
        tool=said.tool,
        words=said.words,
        agent=said.agent,
        principal=said.principal,
        workspace=said.workspace,
        preset=said.preset,
        method=said.method,
        arguments=said.arguments,
        labels=said.labels,
        unattended=said.unattended,
        at=_moment(said.at) if said.at else 0,
    )


def _moment(text: str) -> Instant:
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError:
        raise Invalid(f"{text!r} is no date and time, for example 2026-11-28T12:00") from None


POLICY_ROUTES: tuple[Entry, ...] = (
    Entry("GET", "/api/v1/policy", policy_show, "The policy in force.", PolicyRow, query=PolicyAsk),
    Entry(
        "POST",
        "/api/v1/policy/explain",
        policy_explain,
        "What the policy says of a call, and why.",
        Explained,
        body=Explain,
    ),
    Entry(
        "POST",
        "/api/v1/policy/test",
        policy_test,
        "Does a policy do what is expected of it?",
        Tested,
        body=Trial,
    ),
    Entry(
        "POST",
        "/api/v1/policy/diff",
        policy_diff,
        "What another policy makes wider and narrower, tried on recorded calls and examples.",
        policy.Difference,
        body=Two,
    ),
    Entry(
        "POST",
        "/api/v1/policy/leases",
        lease_grant,
        "Give leave beforehand.",
        Lease,
        body=Granting,
        errors=(409, 503),
    ),
    Entry(
        "POST",
        "/api/v1/policy/leases/{id}/revoke",
        lease_revoke,
        "No further use of a lease, at once.",
        Lease,
        errors=(503,),
    ),
)
