"""Where a use case keeps something."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


class Uploads(Protocol):
    """Bytes with a line about them, by id. An id is nobody's but its principal's."""

    async def keep(self, name: str, by: str, about: bytes, data: bytes) -> None:
        """Durable when this returns. Raises `Refused` where the principal has no more room."""

    async def find(self, name: str, by: str) -> tuple[bytes, bytes]:
        """The line and the bytes. Raises `NotFound`, also for what is somebody else's."""
        ...

    async def about(self, name: str, by: str) -> bytes: ...

    async def all(self, by: str) -> Sequence[bytes]:
        """The lines, oldest first."""
        ...

    async def forget(self, name: str, by: str) -> None: ...

    async def tidy(self, is_over: Callable[[bytes], bool]) -> None:
        """Everybody's go whose line says that they are over."""
