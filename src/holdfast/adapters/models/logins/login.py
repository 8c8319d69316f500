"""One login in use: its token, refreshed once for all who ask, here and in other processes."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread

from holdfast.adapters.models.loading import load_aside
from holdfast.core.error import HoldfastError
from holdfast.ports.model import ModelFailure

from .shelves import Shelf
from .token import EARLY, Token
from .vendors import Vendor

_log = logging.getLogger("holdfast.logins")
_PATIENCE = 60.0
_PAUSE = 0.05


class Login:
    """Gives the token that counts now. `lock` names the lock that processes share."""

    def __init__(
        self,
        vendor: Vendor,
        shelf: Shelf,
        lock: Path,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.vendor, self._shelf = vendor, shelf
        self._lock, self._now = lock, now
        self._turn = anyio.Lock()
        self._unsaved: Token | None = None

    async def token(self, *, rejected: str = "", early: float = EARLY) -> Token:
        """A token that holds for `early` seconds more, and is not the one that was `rejected`.

        A new one is on disk before anybody gets it. Raises `ModelFailure`: `auth` when only a
        person can help, `connection` when the issuer cannot be asked now.
        """
        token = self._load()
        if self._good(token, rejected, early):
            return token
        async with self._turn:
            lock = await self._alone()
            try:
                token = self._load()
                if not self._good(token, rejected, early):
                    token = await self._renewed(token, rejected)
            finally:
                os.close(lock)
        return token

    def headers(self, token: Token) -> Mapping[str, str]:
        """What a request to the provider carries."""
        told = {"authorization": f"Bearer {token.access}"}
        match self.vendor.kind:
            case "codex":
                told |= {"openai-beta": "responses=experimental", "originator": "holdfast"}
                if token.account:
                    told["chatgpt-account-id"] = token.account
            case "anthropic":
                told["anthropic-beta"] = "oauth-2025-04-20,prompt-caching-2024-07-31"
            case _:
                pass
        return told

    def _good(self, token: Token, rejected: str, early: float) -> bool:
        return token.access != rejected and token.fresh(self._now(), early)

    def _load(self) -> Token:
        if self._unsaved is not None:
            return self._unsaved_saved(self._unsaved)
        try:
            token = self._shelf.load()
        except HoldfastError as problem:
            raise self.failure(str(problem)) from problem
        if token is None:
            raise self.failure(f"nobody is logged in to {self.vendor.title}")
        return token

    async def _renewed(self, old: Token, rejected: str) -> Token:
        """A new one; where there is none to be had, the old one while it holds."""
        found: list[Token] = []
        try:
            # Once the issuer has answered the old token is void: nobody may stop us before the
            # new one is on disk.
            with anyio.CancelScope(shield=True):
                found.append(await self._refreshed(old))
        except ModelFailure as failure:
            if not self._good(old, rejected, 0.0):
                raise
            _log.warning("%s", failure)
        return found[0] if found else old

    async def _refreshed(self, old: Token) -> Token:
        vendor = self.vendor
        client_id = vendor.client_id or old.client_id
        if not old.refresh:
            raise self.failure(f"the login to {vendor.title} has expired")
        if not client_id and not vendor.exchange_url:
            raise self.failure(f"the login to {vendor.title} has expired, and no client id is set")
        grants: Any = await load_aside("logins.grants")
        try:
            token: Token = await grants.refreshed(vendor, old, client_id, self._now())
        except grants.Rejected as error:
            raise self.failure(f"{vendor.title} does not accept the login any more") from error
        except grants.Unreachable as error:
            what = f"The token of {vendor.title} could not be refreshed: {error}."
            raise ModelFailure("connection", what, retryable=True, paid=False) from error
        self._unsaved = token
        return await to_thread.run_sync(self._unsaved_saved, token)

    def _unsaved_saved(self, token: Token) -> Token:
        """Save it before it is used; what cannot be saved is kept in memory and tried again."""
        try:
            self._shelf.save(token)
        except HoldfastError as problem:
            what = f"The new token of {self.vendor.title} could not be saved: {problem}"
            raise ModelFailure("connection", what, retryable=True, paid=False) from problem
        self._unsaved = None
        return token

    async def _alone(self) -> int:
        """Take the lock that other processes respect, without blocking the loop; close it after."""
        try:
            self._lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(self._lock, flags, 0o600)
        except OSError as error:
            what = f"The lock {self._lock} cannot be used: {error.strerror}."
            raise ModelFailure("connection", what, retryable=True, paid=False) from error
        held = False
        try:
            with anyio.move_on_after(_PATIENCE):
                while not (held := _taken(descriptor)):  # noqa: ASYNC110 - another process's lock
                    await anyio.sleep(_PAUSE)
        finally:
            if not held:
                os.close(descriptor)
        if not held:
            what = f"Somebody else has been refreshing the login for {_PATIENCE:g} s."
            raise ModelFailure("timeout", what, retryable=True, paid=False)
        return descriptor

    def failure(self, what: str) -> ModelFailure:
        """What only a person can mend, and how."""
        vendor = self.vendor
        how = f"Log in again: holdfast connect {vendor.name}"
        if vendor.program and self._shelf.place != "login":
            how = f"Log in again with its own program: {vendor.program}"
        said = what[:1].upper() + what[1:]
        return ModelFailure("auth", f"{said}. {how}", retryable=False, paid=False)


async def keep_fresh(logins: Callable[[], tuple[Login, ...]], every: float, early: float) -> None:
    """Refresh what ends within `early` seconds, now and then: a login that rests must not end."""
    while True:
        for login in logins():
            try:
                await login.token(early=early)
            except ModelFailure as failure:
                _log.warning("%s", failure)
        await anyio.sleep(every)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
