"""Language models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from msgspec import Struct

from holdfast.core.agent import Shape
from holdfast.core.budget import Reservation
from holdfast.core.context import Prompt
from holdfast.core.message import Reply, Try, Usage


class ToolSpec(Struct, frozen=True, kw_only=True):
    """What a model is told about a tool; `schema` is the JSON Schema of its arguments."""

    name: str
    description: str
    schema: dict[str, Any]


class Delta(Struct, frozen=True, kw_only=True):
    """A piece of a reply on its way: text, thought or the name of a call. Never stored.

    `reset`: what was heard so far is void, another try begins with `model`. `note` is of no reply:
    a tool's word about how far it is.
    """

    text: str = ""
    thought: str = ""
    call: str = ""
    reset: bool = False
    model: str = ""
    note: str = ""


class ModelFailure(Exception):
    """No usable reply. `code` is one of the documented model codes; `retry_after` in seconds.

    `paid` False: it is certain that the provider did not take the call. `tried` led to this.
    """

    tried: tuple[Try, ...] = ()

    def __init__(
        self,
        code: str,
        message: str,
        *,
        retryable: bool,
        retry_after: float = 0.0,
        paid: bool = True,
    ) -> None:
        super().__init__(message)
        self.code, self.retryable, self.retry_after = code, retryable, retry_after
        self.paid = paid


class Account(Protocol):
    """Who pays for one model call. Every try is one `hold`, ended by exactly one of the others."""

    async def hold(self, model: str, most: Reservation) -> None:
        """Set aside the most that the coming try can use, durably, against every budget above.

        Raises `Refused` when it is not affordable; then nothing is held.
        """
        ...

    async def settle(self, model: str, usage: Usage) -> None:
        """The try answered: this is what it really used."""
        ...

    async def release(self) -> None:
        """The try certainly cost nothing."""
        ...

    async def lose(self) -> None:
        """The try brought nothing, but may have been paid: all that was held counts."""
        ...


class Model(Protocol):
    """One model of one provider, ready to be asked. Cancelling `ask` closes the connection."""

    @property
    def name(self) -> str:
        """`provider/model`."""
        ...

    @property
    def window(self) -> int:
        """The tokens it can read in one call; 0 when nobody says."""
        ...

    def reserve(self, prompt: Prompt, tools: tuple[ToolSpec, ...]) -> Reservation:
        """The most that this call can use: an upper bound, computed without any I/O.

        Zero for a model that costs nothing; cost None when no price is known.
        """
        ...

    async def ask(
        self, prompt: Prompt, tools: tuple[ToolSpec, ...], hear: Callable[[Delta], None]
    ) -> Reply:
        """One whole reply, tried once; its calls have tool, arguments and id only.

        Calls `hear` with each piece as it arrives. A stream that ends without its terminal
        event is no reply. Raises only `ModelFailure`.
        """
        ...


class ModelHealth(Struct, frozen=True, kw_only=True):
    """How one model is. One that is not `available` is left alone while another can be asked.

    Counts are of tries since it was first asked; `consecutive_failures` of how often in a row it
    was given up; `cooldown_remaining` in seconds; `last_code` and `last_error` say what went wrong.
    """

    model: str
    available: bool
    success_count: int
    failure_count: int
    consecutive_failures: int
    cooldown_remaining: float
    last_code: str
    last_error: str


class Models(Protocol):
    """All models this installation can reach. A name is `provider/model`, a provider or `@role`."""

    def find(self, name: str) -> Model:
        """The model that is asked first for `name`; "" is `@executor`. Raises `Invalid`."""
        ...

    async def answer(
        self,
        name: str,
        prompt: Prompt,
        tools: tuple[ToolSpec, ...],
        hear: Callable[[Delta], None],
        account: Account,
    ) -> Reply:
        """A reply of `name` or, where that fails in a way that others need not, of its fallbacks.

        The one way to a model: each try is held on `account` before it is sent. `hear` gets a
        reset before the pieces of another try. Raises `ModelFailure` with what was tried, and
        whatever `account.hold` raises.
        """
        ...

    async def check_shape(self, shape: Shape) -> None:
        """Raises `Invalid`, saying where, for a shape that no answer can be held to."""
        ...

    async def close(self) -> None: ...
