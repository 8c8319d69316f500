"""The tools that look at Slack: what they show is strangers' words, labelled with the channel."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.adapters.tools.craft import Craft
from holdfast.core.message import EffectClass, Outcome, Returned
from holdfast.ports.tools import Job, Tool, Traits

from .arguments import (
    ChannelHistory,
    ChannelReplies,
    ListUsers,
    Permalink,
    SearchFiles,
    SearchMessages,
    SearchUsers,
    UserInfo,
    Whoami,
)
from .calling import Calls, Json, part, rows, word
from .shown import file, following, hit, listed, message, user

ANYWHERE, CHANNEL = "slack", "slack:"
"""Where answers come from: Slack as a whole, or the channel that is the call's target."""

_SCANNED, _PAGE = 1_000, 200


def reading_tools(calls: Calls) -> Sequence[Tool]:
    look = _Looks(calls)

    def traits(target: str, source: str = ANYWHERE) -> Traits:
        return Traits(effect=EffectClass.READS, target=target, source=source, agents=calls.agents)

    about = traits("channel", CHANNEL)
    return (
        Craft("slack_whoami", Whoami, traits("alias"), look.whoami),
        Craft("slack_channel_history", ChannelHistory, about, look.history),
        Craft("slack_channel_replies", ChannelReplies, about, look.replies),
        Craft("slack_search_messages", SearchMessages, traits("query"), look.messages),
        Craft("slack_search_files", SearchFiles, traits("query"), look.files),
        Craft("slack_search_users", SearchUsers, traits("query"), look.people),
        Craft("slack_list_users", ListUsers, traits("cursor"), look.users),
        Craft("slack_user_info", UserInfo, traits("user"), look.user),
        Craft("slack_permalink", Permalink, about, look.permalink),
    )


class _Looks:
    """What each of them does."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def whoami(self, asked: Whoami, job: Job) -> Outcome:
        errand = self._calls.errand(asked.alias, job, "slack_whoami")
        told, kept = await self._calls.ask("auth.test", errand), errand.kept
        found = {name: word(told, name) for name in ("user", "user_id", "team", "team_id", "url")}
        found |= {"alias": errand.alias, "scopes": " ".join(kept.scopes)}
        return Returned(text=listed("logged in to Slack as", [found], job))

    async def history(self, asked: ChannelHistory, job: Job) -> Outcome:
        errand = self._calls.errand(asked.alias, job, "slack_channel_history")
        told = await self._calls.ask(
            "conversations.history",
            errand,
            channel=asked.channel,
            oldest=asked.oldest,
            latest=asked.latest,
            limit=asked.limit,
            cursor=asked.cursor,
        )
        return _messages(told, job)

    async def replies(self, asked: ChannelReplies, job: Job) -> Outcome:
        errand = self._calls.errand(asked.alias, job, "slack_channel_replies")
        told = await self._calls.ask(
            "conversations.replies",
            errand,
            channel=asked.channel,
            ts=asked.ts,
            limit=asked.limit,
            cursor=asked.cursor,
        )
        return _messages(told, job)

    async def messages(self, asked: SearchMessages, job: Job) -> Outcome:
        errand = self._calls.errand(asked.alias, job, "slack_search_messages")
        told = await self._calls.ask(
            "search.messages",
            errand,
            query=asked.query,
            count=asked.count,
            page=asked.page,
            sort="timestamp",
        )
        found = map(hit, rows(told, "messages", "matches"))
        return Returned(text=listed(_pages("messages", told), found, job))

    async def files(self, asked: SearchFiles, job: Job) -> Outcome:
        errand = self._calls.errand(asked.alias, job, "slack_search_files")
        told = await self._calls.ask(
            "search.files",
            errand,
            query=asked.query,
            count=asked.count,
            page=asked.page,
            sort="timestamp",
        )
        found = map(file, rows(told, "files", "matches"))
        return Returned(text=listed(_pages("files", told), found, job))

    async def people(self, asked: SearchUsers, job: Job) -> Outcome:
        """Slack has no search for people that every plan may use: the members are gone through."""
        errand = self._calls.errand(asked.alias, job, "slack_search_users")
        wanted = asked.query.casefold().strip()
        found, seen, cursor = list[Json](), 0, ""
        while seen < _SCANNED and len(found) < asked.limit:
            told = await self._calls.ask("users.list", errand, limit=_PAGE, cursor=cursor)
            members = rows(told, "members")
            found += [one for one in members if _is_meant(one, wanted)]
            seen, cursor = seen + len(members), following(told)
            if not (cursor and members):
                break
        more = " (of the first 1,000 members)" if cursor and seen >= _SCANNED else ""
        rest = map(user, found[: asked.limit])
        return Returned(text=listed(f"people: {len(found[: asked.limit])}{more}", rest, job))

    async def users(self, asked: ListUsers, job: Job) -> Outcome:
        errand = self._calls.errand(asked.alias, job, "slack_list_users")
        told = await self._calls.ask("users.list", errand, limit=asked.limit, cursor=asked.cursor)
        members = rows(told, "members")
        head = f"people: {len(members)}{_next(told)}"
        return Returned(text=listed(head, map(user, members), job))

    async def user(self, asked: UserInfo, job: Job) -> Outcome:
        errand = self._calls.errand(asked.alias, job, "slack_user_info")
        told = await self._calls.ask("users.info", errand, user=asked.user)
        found = user(part(told, "user"))
        return Returned(text=listed(asked.user, [found], job))

    async def permalink(self, asked: Permalink, job: Job) -> Outcome:
        errand = self._calls.errand(asked.alias, job, "slack_permalink")
        told = await self._calls.ask(
            "chat.getPermalink", errand, channel=asked.channel, message_ts=asked.message_ts
        )
        return Returned(text=word(told, "permalink"))


def _messages(told: Json, job: Job) -> Outcome:
    found = [message(one) for one in rows(told, "messages")]
    return Returned(text=listed(f"messages: {len(found)}{_next(told)}", found, job))


def _pages(what: str, told: Json) -> str:
    """How many there are in all, and which page this is."""
    paging = part(part(told, what), "paging")
    total, page, pages = (word(paging, name) or "0" for name in ("total", "page", "pages"))
    return f"{what}: {total}, page {page} of {pages}" if total != "0" else f"{what}: none"


def _next(told: Json) -> str:
    cursor = following(told)
    return f", next: {cursor}" if cursor else ""


def _is_meant(member: Json, wanted: str) -> bool:
    found = user(member)
    names = ("id", "name", "real_name", "display_name", "title", "email")
    return any(wanted in str(found[name]).casefold() for name in names)
