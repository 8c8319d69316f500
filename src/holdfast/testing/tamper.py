"""Tampering with an exported audit in every way there is: is each found, and where it was done?

    python -m holdfast.testing.tamper --records 10000

For every byte of the file: it is flipped, and the file is cut off before it. Every line is deleted,
put in once more elsewhere, and swapped with others; records are forged with hashes that fit. What
comes before a change is as in the sound file, so each try goes on from what was known there, and
reads on as far as the proof does. Some of each are also written to a file and proved as a whole.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain as joined
from pathlib import Path
from typing import NamedTuple

import anyio
import msgspec

from holdfast.adapters.audit.signing import FileSigner, signed
from holdfast.adapters.stores.audit_memory import MemoryAudit
from holdfast.core.audit.chain import Chain, Kept, grown, leaf_of, line
from holdfast.core.audit.fact import Fact, encode
from holdfast.runtime.audit import exported
from holdfast.runtime.bundle import State, begun, followed
from holdfast.runtime.proof import Finding, located, prove_file, unfinished
from holdfast.runtime.proof import prove as prove_lines

_START = 1_790_000_000_000
_EVERY = 1_000
_WHOLE = 500
_BYTES = 100_000_000


@dataclass(kw_only=True)
class Figure:
    """One way of tampering: how often it was tried, found, and found where it was.

    `whole`: so many also as a file; `seconds` of CPU, as a machine may have more to do.
    """

    tried: int = 0
    found: int = 0
    located: int = 0
    whole: int = 0
    seconds: float = 0.0
    missed: list[str] = field(default_factory=list[str])

    @property
    def holds(self) -> bool:
        return 0 < self.tried == self.found == self.located

    def count(self, what: tuple[object, ...], finding: Finding | None, *, right: bool) -> None:
        self.tried += 1
        self.found += finding is not None
        self.located += right
        if not right and len(self.missed) < 5:
            self.missed.append(f"{' '.join(map(str, what))}: {finding or 'not found'}")


class Try(NamedTuple):
    """From line `place` (0 is the first) on, the file has these lines."""

    what: tuple[object, ...]
    place: int
    lines: Iterable[bytes]
    right: Callable[[Finding], bool]


class Export:
    """A sound export in lines, and what is known before each of them."""

    def __init__(self, data: bytes) -> None:
        self.lines = split(data)
        self.states: list[State | None] = [None, begun(self.lines[0])]
        for text in self.lines[1:]:
            state = self.states[-1]
            self.states.append(state and followed(state, text, signed))
        last = self.states[-1]
        if last is None or not last.ended:
            raise AssertionError("the export is not sound to begin with")
        self.size, self.key = last.chain.size, last.keys

    def due(self, place: int) -> int:
        """The number of the record that must come next here."""
        state = self.states[place]
        return state.chain.size + 1 if state else 0

    def is_record(self, place: int) -> bool:
        return self.lines[place].startswith(b'{"seq":')

    def rest(self, place: int) -> Iterator[bytes]:
        return (self.lines[at] for at in range(place, len(self.lines)))

    def first_wrong(self, tried: Try) -> Finding | None:
        """What the proof says of the file."""
        state, rest = self.states[tried.place], iter(tried.lines)
        if state is None:
            return prove_lines(rest, signed)[0].finding
        for number, text in enumerate(rest, start=tried.place + 1):
            after = followed(state, text, signed)
            if after is None:
                return located(state, number, joined((text,), rest), signed)
            state = after
        return unfinished(state)


def split(data: bytes) -> list[bytes]:
    """Into lines as a file is read: at line feeds and nothing else."""
    *whole, last = data.split(b"\n")
    return [text + b"\n" for text in whole] + ([last] if last else [])


async def sound(records: int) -> bytes:
    """An export as a house has it: verdicts and answers, uses, approvals, changes; and of the older
    half only hashes."""
    audit, dice = MemoryAudit(), random.Random(records)
    audit.signer = signer = FileSigner(dice.randbytes(32))
    while audit.size < records - 1:
        audit.tell(_fact(audit.size, dice))
        if not audit.size % _EVERY:
            await audit.checkpoint(_START + audit.size)
    await audit.forget(_START + 7 * (records // 2), at=_START + records)
    pieces = [piece async for piece in exported(audit, signer, _START + records)]
    return b"".join(pieces)


def _fact(number: int, dice: random.Random) -> Fact:
    at, task = _START + 7 * number, f"task_{dice.getrandbits(128):032x}"
    hashed = f"{dice.getrandbits(256):064x}"
    match number % 5:
        case 0:
            return Fact(kind="call.settled", at=at, task=task, event=number, call="c1", code="ok")
        case 1:
            return Fact(kind="secret.used", at=at, task=task, agent="default", secret="github")  # noqa: S106 - a name
        case 2:
            return Fact(kind="call.approved", at=at, task=task, by="user:ann", digest=hashed)
        case 3:
            return Fact(kind="config.changed", at=at, before="cfg-1", after="cfg-2")
        case _:
            rule = "preset read-only: nothing may be changed"
            return Fact(kind="call.judged", at=at, task=task, tool="write", rule=rule)


def flips(export: Export, dice: random.Random) -> Iterator[Try]:
    """Every byte of the file, each in one bit that chance chooses."""
    for place, text in enumerate(export.lines):
        right, behind = _is_at(export, place, "changed", "cut off"), len(text) - 1
        for at in range(len(text)):
            bit = 1 << dice.randrange(8)
            changed = b"%b%c%b" % (text[:at], text[at] ^ bit, text[at + 1 :])
            lines, after = split(changed), place + 1
            if at == behind and after < len(export.lines):  # it runs into the next line
                lines, after = split(changed + export.lines[after]), after + 1
            yield Try(
                what=("flipped line", place + 1, "byte", at, "bit", bit),
                place=place,
                lines=joined(lines, export.rest(after)),
                right=right,
            )


def cuts(export: Export, _dice: random.Random) -> Iterator[Try]:
    """The file ends before each of its bytes."""
    for place, text in enumerate(export.lines):
        right = _is_at(export, place, "cut off")
        for at in range(len(text)):
            lines = (text[:at],) if at else ()
            yield Try(
                what=("cut in line", place + 1, "byte", at), place=place, lines=lines, right=right
            )


def deletions(export: Export, _dice: random.Random) -> Iterator[Try]:
    """Each line is gone."""
    for place in range(len(export.lines)):
        due = export.due(place)
        record = due if export.is_record(place) else due - 1
        if place in (0, len(export.lines) - 1):
            right = _is_at(export, place, "changed", "cut off")
        else:
            right = _is_about(record, "removed")
        yield Try(
            what=("deleted line", place + 1),
            place=place,
            lines=export.rest(place + 1),
            right=right,
        )


def insertions(export: Export, dice: random.Random) -> Iterator[Try]:
    """Each line stands once more somewhere behind the first one."""
    for source, text in enumerate(export.lines):
        place = dice.randrange(1, len(export.lines) + 1)
        if export.is_record(source):
            right = _is_about(export.due(source), "inserted")
            if place == len(export.lines):
                right = _is_line(place, "inserted")
        else:
            right = _is_line(place, "inserted", "changed", "removed", "reordered")
        yield Try(
            what=("put in line", source + 1, "before line", place + 1),
            place=place,
            lines=joined((text,), export.rest(place)),
            right=right,
        )


def swaps(export: Export, dice: random.Random) -> Iterator[Try]:
    """Each record with the next one, and with one that chance chooses."""
    places = [place for place in range(len(export.lines)) if export.is_record(place)]
    for at, first in enumerate(places[:-1]):
        for second in {places[at + 1], places[dice.randrange(at + 1, len(places))]}:
            between = (export.lines[place] for place in range(first + 1, second))
            ends = ((export.lines[second],), between, (export.lines[first],))
            yield Try(
                what=("swapped lines", first + 1, "and", second + 1),
                place=first,
                lines=joined(*ends, export.rest(second + 1)),
                right=_is_about(export.due(first), "reordered"),
            )


def forgeries(export: Export, dice: random.Random) -> Iterator[Try]:
    """Each record says something else, with hashes that fit; every tenth time to the end."""
    for place in range(1, len(export.lines)):
        state, due = export.states[place], export.due(place)
        if state is None or not export.is_record(place):
            continue
        body = encode(_fact(due + 1, dice))
        chain = grown(state.chain, leaf := leaf_of(body))
        forged = line(Kept(due, leaf, chain.head, body))
        rest = export.rest(place + 1)
        if due % 10 == 0:
            first = state.signed + 1
            lines = joined((forged,), _rewritten(export, place + 1, chain))
            right = _is_about(first, "changed")
        else:
            lines, right = joined((forged,), rest), _is_next(due)
        yield Try(what=("forged record", due), place=place, lines=lines, right=right)


def _rewritten(export: Export, place: int, chain: Chain) -> Iterator[bytes]:
    """The records behind a forged one, chained anew; who has no key cannot sign anew."""
    for text in export.rest(place):
        if text.startswith(b'{"seq":'):
            body = text[text.index(b'"body":') + 7 : -2]
            chain = grown(chain, leaf := leaf_of(body))
            yield line(Kept(chain.size, leaf, chain.head, body))
        else:
            yield text


def _is_at(export: Export, place: int, *what: str) -> Callable[[Finding], bool]:
    """In this line; and about this record, if it is one."""
    due, record = export.due(place), export.is_record(place)
    return lambda one: (
        one.what in what and one.line == place + 1 and (not record or one.record == due)
    )


def _is_line(place: int, *what: str) -> Callable[[Finding], bool]:
    return lambda one: one.what in what and one.line == place + 1


def _is_about(record: int, *what: str) -> Callable[[Finding], bool]:
    return lambda one: one.what in what and one.record == record


def _is_next(record: int) -> Callable[[Finding], bool]:
    """Between a forged record and the true one behind it, or at the checkpoint between them."""
    return lambda one: one.what == "changed" and one.record <= record + 1


WAYS = {
    "flip a byte": flips,
    "cut off": cuts,
    "delete a line": deletions,
    "put in a line": insertions,
    "swap two records": swaps,
    "forge a record": forgeries,
}


def tampered(records: int, seed: int = 0) -> dict[str, Figure]:
    """Every way of tampering with an export of so many records."""
    export = Export(anyio.run(sound, records))
    figures: dict[str, Figure] = {}
    for name, way in WAYS.items():
        figures[name] = figure = Figure()
        began = time.process_time()
        for tried in way(export, random.Random(seed)):
            finding = export.first_wrong(tried)
            figure.count(tried.what, finding, right=finding is not None and tried.right(finding))
        figure.seconds = round(time.process_time() - began, 1)
        figure.whole = _as_files(export, way(export, random.Random(seed)), figure)
    return figures


def _as_files(export: Export, tries: Iterator[Try], figure: Figure) -> int:
    """Some of them once more, as a file that is proved from its first line: the same is found."""
    most = min(_WHOLE, max(1, _BYTES // sum(map(len, export.lines))))
    step, count = max(1, figure.tried // most), 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "audit.jsonl")
        for number, tried in enumerate(tries):
            if number % step:
                continue
            path.write_bytes(b"".join([*export.lines[: tried.place], *tried.lines]))
            finding = prove_file(path, signed).finding
            count += 1
            if finding is None or not tried.right(finding):
                figure.count((*tried.what, "as a file"), finding, right=False)
    return count


def main(arguments: Sequence[str] | None = None) -> int:
    """Say how often what was found; 1 unless everything was, in its place."""
    parser = argparse.ArgumentParser(prog="holdfast.testing.tamper")
    parser.add_argument("--records", type=int, default=10_000, help="10000 by default")
    parser.add_argument("--seed", type=int, default=0, help="of what chance chooses")
    parser.add_argument("--json", action="store_true", help="all figures, as JSON")
    given = parser.parse_args(arguments)
    figures = tampered(given.records, given.seed)
    holds = all(figure.holds for figure in figures.values())
    if given.json:
        told = {"records": given.records, "holds": holds}
        told["ways"] = {name: asdict(figure) for name, figure in figures.items()}
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(told)).decode() + "\n")
    else:
        sys.stdout.write("".join(f"{text}\n" for text in _lines(given.records, figures)))
    return 0 if holds else 1


def _lines(records: int, figures: dict[str, Figure]) -> Iterator[str]:
    yield f"an exported audit of {records:,} records"
    for name, one in figures.items():
        yield (
            f"{name:17} {one.tried:10,} tried {one.found:10,} found {one.located:10,} in its place"
            f" {one.whole:4} as files {one.seconds:7.1f} s of CPU"
        )
        yield from (f"    {missed}" for missed in one.missed)
    yield "as it must be" if all(one.holds for one in figures.values()) else "NOT as it must be"


if __name__ == "__main__":
    sys.exit(main())
