"""What of an environment no child may see: by what it is called, and by what it says."""

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


def scrubbed(
    environment: Mapping[str, str], patterns: Sequence[str], holds: Callable[[str], bool]
) -> dict[str, str]:
    """The environment without them."""
    gone = frozenset(secret_variables(environment, patterns, holds))
    return {name: value for name, value in environment.items() if name not in gone}
