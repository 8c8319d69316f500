"""The routes about tools: which there are, and using one by itself."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Struct
from msgspec.structs import asdict
from pydantic import Field

from holdfast.core.error import Invalid
from holdfast.core.ids import TaskId
from holdfast.core.view import Question
from holdfast.runtime import direct

from .bodies import Body, Name, NoQuery, Nothing
from .bodies import Question as Asked
from .route import Ask, Entry
from .waiting import wait_for

_MOST = 3_600


class ToolUse(Body):
    """What a tool is to do. It is a task with one call: judged, and asked about, as any other."""

    arguments: Annotated[dict[Name, Any], Field(max_length=200)] = Field(
        default={}, description="As the tool's schema says."
    )
    workspace: Annotated[str, Field(max_length=4_000)] = Field(
        default="", description="The folder it works in; empty: the house's own."
    )
    key: Annotated[str, Field(max_length=200)] = Field(
        default="", description="The same key again is the same use, not a second one."
    )
    wait_seconds: float = Field(
        default=30.0, ge=0, le=_MOST, description="How long to wait for its end."
    )


class Waiting(Asked):
    """How long to wait."""

    wait_seconds: float = Field(default=0.0, ge=0, le=_MOST, description="For its end.")


class OneTool(Struct, frozen=True, kw_only=True):
    """A tool. `effect`: what a second run would do; `source`: where its answers come from."""

    name: str
    description: str
    effect: str
    source: str
    schema: dict[str, Any]


class ToolList(Struct, frozen=True, kw_only=True):
    """All that the agent of this house has, by name."""

    tools: tuple[OneTool, ...]


class ToolUsed(Struct, frozen=True, kw_only=True):
    """What came of it: `open` while it works or waits for a person, `returned`, `failed`,
    `refused`, or `unknown`. `text` may hold words of strangers."""

    task: str
    tool: str
    end: direct.End
    text: str
    questions: tuple[Question, ...]


async def tool_list(ask: Ask[NoQuery, Nothing]) -> ToolList:
    found = direct.tools(ask.house)
    return ToolList(
        tools=tuple(
            OneTool(
                name=one.spec.name,
                description=one.spec.description,
                effect=one.traits.effect.value,
                source=one.traits.source.rstrip(":"),
                schema=one.spec.schema,
            )
            for one in found
        )
    )


async def tool_use(ask: Ask[NoQuery, ToolUse]) -> ToolUsed:
    told = ask.body
    ask.grant.check_agent(ask.house.agent.name)
    header = ask.request.headers.get("idempotency-key", "")
    if header and told.key and header != told.key:
        raise Invalid("the Idempotency-Key header and `key` differ", code="two_keys")
    use = direct.Use(
        tool=ask.path("name"),
        arguments=told.arguments,
        by=ask.by,
        workspace=told.workspace,
        key=told.key or header,
    )
    task = await direct.use_tool(ask.house, use)
    return await _waited(ask, task, told.wait_seconds)


async def tool_used(ask: Ask[Waiting, Nothing]) -> ToolUsed:
    return await _waited(ask, await ask.task(), ask.query.wait_seconds)


async def _waited(ask: Ask[Any, Any], task: TaskId, seconds: float) -> ToolUsed:
    found = await direct.used(ask.house, task)
    if found.end == "open":
        await wait_for(ask, task, seconds)
        found = await direct.used(ask.house, task)
    return ToolUsed(**asdict(found))


TOOL_ROUTES: tuple[Entry, ...] = (
    Entry("GET", "/api/v1/tools", tool_list, "Which tools there are.", ToolList),
    Entry(
        "POST",
        "/api/v1/tools/{name}",
        tool_use,
        "Use a tool by itself: a task with one call, judged and written down like every other.",
        ToolUsed,
        body=ToolUse,
        errors=(409, 429, 503),
        again=False,
    ),
    Entry(
        "GET",
        "/api/v1/tool-uses/{ref}",
        tool_used,
        "What came of the use of a tool.",
        ToolUsed,
        query=Waiting,
    ),
)
