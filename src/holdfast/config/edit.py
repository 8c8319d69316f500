"""Changes single keys in the text of a configuration, and leaves every other character alone."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, cast

from holdfast.core.error import Invalid, Refused

from .words import in_toml

HIDDEN = "***"
_HEADER = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(#.*)?")
_LIST = re.compile(r"\s*\[\[")
_KEY = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_*-]+)*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_HINT = "change it by hand in the file"

FIXED = (
    *("server.host", "server.port", "server.tls", "server.certificate", "server.certificate_key"),
    *("vault", "storage", "audit"),
)
"""Who reaches the house, what keeps its secrets, what it remembers and proves: a person changes
that at the machine, and never anybody from afar, whatever key they have."""


def edited(text: str, changes: Mapping[str, Any]) -> str:
    """The text with each `section.key` set; None takes a key out. `***` is what it was.

    Raises `Invalid` for what is no key, and `Refused`: `not_mutable` for what is fixed, `by_hand`
    where the file is written so that only a person can change it: nothing is guessed.
    """
    for key, value in changes.items():
        if not _KEY.fullmatch(key) or "." not in key:
            raise Invalid(f"{key!r} is no key: write section.key", code="bad_config")
        if any(f"{key}.".startswith(f"{fixed}.") for fixed in FIXED):
            raise Refused(f"{key} is not mutable from here", code="not_mutable", hint=_HINT)
        told = tomllib.loads(text)
        value = _unmasked(value, _at(told, key.split(".")))  # noqa: PLW2901 - the same, complete
        text = _checked(text, key, value)
    return text


def _checked(text: str, key: str, value: Any) -> str:
    path = key.split(".")
    before, after = tomllib.loads(text), _put(text, path, value)
    wanted = _laid(before, path, value)
    try:
        found = tomllib.loads(after)
    except ValueError:
        found = None
    if found != wanted:
        raise Refused(f"{key} cannot be changed from here", code="by_hand", hint=_HINT)
    return after


def _put(text: str, path: Sequence[str], value: Any) -> str:
    lines = text.splitlines()
    *table, name = path
    begin, end = _table(lines, table)
    line = [] if value is None else [f"{_word(name)} = {in_toml(value)}"]
    if begin < 0:
        head = f"[{'.'.join(map(_word, table))}]"
        space = [""] if lines and lines[-1].strip() else []
        return "\n".join([*lines, *([*space, head, *line] if line else [])]) + "\n"
    first, last = _assignment(lines, name, begin, end)
    return "\n".join([*lines[:first], *line, *lines[last:]]) + "\n"


def _table(lines: Sequence[str], table: Sequence[str]) -> tuple[int, int]:
    """The lines of a table, without its header; -1 if it has no header of its own."""
    begin = -1
    for number, line in enumerate(lines):
        header = _HEADER.fullmatch(line)
        if begin >= 0 and (header or _LIST.match(line)):
            return begin, number
        if header and [part.strip(" \"'") for part in header[1].split(".")] == list(table):
            begin = number + 1
    return begin, len(lines)


def _assignment(lines: Sequence[str], name: str, begin: int, end: int) -> tuple[int, int]:
    """Where a key is set within its table; where it would be, if it is not."""
    wanted = re.compile(rf"\s*[\"']?{re.escape(name)}[\"']?\s*=")
    for first in range(begin, end):
        if wanted.match(lines[first]):
            for last in range(first + 1, end + 1):
                if _is_whole("\n".join(lines[first:last])):
                    return first, last
    return begin, begin


def _is_whole(text: str) -> bool:
    try:
        tomllib.loads(text)
    except ValueError:
        return False
    return True


def _at(told: Mapping[str, Any], path: Sequence[str]) -> Any:
    found: Any = told
    for step in path:
        found = cast("dict[str, Any]", found).get(step) if isinstance(found, dict) else None
    return found


def _laid(told: Mapping[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    """What the file must say afterwards."""
    name, *rest = path
    after = dict(told)
    inner = after.get(name, {})
    if rest:
        table = cast("dict[str, Any]", inner) if isinstance(inner, dict) else {}
        if value is not None or name in after:
            after[name] = _laid(table, rest, value)
    elif value is None:
        after.pop(name, None)
    else:
        after[name] = value
    return after


def _unmasked(value: Any, before: Any) -> Any:
    """What was shown masked and comes back so is what it was."""
    if value == HIDDEN:
        if before is None:
            raise Invalid(f"{HIDDEN} stands for a secret that is not there", code="bad_config")
        return before
    if isinstance(value, dict):
        known = cast("dict[str, Any]", before) if isinstance(before, dict) else {}
        table = cast("dict[str, Any]", value)
        return {name: _unmasked(one, known.get(name)) for name, one in table.items()}
    return value


def _word(name: str) -> str:
    return name if _BARE.fullmatch(name) else f'"{name}"'
