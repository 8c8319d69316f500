"""What Slack's tools take: one struct each, whose docstring and fields a model reads."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

_Alias = Annotated[str, Meta(description="Which workspace, if there are several.", max_length=32)]
_Channel = Annotated[
    str,
    Meta(
        description="The id of a channel, a group or a DM, like C0123456789.",
        pattern="^[A-Z][A-Z0-9]{1,30}$",
    ),
]
_Stamp = Annotated[
    str,
    Meta(
        description="A message's `ts`, like 1730000000.000100.",
        pattern=r"^[0-9]{1,12}\.[0-9]{1,9}$",
    ),
]
_When = Annotated[
    str,
    Meta(
        description="A `ts`, or seconds since 1970.",
        pattern=r"^([0-9]{1,12}(\.[0-9]{1,9})?)?$",
    ),
]
_Cursor = Annotated[str, Meta(description="`next` of the page before.", max_length=500)]
_User = Annotated[
    str, Meta(description="A user's id, like U0123456789.", pattern="^[UW][A-Z0-9]{1,30}$")
]
_Query = Annotated[str, Meta(description="What to look for.", min_length=1, max_length=1_000)]
_Text = Annotated[
    str,
    Meta(description="The message, in Slack's mrkdwn.", min_length=1, max_length=40_000),
]
_Page = Annotated[int, Meta(description="Which page of results.", ge=1, le=100)]


class Whoami(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Say whom the house is logged in as at Slack, in which workspace, and what it may do there."""

    alias: _Alias = ""


class ChannelHistory(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Read the messages of a Slack channel, group or DM, newest first."""

    channel: _Channel
    oldest: _When = ""
    latest: _When = ""
    limit: Annotated[int, Meta(description="How many messages.", ge=1, le=100)] = 30
    cursor: _Cursor = ""
    alias: _Alias = ""


class ChannelReplies(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Read a thread of Slack: its first message, and the replies to it."""

    channel: _Channel
    ts: _Stamp
    limit: Annotated[int, Meta(description="How many messages.", ge=1, le=100)] = 50
    cursor: _Cursor = ""
    alias: _Alias = ""


class SearchMessages(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Search the messages that you can see in Slack, newest first.

    Slack's own words work: in:#channel, from:@user, before:2026-01-31, "these words".
    """

    query: _Query
    count: Annotated[int, Meta(description="How many results.", ge=1, le=100)] = 20
    page: _Page = 1
    alias: _Alias = ""


class SearchFiles(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Search the files that you can see in Slack, newest first: names and links, not contents."""

    query: _Query
    count: Annotated[int, Meta(description="How many results.", ge=1, le=100)] = 20
    page: _Page = 1
    alias: _Alias = ""


class SearchUsers(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Find people of a Slack workspace by a part of their name, title or mail address.

    Looks through the first 1,000 members.
    """

    query: _Query
    limit: Annotated[int, Meta(description="How many people.", ge=1, le=100)] = 20
    alias: _Alias = ""


class ListUsers(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """List the members of a Slack workspace, a page at a time."""

    limit: Annotated[int, Meta(description="How many people.", ge=1, le=200)] = 100
    cursor: _Cursor = ""
    alias: _Alias = ""


class UserInfo(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Say who a user of Slack is."""

    user: _User
    alias: _Alias = ""


class Permalink(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Give the address under which a message of Slack is found."""

    channel: _Channel
    message_ts: _Stamp
    alias: _Alias = ""


class PostAsMe(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Post a message to a Slack channel, group or DM, as the person who is logged in."""

    channel: _Channel
    text: _Text
    thread_ts: Annotated[
        str,
        Meta(
            description="The `ts` of a thread's first message, to reply in it.",
            pattern=r"^([0-9]{1,12}\.[0-9]{1,9})?$",
        ),
    ] = ""
    alias: _Alias = ""


class DmSelf(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Send a Slack message to the person who is logged in, where nobody else sees it."""

    text: _Text
    alias: _Alias = ""


class OpenDm(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Open a DM with one user of Slack, or a group DM with up to eight; gives its channel id.

    Nobody is told before something is posted there.
    """

    users: Annotated[
        _User | Annotated[list[_User], Meta(min_length=1, max_length=8)],
        Meta(description="One id, or a list of them."),
    ]
    alias: _Alias = ""
