"""Rings when something of the house has changed; what, those who hear it look at themselves."""

from __future__ import annotations

import anyio


class Bell:
    """Nothing piles up for who is slow: however often it rang, they look once at how it is now."""

    def __init__(self) -> None:
        self._rung: anyio.Event | None = None

    def ring(self) -> None:
        if self._rung is not None:
            self._rung.set()
            self._rung = None

    def next(self) -> anyio.Event:
        """Set when it rings from now on: taken before one looks, nothing is missed."""
        if self._rung is None:
            self._rung = anyio.Event()
        return self._rung
