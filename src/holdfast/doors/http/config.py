"""The routes about the configuration: shown without secrets, changed on top of what was seen."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Protocol

import anyio.to_thread
from msgspec import Struct
from msgspec.structs import replace
from pydantic import Field
from starlette.responses import Response

from holdfast.core.audit.fact import Fact
from holdfast.core.error import Conflict, Refused

from .bodies import Body, NoQuery, Nothing
from .route import Ask, Entry, json_answer

_PATH = "/api/v1/config"


class Stale(Conflict):
    """Somebody else changed it first."""

    code, http_status = "stale", 412


class Unconditional(Refused):
    """It says not what it is a change of."""

    code, http_status = "no_if_match", 428


class Setting(Struct, frozen=True, kw_only=True):
    """One key, with its value (`***`: a secret) and where it was set."""

    key: str
    value: Any
    source: str


class Settings(Struct, frozen=True, kw_only=True):
    """The configuration. `tag` is the ETag of the file, `fingerprint` stands for all that it says,
    `policy` for the rules in force."""

    tag: str
    path: str
    fingerprint: str
    settings: tuple[Setting, ...]
    warnings: tuple[str, ...]
    policy: str = ""


class File(Protocol):
    """The configuration's file. Both block; both may raise `Invalid` and `Unavailable`."""

    def read(self) -> Settings: ...

    def change(self, changes: Mapping[str, Any], tag: str, *, only_try: bool = False) -> Settings:
        """What is then in force; with `only_try` it is not written. Raises `Stale` unless the file
        is what `tag` stands for."""
        ...


class ToChange(Body):
    """Keys as `section.key`, with their new values; null takes one out. `***` keeps a secret."""

    set: Annotated[dict[Annotated[str, Field(max_length=200)], Any], Field(max_length=200)] = Field(
        min_length=1, description="What is to be said in the file."
    )
    dry_run: bool = Field(default=False, description="Only say whether it could be, and how.")


def _file(ask: Ask[Any, Any]) -> File:
    found = ask.door.facts.settings
    if found is None:
        raise Refused("this daemon has no configuration file", code="no_config")
    return found


async def config_show(ask: Ask[NoQuery, Nothing]) -> Response:
    return _told(ask, await anyio.to_thread.run_sync(_file(ask).read))


async def config_change(ask: Ask[NoQuery, ToChange]) -> Response:
    given = ask.request.headers.get("if-match", "")
    if not given:
        hint = "send `If-Match` with the ETag of what you have read"
        raise Unconditional("of what is this a change?", hint=hint)
    tag, changes, house = given.strip().removeprefix("W/").strip('"'), ask.body.set, ask.house
    change = partial(_file(ask).change, changes, tag, only_try=ask.body.dry_run)
    after = await anyio.to_thread.run_sync(change)
    if ask.body.dry_run:
        return _told(ask, after)
    told = Fact(
        kind="config.changed",
        at=house.clock.now(),
        by=ask.by,
        subject=" ".join(sorted(changes))[:500],
        before=tag,
        after=after.tag,
    )
    await house.audit.append(told)
    return _told(ask, after)


def _told(ask: Ask[Any, Any], found: Settings) -> Response:
    shown = replace(found, policy=ask.house.rules.version)
    return json_answer(shown, 200, {"ETag": f'"{found.tag}"'})


CONFIG_ROUTES: tuple[Entry, ...] = (
    Entry("GET", _PATH, config_show, "The configuration, without its secrets.", Settings),
    Entry(
        "PATCH",
        _PATH,
        config_change,
        "Change keys of the configuration's file, if it is still the one of `If-Match`.",
        Settings,
        body=ToChange,
        errors=(409, 412, 428, 503),
    ),
)
