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

    Days and months are those of UTC. `cost` in micro-dollars; None: no limit of that kind. A
    warning is given once when `warn` percent of any of them are used.
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


class Standing(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a budget stands for one `of` in the running period (`since`: 2026-11-21, 2026-11, "").

    `key` names it: `agent/default/day/2026-11-21`. `held` is set aside, `raised` was added by hand.
    """

    key: str
    budget: Budget
    of: str = ""
    since: str = ""
    spent: Used = Used()
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
    """Which costs to add up: `by` groups; from `since` (inclusive) to `until` (exclusive)."""

    by: tuple[Group, ...] = ()
    since: Instant = 0
    until: Instant | None = None
    payer: Payer | None = None


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
    """A budget does not allow the call. `key` names it, `need` is what the call may use at most."""

    code = "budget_exceeded"

    def __init__(self, message: str, *, key: str, need: Reservation, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.key, self.need = key, need


class Ledger(Protocol):
    """Hierarchical budgets and what was spent under them; durable before each method returns.

    Concurrent holds never exceed a budget together. Holds that a killed process left count in full,
    as doubtful. Every method may raise `Unavailable`, and then nothing was changed.
    """

    async def hold(self, hold: Hold) -> Sequence[Warned]:
        """Set money aside under every budget that applies. Raises `OverBudget`; holds nothing then.

        A hold without a known price is refused by every budget of money that applies.
        """
        ...

    async def settle(self, hold: str, usage: Usage, saved: int = 0) -> Sequence[Warned]:
        """Replace a hold by what was really used."""
        ...

    async def release(self, hold: str) -> None:
        """The call cost nothing."""
        ...

    async def lose(self, hold: str) -> Sequence[Warned]:
        """The call may have been paid: the hold counts in full, as doubtful."""
        ...

    async def top_up(self, key: str, more: Used, *, by: str, once: str) -> Standing:
        """Add to one standing's limits for its period. The same `once` again changes nothing."""
        ...

    async def standings(self) -> Sequence[Standing]: ...

    async def costs(self, query: CostQuery) -> Sequence[Cost]: ...

    def budgets(self, budgets: Sequence[Budget]) -> None:
        """These budgets are in force from now on."""
        ...
