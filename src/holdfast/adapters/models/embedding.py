"""Turns texts into vectors: checked, split as the provider takes them, paid for, tried again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import anyio
from msgspec.structs import replace

from holdfast.core.error import Invalid
from holdfast.core.message import Try, Usage
from holdfast.ports.embedder import Embedded, Purpose
from holdfast.ports.model import Account, ModelFailure

from . import embedders, failover, roles
from .discover import Found
from .failover import Chain, Patience
from .health import Remembered
from .lending import Lender
from .paying import paid
from .remote_embedder import RemoteEmbedder
from .settings import EMBEDDER, ModelsConfig, Role

MOST_TEXTS = 1_000
LONGEST_TEXT = 200_000
LONGEST_WHOLE = 4_000_000

Told = Callable[[], tuple[ModelsConfig, Sequence[Found]]]


class Embeddings:
    """Implements `ports.Embedder` with the providers that `told` names at the moment."""

    def __init__(
        self,
        told: Told,
        lender: Lender,
        health: Remembered,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self._told, self._lender, self._health, self._sleep = told, lender, health, sleep

    async def embed(
        self, name: str, texts: Sequence[str], account: Account, purpose: Purpose = "document"
    ) -> Embedded:
        check(texts)
        chosen, patience = self.find(name), self._told()[0].patience
        embedder, lane = self._lender.embedder(chosen)
        parts: list[Embedded] = []
        for batch in embedder.batches(texts):
            ask = partial(_once, embedder, lane, batch, purpose, account)
            parts.append(await self._patiently(chosen, ask, patience))
        return _joined(chosen, parts)

    def doubts(self) -> list[tuple[str, str]]:
        """The model that the configuration names and that cannot be asked; and why."""
        config, _ = self._told()
        wanted = config.roles.get(EMBEDDER[1:], Role()).model
        try:
            if wanted:
                self.find(wanted)
        except Invalid as problem:
            return [(wanted, f"{problem} {problem.hint}".strip())]
        return []

    def find(self, name: str) -> str:
        """The full name of a model that can be asked. Raises `Invalid`."""
        config, found = self._told()
        chosen = embedders.chosen(name, config, found)
        provider = chosen.partition("/")[0]
        roles.check_key(chosen, next(one for one in found if one.name == provider))
        return chosen

    async def _patiently(
        self, model: str, ask: Callable[[], Awaitable[Embedded]], patience: Patience
    ) -> Embedded:
        """The same model is asked again where that is worth it, and never another."""
        chain, began = Chain(left=(model,)), anyio.current_time()
        tried: list[Try] = []
        while True:
            begun = anyio.current_time()
            try:
                embedded = await ask()
            except ModelFailure as failure:
                rule = failover.rule_for(failure.code, retryable=failure.retryable)
                if rule.cooling != "none":  # what is wrong with the request is not held against it
                    self._health.failed(model, failure)
                move = failover.move(
                    chain,
                    rule,
                    code=failure.code,
                    told=failure.retry_after,
                    scene=self._health.scene,
                    patience=patience,
                )
                one = Try(model=model, code=failure.code, reason=str(failure), next=move.next)
                after, took = begun - began, anyio.current_time() - begun
                tried.append(replace(one, after=round(after * 1000), took=round(took * 1000)))
                if move.next != "retry":
                    failure.tried = tuple(tried)
                    raise
            else:
                self._health.answered(model)
                return embedded
            await self._sleep(move.pause)
            chain = move.chain


def check(texts: Sequence[str]) -> None:
    """Raises `Invalid` for what no provider takes."""
    if not texts:
        raise Invalid("there is nothing to embed", code="bad_texts")
    if len(texts) > MOST_TEXTS:
        what = f"there are {len(texts):,} texts, and at most {MOST_TEXTS:,} at once"
        raise Invalid(what, code="bad_texts", hint="send them in several calls")
    for place, text in enumerate(texts, start=1):
        if not text.strip():
            raise Invalid(f"text {place} is empty", code="bad_texts")
        if any("\ud800" <= char <= "\udfff" for char in text):
            raise Invalid(f"text {place} has half a character", code="bad_texts")
        if len(text) > LONGEST_TEXT:
            what = f"text {place} has {len(text):,} characters, and at most {LONGEST_TEXT:,}"
            raise Invalid(what, code="bad_texts", hint="cut it into pieces")
    if (size := sum(map(len, texts))) > LONGEST_WHOLE:
        what = f"the texts have {size:,} characters, and at most {LONGEST_WHOLE:,} together"
        raise Invalid(what, code="bad_texts", hint="send them in several calls")


async def _once(
    embedder: RemoteEmbedder,
    lane: anyio.CapacityLimiter,
    batch: Sequence[str],
    purpose: Purpose,
    account: Account,
) -> Embedded:
    ask = partial(embedder.embed, batch, purpose)
    async with lane:
        return await paid(embedder.name, embedder.reserve(batch), ask, account)


def _joined(model: str, parts: Sequence[Embedded]) -> Embedded:
    vectors = tuple(vector for part in parts for vector in part.vectors)
    if len({len(vector) for vector in vectors}) > 1:
        message = f"What came was no reply: the vectors of {model} differ in length."
        raise ModelFailure("malformed", message, retryable=True)
    costs = [part.usage.cost for part in parts]
    known = [cost for cost in costs if cost is not None]
    usage = Usage(
        input=sum(part.usage.input for part in parts),
        cost=sum(known) if len(known) == len(costs) else None,
    )
    return Embedded(vectors=vectors, usage=usage, model=model)
