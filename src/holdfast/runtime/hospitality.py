"""What other agents find here, and whose word counts as a person's."""

from __future__ import annotations

from fnmatch import fnmatchcase

from msgspec import Struct


class Hospitality(Struct, frozen=True, kw_only=True):
    """What other agents find here: `name` and `description` of ours, and whether they may ask.

    `persons` are shell patterns of the principals who are persons: their words are a person's own,
    and so is their yes. `url` is where this door is for others; empty: where they have found it.
    """

    enabled: bool = True
    name: str = "Holdfast"
    description: str = "An agent that works on files and the web, step by step, and can be asked."
    url: str = ""
    persons: tuple[str, ...] = ("user:*", "token:default")

    def is_person(self, by: str) -> bool:
        return any(fnmatchcase(by, pattern) for pattern in self.persons)
