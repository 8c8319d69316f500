"""Who does the work: instructions, model, tools and limits, as data."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, to_builtins

from .budget import Limits
from .ids import digest


class Style(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a model is to answer, where it can be told. None and "" leave it to the provider.

    `thinking` is off, low, medium or high; `max_output` the most tokens of one reply (0: what is
    usual for the model); `logprobs` how many other tokens to tell with each, and how likely.
    """

    thinking: str = ""
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    max_output: int = 0
    top_k: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logprobs: int | None = None


class Shape(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a final answer must look like: JSON that fits the JSON Schema `schema`.

    A wrong one is sent back at most `retries` times; then a `strict` task fails and any other one
    keeps the answer as it is.
    """

    schema: dict[str, Any]
    name: str = "answer"
    retries: int = 2
    strict: bool = True


class Agent(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An agent. Empty `tools` means all; `lanes` is how many of its tasks run at once.

    `model` is `provider/model`, a provider, `@role`, or empty for `@executor`. Agents of one `team`
    share its budgets.
    """

    name: str = "default"
    instructions: str = ""
    model: str = ""
    tools: tuple[str, ...] = ()
    limits: Limits = Limits()
    lanes: int = 4
    context_chars: int = 400_000
    team: str = ""
    style: Style = Style()
    shape: Shape | None = None

    @property
    def revision(self) -> str:
        """A content hash: two agents with the same revision are the same agent."""
        return digest(to_builtins(self))[:16]
