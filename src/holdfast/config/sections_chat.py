"""The table `[chat]`: who may speak here through bridges, and how often."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator

from .section import Section, number, word


def _patterns(text: str, example: list[str]) -> Any:
    return Field(default=(), strict=False, description=text, examples=[example])


class Chat(Section):
    """People who speak through bridges: bots and widgets that bring what is said elsewhere."""

    enabled: bool = word(False, "Hear them: `/api/v1/chat` is there.", True)
    users: tuple[str, ...] = _patterns(
        "Shell patterns of the senders who may speak; empty: nobody.", ["*"]
    )
    rooms: tuple[str, ...] = _patterns(
        "Shell patterns of the rooms where one may; empty: all.", ["support-*"]
    )
    persons: tuple[str, ...] = _patterns(
        "Shell patterns `PRINCIPAL/SENDER` of those whose words are a person's own; what others say"
        " is a stranger's word.",
        ["key:matrix/@ann:example.org"],
    )
    per_minute: int = number(20, 1, 100_000, "messages", "From one sender in any 60 s.")
    all_per_minute: int = number(120, 1, 100_000, "messages", "From all together in any 60 s.")
    own_folders: bool = word(
        True, "Give each sender in a room a folder below `workspace`; else all work in that one."
    )

    @field_validator("persons")
    @classmethod
    def _name_their_bridge(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            bridge, slash, sender = one.partition("/")
            if not (slash and bridge and sender):
                raise ValueError(f"expected PRINCIPAL/SENDER like key:matrix/ann, not {one!r}")
        return value
