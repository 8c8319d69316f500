"""A vault that forgets at the end."""

from __future__ import annotations

from collections.abc import Sequence

from .names import checked_name, checked_value


class MemoryVault:
    """Implements `ports.Vault` for tests."""

    def __init__(self) -> None:
        self._kept: dict[str, str] = {}

    def get(self, name: str) -> str | None:
        return self._kept.get(checked_name(name))

    def put(self, name: str, value: str) -> None:
        checked_value(value)
        self._kept[checked_name(name)] = value

    def delete(self, name: str) -> bool:
        return self._kept.pop(checked_name(name), None) is not None

    def names(self) -> Sequence[str]:
        return sorted(self._kept)
