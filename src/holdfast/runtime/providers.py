"""Who answers: connect a provider, disconnect it, list what there is. Secrets only go in."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

from holdfast.core.audit.fact import Fact
from holdfast.ports.connections import Connection, Forgotten, Invitation, Offer

from .house import House

_log = logging.getLogger("holdfast.providers")


class Server(NamedTuple):
    """A server of one's own: where it is, what it has, and its key."""

    url: str
    models: Sequence[str]
    key: str


def connections(house: House) -> Sequence[Connection]:
    """What is connected, the preferred first."""
    return house.connections.all()


def offers(house: House) -> Sequence[Offer]:
    """What could be connected besides."""
    return house.connections.offers()


async def use_key(house: House, name: str, key: str, *, check: bool, by: str) -> Connection:
    """Keep the key of a provider; it counts at once."""
    await _changing(house, name, "key", by)
    made = await house.connections.use_key(name, key, check=check)
    _log.info("a key of %s was saved by %s", name, by)
    return made


async def use_server(
    house: House, name: str, server: Server, *, check: bool, by: str
) -> Connection:
    """Add a server that speaks as OpenAI does; it counts at once."""
    url, models, key = server
    await _changing(house, name, "server", by)
    made = await house.connections.use_server(name, url, models, key, check=check)
    _log.info("the server %s at %s was added", name, made.host)
    return made


async def invite(house: House, name: str) -> Invitation:
    """Begin a login that a person finishes elsewhere."""
    return await house.connections.invite(name)


async def accept(house: House, attempt: str, answer: str = "", *, by: str) -> Connection | None:
    """The connection, once the login is finished."""
    made = await house.connections.accept(attempt, answer)
    if made is not None:
        await _changing(house, made.name, "login", by)
        _log.info("logged in to %s", made.name)
    return made


async def disconnect(house: House, name: str, *, local_only: bool, by: str) -> Forgotten:
    """Forget key, login and server of a provider."""
    await _changing(house, name, "disconnect", by)
    gone = await house.connections.forget(name, local_only=local_only)
    _log.info("%s was disconnected by %s", name, by)
    return gone


async def _changing(house: House, name: str, what: str, by: str) -> None:
    """Whose doing it is, before it is done. Never a key, nor where a server is."""
    fact = Fact(
        kind="vault.changed", at=house.clock.now(), secret=f"provider/{name}", subject=what, by=by
    )
    await house.audit.append(fact)
