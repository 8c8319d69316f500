"""Is this key good? One cheap request: the list of models, which costs nothing anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import anyio
import httpx2

from holdfast.core.error import Invalid, NotAllowed, Unavailable

from .expecting import Client
from .settings import Provider

_SECONDS = 15.0
_MOST_MODELS = 200
_LONGEST = 4_000_000


async def check(name: str, provider: Provider) -> tuple[str, ...]:
    """The models that the provider names; none if it answers but does not say.

    Raises `NotAllowed` for a key that it does not accept, `Invalid` for an address where nothing
    speaks its language, `Unavailable` if it cannot be asked. Never quotes key or answer.
    """
    url, headers = list_request(provider)
    loopback = {f"all://{host}": None for host in ("127.0.0.1", "localhost", "[::1]")}
    try:
        with anyio.fail_after(_SECONDS):
            async with Client(mounts=loopback, timeout=_SECONDS) as client:
                response = await client.get(url, headers=headers)
    except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError) as error:
        hint = "check the network and the address, or leave the check out with --no-check"
        what = f"{provider.host or name} cannot be reached: nothing was saved"
        raise Unavailable(what, code="not_checked", hint=hint) from error
    return _understood(name, provider, response)


def list_request(provider: Provider) -> tuple[str, Mapping[str, str]]:
    base, key = provider.base_url, provider.api_key
    match provider.kind:
        case "anthropic":
            return f"{base}/v1/models", {"x-api-key": key, "anthropic-version": "2023-06-01"}
        case "google":
            return f"{base}/v1beta/models", {"x-goog-api-key": key}
        case "ollama":
            return f"{base}/api/tags", {}
        case _:
            return f"{base}/models", {"authorization": f"Bearer {key}"} if key else {}


def _understood(name: str, provider: Provider, response: httpx2.Response) -> tuple[str, ...]:
    status, where = response.status_code, provider.host
    if status in {401, 403} or (status == 400 and provider.kind == "google"):
        hint = "look at the key again; the provider's own pages show which keys are valid"
        what = f"{where} did not accept the key: nothing was saved"
        raise NotAllowed(what, code="bad_key", hint=hint)
    if status == 429 or status >= 500:
        hint = "try again later, or leave the check out with --no-check"
        what = f"{where} has trouble (status {status}): nothing was saved"
        raise Unavailable(what, code="not_checked", hint=hint)
    if status >= 300:
        hint = "the address usually ends in /v1; --no-check leaves the check out"
        what = f"nothing that lists models answers at {url_of(provider)} (status {status})"
        raise Invalid(what, code="bad_address", hint=hint)
    found = _models(response)
    if found is None:
        what = f"what answers at {url_of(provider)} does not list models: {name} was not saved"
        raise Invalid(what, code="bad_address", hint="--no-check leaves the check out")
    return found


def url_of(provider: Provider) -> str:
    """The address without anything that could be a secret."""
    plain = httpx2.URL(provider.base_url).copy_with(query=None, fragment=None, userinfo=b"")
    return str(plain)


def _models(response: httpx2.Response) -> tuple[str, ...] | None:
    """The names in `data` or `models`; None if that is not what came."""
    try:
        told: object = response.json() if len(response.content) <= _LONGEST else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict):
        return None
    fields = cast("dict[str, object]", told)
    rows = fields.get("data", fields.get("models"))
    if not isinstance(rows, list):
        return None
    names: list[str] = []
    for row in cast("list[object]", rows)[:_MOST_MODELS]:
        if isinstance(row, dict):
            one = cast("dict[str, object]", row)
            name = one.get("id") or one.get("name")
            if isinstance(name, str) and name.isprintable():
                names.append(name.removeprefix("models/"))
    return tuple(names)
