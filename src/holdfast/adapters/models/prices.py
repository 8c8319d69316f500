"""What a model call costs, from the public price list: micro-dollars, or None where unknown."""

from __future__ import annotations

import math

from genai_prices import calc_price
from genai_prices.types import AbstractUsage
from genai_prices.types import Usage as PricedUsage

_BY_KIND = {"openai": "openai", "anthropic": "anthropic", "google": "google"}


def cost(usage: AbstractUsage, model: str, *, kind: str, base_url: str) -> int | None:
    """The price of what was used. None when the list knows no price for this model there."""
    try:
        if provider := _BY_KIND.get(kind):
            price = calc_price(usage, model, provider_id=provider)
        else:
            price = calc_price(usage, model, provider_api_url=base_url)
    except LookupError:
        return None
    return math.ceil(price.total_price * 1_000_000)


def most(tokens_in: int, tokens_out: int, model: str, *, kind: str, base_url: str) -> int | None:
    """The most that a call of this size can cost: as if all input were also written to a cache."""
    plain = PricedUsage(input_tokens=tokens_in, output_tokens=tokens_out)
    cached = PricedUsage(
        input_tokens=tokens_in, cache_write_tokens=tokens_in, output_tokens=tokens_out
    )
    costs = [cost(usage, model, kind=kind, base_url=base_url) for usage in (plain, cached)]
    known = [one for one in costs if one is not None]
    return max(known) if known else None
