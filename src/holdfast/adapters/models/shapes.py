"""Answers in a wanted shape: the JSON in a model's text, held against a JSON Schema."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from holdfast.core.agent import Shape
from holdfast.core.ids import canonical

from .schemas import check, wrong

__all__ = ["check", "fit", "found"]

_LONGEST = 1_000_000


def fit(text: str, shape: Shape) -> tuple[str, str]:
    """The JSON in `text` that fits, made canonical; or the text and what is wrong with it."""
    if len(text) > _LONGEST:
        return text, f"the answer is longer than {_LONGEST} characters"
    problem = "no JSON was found in the answer: answer with one JSON value and nothing else"
    for index, value in enumerate(found(text)):
        why = wrong(value, shape.schema)
        if not why:
            return canonical(value), ""
        problem = problem if index else why
    return text, problem


def found(text: str) -> Iterator[Any]:
    """The JSON values of a text, the likeliest first.

    The whole text; what stands in a ```json block; in any other block; the first object or list
    among words, and those behind it.
    """
    if (value := _loaded(text)) is not _NONE:
        yield value
        return
    blocks = tuple(_blocks(text))
    for wanted in (True, False):
        for language, content in blocks:
            if (language == "json") is wanted and (value := _loaded(content)) is not _NONE:
                yield value
    yield from _among_words(text)


_NONE: Any = object()
_FENCE = re.compile(r"^[ \t]{0,3}(`{3,}|~{3,})[ \t]*([^\n]*)$", re.MULTILINE)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


_DECODER = json.JSONDecoder(strict=False, parse_constant=_no_constant)


def _loaded(text: str) -> Any:
    try:
        return _DECODER.decode(text.strip())
    except (ValueError, RecursionError):
        return _NONE


def _blocks(text: str) -> Iterator[tuple[str, str]]:
    """The code blocks: language and content."""
    begun: re.Match[str] | None = None
    for fence in _FENCE.finditer(text):
        if begun is None:
            begun = fence
        elif fence[1].startswith(begun[1]) and not fence[2].strip():
            yield begun[2].strip().lower(), text[begun.end() : fence.start()]
            begun = None
    if begun is not None:
        yield begun[2].strip().lower(), text[begun.end() :]


def _among_words(text: str) -> Iterator[Any]:
    at, work = 0, 4 * len(text) + 100_000
    while work > 0 and (start := _OPEN.search(text, at)):
        at = start.start()
        try:
            value, end = _DECODER.raw_decode(text, at)
        except json.JSONDecodeError as bad:
            work -= 100 + max(0, bad.pos - at) + at // 16  # the error counts the lines before it
            at += 1
        except (ValueError, RecursionError):
            work -= 10_000
            at += 1
        else:
            yield value
            work -= 1_000 + end - at
            at = end


_OPEN = re.compile(r"[{\[]")
