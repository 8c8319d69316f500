"""What is granted in which domain: kept, changed in turn, and laid into the rules in force."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import anyio
import anyio.to_thread
from msgspec import Struct

from holdfast.core.gate.policy import Rules

from .domains import Domain, Grant, Grants, trusted
from .shelf import Memory, Shelf


class Said(Protocol):
    """What the policy says: the rules without trust, and the domains."""

    @property
    def rules(self) -> Rules: ...

    @property
    def domains(self) -> Sequence[Domain]: ...


class Granted(Struct, frozen=True, kw_only=True):
    """What is on the shelf."""

    grants: tuple[Grant, ...] = ()


class Trust:
    """The levels in force. The same rules, domains and levels give the very same rules again."""

    def __init__(self, shelf: Shelf[Granted] | None = None) -> None:
        self._shelf: Shelf[Granted] = shelf or Memory(Granted())
        self._grants = {(one.domain, one.agent): one for one in self._shelf.read().grants}
        self._turn = anyio.Lock()
        self._laid: tuple[Rules, Sequence[Domain], Grants, Rules] | None = None

    @property
    def grants(self) -> Grants:
        return self._grants

    def over(self, said: Said) -> Rules:
        """The rules with what trust says."""
        rules, domains, grants = said.rules, said.domains, self._grants
        laid = self._laid
        if laid is None or not (laid[0] is rules and laid[1] is domains and laid[2] is grants):
            laid = self._laid = (rules, domains, grants, self.laid(rules, domains))
        return laid[3]

    def laid(self, rules: Rules, domains: Sequence[Domain]) -> Rules:
        """The same for a policy that is not in force."""
        return trusted(rules, domains, self._grants)

    async def change(
        self,
        domain: str,
        agent: str,
        to: Grant | None,
        witness: Callable[[Grant | None], Awaitable[None]],
    ) -> None:
        """Give a level, or take it away with None. `witness` writes down first what was before.

        In force when this returns, and on the disk. Raises `Unavailable`: then nothing is changed.
        """
        async with self._turn:
            before = self._grants.get((domain, agent))
            await witness(before)
            after = {key: one for key, one in self._grants.items() if key != (domain, agent)}
            if to is not None:
                after[domain, agent] = to
            kept = Granted(grants=tuple(after[key] for key in sorted(after)))
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._shelf.write, kept)
                self._grants = after
