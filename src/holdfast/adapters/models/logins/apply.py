"""Puts a login's token on requests: fresh, only to its own provider, and once more after a 401."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import httpx2

from holdfast.adapters.models.expecting import beside
from holdfast.ports.model import ModelFailure

from .login import Login
from .token import Token


class LoginAuth(httpx2.Auth):
    """For a client that asks one provider with one login."""

    def __init__(self, login: Login, base_url: str) -> None:
        self._login, self._own = login, httpx2.URL(base_url)

    async def async_auth_flow(
        self, request: httpx2.Request
    ) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        if not self._is_own(request.url):
            yield request
            return
        await request.aread()
        with beside():
            token = await self._login.token()
        self._put(request, token)
        response = yield request
        if response.status_code != 401:
            return
        try:
            with beside():
                fresh = await self._login.token(rejected=token.access)
        except ModelFailure:
            return  # the 401 is the answer, and says the same
        await response.aread()
        self._put(request, fresh)
        yield request

    def _put(self, request: httpx2.Request, token: Token) -> None:
        for name, value in self._login.headers(token).items():
            if name == "anthropic-beta" and (there := request.headers.get(name)):
                value = f"{there},{value}"  # noqa: PLW2901 - what the library asks for stays
            request.headers[name] = value
        request.headers.pop("x-api-key", None)

    def _is_own(self, url: httpx2.URL) -> bool:
        """Never send a token elsewhere, whatever is redirected or configured."""
        own = self._own
        return (url.scheme, url.host, url.port) == (own.scheme, own.host, own.port)
