"""The vault of an installation, opened: for the house, for agents, and how it is sealed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from msgspec import Struct

from holdfast.core.ids import Instant

from .files import FileVault
from .keeper import Keeper, KnownVault


class Opened(Struct, frozen=True, kw_only=True):
    """One vault, seen three ways."""

    house: KnownVault
    secrets: Keeper
    sealing: FileVault


def open_vault(
    folder: Path,
    *,
    passphrase: str,
    now: Callable[[], Instant],
    others: Iterable[tuple[str, str]] = (),
) -> Opened:
    """Finish what a killed process began, and learn what must not be said.

    `others` are values from elsewhere that must not be said either. Raises `NotAllowed` without
    the right passphrase, `Broken` for damage, `Unavailable`.
    """
    sealing = FileVault(folder, passphrase=passphrase)
    sealing.open()
    keeper = Keeper(sealing, now, others)
    keeper.load()
    return Opened(house=KnownVault(sealing, keeper), secrets=keeper, sealing=sealing)
