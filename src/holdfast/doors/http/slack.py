"""The routes about Slack workspaces: log in, look, log out."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Struct
from pydantic import Field

from holdfast.runtime import slack
from holdfast.runtime.connected import Workspace

from .bodies import Body, NoQuery, Nothing, Patterns
from .route import Ask, Entry

_ALIAS = "/api/v1/slack/{alias}"


class SlackToLogIn(Body):
    """Who we are to Slack, and what is asked for. What is left out is as it was at the last login,
    or as is usual."""

    client_id: Annotated[str, Field(max_length=200)] = Field(
        default="", description="The id of your Slack app."
    )
    client_secret: Annotated[str, Field(max_length=1_000, repr=False)] = Field(
        default="", repr=False, description="Its secret; an app that uses PKCE needs none."
    )
    team: Annotated[str, Field(max_length=40)] = Field(
        default="", description="The id of the workspace that it must be."
    )
    scopes: Patterns = Field(default=(), strict=False, description="What the person agrees to.")
    redirect: Annotated[str, Field(max_length=500)] = Field(
        default="", description="Where the browser ends; the app must have it."
    )


class SlackLoggedIn(Body):
    """The address that the browser ended at."""

    answer: Annotated[str, Field(min_length=1, max_length=20_000, repr=False)] = Field(repr=False)


class SlackToLogOut(Body):
    """How to forget."""

    local_only: bool = Field(default=False, description="Do not ask Slack to take the token back.")


class SlackWorkspace(Struct, frozen=True, kw_only=True):
    """How we are logged in to a workspace, as whom. `begun`: a person finishes `attempt` at
    `authorize`; `over`: only a new login helps; `lasts`: the token is renewed by itself."""

    alias: str
    state: Literal["none", "begun", "in", "over"]
    team: str
    team_id: str
    user: str
    user_id: str
    url: str
    scopes: tuple[str, ...]
    expires_at: int
    lasts: bool
    attempt: str
    authorize: str
    redirect: str
    note: str


class SlackList(Struct, frozen=True, kw_only=True):
    """All workspaces, by alias."""

    workspaces: tuple[SlackWorkspace, ...]


class SlackLoggedOut(Struct, frozen=True, kw_only=True):
    """The workspace is forgotten; `revoked`: Slack has taken the token back."""

    alias: str
    revoked: bool


async def slack_list(ask: Ask[NoQuery, Nothing]) -> SlackList:
    return SlackList(workspaces=tuple(map(_shown, await slack.workspaces(ask.house))))


async def slack_begin(ask: Ask[NoQuery, SlackToLogIn]) -> SlackWorkspace:
    told = ask.body.model_dump()
    return _shown(await slack.log_in(ask.house, ask.path("alias"), told, by=ask.by))


async def slack_finish(ask: Ask[NoQuery, SlackLoggedIn]) -> SlackWorkspace:
    made = await slack.logged_in(ask.house, ask.path("attempt"), ask.body.answer, by=ask.by)
    return _shown(made)


async def slack_forget(ask: Ask[NoQuery, SlackToLogOut]) -> SlackLoggedOut:
    alias, local_only = ask.path("alias"), ask.body.local_only
    revoked = await slack.log_out(ask.house, alias, local_only=local_only, by=ask.by)
    return SlackLoggedOut(alias=alias, revoked=revoked)


def _shown(one: Workspace) -> SlackWorkspace:
    return SlackWorkspace(**{name: getattr(one, name) for name in SlackWorkspace.__struct_fields__})


SLACK_ROUTES: tuple[Entry, ...] = (
    Entry("GET", "/api/v1/slack", slack_list, "How we are logged in to Slack.", SlackList),
    Entry(
        "POST",
        f"{_ALIAS}/login",
        slack_begin,
        "Begin a login to Slack: a person finishes it at the address that this gives.",
        SlackWorkspace,
        body=SlackToLogIn,
        errors=(403, 503),
    ),
    Entry(
        "POST",
        "/api/v1/slack-logins/{attempt}",
        slack_finish,
        "Finish a login to Slack with the address that the browser ended at.",
        SlackWorkspace,
        body=SlackLoggedIn,
        errors=(403, 503),
    ),
    Entry(
        "POST",
        f"{_ALIAS}/logout",
        slack_forget,
        "Forget a workspace, and have Slack take the token back.",
        SlackLoggedOut,
        body=SlackToLogOut,
        errors=(503,),
    ),
)
