"""What a search engine found."""

from __future__ import annotations

from msgspec import Struct


class Found(Struct, frozen=True, kw_only=True):
    """One result."""

    title: str
    url: str
    snippet: str


class Unreadable(Exception):
    """An engine said something that is no list of results; says what, without quoting it."""
