"""What providers say of their models, kept for an hour."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import anyio
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from holdfast.adapters import private
from holdfast.core.foreign import NotJson, decoded
from holdfast.core.ids import Instant, digest
from holdfast.ports.choosing import Card

from .discover import Found
from .loading import load_aside

_log = logging.getLogger("holdfast.models")
_HOUR = 3_600_000
_QUIET = 60_000
_MOST = 2_000
_FILE = 8 << 20
_SECONDS = 5.0
_UNTAUGHT = "ft:"
_BESIDE = ("embed", "whisper", "tts", "dall-e", "moderation", "rerank", "transcribe", "imagen")


class _Kept(Struct, frozen=True, kw_only=True):
    """One provider's list; `of` changes when it is asked somewhere else."""

    of: str
    cached_at: Instant
    models: tuple[Card, ...]


class Listings:
    """The lists of all providers, in memory and in `folder` (None: in memory only).

    An empty list is none. One that is older than an hour still tells about models, but is not
    believed to be all there are.
    """

    def __init__(self, now: Callable[[], Instant], folder: Path | None = None) -> None:
        self._now, self._folder = now, folder
        self._kept: dict[str, _Kept | None] = {}
        self._failed: dict[str, Instant] = {}

    def cards(self, found: Found) -> tuple[Card, ...]:
        """What is known of its models, under their names there; nothing is asked."""
        kept = self._of(found)
        return kept.models if kept else ()

    def is_whole(self, found: Found) -> bool:
        """Whether it has said within the hour what it has."""
        kept = self._of(found)
        return kept is not None and 0 <= self._now() - kept.cached_at < _HOUR

    async def refresh(self, found: tuple[Found, ...], *, fresh: bool) -> bool:
        """Ask those whose list is too old, or all of them. True if anything is new."""
        before = dict(self._kept)
        async with anyio.create_task_group() as group:
            for one in found:
                if fresh or not (self.is_whole(one) or self._was_just_asked(one)):
                    group.start_soon(self._ask, one)
        return self._kept != before

    async def _ask(self, found: Found) -> None:
        wire = await load_aside("lists")
        rows: tuple[Mapping[str, Any], ...] = ()
        with anyio.move_on_after(_SECONDS):
            rows = await wire.fetch(found.provider)
        cards = tuple(cards_of(rows))[:_MOST]
        if not cards:
            self._failed[_key(found)] = self._now()
            return
        kept = _Kept(of=_key(found), cached_at=self._now(), models=cards)
        self._kept[found.name] = kept
        if self._folder is not None:
            await anyio.to_thread.run_sync(_write, self._folder / f"{found.name}.json", kept)

    def _was_just_asked(self, found: Found) -> bool:
        return self._now() - self._failed.get(_key(found), -_QUIET) < _QUIET

    def _of(self, found: Found) -> _Kept | None:
        if found.name not in self._kept:
            path = self._folder / f"{found.name}.json" if self._folder else None
            self._kept[found.name] = _read(path) if path else None
        kept = self._kept[found.name]
        return kept if kept and kept.of == _key(found) else None


def cards_of(rows: tuple[Mapping[str, Any], ...]) -> Iterator[Card]:
    """The rows of a provider's answer as cards; what cannot be asked for words is left out."""
    for row in rows:
        name = row.get("id") or row.get("name") or ""
        if not isinstance(name, str) or not name.isprintable():
            continue
        name = name.removeprefix("models/")
        methods = row.get("supportedGenerationMethods")
        talks = not isinstance(methods, list) or "generateContent" in methods
        if name and talks and not name.startswith(_UNTAUGHT) and not _is_beside(name):
            yield _card(name, row)


def _is_beside(name: str) -> bool:
    return any(word in name.lower() for word in _BESIDE)


def _card(name: str, row: Mapping[str, Any]) -> Card:
    top, limits = _table(row, "top_provider"), _table(row, "limits")
    windows = ("context_window", "max_input_tokens", "context_length", "max_context_length",
               "max_model_len", "inputTokenLimit")  # fmt: skip
    outputs = ("max_output_tokens", "max_completion_tokens", "max_tokens", "outputTokenLimit")
    prices = _table(row, "pricing")
    told, inputs, able = _words(row, "supported_parameters"), _inputs(row), _able(row)
    return Card(
        name=name,
        window=_whole(windows, row, top, limits),
        output=_whole(outputs, row, top, limits),
        input_price=_price(prices, "prompt", "input"),
        output_price=_price(prices, "completion", "output"),
        tools=_either("tools" in told if told else None, able("function_calling", "tools")),
        thinking=_either("reasoning" in told if told else None, able("reasoning", "thinking")),
        vision=_either("image" in inputs if inputs else None, able("vision", "image_input")),
    )


def _able(row: Mapping[str, Any]) -> Callable[..., bool | None]:
    """What `capabilities` says under one of several names: true, or an object with `supported`."""
    table = dict(_table(row, "capabilities"))
    if isinstance(row.get("thinking"), bool):
        table["thinking"] = row["thinking"]

    def able(*names: str) -> bool | None:
        for name in names:
            said = table.get(name)
            if isinstance(said, dict):
                said = cast("dict[str, Any]", said).get("supported")
            if isinstance(said, bool):
                return said
        return None

    return able


def _either(*said: bool | None) -> bool | None:
    return next((one for one in said if one is not None), None)


def _inputs(row: Mapping[str, Any]) -> tuple[str, ...]:
    return _words(_table(row, "architecture"), "input_modalities") or _words(
        row, "input_modalities"
    )


def _whole(names: tuple[str, ...], *tables: Mapping[str, Any]) -> int:
    """The first positive number under one of the names."""
    for table in tables:
        for name in names:
            value = table.get(name)
            if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**9:
                return value
    return 0


def _price(prices: Mapping[str, Any], per_token: str, per_million: str) -> int | None:
    """Micro-dollars per million tokens, from dollars per token or per million."""
    for name, factor in ((per_token, 1e12), (per_million, 1e6)):
        try:
            value = float(prices[name])
        except (KeyError, TypeError, ValueError):
            continue
        if 0 <= value * factor < 1e12:
            return round(value * factor)
    return None


def _table(row: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found: object = row.get(name)
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _words(row: Mapping[str, Any], name: str) -> tuple[str, ...]:
    found: object = row.get(name)
    if not isinstance(found, list):
        return ()
    return tuple(one for one in cast("list[object]", found) if isinstance(one, str))


def named(card: Card, provider: str) -> Card:
    """The card under the name that it is asked by here."""
    return replace(card, name=f"{provider}/{card.name}")


def _key(found: Found) -> str:
    """Another address may have other models."""
    return digest([found.provider.kind, found.provider.base_url])[:16]


def _read(path: Path) -> _Kept | None:
    try:
        if path.stat().st_size > _FILE:
            return None
        return decoded(path.read_bytes(), _Kept)
    except (OSError, NotJson):
        return None


def _write(path: Path, kept: _Kept) -> None:
    """Whole or not at all. What cannot be kept is asked again next time."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(fresh, "wb", opener=private.opener) as file:
            file.write(msgspec.json.encode(kept))
        fresh.replace(path)
    except OSError as error:
        _log.warning("the list of models could not be kept: %s", error)
