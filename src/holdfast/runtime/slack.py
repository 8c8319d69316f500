"""Slack workspaces that a person connects: log in, look, log out."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from .connected import Workspace
from .house import House

_log = logging.getLogger("holdfast.slack")


async def workspaces(house: House) -> Sequence[Workspace]:
    """How we are logged in to each, by alias."""
    return await house.workspaces.all()


async def log_in(house: House, alias: str, told: Mapping[str, Any], *, by: str) -> Workspace:
    """Begin a login that a person finishes in a browser."""
    begun = await house.workspaces.begin(alias, told)
    _log.info("a login to the Slack workspace %s was begun by %s", alias, by)
    return begun


async def logged_in(house: House, attempt: str, answer: str, *, by: str) -> Workspace:
    """Finish a login with the address that the browser ended at."""
    made = await house.workspaces.finish(attempt, answer)
    _log.info("%s is logged in to the Slack workspace %s", by, made.alias)
    return made


async def log_out(house: House, alias: str, *, local_only: bool, by: str) -> bool:
    """Forget a workspace; whether Slack has taken the token back."""
    revoked = await house.workspaces.forget(alias, local_only=local_only)
    _log.info("the Slack workspace %s was forgotten by %s", alias, by)
    return revoked
