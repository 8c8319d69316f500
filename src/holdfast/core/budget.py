"""Limits as values: what a task may spend, and what it has spent."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from .message import Usage


class Limits(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one task may use. None means no limit of that kind.

    `steps` model turns · `tokens` input + output over all turns · `cost` micro-dollars ·
    `seconds` of running time (waiting does not count) · `calls` tool calls · `attempts` tries ·
    `attempt_seconds` wall time of one try · `check_rounds` times the checks may send it back.
    """

    steps: int = 50
    tokens: int | None = 1_000_000
    cost: int | None = None
    seconds: int | None = 7200
    calls: int | None = None
    attempts: int = 3
    attempt_seconds: int = 3600
    check_rounds: int = 3


class Spent(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a task has used so far; `cost` in micro-dollars; `unpriced` replies had no price."""

    steps: int = 0
    tokens: int = 0
    cost: int = 0
    milliseconds: int = 0
    calls: int = 0
    unpriced: int = 0

    def plus_time(self, milliseconds: int) -> Spent:
        return replace(self, milliseconds=self.milliseconds + milliseconds)

    def plus_child(self, child: Spent) -> Spent:
        """What a child spent counts against its parent too: tokens and money, not its steps."""
        return replace(
            self,
            tokens=self.tokens + child.tokens,
            cost=self.cost + child.cost,
            unpriced=self.unpriced + child.unpriced,
        )

    def plus(self, usage: Usage) -> Spent:
        return Spent(
            steps=self.steps + 1,
            tokens=self.tokens + usage.tokens,
            cost=self.cost + (usage.cost or 0),
            milliseconds=self.milliseconds,
            calls=self.calls,
            unpriced=self.unpriced + (usage.cost is None),
        )


class Reservation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Set aside before a model call: the most it can use. `cost` None: no price is known."""

    tokens: int = 0
    cost: int | None = 0


def exceeded(limits: Limits, spent: Spent, reserve: Reservation) -> str:
    """Which limit one more model turn would break, as a sentence; empty if none."""
    if spent.steps >= limits.steps:
        return f"steps: {spent.steps} of {limits.steps} used"
    if limits.tokens is not None and spent.tokens + reserve.tokens > limits.tokens:
        need = f"up to {reserve.tokens} needed"
        return f"tokens: {spent.tokens} used and {need}, limit {limits.tokens}"
    if limits.seconds is not None and spent.milliseconds >= limits.seconds * 1000:
        return f"time: {spent.milliseconds // 1000} s of {limits.seconds} s used"
    return "" if limits.cost is None else _too_dear(limits.cost, spent.cost, reserve.cost)


def enough(limits: Limits, spent: Spent, reserve: Reservation) -> Limits | None:
    """Limits, doubled where they are too low, that would do; None where raising them is no help."""
    if exceeded(replace(limits, tokens=None, cost=None), spent, reserve):
        return None
    tokens, cost = limits.tokens, limits.cost
    if tokens is not None and spent.tokens + reserve.tokens > tokens:
        tokens = max(2 * tokens, spent.tokens + reserve.tokens)
    if cost is not None:
        if reserve.cost is None:
            return None
        if spent.cost + reserve.cost > cost:
            cost = max(2 * cost, spent.cost + reserve.cost)
    return replace(limits, tokens=tokens, cost=cost)


def _too_dear(limit: int, spent: int, need: int | None) -> str:
    if need is None:
        return (
            f"money: no price is known for this model, so a limit of {dollars(limit)} cannot hold"
        )
    if spent + need > limit:
        return f"money: {dollars(spent)} used, up to {dollars(need)} needed, limit {dollars(limit)}"
    return ""


def dollars(micro: int) -> str:
    """Exact, with four decimals or more."""
    return f"${micro / 1e6:.6f}".removesuffix("00")
