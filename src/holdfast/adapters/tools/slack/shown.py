"""What is shown of Slack's answers: few fields, a line of JSON each, marked as strangers' words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from holdfast.adapters.tools.web.outside import cleaned, framed
from holdfast.ports.tools import Job

from .calling import Json, part, rows, word

_LONGEST = 8_000


def listed(head: str, items: Iterable[Mapping[str, Any]], job: Job) -> str:
    """A line of ours, and the items between marks that their writers cannot forge."""
    lines = [msgspec.json.encode(_bare(item)).decode() for item in items]
    return f"{head}\n{framed(chr(10).join(lines), job.task)}" if lines else head


def message(told: Json) -> Mapping[str, Any]:
    files = [word(one, "name") or word(one, "id") for one in rows(told, "files")]
    reactions = {word(one, "name"): one.get("count", 0) for one in rows(told, "reactions")}
    return {
        "ts": word(told, "ts"),
        "user": word(told, "user") or word(told, "bot_id"),
        "name": word(told, "username"),
        "text": _text(told),
        "thread_ts": word(told, "thread_ts"),
        "replies": told.get("reply_count", 0),
        "files": files,
        "reactions": reactions,
    }


def hit(told: Json) -> Mapping[str, Any]:
    channel = part(told, "channel")
    return {
        "channel": word(channel, "id"),
        "in": word(channel, "name"),
        **message(told),
        "link": word(told, "permalink"),
    }


def file(told: Json) -> Mapping[str, Any]:
    return {
        "id": word(told, "id"),
        "name": word(told, "name"),
        "title": word(told, "title"),
        "kind": word(told, "pretty_type") or word(told, "filetype"),
        "user": word(told, "user"),
        "bytes": told.get("size", 0),
        "link": word(told, "permalink"),
    }


def user(told: Json) -> Mapping[str, Any]:
    profile = part(told, "profile")
    names = ("real_name", "display_name", "title", "email")
    more = {name: word(profile, name) for name in names}
    flags = ("deleted", "is_bot", "is_admin", "is_restricted", "is_ultra_restricted")
    return {
        "id": word(told, "id"),
        "name": word(told, "name"),
        **more,
        "tz": word(told, "tz"),
        **{flag: told.get(flag) is True for flag in flags},
    }


def following(told: Json) -> str:
    """Where the next page begins; empty after the last."""
    return word(part(told, "response_metadata"), "next_cursor")


def _text(told: Json) -> str:
    """The message, and of one that is all attachments what they say instead."""
    said = word(told, "text")
    if not said:
        parts = rows(told, "attachments")
        said = "\n".join(word(one, "text") or word(one, "fallback") for one in parts)
    clean = cleaned(said)[0]
    return clean if len(clean) <= _LONGEST else f"{clean[: _LONGEST - 1]}…"


def _bare(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """Without what is empty, and without what cannot be seen."""
    return {
        key: cleaned(value)[0] if isinstance(value, str) else value
        for key, value in item.items()
        if value
    }
