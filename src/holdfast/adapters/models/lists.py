"""Asks providers over HTTP which models they have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import httpx2

from .checking import list_request
from .settings import LISTS_NOTHING, Provider

_LONGEST = 8 << 20


async def fetch(provider: Provider) -> tuple[Mapping[str, Any], ...]:
    """One object per model, as the provider tells it; none where it cannot be asked."""
    if provider.kind in LISTS_NOTHING or not provider.base_url:
        return ()
    url, headers = list_request(provider)
    if provider.kind in {"anthropic", "google"}:
        url += "?limit=1000" if provider.kind == "anthropic" else "?pageSize=1000"
    loopback = {f"all://{host}": None for host in ("127.0.0.1", "localhost", "[::1]")}
    try:
        async with httpx2.AsyncClient(mounts=loopback, timeout=httpx2.Timeout(10.0)) as client:
            response = await client.get(url, headers={**headers, **provider.headers})
            response.raise_for_status()
            told: object = response.json() if len(response.content) <= _LONGEST else None
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError):
        return ()
    rows: object = told
    if isinstance(told, dict):
        fields = cast("dict[str, object]", told)
        rows = fields.get("data", fields.get("models"))
    if not isinstance(rows, list):
        return ()
    found = cast("list[object]", rows)
    return tuple(cast("dict[str, Any]", row) for row in found if isinstance(row, dict))
