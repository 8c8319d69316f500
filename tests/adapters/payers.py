"""An account that remembers what was done with each hold."""

from __future__ import annotations

from collections.abc import Callable

import anyio.lowlevel

from holdfast.core.budget import Reservation
from holdfast.core.error import Refused
from holdfast.core.message import Usage


class Book:
    """Implements `ports.Account`. `moment` runs inside each method; `refuses` turns holds away."""

    def __init__(self, moment: Callable[[], object] | None = None) -> None:
        self.rows: list[str] = []
        self.open = 0
        self.most_open = 0
        self.refuses = ""
        self._moment = moment

    async def hold(self, model: str, most: Reservation) -> None:
        await anyio.lowlevel.checkpoint()
        if self.refuses == model:
            raise Refused("too dear", code="budget_exceeded")
        self._write(f"hold {model}")
        self.open += 1
        self.most_open = max(self.open, self.most_open)

    async def settle(self, model: str, usage: Usage) -> None:
        await self._end("settle")

    async def release(self) -> None:
        await self._end("release")

    async def lose(self) -> None:
        await self._end("lose")

    @property
    def ends(self) -> list[str]:
        return [row for row in self.rows if not row.startswith("hold")]

    async def _end(self, how: str) -> None:
        await anyio.lowlevel.checkpoint()
        self._write(how)
        self.open -= 1
        assert self.open >= 0, f"ended what is not held: {self.rows}"

    def _write(self, row: str) -> None:
        self.rows.append(row)
        if self._moment is not None:
            self._moment()
