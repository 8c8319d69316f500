"""One tool of a server, as agents have it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any, cast

from msgspec import Struct

from holdfast.adapters.tools.beneath import Denied
from holdfast.adapters.tools.web.outside import cleaned
from holdfast.core.gate.labels import ADDRESSES, ALL
from holdfast.core.gate.plan import FEW
from holdfast.core.ids import TaskId
from holdfast.core.mcp import ServerSpec
from holdfast.core.message import Change, EffectClass, Failed, Outcome, Unknown
from holdfast.ports.blobs import Blobs
from holdfast.ports.model import ToolSpec
from holdfast.ports.tools import Job, Traits

from .lock import Agreed
from .results import error_text, outcome
from .rounds import answered
from .schemas import plain
from .sessions import Sessions
from .speech import mirrored
from .trouble import LoginNeeded, Odd, Said, Trouble

_ODD = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST_NAME = 64
_OTHER_HEADERS = -32_020

Told = Callable[[TaskId, str], None]
"""A word about a call that is under way, for whoever watches the task."""


class Means(Struct, frozen=True, kw_only=True):
    """What tools of servers work with."""

    sessions: Sessions
    blobs: Blobs
    progress: Told


class ServerTool:
    """A `Tool`. What it answers is marked as a stranger's word."""

    def __init__(self, name: str, spec: ServerSpec, agreed: Agreed, means: Means) -> None:
        self._server, self._agreed, self._means = spec, agreed, means
        offer = agreed.offer
        schema = plain(offer.schema)
        self._spec = ToolSpec(name=name, description=described(spec, agreed), schema=schema)
        # What it is only asked stays with a server that a person has agreed to, unless it is told
        # to ask elsewhere; a write may not.
        aims = (ADDRESSES,) if agreed.effect is EffectClass.READS else (ALL, *_choices(schema))
        self._traits = Traits(
            effect=agreed.effect, source=f"mcp:{spec.name}", agents=spec.agents, aims=aims
        )

    @property
    def spec(self) -> ToolSpec:
        return self._spec

    @property
    def traits(self) -> Traits:
        return self._traits

    def problem(self, arguments: Mapping[str, Any]) -> str:
        """Only what is plain: the server checks the rest, and its patterns are not run here."""
        schema = self._spec.schema
        names = [str(name) for name in schema["properties"]]
        required = cast("Sequence[str]", schema.get("required", ()))
        missing = [name for name in required if name not in arguments]
        if missing:
            return f"{self._spec.name}: {', '.join(missing)} is missing{_takes(names)}"
        if schema.get("additionalProperties", False) is False:
            for strange in set(arguments) - set(names):
                close = get_close_matches(str(strange), names, n=1)
                meant = f"; did you mean `{close[0]}`?" if close else ""
                return f"{self._spec.name}: it has no {strange}{meant}{_takes(names)}"
        return ""

    async def before(self, arguments: Mapping[str, Any], job: Job) -> Sequence[Change]:
        return ()

    async def run(self, arguments: Mapping[str, Any], job: Job) -> Outcome:
        if problem := self.problem(arguments):
            return Failed(text=problem, code="bad_arguments")
        if not any(fnmatchcase(job.agent, pattern) for pattern in self._server.agents):
            text = f"{self._spec.name} is not for the agent {job.agent}"
            return Failed(text=text, code="not_allowed")
        try:
            return await self._asked(arguments, job)
        except (Denied, LoginNeeded) as why:
            return not_done(self._server, why)
        except Said as said:
            return Failed(text=error_text(str(said), job.task), code=said.code)
        except Trouble as trouble:
            return self._cut_off(trouble)

    async def check(
        self, arguments: Mapping[str, Any], before: Sequence[Change], job: Job
    ) -> Outcome | None:
        return None

    async def _asked(self, arguments: Mapping[str, Any], job: Job) -> Outcome:
        spec = self._server

        def hear(text: str) -> None:
            self._means.progress(job.task, f"{self._spec.name}: {cleaned(text)[0]}")

        params = {"name": self._agreed.offer.name, "arguments": dict(arguments)}
        async with self._means.sessions.use(spec, job) as peer:
            seconds = patience(spec, job)
            headers = mirrored(self._agreed.offer.schema, arguments) if peer.mirrors else None
            try:
                answer = await answered(
                    peer, "tools/call", params, seconds=seconds, hear=hear, headers=headers
                )
            except Said as said:
                if said.number == _OTHER_HEADERS:
                    peer.news.changed.set()  # its tools are looked at again
                raise
            try:
                return await outcome(answer, self._means.blobs, job.task)
            except Odd as odd:
                return Failed(text=f"the server {spec.name}: {odd}", code=odd.code)

    def _cut_off(self, trouble: Trouble) -> Outcome:
        """What was heard by the server may have been done, whatever became of its answer."""
        text = f"the server {self._server.name}: {trouble}"
        if trouble.sent and self._agreed.effect is EffectClass.WRITES:
            return Unknown(reason=f"{text}; it may or may not have happened")
        return Failed(text=text, code=trouble.code)


def patience(spec: ServerSpec, job: Job) -> float:
    """How long a question may take: with a person there, they may be asked something too."""
    return spec.seconds + (0 if job.unattended else spec.ask_seconds)


def not_done(spec: ServerSpec, why: Denied | LoginNeeded) -> Failed:
    """Nothing was asked of the server; where a login is missing, programs can tell."""
    if why.code != LoginNeeded.code:
        return Failed(text=str(why), code=why.code)
    return Failed(text=f"MCP_AUTH_REQUIRED:server={spec.name}; reason={why}", code=why.code)


def _choices(schema: Mapping[str, Any]) -> Iterator[str]:
    """The arguments that take one of a few values."""
    for name, about in schema["properties"].items():
        if '"enum": [' in json.dumps(about):
            yield f"{FEW}{name}"


def described(spec: ServerSpec, agreed: Agreed) -> str:
    """The tool's own words, without what cannot be seen, and where they come from."""
    words = cleaned(agreed.offer.description)[0].strip() or agreed.offer.name
    return f"[server: {spec.description.strip() or spec.name}]\n\n{words}"


def called(
    spec: ServerSpec,
    remote: str,
    taken: frozenset[str] | set[str],
    foreign: tuple[str, ...] = (),
) -> str:
    """What agents call a tool: plain, short enough for every provider, and nobody else's name.

    `foreign` is how the names of other servers' tools begin: a server cannot call a tool so that
    rules about another one are about it.
    """
    name = _short(_ODD.sub("_", f"{prefix_of(spec)}{remote}"))
    if name not in taken and not name.startswith(foreign):
        return name
    return _short(_ODD.sub("_", f"mcp_{spec.name}_{remote}"))


def prefix_of(spec: ServerSpec) -> str:
    """How the names of its tools begin."""
    return _ODD.sub("_", f"{spec.name}_" if spec.prefix is None else spec.prefix)


def _short(name: str) -> str:
    if len(name) <= _LONGEST_NAME:
        return name
    mark = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: _LONGEST_NAME - 9]}_{mark}"


def _takes(names: Sequence[str]) -> str:
    return f" (it takes {json.dumps(names)[1:-1] or 'nothing'})"
