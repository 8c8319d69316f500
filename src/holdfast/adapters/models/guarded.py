"""The last thing before a model: no known secret goes to it, and none comes from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from holdfast.core.agent import Shape
from holdfast.core.context import Prompt
from holdfast.core.message import Reply
from holdfast.core.patterns import Disguise
from holdfast.core.redact import Flow, Redactor
from holdfast.ports.embedder import Embedded, Embedder, Purpose
from holdfast.ports.model import Account, Delta, Model, ModelFailure, Models, ToolSpec


class GuardedModels:
    """Implements `ports.Models` around another. `known` is what must not be said at this moment.

    With a `disguise` also what merely looks like a secret is hidden from models, and put back into
    what they answer.
    """

    def __init__(
        self, models: Models, known: Callable[[], Redactor], disguise: Disguise | None = None
    ) -> None:
        self._models, self._known, self._disguise = models, known, disguise

    def find(self, name: str) -> Model:
        return self._models.find(name)

    async def check_shape(self, shape: Shape) -> None:
        await self._models.check_shape(shape)

    async def close(self) -> None:
        await self._models.close()

    async def answer(
        self,
        name: str,
        prompt: Prompt,
        tools: tuple[ToolSpec, ...],
        hear: Callable[[Delta], None],
        account: Account,
    ) -> Reply:
        shown, disguise = self._known().clean(prompt), self._disguise
        if disguise is not None:
            shown = disguise.put_on(shown)
        pieces = _Pieces(self._known, hear, disguise)
        try:
            reply = await self._models.answer(name, shown, tools, pieces.hear, account)
        except ModelFailure as failure:
            failure.args = tuple(self._known().clean(failure.args))
            failure.tried = self._known().clean(failure.tried)
            raise
        pieces.end()
        if disguise is not None:
            reply = disguise.take_off(reply)
        clean = self._known().clean(reply)
        if clean.text != reply.text and clean.logprobs:
            return replace(clean, logprobs=())  # token by token they say what was taken out
        return clean


class GuardedEmbedder:
    """Implements `ports.Embedder` around another."""

    def __init__(self, embedder: Embedder, known: Callable[[], Redactor]) -> None:
        self._embedder, self._known = embedder, known

    async def embed(
        self, name: str, texts: Sequence[str], account: Account, purpose: Purpose = "document"
    ) -> Embedded:
        known = self._known()
        return await self._embedder.embed(name, [*map(known.text, texts)], account, purpose)


class _Pieces:
    """What is heard of a reply on its way, text and thoughts each as one flow."""

    def __init__(
        self,
        known: Callable[[], Redactor],
        hear: Callable[[Delta], None],
        disguise: Disguise | None,
    ) -> None:
        self._known, self._hear, self._disguise = known, hear, disguise
        self._begin()

    def hear(self, delta: Delta) -> None:
        if delta.reset:
            self._begin()
            self._hear(self._known().clean(delta))
            return
        call = self._known().text(delta.call)
        text, thought = self._text(delta.text), self._thought.more(delta.thought)
        if text or thought or call:
            self._hear(Delta(text=text, thought=thought, call=call, model=delta.model))

    def end(self) -> None:
        text = self._text("", last=True) + self._flow.rest()
        thought = self._thought.rest()
        if text or thought:
            self._hear(Delta(text=text, thought=thought))

    def _begin(self) -> None:
        self._flow, self._thought = Flow(self._known), Flow(self._known)
        self._masked = ""

    def _text(self, piece: str, *, last: bool = False) -> str:
        if self._disguise is None:
            return self._flow.more(piece)
        self._masked += piece
        cut = len(self._masked) if last else self._disguise.cut(self._masked)
        ready, self._masked = self._masked[:cut], self._masked[cut:]
        return self._flow.more(self._disguise.bare(ready))
