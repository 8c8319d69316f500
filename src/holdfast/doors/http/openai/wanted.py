"""What is asked of a model, whichever of the two protocols said it."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from holdfast.core.agent import Shape, Style
from holdfast.core.message import Entry, ToolCall, Usage
from holdfast.ports.model import ToolSpec


class Wanted(Struct, frozen=True, kw_only=True):
    """A conversation and what its next turn must look like. `model` as the client named it.

    `user` is the client's own word for who speaks there; it names a conversation and nobody.
    `count` is how many answers are wanted.
    """

    model: str
    system: str = ""
    entries: tuple[Entry, ...] = ()
    tools: tuple[ToolSpec, ...] = ()
    choice: str = ""
    parallel: bool = True
    style: Style = Style()
    shape: Shape | None = None
    stream: bool = False
    user: str = ""
    key: str = ""
    count: int = 1


class Used(Struct, frozen=True, kw_only=True):
    """A tool that the house ran for an agent, and what came of it; open while `state` is so."""

    id: str
    tool: str
    arguments: dict[str, Any]
    state: str = "open"
    text: str = ""


class Answer(Struct, frozen=True, kw_only=True):
    """What came back. `finish` is stop, calls or length; `task` and `used` are an agent's.

    `odds` say of each token how likely it was; `others` are the other answers that were wanted.
    """

    text: str
    model: str
    thought: str = ""
    calls: tuple[ToolCall, ...] = ()
    usage: Usage = Usage()
    finish: str = "stop"
    task: str = ""
    used: tuple[Used, ...] = ()
    odds: tuple[dict[str, Any], ...] = ()
    others: tuple[Answer, ...] = ()
