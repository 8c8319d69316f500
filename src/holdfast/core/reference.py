"""Secrets by reference: `$SECRET{name}` stands for a value that only the last step fills in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

_REFERENCE = re.compile(r"\$SECRET\{([^{}\s]{1,200})\}")


def reference(name: str) -> str:
    return f"$SECRET{{{name}}}"


def named(value: Any) -> tuple[str, ...]:
    """The names in all texts of a value, each once, in order."""
    found = (name for _, text in _texts(value, "") for name in _REFERENCE.findall(text))
    return tuple(dict.fromkeys(found))


def misplaced(arguments: Mapping[str, Any], places: Sequence[str]) -> str:
    """The first argument with a reference that is none of `places` nor below one; or empty."""
    for place, text in _texts(arguments, ""):
        allowed = any(place == one or place.startswith(f"{one}.") for one in places)
        if not allowed and _REFERENCE.search(text):
            return place
    return ""


def filled(value: Any, values: Mapping[str, str]) -> Any:
    """The same with every reference replaced; what a value says itself is not looked at again."""
    if isinstance(value, str):
        return _REFERENCE.sub(lambda found: values[found[1]], value)
    if isinstance(value, dict):
        table = cast("dict[str, Any]", value)
        return {name: filled(one, values) for name, one in table.items()}
    if isinstance(value, list):
        return [filled(one, values) for one in cast("list[Any]", value)]
    return value


def _texts(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Every text with the dotted place of its argument; a name in a table is a text too."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        for name, one in cast("dict[str, Any]", value).items():
            yield "a name", name
            yield from _texts(one, f"{place}.{name}" if place else name)
    elif isinstance(value, list):
        for one in cast("list[Any]", value):
            yield from _texts(one, place)
