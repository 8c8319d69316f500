"""Where secrets are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

How = Literal["file", "passphrase", "keyring"]
"""How the key is kept that seals a vault."""


class Vault(Protocol):
    """Secrets by name, for the daemon only: no tool, box, event or prompt ever gets to see one.

    Names are lower-case words with `/`, `-`, `_` and `.` between them. A value is at most 64 KiB.
    Changes are durable, whole and private (0600) when a method returns; a reader in another
    process sees the old value or the new one. Raises `Unavailable`, `Broken` for damage, `Invalid`
    for a bad name or value.
    """

    def get(self, name: str) -> str | None:
        """The value; None if there is none."""
        ...

    def put(self, name: str, value: str) -> None:
        """Keep `value` under `name`, replacing what was there."""
        ...

    def delete(self, name: str) -> bool:
        """Forget it; False if there was none."""
        ...

    def names(self) -> Sequence[str]:
        """All names, sorted. Never a value."""
        ...


class Sealing(Protocol):
    """How a vault is sealed. Whenever a change is cut off, every secret can still be read."""

    def kept(self) -> How: ...

    def rotate(self) -> int:
        """Seal everything anew, with a new key that is kept as before; returns how many."""
        ...

    def seal(self, how: How | None, passphrase: str = "") -> int:
        """The same, and keep the key this way. Raises `Invalid` for a bad passphrase."""
        ...
