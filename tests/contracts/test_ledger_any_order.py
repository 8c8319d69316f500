"""Holds, ends, deaths and days in any order: a simple model of the ledger always agrees."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from holdfast.adapters.stores.ledger import StoredLedger
from holdfast.adapters.stores.ledger_memory import MemoryPages
from holdfast.core.budget import Reservation
from holdfast.core.message import Usage
from holdfast.ports.ledger import Budget, CostQuery, Hold, OverBudget, Payer, Used
from holdfast.testing.fake_clock import FakeClock

DAY = 86_400_000
BUDGETS = (
    Budget(scope="installation", per="total", cost=300),
    Budget(scope="agent", per="day", cost=60, calls=8, warn=(50, 100)),
    Budget(scope="agent", of="b", per="day", cost=90),
)
agents = st.sampled_from(["a", "b", "c"])


class Money(RuleBasedStateMachine):
    """`charges`: id -> [agent, day, state, amount], which is all that there is to know."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.pages, self.clock = MemoryPages(), FakeClock(DAY * 20_000)
        self.charges: dict[str, list[Any]] = {}
        self.raised = 0
        self.told: list[tuple[str, int]] = []
        self.number = 0
        self.start()

    def do(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def start(self) -> None:
        self.do(self.pages.reopen())
        self.ledger = StoredLedger(self.pages, self.clock.now)
        self.ledger.budgets(BUDGETS)

    def teardown(self) -> None:
        self.loop.close()

    def used(self, agent: str = "", state: str = "") -> int:
        day = self.clock.now() // DAY
        return sum(
            charge[3]
            for charge in self.charges.values()
            if not agent or (charge[0], charge[1]) == (agent, day)
            if not state or charge[2] == state
        )

    @rule(agent=agents, most=st.integers(1, 40))
    def hold(self, agent: str, most: int) -> None:
        self.number += 1
        name, day = f"h{self.number}", self.clock.now() // DAY
        hold = Hold(
            id=name,
            payer=Payer(agent=agent),
            model="m",
            most=Reservation(cost=most),
            at=self.clock.now(),
        )
        limit = 90 if agent == "b" else 60
        calls = sum(1 for one in self.charges.values() if one[:2] == [agent, day])
        fits = self.used() + most <= 300 + self.raised and self.used(agent) + most <= limit
        fits = fits and (agent == "b" or calls < 8)
        assert self.do(self.tried(hold)) == fits
        if fits:
            self.charges[name] = [agent, day, "held", most]

    async def tried(self, hold: Hold) -> bool:
        """Whether there is room at once; who would have to wait goes away."""
        with anyio.move_on_after(0) as waiting:
            waiting.deadline = anyio.current_time() + 0.002
            try:
                await self.ledger.hold(hold)
            except OverBudget:
                return False
            return True
        return False

    @precondition(lambda self: any(c[2] != "settled" for c in self.charges.values()))
    @rule(data=st.data(), share=st.floats(0, 1))
    def settle(self, data: st.DataObject, share: float) -> None:
        name = self.pick(data, "held", "doubtful")
        charge = self.charges[name]
        real = round(charge[3] * share)
        told = self.do(self.ledger.settle(name, Usage(cost=real)))
        self.told += [(warned.key, warned.percent) for warned in told]
        charge[2:] = ["settled", real]

    @precondition(lambda self: any(c[2] != "settled" for c in self.charges.values()))
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        name = self.pick(data, "held", "doubtful")
        self.do(self.ledger.release(name))
        del self.charges[name]

    @precondition(lambda self: any(c[2] == "held" for c in self.charges.values()))
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        name = self.pick(data, "held")
        told = self.do(self.ledger.lose(name))
        self.told += [(warned.key, warned.percent) for warned in told]
        self.charges[name][2] = "doubtful"

    @rule(more=st.integers(1, 50), once=st.sampled_from("xyz"))
    def top_up(self, more: int, once: str) -> None:
        before = self.do(self.ledger.standings())[0].raised.cost
        key = "installation/total"
        after = self.do(self.ledger.top_up(key, Used(cost=more), by="me", once=once))
        assert after.raised.cost - before in {0, more}
        self.raised = after.raised.cost

    @rule()
    def die(self) -> None:
        self.start()
        for charge in self.charges.values():
            if charge[2] == "held":
                charge[2] = "doubtful"

    @rule(hours=st.integers(1, 30))
    def sleep(self, hours: int) -> None:
        self.clock.advance(hours * 3600)

    @invariant()
    def agrees(self) -> None:
        whole, *each = self.do(self.ledger.standings())
        assert whole.held.cost == self.used(state="held")
        assert whole.doubtful.cost == self.used(state="doubtful")
        assert whole.spent.cost + whole.held.cost == self.used()
        assert self.used() <= 300 + self.raised
        for one in each:
            if one.of != "*":
                assert one.spent.cost + one.held.cost == self.used(one.of)
        (row,) = self.do(self.ledger.costs(CostQuery()))
        assert (row.cost, row.doubtful, row.held) == (
            self.used(state="settled"),
            self.used(state="doubtful"),
            self.used(state="held"),
        )
        assert len(self.told) == len(set(self.told))

    def pick(self, data: st.DataObject, *states: str) -> str:
        names = [name for name, charge in self.charges.items() if charge[2] in states]
        return data.draw(st.sampled_from(sorted(names)))


TestMoney = Money.TestCase
TestMoney.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
