"""What an undo does, as pure functions of what was written down and of how places stand now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from msgspec import Struct

from .state import Changed, State
from .tape import Began, Ended, Left, Line, Step, Undoing, Undone

ELSE = "somebody else has changed it since"
SHARED = "another task was at work in this folder then: whose change it is, is not known"
NOT_KEPT = "what stood there could not be kept: too large, not readable, or no plain file"
NOT_TAKEN = "it is too large to be kept, or no plain file, so it is not taken away"
CUT_OFF = "it was cut off before it could be told what it changed"

Stands = Callable[[str], State]
"""How a place stands now."""


class Entry(NamedTuple):
    """One change that was written down; `number` is its place among all of the task."""

    number: int
    call: str
    change: Changed


class Past(Struct, frozen=True, kw_only=True):
    """One undo that was begun; `over`: it was carried out, but for what `failed`."""

    begun: Undoing
    over: bool = False
    failed: tuple[Left, ...] = ()

    @property
    def left(self) -> tuple[Left, ...]:
        return (*self.begun.left, *self.failed)

    @property
    def not_done(self) -> frozenset[str]:
        return frozenset(one.path for one in self.failed)


class Told(Struct, frozen=True, kw_only=True):
    """All that was written down about one task. `standing` are changes that count, oldest first;
    `calls` says of each call why its changes are not known, empty if they are; `roots` in which
    folders they worked, links followed."""

    entries: tuple[Entry, ...] = ()
    standing: tuple[Entry, ...] = ()
    calls: Mapping[str, str] = {}
    apart: tuple[str, ...] = ()
    roots: frozenset[str] = frozenset()
    past: tuple[Past, ...] = ()

    @property
    def unfinished(self) -> Undoing | None:
        return self.past[-1].begun if self.past and not self.past[-1].over else None


def told(lines: Iterable[Line]) -> Told:
    entries: list[Entry] = []
    calls: dict[str, str] = {}
    apart: set[str] = set()
    roots: set[str] = set()
    past: list[Past] = []
    for line in lines:
        match line:
            case Began():
                calls[line.call] = CUT_OFF
                roots.update({line.root} - {""})
            case Ended():
                calls[line.call] = line.unknown
                apart.update(line.apart)
                for one in line.changes:
                    entries.append(Entry(len(entries), line.call, one))
            case Undoing():
                past.append(Past(begun=line))
            case Undone() if past:
                past[-1] = Past(begun=past[-1].begun, over=True, failed=line.left)
            case Undone():
                pass  # what it ended was forgotten meanwhile
    gone = _gone(past, entries)
    return Told(
        entries=tuple(entries),
        standing=tuple(one for one in entries if one.number not in gone),
        calls=calls,
        apart=tuple(sorted(apart)),
        roots=frozenset(roots),
        past=tuple(past),
    )


def _gone(past: Sequence[Past], entries: Sequence[Entry]) -> set[int]:
    """The changes that count no more. What an undo did not bring about stays as it was."""
    gone: set[int] = set()
    for one in past:
        if one.over:
            done = partial(_elsewhere, entries, one.not_done)
            gone |= set(filter(done, one.begun.gone))
            gone -= set(filter(done, one.begun.back))
    return gone


def _elsewhere(entries: Sequence[Entry], paths: frozenset[str], number: int) -> bool:
    return entries[number].change.path not in paths


class Plan(Struct, frozen=True, kw_only=True):
    """What is put back, which changes then count no more or again, and what is left alone."""

    steps: tuple[Step, ...] = ()
    gone: tuple[int, ...] = ()
    back: tuple[int, ...] = ()
    left: tuple[Left, ...] = ()


def backwards(entries: Sequence[Entry], stands: Stands, others: Sequence[Entry] = ()) -> Plan:
    """Newest first, place by place, as far as the task's own changes lead back without a gap.

    `others` are changes of the task that are not to be undone: they explain what stands there.
    """
    steps: list[Step] = []
    gone: list[int] = []
    left: list[Left] = []
    for path, chain in _by_path(entries).items():
        start = state = stands(path)
        for entry in reversed(chain):
            back, why = _before(entry, state, others)
            if why:
                left.append(Left(path=path, why=why))
                break
            state = back
            gone.append(entry.number)
        if state != start:
            steps.append(Step(path=path, was=start, now=state))
    return Plan(steps=tuple(steps), gone=tuple(sorted(gone)), left=tuple(left))


def _before(entry: Entry, state: State, others: Sequence[Entry]) -> tuple[State, str]:
    """How the place stood before this change; or why that is not for us to say."""
    change = entry.change
    if state == change.was:
        return state, ""
    if change.unsure:
        return state, SHARED
    if state != change.now:
        for other in others:
            if other.change.path == change.path and other.change.now == state:
                return state, f"call {other.call} of this task changed it later"
        return state, ELSE
    if not change.was.whole:
        return state, NOT_KEPT
    if not state.whole:
        return state, NOT_TAKEN
    return change.was, ""


def again(past: Past, stands: Stands, entries: Sequence[Entry]) -> Plan:
    """The way back of an undo that was carried out."""
    steps: list[Step] = []
    left: list[Left] = []
    for step in past.begun.steps:
        state = stands(step.path)
        if step.path in past.not_done or state == step.was:
            continue
        if state == step.now:
            steps.append(Step(path=step.path, was=step.now, now=step.was))
        else:
            left.append(Left(path=step.path, why=ELSE))
    kept = past.not_done | {one.path for one in left}
    done = partial(_elsewhere, entries, kept)
    return Plan(
        steps=tuple(steps),
        gone=tuple(filter(done, past.begun.back)),
        back=tuple(filter(done, past.begun.gone)),
        left=tuple(left),
    )


class Act(NamedTuple):
    """Half of a step: what is there goes away, or what is to be there comes."""

    step: Step
    comes: bool


def in_order(steps: Iterable[Step]) -> list[Act]:
    """First what goes (deepest first, folders last), then folders (from above), then contents."""
    acts: list[Act] = []
    for step in steps:
        replaced = step.was.has_content and step.now.has_content
        same = replaced or step.was.kind == step.now.kind
        acts += [Act(step, comes=False)] if step.was.kind != "none" and not same else []
        acts += [Act(step, comes=True)] if step.now.kind != "none" else []
    return sorted(acts, key=_turn)


def _turn(act: Act) -> tuple[int, int, str]:
    path = act.step.path
    depth = path.count("/")
    if not act.comes:
        return int(act.step.was.kind == "dir"), -depth, path
    return (2, depth, path) if act.step.now.kind == "dir" else (3, depth, path)


def _by_path(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(entry.change.path, []).append(entry)
    return found
