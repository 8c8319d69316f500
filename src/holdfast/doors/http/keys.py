"""The routes about keys and sessions: who may come, and as whom one came."""

from __future__ import annotations

import math
from typing import Annotated, Any

from msgspec import Struct
from pydantic import Field
from starlette.responses import Response

from holdfast.core.ids import Instant
from holdfast.runtime import keys
from holdfast.runtime.keyring import Key
from holdfast.runtime.scopes import SCOPES

from .bodies import Body, Name, NoQuery, Nothing, Patterns
from .cookies import set_cookie
from .errors import Unauthenticated
from .route import Ask, Entry, json_answer

_KEY = "/api/v1/keys/{name}"


class ToMake(Body):
    """A key that is to be made."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    scopes: Annotated[tuple[Name, ...], Field(max_length=50)] = Field(
        strict=False, description="What it is for; GET /api/v1/keys lists what there is."
    )
    agents: Patterns = Field(default=("*",), strict=False, description="For which: patterns.")
    per_minute: int = Field(default=0, ge=0, le=1_000_000, description="Requests; 0: no limit.")
    burst: int = Field(default=10, ge=1, le=100_000, description="Requests that may come at once.")
    days: float = Field(default=0, ge=0, le=36_500, description="How long; 0: until revoked.")


class KeyRow(Struct, frozen=True, kw_only=True):
    """A key: never its text. `ident` is the part of it that may be seen."""

    name: str
    ident: str
    scopes: tuple[str, ...]
    agents: tuple[str, ...]
    per_minute: int
    burst: int
    made_at: Instant
    made_by: str
    expires_at: Instant
    revoked_at: Instant
    state: str


class NewKey(KeyRow, frozen=True, kw_only=True):
    """A key that was made; `key` is its text, shown this once."""

    key: str


class KeyList(Struct, frozen=True, kw_only=True):
    """All keys, and the scopes that there are."""

    keys: tuple[KeyRow, ...]
    scopes: dict[str, str]


class ToLogIn(Body):
    """What opens a session."""

    key: Annotated[str, Field(min_length=1, max_length=500, repr=False)]


class Me(Struct, frozen=True, kw_only=True):
    """As whom one came. `csrf` belongs to a session: it goes into X-CSRF-Token."""

    by: str
    scopes: tuple[str, ...]
    agents: tuple[str, ...]
    csrf: str
    expires_at: Instant


class LoggedOut(Struct, frozen=True, kw_only=True):
    """The session is over."""

    by: str


async def key_list(ask: Ask[NoQuery, Nothing]) -> KeyList:
    now = ask.house.clock.now()
    return KeyList(keys=tuple(_row(key, now) for key in keys.listed(ask.house)), scopes=SCOPES)


async def key_create(ask: Ask[NoQuery, ToMake]) -> NewKey:
    told = ask.body
    new = keys.NewKey(
        name=told.name,
        scopes=told.scopes,
        agents=told.agents,
        per_minute=told.per_minute,
        burst=told.burst,
        lasts=math.ceil(told.days * 86_400_000),
    )
    key, text = await keys.create(ask.house, new, by=ask.by)
    return NewKey(key=text, **_facts(key, ask.house.clock.now()))


async def key_revoke(ask: Ask[NoQuery, Nothing]) -> KeyRow:
    key = await keys.revoke(ask.house, ask.path("name"), by=ask.by)
    return _row(key, ask.house.clock.now())


def _row(key: Key, now: Instant) -> KeyRow:
    return KeyRow(**_facts(key, now))


def _facts(key: Key, now: Instant) -> dict[str, Any]:
    state = "open" if key.opens(now) else "revoked" if key.revoked_at else "expired"
    told = {name: getattr(key, name) for name in KeyRow.__struct_fields__ if name != "state"}
    return {**told, "state": state}


async def login(ask: Ask[NoQuery, ToLogIn]) -> Response:
    """A session for a browser. The cookie has no scope of its own: it is worth what the key is."""
    door, found = ask.door, ask.door.locks.opened_by(ask.body.key)
    if found is None:
        door.locks.count_try(ask.request.scope)
        raise Unauthenticated("this key opens nothing", hint="holdfast key list")
    value, session = door.sessions.begin(found.key.name if found.key else "")
    secure = door.access.scheme(ask.request.scope) == "https"
    cookie = set_cookie(value, door.sessions.seconds, secure=secure)
    me = Me(
        by=found.by,
        scopes=found.scopes,
        agents=found.key.agents if found.key else ("*",),
        csrf=session.csrf,
        expires_at=session.expires_at,
    )
    return json_answer(me, 200, {"Set-Cookie": cookie})


async def logout(ask: Ask[NoQuery, Nothing]) -> Response:
    door = ask.door
    door.sessions.end(ask.request.headers)
    secure = door.access.scheme(ask.request.scope) == "https"
    cookie = set_cookie("", 0, secure=secure)
    return json_answer(LoggedOut(by=ask.by), 200, {"Set-Cookie": cookie})


async def who_am_i(ask: Ask[NoQuery, Nothing]) -> Me:
    grant = ask.grant
    session = ask.door.sessions.found(ask.request.headers) if grant.csrf else None
    key = grant.key
    return Me(
        by=grant.by,
        scopes=grant.scopes,
        agents=key.agents if key else ("*",),
        csrf=grant.csrf,
        expires_at=session.expires_at if session else key.expires_at if key else 0,
    )


KEY_ROUTES: tuple[Entry, ...] = (
    Entry("GET", "/api/v1/keys", key_list, "Which keys there are.", KeyList),
    Entry(
        "POST",
        "/api/v1/keys",
        key_create,
        "Make a key. Its text is shown this once: only its hash is kept.",
        NewKey,
        body=ToMake,
        status=201,
        errors=(409, 503),
        again=False,
    ),
    Entry(
        "POST",
        f"{_KEY}/revoke",
        key_revoke,
        "Take a key back. It opens nothing from then on.",
        KeyRow,
        errors=(503,),
    ),
    Entry(
        "POST",
        "/api/v1/login",
        login,
        "Open a session: a cookie for a browser, worth what the key is worth.",
        Me,
        body=ToLogIn,
        errors=(401, 429),
        again=False,
    ),
    Entry("POST", "/api/v1/logout", logout, "End the session.", LoggedOut),
    Entry("GET", "/api/v1/me", who_am_i, "As whom one came, and what one may.", Me),
)
