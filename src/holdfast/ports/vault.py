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
    for a bad name or value. `put` replaces what was there, `delete` says whether something was, and
    `names` are sorted.
    """

    def get(self, name: str) -> str | None: ...
    def put(self, name: str, value: str) -> None: ...
    def delete(self, name: str) -> bool: ...
    def names(self) -> Sequence[str]: ...


class Sealing(Protocol):
    """How a vault is sealed. Whenever a change is cut off, every secret can still be read.

    `rotate` seals everything anew, with a new key that is kept as before, and returns how many.
    `seal` does the same and keeps the key this way; it raises `Invalid` for a bad passphrase.
    """

    def kept(self) -> How: ...
    def rotate(self) -> int: ...
    def seal(self, how: How | None, passphrase: str = "") -> int: ...
