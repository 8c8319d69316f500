"""What other agents find here, and whose word counts as a person's."""

from __future__ import annotations

from fnmatch import fnmatchcase

from msgspec import Struct


class Hospitality(Struct, frozen=True, kw_only=True):
    """What other agents find here: `name` and `description` of ours, and whether they may ask.

    `approvers` are shell patterns of the principals whose yes is a person's. `url` is where this
    door is for them; empty: where they have found it.
    """

    enabled: bool = True
    name: str = "Holdfast"
    description: str = "An agent that works on files and the web, step by step, and can be asked."
    url: str = ""
    approvers: tuple[str, ...] = ("user:*", "token:default")

    def may_approve(self, by: str) -> bool:
        return any(fnmatchcase(by, pattern) for pattern in self.approvers)
