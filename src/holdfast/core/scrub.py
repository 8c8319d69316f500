"""Which variables of an environment are secrets: by what they are called, and what they say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase


def secret_variables(
    environment: Mapping[str, str], patterns: Sequence[str], holds: Callable[[str], bool]
) -> tuple[str, ...]:
    """The names of variables that are called like a secret, or whose value is or has a known one.

    Patterns are shell patterns, whatever the case of the letters.
    """
    return tuple(
        name
        for name, value in environment.items()
        if value
        and (
            any(fnmatchcase(name.upper(), pattern.upper()) for pattern in patterns) or holds(value)
        )
    )
