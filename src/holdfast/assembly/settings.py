"""The configuration's file as the HTTP door sees it: shown without secrets, changed key by key."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from holdfast.adapters import private
from holdfast.config import Config, load
from holdfast.config.edit import edited
from holdfast.config.read import parsed, text_of
from holdfast.config.section import Section
from holdfast.config.sections import Settings as ConfigSections
from holdfast.config.words import by_name, masked
from holdfast.core.error import Invalid, Unavailable
from holdfast.doors.http.config import Setting, Settings, Stale

from .house import in_force


class ConfigFile:
    """Reads and changes it. What it says counts within two seconds, as when a person changes it.

    `check` raises `Invalid` for what could be read, and would not be taken over then.
    """

    def __init__(
        self, config: Config, environment: Mapping[str, str], check: Callable[[Config], None]
    ) -> None:
        self._path, self._environment, self._check = config.path, environment, check

    def read(self) -> Settings:
        """Raises `Invalid` where the file is not a configuration."""
        return _shown(load(environment=self._environment), self._tag())

    def change(self, changes: Mapping[str, Any], tag: str, *, only_try: bool = False) -> Settings:
        """Only on top of what `tag` stands for. Raises `Stale`, `Invalid`, `Refused`."""
        with private.locked(self._path.with_name(f".{self._path.name}.lock")):
            if tag != self._tag():
                raise Stale("the configuration has changed since you read it", hint="read it again")
            text = edited(text_of(self._path), changes)
            parsed(self._path, text)
            config = self._tried(text)
            if only_try:
                return _shown(config, tag)
            try:
                private.write(self._path, text.encode())
            except OSError as error:
                what = f"{self._path} cannot be written: {error.strerror}"
                raise Unavailable(what, code="not_kept") from error
        return _shown(config, _digest(text.encode()))

    def _tried(self, text: str) -> Config:
        """The configuration that it would be. Raises `Invalid`, as the daemon would refuse it."""
        trial = self._path.with_name(f".{self._path.name}.trial")
        private.write(trial, text.encode())
        try:
            config = load(environment={**self._environment, "HOLDFAST_CONFIG": str(trial)})
            in_force(config)
            self._check(config)
        except Invalid as error:
            said = str(error).replace(str(trial), str(self._path)).replace(trial.name, "config")
            raise Invalid(said, code=error.code, hint=error.hint) from None
        finally:
            private.remove(trial)
        return config

    def _tag(self) -> str:
        try:
            return _digest(self._path.read_bytes())
        except FileNotFoundError:
            return _digest(b"")
        except OSError as error:
            what = f"{self._path} cannot be read: {error.strerror}"
            raise Unavailable(what, code="not_kept") from error


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


def _shown(config: Config, tag: str) -> Settings:
    rows: list[Setting] = []
    for section in ConfigSections.model_fields:
        value: Any = getattr(config, section)
        pairs = by_name(value) if isinstance(value, Section) else [("", value)]
        for name, one in pairs:
            key = f"{section}.{name}" if name else section
            source = config.sources.get(key, "default")
            rows.append(Setting(key=key, value=masked(key, one), source=source))
    return Settings(
        tag=tag,
        path=str(config.path),
        fingerprint=config.fingerprint(),
        settings=tuple(rows),
        warnings=config.warnings,
    )
