"""How the models were lately, remembered over a restart."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import msgspec
from msgspec import Struct

from holdfast.core.ids import Instant
from holdfast.ports.model import ModelFailure, ModelHealth

from . import failover
from .failover import RULES, UNKNOWN, Health, Patience, Rule, Scene

_log = logging.getLogger("holdfast.models")
_MOST = 256
_LONGEST_FILE = 1 << 20
_LONGEST_ERROR = 300


class _Kept(Struct, frozen=True, kw_only=True):
    models: dict[str, Health]


class Remembered:
    """The health of every model that was asked. `path` None: forgotten at the end.

    The file is written when the standing of a model changes, not with every reply. What cannot be
    read is forgotten, and what cannot be written is told in the log: neither stops a call.
    """

    def __init__(self, now: Callable[[], Instant], path: Path | None = None) -> None:
        self._now, self._path = now, path
        self._health = _read(path) if path else {}
        self._probed: set[str] = set()

    @property
    def scene(self) -> Scene:
        return Scene(now=self._now(), health=MappingProxyType(self._health), probed=self._probed)

    @contextmanager
    def asking(self, model: str) -> Generator[None]:
        """While a call asks `model`: if that is on trial, no other call asks it too."""
        probes = self.of(model).on_trial and model not in self._probed
        if probes:
            self._probed.add(model)
        try:
            yield
        finally:
            if probes:
                self._probed.discard(model)

    def of(self, model: str) -> Health:
        return self._health.get(model, UNKNOWN)

    def answered(self, model: str) -> None:
        before = self.of(model)
        self._set(model, failover.answered(before))
        if before.row:
            self.save()

    def failed(self, model: str, failure: ModelFailure) -> None:
        error = str(failure)[:_LONGEST_ERROR]
        self._set(model, failover.failed(self.of(model), failure.code, error))

    def given_up(
        self, model: str, rule: Rule, failure: ModelFailure, began: int, patience: Patience
    ) -> None:
        health = failover.given_up(
            self.of(model),
            rule,
            code=failure.code,
            told=failure.retry_after,
            began=began,
            now=self._now(),
            patience=patience,
        )
        self._set(model, health)
        self.save()

    def changed(self, provider: str) -> None:
        """A provider is asked in another way from now on: nothing is held against its models."""
        for name, health in self._health.items():
            if health.row and name.startswith(f"{provider}/"):
                self._health[name] = failover.forgiven(health)

    def report(self) -> tuple[ModelHealth, ...]:
        scene = self.scene
        return tuple(_told(name, scene) for name in sorted(self._health))

    def save(self) -> None:
        """Replace the file; a half-written one never has its name."""
        if self._path is None:
            return
        fresh = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(msgspec.json.encode(_Kept(models=self._health)))
            fresh.replace(self._path)
        except OSError as error:
            _log.warning("the health of the models is not kept: %s", error)

    def _set(self, model: str, health: Health) -> None:
        self._health[model] = health
        if len(self._health) > _MOST:
            well = (name for name, one in self._health.items() if not one.row and name != model)
            del self._health[next(well, next(iter(self._health)))]


def _read(path: Path) -> dict[str, Health]:
    try:
        with path.open("rb") as file:
            kept: Mapping[str, Health] = msgspec.json.decode(
                file.read(_LONGEST_FILE), type=_Kept
            ).models
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        _log.warning("%s is not used: %s", path, error)
        return {}
    # A key or an account may have been mended since: to ask once costs nothing.
    return {
        name: failover.forgiven(one) if _is_long(one.code) else one
        for name, one in list(kept.items())[-_MOST:]
    }


def _is_long(code: str) -> bool:
    return code in RULES and RULES[code].cooling == "long"


def _told(name: str, scene: Scene) -> ModelHealth:
    health = scene.of(name)
    code, _, error = health.error.partition(": ")
    return ModelHealth(
        model=name,
        available=not scene.against(name),
        success_count=health.good,
        failure_count=health.bad,
        consecutive_failures=health.row,
        cooldown_remaining=health.left(scene.now) / 1000,
        last_code=code,
        last_error=error,
    )
