"""Where it is written down who may spend what, and who has spent it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from msgspec import Struct

from holdfast.core.budget import Reservation
from holdfast.core.error import Refused
from holdfast.core.ids import Instant
from holdfast.core.message import Usage

Scope = Literal["installation", "team", "agent", "session"]
Period = Literal["day", "month", "total"]
Group = Literal["day", "week", "month", "agent", "team", "model", "role", "task", "session"]
Unpriced = Literal["ask", "deny", "allow"]


class Payer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """For whom a model is asked, and as what (`role`). `by` is the authenticated principal."""

    task: str = ""
    session: str = ""
    agent: str = ""
    team: str = ""
    by: str = ""
    role: str = "executor"


class Budget(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A limit above the task: what `scope` called `of` (`*`: each one by itself) may use `per`.

    A budget with a name takes the place of `*` for that name. Days and months are those of UTC;
    a call counts where it was held. `cost` in micro-dollars; None: no limit of that kind. A warning
    is given once when `warn` percent of any of them are used.
    """

    scope: Scope
    of: str = "*"
    per: Period = "day"
    cost: int | None = None
    tokens: int | None = None
    calls: int | None = None
    warn: tuple[int, ...] = (80,)


class Used(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An amount: micro-dollars, tokens, calls."""

    cost: int = 0
    tokens: int = 0
    calls: int = 0

    def plus(self, more: Used) -> Used:
        cost, tokens, calls = self.cost, self.tokens, self.calls
        return Used(cost=cost + more.cost, tokens=tokens + more.tokens, calls=calls + more.calls)

    def minus(self, less: Used) -> Used:
        cost, tokens, calls = self.cost, self.tokens, self.calls
        return Used(cost=cost - less.cost, tokens=tokens - less.tokens, calls=calls - less.calls)


class Standing(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a budget stands for one `of` in the running period (`since`: 2026-11-21, 2026-11, "").

    `key` names it: `agent/default/day/2026-11-21`. `doubtful` is a part of `spent`, `held` is set
    aside for calls under way, `raised` was added by hand.
    """

    key: str
    budget: Budget
    of: str = ""
    since: str = ""
    spent: Used = Used()
    doubtful: Used = Used()
    held: Used = Used()
    raised: Used = Used()


class Hold(Struct, frozen=True, kw_only=True):
    """Money set aside for one try of one model call; `id` is unique for ever."""

    id: str
    payer: Payer
    model: str
    most: Reservation
    at: Instant


class Warned(Struct, frozen=True, kw_only=True):
    """A budget has crossed one of its thresholds; told once for each period."""

    key: str
    percent: int
    text: str


class CostQuery(Struct, frozen=True, kw_only=True):
    """Which costs to add up: `by` groups; from `since` (inclusive) to `until` (exclusive).

    `payer`: only those whose task, session, agent, team, `by` and role are as in it, where it
    names them. Weeks are those of ISO 8601 and read `2026-W47`.
    """

    by: tuple[Group, ...] = ()
    since: Instant = 0
    until: Instant | None = None
    payer: Payer = Payer(role="")


class Cost(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one group used. Money in micro-dollars, the rest in tokens and calls.

    `cost` is settled, `doubtful` may have been paid (its calls never came back), `held` is set
    aside now; `unpriced` calls had no known price; `saved` is what cache reads made cheaper.
    """

    group: tuple[str, ...] = ()
    calls: int = 0
    cost: int = 0
    doubtful: int = 0
    doubtful_calls: int = 0
    held: int = 0
    unpriced: int = 0
    saved: int = 0
    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int = 0


class OverBudget(Refused):
    """A budget does not allow the call. `key` names what a person may raise with `top_up`.

    `short`: what must be added so that this call passes. `final`: nobody may be asked, the
    configuration says no. `budget` is the one that is short; None where a price is missing.
    """

    code = "budget_exceeded"

    def __init__(
        self,
        message: str,
        *,
        key: str,
        short: Used,
        budget: Budget | None = None,
        final: bool = False,
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.key, self.short, self.budget, self.final = key, short, budget, final


class Ledger(Protocol):
    """Budgets above the task, and what was spent under them.

    Holds at once never exceed a budget together. What is held when the process is killed is found
    at the next start and counts in full, as doubtful.
    """

    async def hold(self, hold: Hold) -> None:
        """Set aside the most that a call can use under every budget that applies, durably.

        Waits while it is only calls under way that leave no room: the caller sets the deadline.
        Raises `OverBudget` when there is none without them, or no price is known and nobody has
        allowed that; `Unavailable` when it cannot be written down. Then nothing is held. What no
        budget touches and costs nothing need not be written before it is settled.
        """
        ...

    async def settle(self, hold: str, usage: Usage) -> Sequence[Warned]:
        """Replace a hold, or a doubtful call, by what was really used, even if that is more.

        Counts from now on; what the disk refuses is written with what comes next, and a process
        killed before that finds the hold in full. So do `release` and `lose`. Raises `NotFound`
        when there is no such hold (any more).
        """
        ...

    async def release(self, hold: str) -> None:
        """The call cost nothing: it is as if it had not been."""
        ...

    async def lose(self, hold: str) -> Sequence[Warned]:
        """The call may have been paid: the hold counts in full, as doubtful."""
        ...

    async def top_up(self, key: str, more: Used, *, by: str, once: str) -> Standing | None:
        """Add to one standing's limits until its period ends; the same `once` changes nothing.

        `price/<model>` lets that model be called without a known price until midnight UTC, and has
        no standing. Raises `Invalid` for a key that names no budget.
        """
        ...

    async def standings(self) -> Sequence[Standing]: ...

    async def doubtful(self, limit: int = 50) -> Sequence[Hold]:
        """The newest calls that may have been paid; `settle` or `release` ends the doubt."""
        ...

    async def costs(self, query: CostQuery) -> Sequence[Cost]:
        """One row per group in the order of their names; without `by` one row of everything."""
        ...

    def budgets(self, budgets: Sequence[Budget], unpriced: Unpriced = "ask") -> None:
        """These are in force from now on; and what is said to models without a known price.

        `ask`: a person must allow them. `deny`: nobody may. `allow`: they pass where no budget of
        money applies, and a person is asked where one does.
        """
        ...

    async def close(self) -> None:
        """Write what waits; after that nothing is taken. May be called twice."""
        ...
