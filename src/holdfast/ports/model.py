"""Language models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from msgspec import Struct

from holdfast.core.budget import Reservation
from holdfast.core.context import Prompt
from holdfast.core.message import Reply


class ToolSpec(Struct, frozen=True, kw_only=True):
    """What a model is told about a tool; `schema` is the JSON Schema of its arguments."""

    name: str
    description: str
    schema: dict[str, Any]


class Delta(Struct, frozen=True, kw_only=True):
    """A piece of a reply on its way: text, thought or the name of a call. Never stored."""

    text: str = ""
    thought: str = ""
    call: str = ""


class ModelFailure(Exception):
    """No usable reply. `code` is one of the documented model codes; `retry_after` in seconds."""

    def __init__(
        self, code: str, message: str, *, retryable: bool, retry_after: float = 0.0
    ) -> None:
        super().__init__(message)
        self.code, self.retryable, self.retry_after = code, retryable, retry_after


class Model(Protocol):
    """One model of one provider, ready to be asked. Cancelling `ask` closes the connection."""

    @property
    def name(self) -> str:
        """`provider/model`."""
        ...

    def reserve(self, prompt: Prompt, tools: tuple[ToolSpec, ...]) -> Reservation:
        """The most that this call can use: an upper bound, computed without any I/O.

        Zero for a model that costs nothing; cost None when no price is known.
        """
        ...

    async def ask(
        self, prompt: Prompt, tools: tuple[ToolSpec, ...], hear: Callable[[Delta], None]
    ) -> Reply:
        """One whole reply; its calls have tool, arguments and id only.

        Calls `hear` with each piece as it arrives. A stream that ends without its terminal
        event is no reply. Raises only `ModelFailure`.
        """
        ...


class Models(Protocol):
    """All models this installation can reach."""

    def find(self, name: str) -> Model:
        """The model called `provider/model`; "" is the default. Raises `Invalid` with a hint."""
        ...

    async def close(self) -> None: ...
