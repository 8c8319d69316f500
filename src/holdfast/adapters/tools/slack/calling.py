"""A method of Slack's Web API, called for a task by the one way out.

No tool ever holds a token: the request says which workspace it is for, and the gateway puts it in.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, cast
from urllib.parse import urlencode

import anyio
from msgspec import Struct
from msgspec.structs import replace

from holdfast.adapters.tools.beneath import Denied
from holdfast.adapters.tools.mcp.login.asking import place_of
from holdfast.adapters.tools.web.errand import header
from holdfast.core.error import HoldfastError, NotAllowed, Refused, Unavailable
from holdfast.core.foreign import NotJson, decoded
from holdfast.ports.egress import Allowed, Answer, Egress, Reach, Request
from holdfast.ports.tools import Job

from .meaning import IN_DOUBT, STALE, meaning
from .shelf import PLACE, Kept
from .workspaces import Workspaces

Json = Mapping[str, Any]
Sleep = Callable[[float], Awaitable[None]]

_SECONDS, _LARGEST = 30.0, 8 << 20
_PATIENCE = 60
_FORM = "application/x-www-form-urlencoded; charset=utf-8"
_WORD = re.compile(r"[a-z0-9_]{1,60}")
_NEVER_SENT = frozenset({"egress_unresolved", "egress_unreachable", "egress_tls"})


class InDoubt(Denied):
    """It may have been done, whatever became of the answer."""


class Errand(Struct, frozen=True, kw_only=True):
    """For whom something is asked, with which tool, and in which workspace."""

    job: Job
    tool: str
    alias: str
    kept: Kept


class Calls:
    """Asks Slack, for agents that one of the patterns names. `reach` says where a job may go."""

    def __init__(
        self,
        workspaces: Workspaces,
        egress: Egress,
        reach: Callable[[Job, str], Reach],
        agents: tuple[str, ...] = ("*",),
        sleep: Sleep = anyio.sleep,
    ) -> None:
        self._workspaces, self._egress, self._reach = workspaces, egress, reach
        self.agents, self._sleep = agents, sleep

    def errand(self, alias: str, job: Job, tool: str) -> Errand:
        """In the named workspace, or the only one. Raises `Denied`."""
        if not any(fnmatchcase(job.agent, pattern) for pattern in self.agents):
            raise Denied("not_allowed", f"{tool} is not for the agent {job.agent}")
        usable = self._workspaces.usable()
        if not alias and len(usable) == 1:
            alias = next(iter(usable))
        if (kept := usable.get(alias)) is None:
            known = ", ".join(sorted(usable)) or "none"
            say = f"there is no workspace {alias}" if alias else "say `alias`: there are several"
            raise Denied("slack_not_found", f"{say} (known: {known})")
        return Errand(job=job, tool=tool, alias=alias, kept=kept)

    async def ask(self, method: str, errand: Errand, **fields: str | int) -> Json:
        """What Slack says. Raises `Denied` with what to do, `InDoubt` where nobody knows.

        A rate limit is waited for once, and a token that was rotated is renewed once.
        """
        token = self._workspaces.usable().get(errand.alias, errand.kept).access
        told, wait = await self._once(method, errand, fields)
        if wait:
            if wait > _PATIENCE:
                text = f"Slack: ratelimited; ask again in {wait} s"
                raise Denied("slack_ratelimited", text)
            await self._sleep(wait)
            told, wait = await self._once(method, errand, fields)
        if word(told, "error") in STALE:
            try:
                await self._workspaces.renewed(errand.alias, token)
            except HoldfastError as problem:
                raise Denied(problem.code, f"{problem}; {problem.hint}") from None
            told, wait = await self._once(method, errand, fields)
        if wait:
            raise Denied("slack_ratelimited", f"Slack: ratelimited; ask again in {wait} s")
        return _good(told, errand)

    async def _once(
        self, method: str, errand: Errand, fields: Mapping[str, str | int]
    ) -> tuple[Json, int]:
        """What it says, or how many seconds it wants to be left alone."""
        answer = await self._sent(method, errand, fields)
        if answer.status == 429:
            after = header(answer, "retry-after").strip()
            return {}, max(1, int(after)) if after.isdecimal() and len(after) < 7 else 30
        told = _object(answer)
        if word(told, "error") == "ratelimited":
            return {}, 30
        if told.get("ok") is not True and not told.get("error"):
            what = f"Slack answered with status {answer.status}, and nothing to understand"
            raise InDoubt("slack_unclear", what)
        return told, 0

    async def _sent(self, method: str, errand: Errand, fields: Mapping[str, str | int]) -> Answer:
        api, near = self._workspaces.means.api, self._workspaces.means.near
        _, host, port = place_of(api)
        bearer = {"Authorization": f"Bearer $SECRET{{{PLACE}{errand.alias}}}"}
        way = Allowed(host=host, port=port, methods=("POST",), headers=bearer)
        usual = self._reach(errand.job, errand.tool)
        private = (*usual.private, host) if near else usual.private
        reach = replace(usual, allowed=(way, *usual.allowed), private=private)
        request = Request(
            url=f"{api}/{method}",
            method="POST",
            headers={"Content-Type": _FORM, "Accept": "application/json"},
            body=urlencode({key: str(value) for key, value in fields.items() if value}).encode(),
            seconds=_SECONDS,
            most=_LARGEST,
            hops=0,
        )
        try:
            return await self._egress.fetch(request, reach)
        except (NotAllowed, Refused) as error:
            raise Denied(error.code, f"{error}; {error.hint}".strip(" ;")) from error
        except Unavailable as error:
            kind = Denied if error.code in _NEVER_SENT else InDoubt
            raise kind(error.code, f"Slack cannot be asked: {error}") from error


def _good(told: Json, errand: Errand) -> Json:
    if told.get("ok") is True:
        return told
    said = word(told, "error")
    why = said if _WORD.fullmatch(said) else "odd_error"
    kind = InDoubt if why in IN_DOUBT else Denied
    raise kind(f"slack_{why}", meaning(why, told, errand.alias))


def _object(answer: Answer) -> Json:
    if answer.cut:
        raise InDoubt("slack_too_long", "Slack's answer is too long: ask for less")
    try:
        found: object = decoded(answer.body)
    except NotJson:
        return {}
    return cast("Json", found) if isinstance(found, dict) else {}


def rows(told: Json, *names: str) -> Sequence[Json]:
    """The objects in the list at the end of a path of names."""
    found: object = told
    for name in names:
        found = cast("Json", found).get(name) if isinstance(found, dict) else None
    listed = cast("list[object]", found) if isinstance(found, list) else []
    return [cast("Json", one) for one in listed if isinstance(one, dict)]


def part(told: Json, name: str) -> Json:
    """The object under a name."""
    found = told.get(name)
    return cast("Json", found) if isinstance(found, dict) else {}


def word(told: Json, name: str) -> str:
    """The text or number under a name."""
    found = told.get(name)
    return str(found) if isinstance(found, str | int | float) else ""
