"""The tool that searches the web: one engine after the other, until one answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Annotated

from anyio import to_thread
from msgspec import Meta, Struct
from msgspec.structs import replace

from holdfast.adapters.tools.beneath import Denied
from holdfast.adapters.tools.craft import Craft
from holdfast.core.error import NotAllowed, Refused, Unavailable
from holdfast.core.message import EffectClass, Failed, Outcome, Returned
from holdfast.ports.egress import Allowed, Answer
from holdfast.ports.tools import Job, Tool, Traits

from .engines import ENGINES, Engine, Query
from .errand import AGENT, Errands, host_of
from .found import Found, Unreadable
from .outside import cleaned, framed

_OK = 200
_REASONS = {401: "its key was refused", 403: "its key was refused", 429: "it was asked too often"}
_LONGEST_TITLE = 200
_LONGEST_SNIPPET = 600
_LONGEST_URL = 2_000

Secret = Callable[[str], Awaitable[str]]


class WebSearch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Search the web. Gives titles, addresses and snippets; web_fetch reads a page."""

    query: Annotated[str, Meta(description="What to look for.", min_length=1, max_length=1_000)]
    max_results: Annotated[int, Meta(description="How many results.", ge=1, le=20)] = 5


class EngineSettings(Struct, frozen=True, kw_only=True):
    """What is said otherwise of one engine. `key` is `$SECRET{name}`, or empty: then the variable
    `key_env` is looked up."""

    key: str = ""
    key_env: str = ""
    base_url: str = ""


class WebSettings(Struct, frozen=True, kw_only=True):
    """Which engines are asked, in which order (none: all); those without the key that they need
    are not.

    `env` is where variables are looked up.
    """

    engines: tuple[str, ...] = ()
    preferred: str = ""
    seconds: float = 15.0
    search: Mapping[str, EngineSettings] = {}
    env: Mapping[str, str] = {}


def search_tool(errands: Errands, settings: WebSettings, secret: Secret) -> Tool:
    search = _Search(errands, settings, secret)
    traits = Traits(effect=EffectClass.READS, target="query", source="web")
    return Craft("web_search", WebSearch, traits, search.do).vetted(
        lambda asked: "" if asked.query.strip() else "`query` is empty"
    )


class _Search:
    """Asks engines in order; what went wrong with each is told only when none is left."""

    def __init__(self, errands: Errands, settings: WebSettings, secret: Secret) -> None:
        self._errands, self._settings, self._secret = errands, settings, secret
        names = [name for name in settings.engines or ENGINES if name in ENGINES]
        self._order = sorted(names, key=lambda name: name != settings.preferred)

    async def do(self, asked: WebSearch, job: Job) -> Outcome:
        failures: list[str] = []
        for name in self._order:
            try:
                found = await self._ask(name, asked, job)
            except (Denied, Unreadable, NotAllowed, Unavailable, Refused) as failure:
                failures.append(f"{name}: {failure}")
                continue
            if found is not None:
                return Returned(text=_told(name, found[: asked.max_results], job))
        if failures:
            text = "no search engine answered:\n" + "\n".join(failures)
            return Failed(text=text, code="search_unavailable")
        hint = "a person can add a key or an address under [web.search] in the configuration"
        return Failed(text=f"no search engine is set up; {hint}", code="search_unconfigured")

    async def _ask(self, name: str, asked: WebSearch, job: Job) -> list[Found] | None:
        """What it found; None if it cannot be asked. Raises what says why it failed."""
        engine, said = ENGINES[name], self._settings.search.get(name, EngineSettings())
        base = (said.base_url or engine.base).rstrip("/")
        key = await self._key(engine, said)
        if not base or (engine.key_env and not key):
            return None
        words = " ".join(asked.query.split())
        request = engine.ask(Query(words=words, results=asked.max_results, base=base, key=key))
        request = replace(
            request,
            headers={"User-Agent": AGENT, **request.headers},
            seconds=self._settings.seconds,
        )
        answer = await self._errands.go(
            request, job, "web_search", _way(base), private=bool(said.base_url)
        )
        return await to_thread.run_sync(_read, engine, answer)

    async def _key(self, engine: Engine, said: EngineSettings) -> str:
        if said.key:
            return await self._secret(said.key.removeprefix("$SECRET{").removesuffix("}"))
        name = said.key_env or engine.key_env
        return self._settings.env.get(name, "") if name else ""


def _way(base: str) -> Allowed:
    host, port = host_of(base)
    return Allowed(host=host, port=port, methods=("GET", "POST"))


def _read(engine: Engine, answer: Answer) -> list[Found]:
    if answer.status != _OK:
        raise Unreadable(_REASONS.get(answer.status, f"it answered with status {answer.status}"))
    if answer.cut:
        raise Unreadable("its answer is too long")
    return [good for each in engine.read(answer.body) if (good := _fit(each))]


def _fit(found: Found) -> Found | None:
    """A result as it may be shown; None for one that leads nowhere."""
    url = "".join(cleaned(found.url)[0].split())
    if not url.startswith(("http://", "https://")) or len(url) > _LONGEST_URL:
        return None
    return Found(
        title=_short(found.title, _LONGEST_TITLE) or url,
        url=url,
        snippet=_short(found.snippet, _LONGEST_SNIPPET),
    )


def _short(text: str, most: int) -> str:
    line = " ".join(cleaned(text)[0].split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _told(name: str, found: Iterable[Found], job: Job) -> str:
    rows = [
        f"{number}. {each.title}\n   {each.url}" + (f"\n   {each.snippet}" if each.snippet else "")
        for number, each in enumerate(found, start=1)
    ]
    if not rows:
        return f"no results ({name})"
    return f"results: {len(rows)} ({name})\n" + framed("\n".join(rows), job.task)
