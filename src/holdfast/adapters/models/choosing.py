"""What was chosen here: below the configuration, above what is found."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio.to_thread
import msgspec
from msgspec import Struct

from holdfast.adapters import private
from holdfast.core.error import Invalid, Unavailable
from holdfast.core.foreign import NotJson, decoded
from holdfast.ports.choosing import Card, Choice

from .catalog import Catalog
from .settings import EMBEDDER, ROLES

_LONGEST = 1 << 16
_ALL = (*ROLES, EMBEDDER[1:])


class _Chosen(Struct, frozen=True, kw_only=True):
    roles: dict[str, str] = {}


def chosen(path: Path) -> Mapping[str, str]:
    """The models that were chosen, by role. What cannot be read counts as never chosen."""
    try:
        if path.stat().st_size <= _LONGEST:
            found = decoded(path.read_bytes(), _Chosen).roles
            return {role: model for role, model in found.items() if role in _ALL and model}
    except (OSError, NotJson):
        pass
    return {}


class SavedChoices:
    """Implements `ports.Choosing` over a file; the catalogue takes over each choice."""

    def __init__(self, catalog: Catalog, path: Path) -> None:
        self._catalog, self._path = catalog, path
        self._roles = dict(chosen(path))
        catalog.choose(self._roles)

    async def cards(self, *, fresh: bool = False) -> Sequence[Card]:
        return await self._catalog.cards(fresh=fresh)

    def roles(self) -> Mapping[str, str]:
        return {role: self._now(role) for role in _ALL}

    async def choose(self, model: str, role: str) -> Choice:
        if role not in _ALL:
            known = ", ".join(_ALL)
            raise Invalid(f"There is no role {role!r}.", code="unknown_role", hint=f"use {known}")
        full = self._full(model, role) if model else ""
        roles = {name: one for name, one in self._roles.items() if name != role}
        if full:
            roles[role] = full
        await anyio.to_thread.run_sync(_write, self._path, _Chosen(roles=roles))
        self._roles = roles
        self._catalog.choose(roles)
        used = self._now(role)
        where = "models.default" if role == "executor" else f"models.roles.{role}"
        note = f"the configuration has {used} ({where}), and goes before it"
        return Choice(role=role, model=full or used, note=note if full and used != full else "")

    def _full(self, name: str, role: str) -> str:
        """Who that is. Raises `Invalid`."""
        if f"@{role}" == EMBEDDER:
            return self._catalog.embedder.find(name)
        return self._catalog.find(name).name

    def _now(self, role: str) -> str:
        try:
            return self._full(f"@{role}", role)
        except Invalid:
            return ""


def _write(path: Path, kept: _Chosen) -> None:
    """On the disk, whole, when this returns."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(fresh, "wb", opener=private.opener) as file:
            file.write(msgspec.json.encode(kept))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        what = f"the choice cannot be kept: {error.strerror}"
        raise Unavailable(what, code="not_kept", hint="holdfast doctor") from error
