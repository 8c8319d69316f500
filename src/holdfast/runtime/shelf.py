"""Where a use case keeps something small."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

T = TypeVar("T")


class Shelf(Protocol[T]):
    """One value that outlives the process. Both may raise `Unavailable`."""

    def read(self) -> T: ...

    def write(self, value: T) -> None:
        """Durable on return, as a whole or not at all."""
        ...


class Memory(Generic[T]):
    """A `Shelf` that forgets with the process."""

    def __init__(self, value: T) -> None:
        self._value = value

    def read(self) -> T:
        return self._value

    def write(self, value: T) -> None:
        self._value = value
