"""What a model call costs: by the configuration, else by the public price list; micro-dollars.

A dollar per million tokens is a micro-dollar per token. What nobody knows is None, never 0.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple, Protocol

from genai_prices.data_snapshot import DataSnapshot, get_snapshot
from genai_prices.types import ModelInfo, ModelPrice, TieredPrices
from genai_prices.types import Provider as Seller

from .settings import Price

_BY_KIND = {"openai": "openai", "anthropic": "anthropic", "google": "google"}
_HOUR = 3600
_AHEAD = 25
_SENT = ("input_", "cache_")
_TAKEN = ("output_",)
_NOT_SENT = ("audio", "video", "tool")
_NOT_TAKEN = ("audio", "video", "image")


class Counted(Protocol):
    """What a provider counted; what came from a cache, or went into one, is input too."""

    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int


class Sold(NamedTuple):
    """A model as it is sold somewhere; `price` is what the configuration says of it."""

    model: str
    kind: str
    base_url: str
    price: Price | None = None


def cost(usage: Counted, sold: Sold) -> int | None:
    """The price of what was used. None when nobody knows a price for this model there."""
    if sold.price is not None:
        return _by_hand(usage, sold.price)
    listed = _listed(_Edition(get_snapshot()), sold.model, sold.kind, sold.base_url)
    if listed is None:
        return None
    seller, model = listed
    now = datetime.fromtimestamp(time.time(), UTC)
    found = model.calc_price(usage, seller, genai_request_timestamp=now)
    return math.ceil(found.total_price * 1_000_000)


def saved(usage: Counted, sold: Sold) -> int:
    """How much more it would have cost if what came from a cache had been plain input."""
    if not usage.cache_read_tokens:
        return 0
    plain = _Plain(usage.input_tokens, usage.output_tokens, usage.cache_write_tokens)
    real, without = cost(usage, sold), cost(plain, sold)
    return 0 if real is None or without is None else max(0, without - real)


def most(tokens_in: int, tokens_out: int, sold: Sold) -> int | None:
    """The most that a call of this size can cost, whichever class its tokens are of."""
    if (price := sold.price) is not None:
        given = tokens_in * max(price.input, *_cached(price))
        return _whole(given + tokens_out * price.output + price.per_call * 1e6)
    hour = int(time.time() // _HOUR)
    rates = _rates(_Edition(get_snapshot()), sold.model, sold.kind, sold.base_url, hour)
    if rates is None:
        return None
    given = _dearest(rates.given, tokens_in) * tokens_in
    return math.ceil(given + _dearest(rates.taken, tokens_in) * tokens_out + rates.call)


@dataclass
class _Plain:
    """A usage as if nothing had been read from a cache."""

    input_tokens: int
    output_tokens: int
    cache_write_tokens: int
    cache_read_tokens: int = 0


def _by_hand(usage: Counted, price: Price) -> int:
    given, taken = usage.input_tokens or 0, usage.output_tokens or 0
    read, written = usage.cache_read_tokens or 0, usage.cache_write_tokens or 0
    of_reading, of_writing = _cached(price)
    plain = max(0, given - read - written)
    sums = plain * price.input + read * of_reading + written * of_writing + taken * price.output
    return _whole(sums + price.per_call * 1e6)


def _whole(sums: float) -> int:
    """Rounded up, but not for the last bit of a fraction that is not binary."""
    return math.ceil(round(sums, 6))


def _cached(price: Price) -> tuple[float, float]:
    """What reading from a cache and writing to it cost; left out: no discount, a quarter more."""
    read = price.input if price.cache_read is None else price.cache_read
    return read, 1.25 * price.input if price.cache_write is None else price.cache_write


class _Rates(NamedTuple):
    """Every price that may apply: per token sent, per token taken, and per call."""

    given: tuple[Decimal | TieredPrices, ...]
    taken: tuple[Decimal | TieredPrices, ...]
    call: Decimal


class _Edition:
    """A price list as it was at one time; another one is never mistaken for it."""

    __slots__ = ("snapshot",)

    def __init__(self, snapshot: DataSnapshot) -> None:
        self.snapshot = snapshot

    def __hash__(self) -> int:
        return id(self.snapshot)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Edition) and other.snapshot is self.snapshot


@lru_cache(maxsize=512)
def _listed(
    edition: _Edition, model: str, kind: str, base_url: str
) -> tuple[Seller, ModelInfo] | None:
    """Who sells it there, and what as. None, if the list does not know."""
    provider = _BY_KIND.get(kind)
    where = None if provider else base_url
    try:
        return edition.snapshot.find_provider_model(model, None, provider, where)
    except LookupError:
        return None


@lru_cache(maxsize=512)
def _rates(edition: _Edition, model: str, kind: str, base_url: str, hour: int) -> _Rates | None:
    """All that the list has for this model today: the price may change during the call."""
    listed = _listed(edition, model, kind, base_url)
    if listed is None:
        return None
    _, found = listed
    begin = datetime.fromtimestamp(hour * _HOUR, UTC)
    known = [found.get_prices(begin + timedelta(hours=later)) for later in range(_AHEAD)]
    given, taken, call = list[Decimal | TieredPrices](), list[Decimal | TieredPrices](), Decimal(0)
    for price in {id(price): price for price in known}.values():
        given += _named(price, _SENT, _NOT_SENT)
        taken += _named(price, _TAKEN, _NOT_TAKEN)
        for value in _named(price, ("requests_kcount",), ()):
            call = max(call, _dearest((value,), 1 << 40) * 1000)
    return _Rates(tuple(given), tuple(taken), call)


def _named(
    price: ModelPrice, starts: tuple[str, ...], without: tuple[str, ...]
) -> Iterator[Decimal | TieredPrices]:
    for name, value in vars(price).items():
        unit = name.endswith(("_mtok", "_kcount"))
        wanted = name.startswith(starts) and unit and not any(part in name for part in without)
        if wanted and isinstance(value, Decimal | TieredPrices):
            yield value


def _dearest(values: tuple[Decimal | TieredPrices, ...], tokens_in: int) -> Decimal:
    """The highest price that a call with at most this much input may have to pay."""
    found = [Decimal(0)]
    for value in values:
        if isinstance(value, TieredPrices):
            found += [value.base, *(t.price for t in value.tiers if tokens_in > t.start)]
        else:
            found.append(value)
    return max(found)
