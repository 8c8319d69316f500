"""Makes a conversation fit what a model can read: old output goes first, people's words last."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from .message import (
    Entry,
    Failed,
    HouseSaid,
    ModelSaid,
    Outcome,
    PersonSaid,
    Returned,
    ToolAnswered,
    words,
)

_KEEP_WHOLE = 2_000
_NEWEST = 8
_LINES = 24
_LINE = 180


def fitted(entries: tuple[Entry, ...], limit: int) -> tuple[Entry, ...]:
    """`entries` in at most `limit` characters, as far as people's own words allow.

    First old tool output is cut to its head, oldest first; then whole turns are left out, oldest
    first, and told in a line each. The first words of a person and the newest turns always stay.
    """
    entries = _shortened(entries, limit)
    if sum(map(length, entries)) <= limit:
        return entries
    return _without_oldest(entries, limit)


def length(entry: Entry) -> int:
    """The characters of an entry that a model has to read."""
    match entry:
        case ToolAnswered(outcome=outcome):
            return len(words(outcome))
        case ModelSaid():
            return len(entry.text) + sum(len(str(call.arguments)) for call in entry.calls)
        case _:
            return len(entry.text)


def _shortened(entries: tuple[Entry, ...], limit: int) -> tuple[Entry, ...]:
    """Old tool output is cut to its head, oldest first, until the whole fits `limit` characters."""
    excess = sum(map(length, entries)) - limit
    if excess <= 0:
        return entries
    shorter: list[Entry] = []
    for entry in entries:
        if excess > 0 and isinstance(entry, ToolAnswered) and length(entry) > _KEEP_WHOLE:
            cut = replace(entry, outcome=_head(entry.outcome))
            excess -= length(entry) - length(cut)
            shorter.append(cut)
        else:
            shorter.append(entry)
    return tuple(shorter)


def _head(outcome: Outcome) -> Outcome:
    if isinstance(outcome, Returned | Failed):
        text = f"{outcome.text[: _KEEP_WHOLE // 2]}\n[older output shortened]"
        return replace(outcome, text=text)
    return outcome


def _without_oldest(entries: tuple[Entry, ...], limit: int) -> tuple[Entry, ...]:
    first, *later = _turns(entries)
    lines = min(_LINES, limit // (4 * _LINE))  # a quarter of the room at most
    excess = sum(map(length, entries)) - limit + (lines + 1) * _LINE
    kept = sum(map(len, later))
    gone: list[Entry] = []
    while excess > 0 and later and kept - len(later[0]) >= _NEWEST:
        turn = later.pop(0)
        kept -= len(turn)
        gone += turn
        excess -= sum(map(length, turn))
    rest = [entry for turn in later for entry in turn]
    return (*first, *([_told(gone, lines)] if gone else []), *rest)


def _turns(entries: Sequence[Entry]) -> list[list[Entry]]:
    """What must stay together: a model's turn and the answers to its calls; anything else alone."""
    turns: list[list[Entry]] = []
    for entry in entries:
        if isinstance(entry, ToolAnswered) and turns:
            turns[-1].append(entry)
        else:
            turns.append([entry])
    return turns


def _told(gone: Sequence[Entry], most: int) -> HouseSaid:
    """The turns that are left out, the newest of them in a line each."""
    lines = [_line(entry) for entry in gone[-most:]] if most else []
    head = f"{len(gone)} earlier messages are left out to fit what you can read."
    return HouseSaid(text="\n".join([f"{head} The last of them:", *lines] if lines else [head]))


def _line(entry: Entry) -> str:
    match entry:
        case PersonSaid():
            said = f"- person: {entry.text}"
        case ModelSaid():
            called = ", ".join(call.tool for call in entry.calls)
            said = f"- you: {entry.text}" + (f" [called {called}]" if called else "")
        case ToolAnswered():
            said = f"- {entry.tool}: {words(entry.outcome)}"
        case HouseSaid():
            said = f"- house: {entry.text}"
    plain = " ".join(said.split())
    return plain if len(plain) <= _LINE else f"{plain[: _LINE - 1]}…"
