"""The tools that post as the person who is logged in. A post that was cut off is looked for."""

from __future__ import annotations

import json
from collections.abc import Sequence

import msgspec

from holdfast.adapters.tools.beneath import Denied
from holdfast.adapters.tools.craft import Craft
from holdfast.core.message import Change, EffectClass, Outcome, Returned, Unknown
from holdfast.ports.tools import Job, Tool, Traits

from .arguments import DmSelf, OpenDm, PostAsMe
from .calling import Calls, Errand, InDoubt, Json, part, rows, word
from .reading import ANYWHERE
from .shown import following

_EVENT = "holdfast_call"
_PAGES, _PAGE, _SKEW = 5, 200, 120


def posting_tools(calls: Calls) -> Sequence[Tool]:
    post = _Posts(calls)

    def writes(target: str, *aims: str) -> Traits:
        return Traits(
            effect=EffectClass.WRITES,
            checkable=True,
            target=target,
            source=ANYWHERE,
            aims=aims,
            agents=calls.agents,
        )

    opening = Traits(
        effect=EffectClass.REPEATABLE,
        target="users",
        source=ANYWHERE,
        aims=("users",),
        agents=calls.agents,
    )
    to_a_channel = writes("channel", "channel", "text", "thread_ts")
    posting = Craft("slack_post_as_me", PostAsMe, to_a_channel, post.post)
    to_myself = Craft("slack_dm_self", DmSelf, writes("text", "text"), post.to_self)
    return (
        posting.settled(post.find),
        to_myself.settled(post.find_to_self),
        Craft("slack_open_dm", OpenDm, opening, post.open),
    )


class _Posts:
    """What each of them does."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def post(self, asked: PostAsMe, job: Job) -> Outcome:
        errand = self._calls.errand(asked.alias, job, "slack_post_as_me")
        return await self._posted(errand, asked.channel, asked.text, asked.thread_ts)

    async def to_self(self, asked: DmSelf, job: Job) -> Outcome:
        errand = self._calls.errand(asked.alias, job, "slack_dm_self")
        return await self._posted(errand, await self._own(errand), asked.text)

    async def open(self, asked: OpenDm, job: Job) -> Outcome:
        errand = self._calls.errand(asked.alias, job, "slack_open_dm")
        users = [asked.users] if isinstance(asked.users, str) else asked.users
        told = await self._calls.ask("conversations.open", errand, users=",".join(users))
        return Returned(text=f"channel: {word(part(told, 'channel'), 'id')}")

    async def find(self, asked: PostAsMe, before: Sequence[Change], job: Job) -> Outcome | None:
        try:
            errand = self._calls.errand(asked.alias, job, "slack_post_as_me")
            return await self._found(errand, asked.channel, asked.thread_ts)
        except Denied as why:
            return Unknown(reason=f"it could not be looked for: {why}")

    async def find_to_self(
        self, asked: DmSelf, before: Sequence[Change], job: Job
    ) -> Outcome | None:
        try:
            errand = self._calls.errand(asked.alias, job, "slack_dm_self")
            return await self._found(errand, await self._own(errand))
        except Denied as why:
            return Unknown(reason=f"it could not be looked for: {why}")

    async def _own(self, errand: Errand) -> str:
        """The person's DM with themselves."""
        told = await self._calls.ask("conversations.open", errand, users=errand.kept.user_id)
        return word(part(told, "channel"), "id")

    async def _posted(self, errand: Errand, channel: str, text: str, thread: str = "") -> Outcome:
        """Which call it was of goes along unseen, so that one that is cut off can be found."""
        payload = {"event_type": _EVENT, "event_payload": {"call": _mark(errand.job)}}
        try:
            told = await self._calls.ask(
                "chat.postMessage",
                errand,
                channel=channel,
                text=text,
                thread_ts=thread,
                metadata=json.dumps(payload),
            )
        except InDoubt as doubt:
            return await self._looked(errand, (channel, thread), doubt)
        return _done(word(told, "channel") or channel, word(told, "ts"))

    async def _looked(self, errand: Errand, where: tuple[str, str], doubt: InDoubt) -> Outcome:
        """Nobody knows whether it was posted: if it is there already, it was."""
        try:
            if isinstance(found := await self._found(errand, *where), Returned):
                return found
        except Denied:
            pass  # the doubt stays
        return Unknown(reason=f"{doubt}; the message may or may not have been posted")

    async def _found(self, errand: Errand, channel: str, thread: str = "") -> Outcome | None:
        """The post of this very call, since its task began; None only where it certainly is not."""
        method = "conversations.replies" if thread else "conversations.history"
        oldest, cursor, doubt = _begun(errand.job), "", ""
        for _ in range(_PAGES):
            told = await self._calls.ask(
                method,
                errand,
                channel=channel,
                ts=thread,
                oldest=oldest,
                limit=_PAGE,
                include_all_metadata="true",
                cursor=cursor,
            )
            for one in rows(told, "messages"):
                if _call(one) == _mark(errand.job):
                    return _done(channel, word(one, "ts"))
                mine = word(one, "user") == errand.kept.user_id and not _call(one)
                if mine and word(one, "ts") >= oldest:
                    doubt = "you posted there since, and Slack does not say whether that was it"
            if not (cursor := following(told)):
                return Unknown(reason=doubt) if doubt else None
        return Unknown(reason="there are too many messages since to look through")


def _done(channel: str, stamp: str) -> Returned:
    return Returned(text=msgspec.json.encode({"channel": channel, "ts": stamp}).decode())


def _mark(job: Job) -> str:
    return f"{job.task}/{job.call}"


def _call(told: Json) -> str:
    """Which call of ours a message is of."""
    metadata = part(told, "metadata")
    return word(part(metadata, "event_payload"), "call") if metadata else ""


def _begun(job: Job) -> str:
    """When the task was made, as its id tells, less what clocks may differ; the beginning of time
    for another kind of id."""
    digits = job.task.rpartition("_")[2][:12]
    try:
        return f"{max(0, int(digits, 16) // 1000 - _SKEW):010d}.000000"
    except ValueError:
        return "0000000000.000000"
