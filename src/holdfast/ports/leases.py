"""Leave that people have given beforehand, and what is left of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from holdfast.core.gate.policy import Lease


class Leases(Protocol):
    """Durable rows beside the journal. A verdict that uses a lease counts it as it is appended.

    `Journal.append` counts what its events tell, in the same commit, and raises `Conflict` (code
    `lease_used_up`) instead of letting a lease be used more often than it was given; a lease that
    an approval brought along is kept by the same append. All methods may raise `Unavailable`.
    """

    async def write(self, lease: Lease) -> None:
        """Keep a new lease, durable on return. Raises `Conflict` if its id is taken."""
        ...

    async def revoke(self, lease: str) -> bool:
        """Forbid every further use, durable on return; False if there is no such lease."""
        ...

    async def all(self) -> Sequence[Lease]:
        """Every lease that is not revoked, oldest first, with how often it was used."""
        ...
