"""A model behind a provider's HTTP interface, light until it is first asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from msgspec import Struct
from msgspec.structs import replace

from holdfast.core.budget import Reservation
from holdfast.core.context import Prompt
from holdfast.core.message import Reply
from holdfast.ports.model import Delta, ModelFailure, ToolSpec

from . import text_calls
from .estimate import tokens_of
from .loading import load, load_aside
from .logins.login import Login
from .reading import Reading, shaped, understood, with_shape
from .settings import Calls, Kind, Price, Provider, Timeouts

NO_TOOLS = "[Note: tools were unavailable for this response]\n"
_USUAL_OUTPUT = 4_096
_MOST_LISTED = 16_384
_MORE_OUTPUT: tuple[tuple[str, int], ...] = (
    ("claude-3-5-haiku", 8_192),
    ("claude-3-haiku", 4_096),
    ("claude-3-opus", 4_096),
    ("claude-", 16_384),
    ("gpt-4-", 4_096),
    ("gpt-4o", 16_384),
    ("gpt-4.1", 16_384),
    ("gpt-5", 16_384),
    ("gpt-6", 16_384),
    ("o1", 16_384),
    ("o3", 16_384),
    ("o4", 16_384),
    ("gemini-1.5", 8_192),
    ("gemini-2.0", 8_192),
    ("gemini-", 16_384),
)
_DIALECTS: Mapping[Kind, str] = {
    "openai": "dialect_openai",
    "openai-compatible": "dialect_openai",
    "openai-responses": "dialect_responses",
    "ollama": "dialect_openai",
    "anthropic": "dialect_anthropic",
    "google": "dialect_google",
    "bedrock": "dialect_bedrock",
    "azure": "dialect_azure",
    "copilot": "dialect_copilot",
    "codex": "dialect_codex",
    "chatgpt": "dialect_codex",
}
# Protocols whose library is an extra of its own.
EXTRAS: Mapping[str, str] = {"bedrock": "bedrock"}


class Address(Struct, frozen=True, kw_only=True):
    """One model of one provider: the provider by its name here, and all that is needed to ask."""

    provider_name: str
    model: str
    provider: Provider
    timeouts: Timeouts
    login: Login | None = None
    price: Price | None = None
    window: int = 0
    listed_output: int = 0

    @property
    def costs_nothing(self) -> bool:
        return self.price is None and self.provider.costs_nothing

    @property
    def name(self) -> str:
        return f"{self.provider_name}/{self.model}"

    @property
    def max_output(self) -> int:
        """The tokens that one reply may have; sent with every request, so that it is a limit."""
        if self.provider.max_output:
            return self.provider.max_output
        if self.listed_output:
            return min(self.listed_output, _MOST_LISTED)
        bare = self.model.rpartition("/")[2].rpartition("anthropic.")[2].lower()
        return next((most for start, most in _MORE_OUTPUT if bare.startswith(start)), _USUAL_OUTPUT)


class Exchange(Protocol):
    """A model that has been opened: see providers.py."""

    async def takes_tools(self) -> bool: ...

    async def ask(
        self, prompt: Prompt, tools: tuple[ToolSpec, ...], hear: Callable[[Delta], None]
    ) -> Reply: ...


class RemoteModel:
    """Asks over HTTP. The library that speaks the protocol is imported at the first question."""

    def __init__(
        self,
        address: Address,
        client: Callable[[], Any],
        files: Callable[[str], Awaitable[bytes]] | None = None,
    ) -> None:
        self._address, self._client, self._files = address, client, files
        self._exchange: Exchange | None = None
        self._knows_no_tools = False

    @property
    def name(self) -> str:
        return self._address.name

    @property
    def window(self) -> int:
        return self._address.window

    @property
    def address(self) -> Address:
        return self._address

    def afresh(self, client: Any) -> RemoteModel:
        """The same model, asked over another client."""
        return RemoteModel(self._address, lambda: client, self._files)

    def reserve(self, prompt: Prompt, tools: tuple[ToolSpec, ...]) -> Reservation:
        address = self._address
        given, taken = tokens_of(with_shape(prompt), tools), address.max_output
        if tools and address.provider.tools in {"auto", "text"}:
            given += text_calls.ABOUT_INSTRUCTIONS
        if address.costs_nothing:
            return Reservation()
        prices, at = load("prices"), address.provider
        sold = prices.Sold(address.model, at.kind, at.base_url, address.price)
        most: int | None = prices.most(given, taken, sold)
        return Reservation(tokens=given + taken, cost=most)

    async def ask(
        self, prompt: Prompt, tools: tuple[ToolSpec, ...], hear: Callable[[Delta], None]
    ) -> Reply:
        if self._address.login:
            await self._address.login.token()  # says what to do where there is none
        exchange = await self._opened()
        prompt = with_shape(prompt)
        wanted = tools if prompt.tools else ()
        form = await self._form(exchange, prompt, wanted)
        if form == "native":
            try:
                return await self._natively(exchange, prompt, wanted, hear)
            except ModelFailure as failure:
                if self._address.provider.tools == "native" or not _about_tools(failure, prompt):
                    raise
                self._knows_no_tools = "support" in str(failure).lower()
        if form == "none" and wanted:
            if not prompt.shape:
                hear(Delta(text=NO_TOOLS))
            reply = await self._in_text(exchange, prompt, (), hear)
            return reply if prompt.shape else replace(reply, text=NO_TOOLS + reply.text)
        return await self._in_text(exchange, prompt, wanted, hear)

    async def _form(
        self, exchange: Exchange, prompt: Prompt, wanted: tuple[ToolSpec, ...]
    ) -> Calls:
        """How tools are called and earlier calls are shown."""
        form = self._address.provider.tools
        if form != "auto":
            return form
        if self._knows_no_tools:
            return "text"
        if (wanted or text_calls.has_calls(prompt)) and not await exchange.takes_tools():
            return "text"
        return "native"

    async def _natively(
        self,
        exchange: Exchange,
        prompt: Prompt,
        tools: tuple[ToolSpec, ...],
        hear: Callable[[Delta], None],
    ) -> Reply:
        reading = Reading(self.name, hear)
        reply = await exchange.ask(prompt, tools, reading.hear)
        reading.end()
        return await shaped(understood(reply, prompt), prompt)

    async def _in_text(
        self,
        exchange: Exchange,
        prompt: Prompt,
        tools: tuple[ToolSpec, ...],
        hear: Callable[[Delta], None],
    ) -> Reply:
        reading = Reading(self.name, hear, tools)
        reply = await exchange.ask(text_calls.told(prompt, tools), (), reading.hear)
        reading.end()
        return await shaped(understood(reply, prompt, tools), prompt)

    async def _opened(self) -> Exchange:
        if self._exchange is not None:
            return self._exchange
        kind = self._address.provider.kind
        providers = await load_aside("providers")
        try:
            dialect = await load_aside(_DIALECTS[kind])
        except ImportError:
            if kind not in EXTRAS:
                raise
            raise without_extra(self._address, EXTRAS[kind]) from None
        opened: Exchange = providers.open_exchange(
            self._address, dialect, self._client(), self._files
        )
        self._exchange = opened
        return opened


def without_extra(address: Address, extra: str) -> ModelFailure:
    message = f"{address.name} needs a part that is not installed: pip install 'holdfast[{extra}]'"
    return ModelFailure("invalid_request", message, retryable=False, paid=False)


def _about_tools(failure: ModelFailure, prompt: Prompt) -> bool:
    """A refusal of the request because this model knows no tools."""
    text = str(failure).lower()
    return (
        failure.code in {"invalid_request", "not_found"}
        and ("tool" in text or "function call" in text)
        and (prompt.tools or text_calls.has_calls(prompt))
    )
