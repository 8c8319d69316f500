"""Which logins there are: those that were made here, and those that may be borrowed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from holdfast.core.error import HoldfastError
from holdfast.ports.vault import Vault

from .login import Login
from .shelves import Shelf, VaultShelf, left_by_programs
from .token import Token
from .vendors import PLAN, VENDORS, Addresses, Vendor, configured

_log = logging.getLogger("holdfast.logins")


class Logins:
    """All logins of one home. `borrowed` names those whose program's own login may be used."""

    def __init__(
        self,
        env: Mapping[str, str],
        vault: Vault | None,
        locks: Path,
        *,
        borrowed: frozenset[str] = frozenset(),
        addresses: Mapping[str, Addresses] | None = None,
    ) -> None:
        told = addresses or {}
        self.vendors = {name: configured(one, told.get(name)) for name, one in VENDORS.items()}
        if not self.vendors["chatgpt"].client_id:
            self.vendors["chatgpt"] = configured(PLAN, told.get("chatgpt"))
        self.borrowed, self._vault, self._locks = borrowed, vault, locks
        self._left = left_by_programs(env)
        self._open: dict[tuple[str, str], Login] = {}

    def after(self, earlier: Logins) -> Logins:
        """The same; what is in use goes on as it is, if nothing of it has changed."""
        for key, login in earlier._open.items():
            if login.vendor == self.vendors[key[0]]:
                self._open[key] = login
        return self

    def find(self, name: str) -> Login | None:
        """The login that counts; None if there is none."""
        for shelf, _ in self._shelves(name):
            key = (name, shelf.place)
            if key not in self._open:
                lock = self._locks / f"login-{name}.lock"
                self._open[key] = Login(self.vendors[name], shelf, lock)
            return self._open[key]
        return None

    def all(self) -> Iterator[tuple[Vendor, Shelf, Token]]:
        """Every login that can be used: first those made here, then the borrowed ones."""
        found = [
            (name, shelf, token) for name in self.vendors for shelf, token in self._shelves(name)
        ]
        seen: set[str] = set()
        for ours in (True, False):
            for name, shelf, token in found:
                if isinstance(shelf, VaultShelf) is ours and name not in seen:
                    seen.add(name)
                    yield self.vendors[name], shelf, token

    def lasting(self) -> tuple[Login, ...]:
        """Those that are kept alive while nobody uses them: logins that end when they rest."""
        there = [vendor for vendor, _, _ in self.all() if vendor.kind == "codex"]
        return tuple(login for vendor in there if (login := self.find(vendor.name)))

    def shelf(self, name: str) -> VaultShelf:
        """Where a login that is made here is kept."""
        if self._vault is None:
            raise LookupError("there is no vault")
        return VaultShelf(self._vault, name)

    def allowed(self, vendor: Vendor) -> bool:
        """What its vendor does not document is used only where a person switched it on."""
        return not vendor.borrowed or vendor.name in self.borrowed

    def _shelves(self, name: str) -> Iterator[tuple[Shelf, Token]]:
        vendor = self.vendors[name]
        if not self.allowed(vendor):
            return
        places: list[Callable[[], Shelf]] = []
        if self._vault is not None:
            places.append(lambda: self.shelf(name))
        if vendor.borrowed:
            places.append(lambda: self._left[name])
        for place in places:
            shelf = place()
            try:
                token = shelf.load()
            except HoldfastError as problem:
                _log.warning("%s", problem)
                continue
            if token is not None:
                yield shelf, token
