"""What the conformance suite of MCP wants to find in a server, for our own server to offer.

`python -m holdfast.assembly.conformance` serves it, through the same door, gate and sessions as the
house's own tools; a user's daemon never does.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Protocol

import anyio
import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError

from . import mcp_profile_rounds as rounds
from . import mcp_profile_tasks as tasks
from .mcp_profile_tools import TOOLS, Fixture, picture

_TEXT = "This is the content of the static text resource."
_STATIC, _BINARY, _WATCHED = "test://static-text", "test://static-binary", "test://watched-resource"
_PROMPTS = (
    types.Prompt(name="test_simple_prompt", description="A simple prompt."),
    types.Prompt(
        name="test_prompt_with_arguments",
        description="A prompt with arguments.",
        arguments=[
            types.PromptArgument(name="arg1", description="First.", required=True),
            types.PromptArgument(name="arg2", description="Second.", required=True),
        ],
    ),
    types.Prompt(
        name="test_prompt_with_embedded_resource",
        description="A prompt with a resource.",
        arguments=[types.PromptArgument(name="resourceUri", description="Which.", required=True)],
    ),
    types.Prompt(name="test_prompt_with_image", description="A prompt with a picture."),
    types.Prompt(name=rounds.PROMPT, description="A prompt that wants to know more first."),
)


class Asked(Protocol):
    """As much of a request as the fixtures look at."""

    @property
    def context(self) -> ServerRequestContext[Any, Any]: ...

    @property
    def inputs(self) -> Mapping[str, Any]: ...

    @property
    def state(self) -> str: ...


class Profile:
    """The fixtures, as an offer."""

    instructions = "Fixtures of the conformance suite."

    def __init__(self) -> None:
        self._tasks = tasks.Tasks()

    def tools(self, asked: object) -> Sequence[types.Tool]:
        return [one.tool for one in _ALL.values()]

    async def call(
        self, asked: Asked, name: str, arguments: Mapping[str, Any]
    ) -> types.CallToolResult | types.InputRequiredResult:
        return await _ALL[name].run(asked, arguments)

    def only_as_task(self, name: str) -> bool:
        return self._tasks.needed(name)

    async def begin(self, asked: Asked, name: str, arguments: Mapping[str, Any]) -> str | None:
        return self._tasks.begin(asked, name, arguments)

    async def standing(self, asked: object, task: str) -> tasks.Standing:
        return self._tasks.standing(task)

    async def inform(self, asked: object, task: str, inputs: Mapping[str, Any]) -> None:
        self._tasks.inform(task, inputs)

    async def cancel(self, asked: object, task: str) -> None:
        self._tasks.cancel(task)

    async def resources(self, asked: object, cursor: str) -> types.ListResourcesResult:
        known = ((_STATIC, "text/plain"), (_BINARY, "image/png"), (_WATCHED, "text/plain"))
        found = [types.Resource(uri=uri, name=uri[7:], mime_type=kind) for uri, kind in known]
        return types.ListResourcesResult(resources=found)

    def templates(self) -> Sequence[types.ResourceTemplate]:
        uri = "test://template/{id}/data"
        return [types.ResourceTemplate(uri_template=uri, name="data", mime_type="application/json")]

    async def read(self, asked: Asked, uri: str) -> types.ReadResourceResult:
        if uri == _BINARY:
            blob = picture().data
            found = types.BlobResourceContents(uri=uri, blob=blob, mime_type="image/png")
            return types.ReadResourceResult(contents=[found])
        return types.ReadResourceResult(contents=[_text(asked, uri)])

    async def follow(self, asked: Asked, uri: str) -> AsyncGenerator[None, None]:
        return _never()

    def prompts(self) -> Sequence[types.Prompt]:
        return _PROMPTS

    async def prompt(
        self, asked: Asked, name: str, arguments: Mapping[str, str]
    ) -> types.GetPromptResult | types.InputRequiredResult:
        match name:
            case "test_simple_prompt":
                return _said(_words("This is a simple prompt for testing."))
            case "test_prompt_with_arguments":
                pair = f"arg1='{arguments.get('arg1')}', arg2='{arguments.get('arg2')}'"
                return _said(_words(f"Prompt with arguments: {pair}"))
            case "test_prompt_with_embedded_resource":
                text = "Embedded resource content for testing."
                uri = arguments.get("resourceUri", "")
                inner = types.TextResourceContents(uri=uri, mime_type="text/plain", text=text)
                shown = types.EmbeddedResource(type="resource", resource=inner)
                return _said(shown, _words("Please process the embedded resource above."))
            case "test_prompt_with_image":
                return _said(picture(), _words("Please analyze the image above."))
            case rounds.PROMPT:
                return rounds.prompt(asked)
            case _:
                raise MCPError(types.INVALID_PARAMS, f"there is no prompt {name!r}")

    async def complete(self, asked: Asked, about: str, name: str, begun: str) -> Sequence[str]:
        return [begun + "a", begun + "b"]


_ALL: dict[str, Fixture] = {one.tool.name: one for one in (*TOOLS, *rounds.TOOLS, *tasks.TOOLS)}


def _text(asked: Asked, uri: str) -> types.TextResourceContents:
    middle = uri.removeprefix("test://template/").removesuffix("/data")
    if uri in {_STATIC, _WATCHED}:
        text, kind = _TEXT if uri == _STATIC else "Watched resource content", "text/plain"
    elif uri == f"test://template/{middle}/data":
        text = f'{{"id":"{middle}","templateTest":true,"data":"Data for ID: {middle}"}}'
        kind = "application/json"
    else:
        old = asked.context.protocol_version < "2026"
        raise MCPError(-32002 if old else types.INVALID_PARAMS, f"no {uri}", {"uri": uri})
    return types.TextResourceContents(uri=uri, mime_type=kind, text=text)


def _words(text: str) -> types.TextContent:
    return types.TextContent(type="text", text=text)


def _said(*parts: types.ContentBlock) -> types.GetPromptResult:
    return types.GetPromptResult(
        messages=[types.PromptMessage(role="user", content=part) for part in parts]
    )


async def _never() -> AsyncGenerator[None, None]:
    """Nothing of the suite's changes by itself."""
    await anyio.sleep_forever()
    yield
