"""What the offline model does for each request it understands, as steps that can be replayed.

A step is a generator: it yields the calls it needs, is sent their outcomes, and returns what there
is to say. Nothing is kept between turns: each turn replays the step over the transcript and
proposes the first calls that have no outcome yet.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from typing import Any

from msgspec import Struct

from holdfast.core.message import Outcome, Returned, words

from . import arithmetic, extract
from .offline_results import content_of, entries_of, is_cut, name_of, shown

_SPECIAL = re.compile(r"[\\.^$*+?{}\[\]|()]")
_MOST_FILES = 40
_PAGE = 1_998
_PAGES = 7
_DEEPEST = 6


class Call(Struct, frozen=True, kw_only=True):
    """A tool call that a step needs."""

    tool: str
    arguments: dict[str, Any] = {}


class Attached(Struct, frozen=True, kw_only=True):
    """A text that came with the request; None if only its name came."""

    name: str
    text: str | None


Step = Generator[tuple[Call, ...], Sequence[Outcome], str]


class CannotGoOn(Exception):
    """A call did not bring what the step needs; the message says so, for a person."""


def list_folder(path: str, *, deep: bool) -> Step:
    text = yield from _call("list", path=path, recursive=deep)
    entries = [shown(entry) for entry in entries_of(text)]
    where = "here" if path == "." else f"in {path}"
    if not entries:
        return f"There is nothing {where}."
    head = f"{_many(len(entries), 'entry', 'entries')} {where}{_at_least(text)}:"
    return "\n".join([head, *entries])


def find_files(pattern: str) -> Step:
    found = yield from _glob(pattern)
    if not found.names:
        return f"No file matches {pattern}."
    count = _many(len(found.names), "file matches", "files match")
    return f"{count} {pattern}{found.note}:\n" + "\n".join(found.names)


def read_file(path: str, *, first: int = 0, last: int = 0) -> Step:
    content = yield from _content(path, lines=first)
    lines = _lines(content)
    if last:
        lines = lines[-last:]
    elif first:
        lines = lines[:first]
    return "\n".join(lines) if lines else f"{path} is empty."


def count_files(pattern: str, *, what: str) -> Step:
    """`what` is files or folders."""
    if what == "folders":
        text = yield from _call("list", path=pattern, recursive=True)
        folders = [entry for entry in entries_of(text) if name_of(entry).endswith("/")]
        return f"{_many(len(folders), 'folder')}{_at_least(text)}."
    found = yield from _glob(pattern)
    suffix = "" if pattern == "**/*" else f" matching {pattern}"
    return f"{_many(len(found.names), 'file')}{suffix}{found.note}."


def count_in_file(path: str, *, what: str) -> Step:
    """A name without an ending may be a folder after all."""
    try:
        content = yield from _content(path)
    except CannotGoOn:
        if "." in path.rpartition("/")[2]:
            raise
        found = yield from _glob(f"{path}/**/*")
        if not found.names:
            raise
        return (yield from _count_found(found, f"{path}/**/*", what))
    return f"{path} has {_many(_count(content, what), what.removesuffix('s'))}."


def count_in_files(pattern: str, *, what: str) -> Step:
    found = yield from _glob(pattern)
    if not found.names:
        return f"No file matches {pattern}."
    return (yield from _count_found(found, pattern, what))


def _count_found(found: _Found, pattern: str, what: str) -> Step:
    """A file that is no text is left out, and named; one that could not be read is a failure."""
    if len(found.names) > _MOST_FILES:
        raise CannotGoOn(
            f"{len(found.names)} files match {pattern}; I count in at most {_MOST_FILES} at a time."
        )
    counts: list[tuple[str, int]] = []
    skipped: list[str] = []
    reads = tuple(Call(tool="read", arguments={"path": name}) for name in found.names)
    outcomes = yield reads
    for name, call, outcome in zip(found.names, reads, outcomes, strict=True):
        try:
            content = yield from _whole(name, _returned(call, outcome))
            counts.append((name, _count(content, what)))
        except CannotGoOn as problem:
            skipped.append(str(problem))
    total = sum(count for _, count in counts)
    one = what.removesuffix("s")
    head = f"{_many(total, one)} in {_many(len(counts), 'file')} matching {pattern}:"
    body = [f"{name}: {count:,}" for name, count in counts]
    told = "\n".join([head, *body, *(f"Not counted: {problem}" for problem in skipped)])
    if not counts or not all(isinstance(outcome, Returned) for outcome in outcomes):
        raise CannotGoOn(told)
    return told


def count_text(text: str, path: str) -> Step:
    content = yield from _content(path)
    times = content.count(text)
    return f'"{text}" occurs {_many(times, "time")} in {path}.'


def search(text: str, path: str) -> Step:
    found = yield from _call("search", pattern=_SPECIAL.sub(r"\\\g<0>", text), path=path)
    matches = entries_of(found)
    where = "" if path == "." else f" in {path}"
    if not matches:
        return f'"{text}" was not found{where}.'
    count = _many(len(matches), "line contains", "lines contain")
    return f'{count} "{text}"{where}{_at_least(found)}:\n' + "\n".join(matches)


def summarise(path: str) -> Step:
    content = yield from _content(path)
    return extract.summary(path, content)


def count_attached(attached: Sequence[Attached], whats: Sequence[str]) -> Step:
    """`whats`: lines, words, characters or bytes."""
    yield from ()
    texts = _texts(attached)
    told = [(name, [_count(text, what) for what in whats]) for name, text in texts]
    if len(told) > 1:
        told.append(
            ("together", [sum(column) for column in zip(*(n for _, n in told), strict=True)])
        )
    return "\n".join(
        f"{_capital(name)} {'have' if name == 'together' else 'has'} "
        + " and ".join(_many(n, what.removesuffix("s")) for n, what in zip(ns, whats, strict=True))
        + "."
        for name, ns in told
    )


def count_text_attached(attached: Sequence[Attached], text: str) -> Step:
    yield from ()
    return "\n".join(
        f'"{text}" occurs {_many(content.count(text), "time")} in {name}.'
        for name, content in _texts(attached)
    )


def search_attached(attached: Sequence[Attached], text: str) -> Step:
    yield from ()
    parts: list[str] = []
    for name, content in _texts(attached):
        lines = enumerate(_lines(content), start=1)
        matches = [f"{number}: {line}" for number, line in lines if text in line]
        count = _many(len(matches), "line contains", "lines contain")
        head = f'{count} "{text}" in {name}:' if matches else f'"{text}" was not found in {name}.'
        parts.append("\n".join([head, *matches]))
    return "\n\n".join(parts)


def summarise_attached(attached: Sequence[Attached]) -> Step:
    yield from ()
    return "\n\n".join(extract.summary(_capital(name), text) for name, text in _texts(attached))


def _texts(attached: Sequence[Attached]) -> list[tuple[str, str]]:
    if missing := [one.name for one in attached if one.text is None]:
        raise CannotGoOn(
            f"Of {' and '.join(missing)} I was given only the name, not the text; "
            "to have it read, name it in the request."
        )
    return [(one.name, one.text) for one in attached if one.text is not None]


def _capital(name: str) -> str:
    """At the beginning of a sentence; the name of a file stays as it is."""
    return name[:1].upper() + name[1:] if name in {"the attached text", "together"} else name


def compute(expression: str) -> Step:
    """Needs no tool."""
    yield from ()
    try:
        return f"{expression.strip().rstrip('=? ')} = {arithmetic.evaluate(expression)}"
    except arithmetic.NoSum as problem:
        raise CannotGoOn(f"I cannot compute {expression.strip()}: {problem}.") from None


def tell_time() -> Step:
    text = yield from _call("time")
    return f"It is {text.strip()}."


def write_file(path: str, text: str) -> Step:
    yield from _call("write", path=path, content=_ended(text))
    return f"Wrote {_many(len(_ended(text).encode()), 'byte')} to {path}."


def append_file(path: str, text: str) -> Step:
    yield from _call("append", path=path, content=_ended(text))
    return f"Added {_many(len(_ended(text).encode()), 'byte')} to {path}."


def run_command(command: str) -> Step:
    text = yield from _call("exec", command=command)
    return text.strip().removeprefix("[no output]") or f"`{command}` ran and printed nothing."


def direct(tool: str, arguments: dict[str, Any]) -> Step:
    """Exactly the call that a person wrote out."""
    (outcome,) = yield (Call(tool=tool, arguments=arguments),)
    if isinstance(outcome, Returned):
        return outcome.text
    raise CannotGoOn(f"{tool} did not work: {words(outcome)}")


class _Found(Struct, frozen=True, kw_only=True):
    names: tuple[str, ...]
    note: str


def _glob(pattern: str) -> Generator[tuple[Call, ...], Sequence[Outcome], _Found]:
    """All files that match. Where the tool cuts its list, folder by folder."""
    names: list[str] = []
    patterns, more = [pattern], False
    for _ in range(_DEEPEST):
        texts = yield from _calls([Call(tool="glob", arguments={"pattern": p}) for p in patterns])
        long = [p for p, text in zip(patterns, texts, strict=True) if is_cut(text) and "**/" in p]
        for p, text in zip(patterns, texts, strict=True):
            names += [] if p in long else entries_of(text)
            more = more or (is_cut(text) and p not in long)
        if not long:
            break
        patterns = yield from _by_folder(long)
    else:
        more = True
    note = " (the list was cut; there are more)" if more else ""
    return _Found(names=tuple(sorted(set(names))), note=note)


def _by_folder(
    patterns: Sequence[str],
) -> Generator[tuple[Call, ...], Sequence[Outcome], list[str]]:
    """`src/**/*.py` as `src/*.py` and one such pattern for each folder in `src`."""
    split = [pattern.split("**/", 1) for pattern in patterns]
    calls = [Call(tool="list", arguments={"path": base.rstrip("/") or "."}) for base, _ in split]
    texts = yield from _calls(calls)
    narrower: list[str] = []
    for (base, rest), text in zip(split, texts, strict=True):
        folders = [name for entry in entries_of(text) if (name := name_of(entry)).endswith("/")]
        narrower += [base + rest, *(f"{folder}**/{rest}" for folder in folders)]
    return narrower


def _content(path: str, *, lines: int = 0) -> Generator[tuple[Call, ...], Sequence[Outcome], str]:
    """The whole text of a file, page by page; or its first `lines` (and no more than a page)."""
    if not lines:
        return (yield from _whole(path, (yield from _call("read", path=path))))
    page = content_of((yield from _call("read", path=path, limit=min(lines, _PAGE))))
    if page.problem:
        raise CannotGoOn(f"I cannot read {path}: {page.problem}.")
    return page.text


def _whole(path: str, first: str) -> Generator[tuple[Call, ...], Sequence[Outcome], str]:
    """The text of a file, from its first page on."""
    page = content_of(first)
    texts = [page.text]
    while page.next and not page.problem:
        if len(texts) == _PAGES:
            raise CannotGoOn(f"{path} is too long for me: I read at most {_PAGES} pages of it.")
        page = content_of((yield from _call("read", path=path, offset=page.next)))
        texts.append(page.text)
    if page.problem:
        raise CannotGoOn(f"I cannot read {path} whole: {page.problem}.")
    return "".join(texts)


def _call(tool: str, **arguments: Any) -> Generator[tuple[Call, ...], Sequence[Outcome], str]:
    (text,) = yield from _calls([Call(tool=tool, arguments=arguments)])
    return text


def _calls(
    calls: Sequence[Call],
) -> Generator[tuple[Call, ...], Sequence[Outcome], list[str]]:
    """What all the calls returned, asked for at once. Raises `CannotGoOn` if one did not."""
    outcomes = yield tuple(calls)
    return [_returned(call, outcome) for call, outcome in zip(calls, outcomes, strict=True)]


def _returned(call: Call, outcome: Outcome) -> str:
    if isinstance(outcome, Returned):
        return outcome.text
    about = [call.arguments.get(name) for name in ("path", "pattern", "command")]
    subject = next((f" {one}" for one in about if one), "")
    raise CannotGoOn(f"{call.tool}{subject} did not work: {words(outcome)}")


def _count(content: str, what: str) -> int:
    match what:
        case "lines":
            return len(_lines(content))
        case "words":
            return len(content.split())
        case "bytes":
            return len(content.encode())
        case _:
            return len(content)


def _lines(content: str) -> list[str]:
    """Lines as `wc` and editors count them: between line feeds."""
    lines = content.split("\n")
    return lines if lines[-1] else lines[:-1]


def _ended(text: str) -> str:
    return text if text.endswith("\n") else text + "\n"


def _at_least(text: str) -> str:
    return " (the list was cut; there are more)" if is_cut(text) else ""


def _many(count: int, one: str, more: str = "") -> str:
    return f"{count:,} {one}" if count == 1 else f"{count:,} {more or one + 's'}"
