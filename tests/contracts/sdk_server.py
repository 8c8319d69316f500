"""A server made with the official kit, for the contract: on stdio, or over HTTP on a free port."""

import sys
from typing import Annotated

from mcp.server.mcpserver import (
    Context,
    Elicit,
    ElicitationResult,
    Image,
    ListRoots,
    MCPServer,
    Resolve,
    Sample,
)
from mcp.types import (
    CreateMessageResult,
    ListRootsResult,
    SamplingMessage,
    TextContent,
    ToolAnnotations,
)
from pydantic import BaseModel


class Place(BaseModel):
    """Somewhere."""

    city: str
    degrees: float


server = MCPServer("kit", version="3.1", log_level="ERROR")


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool()
def weather(place: Place) -> Place:
    """Tell the weather of a place."""
    return Place(city=place.city.upper(), degrees=place.degrees + 1)


@server.tool()
def broken() -> str:
    """Never works."""
    raise ValueError("it is out of order")


@server.tool()
def drawing() -> Image:
    """A picture."""
    return Image(data=b"\x89PNG\r\n\x1a\n" + bytes(16), format="png")


class Who(BaseModel):
    """A form."""

    name: str = "Ada"
    age: int = 36


def who() -> Elicit[Who]:
    return Elicit("Who are you?", Who)


@server.tool()
async def meet(told: Annotated[ElicitationResult[Who], Resolve(who)]) -> str:
    """Asks its person who they are."""
    return f"{told.action} {getattr(told, 'data', None)}"


def sum_up() -> Sample:
    said = SamplingMessage(role="user", content=TextContent(type="text", text="2 and 2?"))
    return Sample([said], max_tokens=20)


@server.tool()
async def think(told: Annotated[CreateMessageResult, Resolve(sum_up)]) -> str:
    """Has a model asked."""
    return f"{told.model} says {getattr(told.content, 'text', '')}"


def seen() -> ListRoots:
    return ListRoots()


@server.tool()
async def roots(told: Annotated[ListRootsResult, Resolve(seen)]) -> str:
    """What it was given to see."""
    return str(told.roots[0].uri)


@server.resource("kit://words")
def words() -> str:
    """Words of the kit."""
    return "words of the kit"


@server.resource("kit://pages/{number}")
def page(number: str) -> str:
    """One page."""
    return f"page {number}"


@server.prompt()
def review(file: str) -> str:
    """Review a file."""
    return f"Please review {file}."


@server.tool()
async def long_way(ctx: Context) -> str:
    """Says how far it is."""
    for step in (1, 2, 3):
        await ctx.report_progress(step, 3, "walking")
    return "there"


if __name__ == "__main__":
    kind = sys.argv[1] if len(sys.argv) > 1 else "stdio"
    if kind == "stdio":
        server.run("stdio")
    elif kind == "sse":
        server.run("sse", port=int(sys.argv[2]))
    else:
        server.run(
            "streamable-http",
            port=int(sys.argv[2]),
            json_response="json" in kind,
            stateless_http="stateless" in kind,
        )
