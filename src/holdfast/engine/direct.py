"""Pays for a model call that belongs to no task."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import anyio

from holdfast.core.budget import Reservation
from holdfast.core.error import Saturated
from holdfast.core.message import Usage
from holdfast.ports.clock import Clock
from holdfast.ports.ledger import Hold, Ledger, Payer

_PATIENCE = 30.0


class DirectAccount:
    """Implements `ports.Account` for one call outside any task: what is held is in the ledger.

    Entered for the time of the call; a try that is broken off in it counts as it was held.
    """

    def __init__(self, ledger: Ledger, clock: Clock, payer: Payer) -> None:
        self._ledger, self._clock, self._payer = ledger, clock, payer
        self._held = ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._held:
            with anyio.CancelScope(shield=True):
                await self.lose()

    async def hold(self, model: str, most: Reservation) -> None:
        hold = Hold(
            id=self._clock.new_id("hold"),
            payer=self._payer,
            model=model,
            most=most,
            at=self._clock.now(),
        )
        with anyio.move_on_after(_PATIENCE) as waiting:
            await self._ledger.hold(hold)
            self._held = hold.id
        if waiting.cancelled_caught:
            raise Saturated("what is left of a budget is set aside for other calls under way")

    async def settle(self, model: str, usage: Usage) -> None:
        await self._ledger.settle(self._ended(), usage)

    async def release(self) -> None:
        await self._ledger.release(self._ended())

    async def lose(self) -> None:
        await self._ledger.lose(self._ended())

    def _ended(self) -> str:
        held, self._held = self._held, ""
        return held
