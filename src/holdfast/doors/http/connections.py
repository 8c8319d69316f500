"""Connecting providers over HTTP: secrets come in, and none goes out."""

from __future__ import annotations

from holdfast.core.error import Invalid
from holdfast.ports.connections import Connection, Forgotten, Invitation
from holdfast.runtime import providers

from . import answers as a
from . import bodies as b
from .route import Ask


async def listed(ask: Ask[b.NoQuery, b.Nothing]) -> a.ConnectionList:
    return a.ConnectionList(
        connections=tuple(providers.connections(ask.house)),
        offers=tuple(providers.offers(ask.house)),
    )


async def connect(ask: Ask[b.NoQuery, b.NewConnection]) -> Connection:
    name, told = ask.path("name"), ask.body
    if told.url:
        server = providers.Server(told.url, told.models, told.api_key)
        return await providers.use_server(ask.house, name, server, check=told.check, by=ask.by)
    if told.models:
        raise Invalid("models are named for a server of your own: give its url", code="no_url")
    return await providers.use_key(ask.house, name, told.api_key, check=told.check, by=ask.by)


async def invite(ask: Ask[b.NoQuery, b.Nothing]) -> Invitation:
    return await providers.invite(ask.house, ask.path("name"))


async def accept(ask: Ask[b.NoQuery, b.LoginAnswer]) -> a.LoginState:
    made = await providers.accept(ask.house, ask.path("attempt"), ask.body.answer, by=ask.by)
    return a.LoginState(connection=made)


async def disconnect(ask: Ask[b.NoQuery, b.Disconnect]) -> Forgotten:
    name, local_only = ask.path("name"), ask.body.local_only
    return await providers.disconnect(ask.house, name, local_only=local_only, by=ask.by)
