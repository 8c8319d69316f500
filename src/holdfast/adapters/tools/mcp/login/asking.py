"""Requests to those who issue logins: by the one way out, bounded, and never quoted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlencode, urlsplit

import msgspec
from msgspec.structs import replace

from holdfast.adapters.tools.mcp.trouble import Trouble
from holdfast.core.error import HoldfastError
from holdfast.core.foreign import NotJson, decoded
from holdfast.core.reach import Allowed, Reach
from holdfast.ports.egress import Answer, Egress, Request

_SECONDS, _LARGEST, _HOPS = 20.0, 1 << 20, 3
_CODE = re.compile(r"[a-zA-Z0-9_.-]{1,60}")
_FORM = "application/x-www-form-urlencoded"

_KNOCK = b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}'

Json = Mapping[str, Any]


class NoLogin(Trouble):
    """The login cannot be done as things are: `code` says what a person can do about it."""

    code = "mcp_login_failed"


class Rejected(NoLogin):
    """The issuer says no, with a word of its own."""

    code = "mcp_login_refused"

    def __init__(self, word: str) -> None:
        super().__init__(f"the issuer of its logins says no ({word})")
        self.word = word


class Asking:
    """Asks hosts that a server named. `near`: private places are all right, as the server is one.

    Nothing is sent in the clear but to such a place, and nothing is followed anywhere but by GET.
    """

    def __init__(self, egress: Egress, reach: Reach, *, near: bool) -> None:
        self._egress, self._reach, self._near = egress, reach, near

    async def found(self, url: str, headers: Mapping[str, str] | None = None) -> Json | None:
        """What is there; None if nothing is. Raises `NoLogin`."""
        told = {"Accept": "application/json", **(headers or {})}
        answer = await self._asked(Request(url=url, headers=told, hops=_HOPS))
        if 400 <= answer.status < 500 or answer.status // 100 == 3:
            return None
        if answer.status != 200:
            raise NoLogin(f"{_host(url)} answers with status {answer.status}")
        return _object(answer)

    async def knock(self, url: str) -> Answer:
        """What a server of tools says to somebody whom it does not know."""
        headers = {"Accept": "application/json, text/event-stream"}
        headers["Content-Type"] = "application/json"
        return await self._asked(
            Request(url=url, method="POST", headers=headers, body=_KNOCK, hops=0)
        )

    async def form(
        self, url: str, fields: Mapping[str, str], headers: Mapping[str, str] | None = None
    ) -> Json:
        """Raises `Rejected` with the word that the issuer gives for it, `NoLogin`."""
        told = {"Accept": "application/json", "Content-Type": _FORM, **(headers or {})}
        return await self._posted(url, urlencode(dict(fields)).encode(), told)

    async def json(self, url: str, fields: Json) -> Json:
        told = {"Accept": "application/json", "Content-Type": "application/json"}
        return await self._posted(url, msgspec.json.encode(fields), told)

    async def _posted(self, url: str, body: bytes, headers: Mapping[str, str]) -> Json:
        request = Request(url=url, method="POST", headers=headers, body=body, hops=0)
        answer = await self._asked(request)
        if answer.status >= 500 or answer.status == 429:
            raise NoLogin(f"{_host(url)} answers with status {answer.status}")
        fields = _object(answer) or {}
        word = fields.get("error")
        if word or not 200 <= answer.status < 300:
            said = word if isinstance(word, str) and _CODE.fullmatch(word) else ""
            raise Rejected(said or f"status {answer.status}")
        return fields

    async def _asked(self, request: Request) -> Answer:
        allowed = self._allowed(request.url)
        private = (allowed.host,) if self._near else ()
        reach = replace(self._reach, allowed=(allowed,), web=False, private=private)
        try:
            return await self._egress.fetch(
                replace(request, seconds=_SECONDS, most=_LARGEST), reach
            )
        except HoldfastError as error:
            raise NoLogin(f"{_host(request.url)} cannot be asked: {error}") from None

    def _allowed(self, url: str) -> Allowed:
        scheme, host, port = place_of(url)
        if scheme != "https" and not self._near:
            raise NoLogin(f"{host} would be spoken with in the clear (it is no https address)")
        return Allowed(host=host, port=port)


def place_of(url: str) -> tuple[str, str, int]:
    """Scheme, host and port. Raises `NoLogin`."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    if parts.scheme not in {"http", "https"} or not host or "@" in parts.netloc:
        raise NoLogin(f"{url[:200]!r} is no address")
    return parts.scheme, host, port or (443 if parts.scheme == "https" else 80)


def text(fields: Json, name: str) -> str:
    found = fields.get(name)
    return found if isinstance(found, str) and len(found) <= 8_000 else ""


def texts(fields: Json, name: str) -> tuple[str, ...]:
    found = fields.get(name)
    listed = cast("list[object]", found) if isinstance(found, list) else []
    return tuple(one for one in listed[:200] if isinstance(one, str) and len(one) <= 500)


def _object(answer: Answer) -> Json | None:
    if answer.cut:
        return None
    try:
        found: object = decoded(answer.body)
    except NotJson:
        return None
    return cast("Json", found) if isinstance(found, dict) else None


def _host(url: str) -> str:
    return urlsplit(url).hostname or "it"
