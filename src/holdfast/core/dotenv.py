"""Reads files of `NAME=value` lines, as shells and other programs write them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .error import Invalid

_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_.-]*)\s*=[ \t]*(.*)", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_MEANS = {"n": "\n", "r": "\r", "t": "\t"}


def parsed(text: str) -> list[tuple[str, str]]:
    """The pairs in order. Raises `Invalid` naming the line, never what it says."""
    lines = iter(enumerate(text.removeprefix("\ufeff").splitlines(), start=1))
    pairs: list[tuple[str, str]] = []
    for number, line in lines:
        plain = line.strip()
        if not plain or plain.startswith("#"):
            continue
        found = _LINE.fullmatch(plain)
        if found is None:
            raise Invalid(f"line {number} is not NAME=value", code="bad_env_file")
        pairs.append((found[1], _value(found[2], number, lines)))
    return pairs


def _value(written: str, number: int, lines: Iterator[tuple[int, str]]) -> str:
    if not written or written[0] not in "'\"":
        return re.split(r"\s+#", written, maxsplit=1)[0].strip()
    quote, inner = written[0], written[1:]
    while (end := _end(inner, quote)) < 0:  # a quoted value may go on in the next lines
        _, more = next(lines, (0, None))
        if more is None:
            raise Invalid(f"the quote of line {number} does not end", code="bad_env_file")
        inner = f"{inner}\n{more}"
    value = inner[:end]
    if quote == "'":
        return value
    return _ESCAPE.sub(lambda found: _MEANS.get(found[1], found[1]), value)


def _end(inner: str, quote: str) -> int:
    """Where the closing quote is; -1 if it is not there."""
    at = 0
    while at < len(inner):
        if inner[at] == quote:
            return at
        at += 2 if quote == '"' and inner[at] == "\\" else 1
    return -1
