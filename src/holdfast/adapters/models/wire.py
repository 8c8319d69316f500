"""HTTP beside the model calls: the shared client, what local servers offer, what Ollama can do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast
from urllib.request import getproxies

import anyio
import httpx2

from .discover import Found
from .expecting import EXPECTED, Client
from .settings import Probe, Provider, Timeouts
from .swift import Swift

# How much goes on at once is for the provider's lane to say; pools that hold less would only hide
# the wait, and where fewer connections are kept than are in use, new ones are opened all the time.
_POOL = httpx2.Limits(max_connections=None, max_keepalive_connections=16)
_NO_POOL = httpx2.Limits(max_connections=8, max_keepalive_connections=0)
_LONGEST_LIST = 4_000_000


def new_client(
    timeouts: Timeouts, *, pool: bool = True, auth: httpx2.Auth | None = None
) -> httpx2.AsyncClient:
    """The client that all providers share; without a `pool`, every connection is a new one.

    Loopback never goes through a proxy. `auth` is put on every request.
    """
    wanted = {
        "connect": timeouts.connect,
        "pool": timeouts.connect,
        "write": timeouts.idle,
        "read": max(timeouts.first, timeouts.idle),
    }

    async def set_timeouts(request: httpx2.Request) -> None:
        """The libraries set timeouts of their own on every request; ours count."""
        expected = EXPECTED.get()
        silence = {"read": expected.silence} if expected else {}
        request.extensions = {**request.extensions, "timeout": {**wanted, **silence}}

    trust = httpx2.create_ssl_context()
    swift = Swift(trust, httpx2.AsyncHTTPTransport(verify=trust, limits=_POOL)) if pool else None
    direct = [f"all://{host}" for host in ("127.0.0.1", "localhost", "[::1]")]
    if "all" not in getproxies():  # else that proxy is for what no other one is for
        direct.append("all://")
    return Client(
        auth=auth,
        verify=trust,
        timeout=httpx2.Timeout(**wanted),
        limits=_POOL if pool else _NO_POOL,
        # What is for everybody ("all://") stands behind the proxies that the environment names.
        mounts=dict.fromkeys(direct, swift),
        event_hooks={"request": [set_timeouts]},
    )


async def look_around(probes: tuple[Probe, ...], seconds: float) -> tuple[Found, ...]:
    """The servers that answer on this machine within `seconds`, with their models."""
    found: dict[int, Found] = {}

    async def look(index: int, probe: Probe) -> None:
        provider = Provider(kind=probe.kind, base_url=probe.base_url)
        models = await models_of(provider, client, seconds)
        if models is not None:
            there = Provider(kind=probe.kind, base_url=probe.base_url, models=models)
            found[index] = Found(name=probe.name, source="local", provider=there)

    async with Client(trust_env=False) as client, anyio.create_task_group() as group:
        for index, probe in enumerate(probes):
            group.start_soon(look, index, probe)
    return tuple(found[index] for index in sorted(found))


async def models_of(
    provider: Provider, client: httpx2.AsyncClient, seconds: float
) -> tuple[str, ...] | None:
    """The models that a server names; None if nothing there answers as one."""
    ollama = provider.kind == "ollama"
    url = f"{provider.base_url}/api/tags" if ollama else f"{provider.base_url}/models"
    key = {"authorization": f"Bearer {provider.api_key}"} if provider.api_key else {}
    with anyio.move_on_after(seconds):
        try:
            response = await client.get(url, headers=key)
            return _names(_object(response), "models" if ollama else "data")
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, RecursionError):
            return None
    return None


async def ollama_has_tools(
    provider: Provider, model: str, client: httpx2.AsyncClient, seconds: float = 3.0
) -> bool:
    """Whether Ollama says that the model can call tools; False when it does not say."""
    with anyio.move_on_after(seconds):
        try:
            response = await client.post(f"{provider.base_url}/api/show", json={"model": model})
            capabilities = _object(response).get("capabilities")
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, RecursionError):
            return False
        return isinstance(capabilities, list) and "tools" in cast("list[object]", capabilities)
    return False


def _object(response: httpx2.Response) -> Mapping[str, Any]:
    response.raise_for_status()
    if len(response.content) > _LONGEST_LIST:
        raise ValueError("the answer is too long")
    value: object = response.json()
    if not isinstance(value, dict):
        raise ValueError("the answer is not an object")  # noqa: TRY004 - it is input that is wrong, not a call
    return cast("dict[str, Any]", value)


def _names(answer: Mapping[str, Any], key: str) -> tuple[str, ...]:
    items: object = answer.get(key)
    if not isinstance(items, list):
        raise ValueError(f"the answer has no list {key!r}")  # noqa: TRY004 - as above
    names: list[str] = []
    for item in cast("list[object]", items):
        if isinstance(item, dict):
            fields = cast("dict[str, object]", item)
            name = fields.get("id") or fields.get("name")
            if isinstance(name, str):
                names.append(name)
    return tuple(names)
