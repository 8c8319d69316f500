"""Asks a call's candidates one after the other, as `failover.py` decides, and notes each try."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

import anyio
from msgspec.structs import replace

from holdfast.core.context import Prompt
from holdfast.core.ids import Instant
from holdfast.core.message import Reply, Try
from holdfast.ports.model import Account, Delta, Model, ModelFailure, ToolSpec

from . import failover
from .failover import EMPTY, SKIPPED, Chain, Move, Patience, Rule
from .health import Remembered
from .paying import asked

_log = logging.getLogger("holdfast.models")
_LONGEST_REASON = 200


class Opens(Protocol):
    """Opens a model for one try, when its provider has room; `fresh` on a connection of its own."""

    def __call__(self, name: str, *, fresh: bool) -> AbstractAsyncContextManager[Model]: ...


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked, who listens, who pays."""

    prompt: Prompt
    tools: tuple[ToolSpec, ...]
    hear: Callable[[Delta], None]
    account: Account


@dataclass(frozen=True, kw_only=True)
class Means:
    """What a call is made with; `now` is the wall clock."""

    opens: Opens
    health: Remembered
    patience: Patience
    now: Callable[[], Instant]
    sleep: Callable[[float], Awaitable[None]]


class Call:
    """One call: its tries, and what is written down of them."""

    def __init__(self, question: Question, means: Means) -> None:
        self._question, self._means = question, means
        self._began = anyio.current_time()
        self._tried: list[Try] = []
        self._failures: list[ModelFailure] = []
        self._ear = _Ear(question.hear)

    async def reply(self, candidates: Sequence[str], skipped: Sequence[tuple[str, str]]) -> Reply:
        """The first good reply; see `ports.Models.answer`. `skipped` were never to be asked."""
        self._skip(skipped)
        begun, passed = failover.begin(candidates, self._means.health.scene)
        self._skip(passed)
        chain: Chain | None = begun
        while chain is not None:
            with self._means.health.asking(chain.left[0]):
                came = await self._of_one(chain)
            if isinstance(came, Reply):
                return replace(came, tried=tuple(self._tried))
            chain = came
        self._ear.reset("")
        raise self._failure(candidates)

    async def _of_one(self, chain: Chain) -> Reply | Chain | None:
        """The reply of the first candidate, asked again where that is worth it; or who is next."""
        model, fresh, began = chain.left[0], False, self._means.now()
        while True:
            came = await self._once(model, fresh=fresh)
            failed = isinstance(came, ModelFailure)
            if not failed and not _empty(came):
                self._means.health.answered(model)
                return came
            failure = came if failed else ModelFailure(EMPTY, "the reply was empty", retryable=True)
            rule = failover.rule_for(failure.code, retryable=failure.retryable)
            move = self._decide(chain, rule, failure)
            if isinstance(came, Reply) and move.next == "give up":
                self._means.health.answered(model)
                return came
            self._note_failure(failure, move)
            if rule.cooling != "none":
                self._means.health.failed(model, failure)
            if move.cools:
                self._means.health.given_up(model, rule, failure, began, self._means.patience)
            if move.next == "give up":
                return None
            if move.next == "failover":
                return move.chain
            await self._means.sleep(move.pause)
            chain, fresh = move.chain, move.fresh

    async def _once(self, model: str, *, fresh: bool) -> Reply | ModelFailure:
        """One try, noted as if it were good."""
        asking, ear = self._question, self._ear
        async with self._means.opens(model, fresh=fresh) as opened:
            ear.reset(model)
            began = anyio.current_time()
            try:
                return await asked(opened, asking.prompt, asking.tools, ear.hear, asking.account)
            except ModelFailure as failure:
                return failure
            finally:
                first = ear.first_after(began)
                self._note(model, began=began, took=_ms(anyio.current_time() - began), first=first)

    def _decide(self, chain: Chain, rule: Rule, failure: ModelFailure) -> Move:
        return failover.move(
            chain,
            rule,
            code=failure.code,
            told=failure.retry_after,
            scene=self._means.health.scene,
            patience=self._means.patience,
        )

    def _note(self, model: str, *, began: float, took: int, first: int) -> None:
        after = _ms(began - self._began)
        self._tried.append(Try(model=model, after=after, took=took, first=first))
        _log.debug("%s was asked: %s ms, the first piece after %s ms", model, took, first)

    def _note_failure(self, failure: ModelFailure, move: Move) -> None:
        self._failures.append(failure)
        reason = str(failure)
        if len(reason) > _LONGEST_REASON:
            reason = f"{reason[: _LONGEST_REASON - 1]}…"
        self._tried[-1] = replace(self._tried[-1], code=failure.code, reason=reason, next=move.next)
        self._skip(move.passed)

    def _skip(self, skipped: Sequence[tuple[str, str]]) -> None:
        after = _ms(anyio.current_time() - self._began)
        self._tried += [
            Try(model=model, code=SKIPPED, reason=why, after=after) for model, why in skipped
        ]

    def _failure(self, candidates: Sequence[str]) -> ModelFailure:
        """The failure that tells most, with all that was tried."""
        last = self._failures[-1]
        if rule_of(last).worth == "nothing":
            failure = last
        else:
            failure = self._failures[failover.most_useful([f.code for f in self._failures])]
        real = [one for one in self._tried if one.code]
        if len(real) > 1:
            message = f"{failure} Tried: {failover.in_short(real)}."
            failure = _like(failure, message, self._soonest(candidates, failure))
        else:
            failure = _like(failure, str(failure), self._soonest(candidates, failure))
        failure.tried = tuple(self._tried)
        return failure

    def _soonest(self, candidates: Sequence[str], failure: ModelFailure) -> float:
        """When it is worth asking again, in seconds: once the first candidate has cooled down."""
        if not failure.retryable:
            return 0.0
        scene = self._means.health.scene
        soonest = min(scene.of(model).left(scene.now) for model in candidates) / 1000
        return soonest or failure.retry_after


class _Ear:
    """Passes on what is heard; knows whether something was, and when the first piece came."""

    def __init__(self, hear: Callable[[Delta], None]) -> None:
        self._hear, self._heard = hear, False
        self._first = 0.0

    def hear(self, delta: Delta) -> None:
        if not self._first:
            self._first = anyio.current_time()
        self._heard = True
        self._hear(delta)

    def reset(self, model: str) -> None:
        """What was heard is void, and `model` begins anew; or nobody, if it is empty."""
        if self._heard:
            self._hear(Delta(reset=True, model=model))
        self._heard, self._first = False, 0.0

    def first_after(self, began: float) -> int:
        return _ms(self._first - began) if self._first else 0


def rule_of(failure: ModelFailure) -> Rule:
    return failover.rule_for(failure.code, retryable=failure.retryable)


def _empty(reply: Reply) -> bool:
    return not reply.calls and not reply.text.strip()


def _like(failure: ModelFailure, message: str, retry_after: float) -> ModelFailure:
    return ModelFailure(
        failure.code,
        message,
        retryable=failure.retryable,
        retry_after=retry_after,
        paid=failure.paid,
    )


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
