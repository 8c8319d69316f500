"""Is an audit whole? And where not: which record, and what was done to it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain as joined
from itertools import islice
from pathlib import Path
from typing import Literal

from msgspec import Struct

from holdfast.core.audit.chain import GONE, Checkpoint, leaf_of, link_of
from holdfast.core.error import Unavailable

from .bundle import (
    Check,
    Seal,
    Sealed,
    Signed,
    State,
    begun,
    by_key,
    fingerprint,
    followed,
    read,
    unhexed,
)

What = Literal["changed", "removed", "reordered", "inserted", "cut off", "untrusted"]
_RECORD = re.compile(
    rb'\{"seq":([1-9][0-9]{0,15}),"leaf":"([0-9a-f]{64})","hash":"([0-9a-f]{64})","body":(.+)\}\n'
)


class Finding(Struct, frozen=True, kw_only=True):
    """The first thing that is wrong. `record` is the number it is about, `line` where it shows."""

    what: What
    record: int
    line: int
    says: str


class Proof(Struct, frozen=True, kw_only=True):
    """What was looked at, and what is wrong: nothing, if `finding` is None.

    `gone`: records of which only the hashes are left. `keys` are fingerprints of who signed;
    records after number `signed` no checkpoint covers.
    """

    size: int
    gone: int
    checkpoints: int
    signed: int
    keys: tuple[str, ...]
    finding: Finding | None = None

    @property
    def ok(self) -> bool:
        return self.finding is None


def proved(state: State, finding: Finding | None = None) -> Proof:
    return Proof(
        size=state.chain.size,
        gone=state.gone,
        checkpoints=state.checkpoints,
        signed=state.signed,
        keys=tuple(map(fingerprint, state.keys)),
        finding=finding,
    )


def prove_file(
    path: Path,
    check: Check,
    *,
    key: str = "",
    kept: Checkpoint | None = None,
    mirror: bool = False,
) -> Proof:
    """Look at an export, or a mirror, without a daemon or a home.

    `key` is the fingerprint it must be signed with, `kept` a checkpoint from earlier that it must
    go on from. Raises `Unavailable` if the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            proof, passed = prove(file, check, kept, State() if mirror else None)
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {error.strerror}", code="no_export") from error
    if proof.finding is None and kept is not None and not passed:
        proof = _against(proof, "cut off", kept.size, "it does not go on from your checkpoint")
    if proof.finding is None and key and (not proof.keys or proof.keys[-1] != key):
        who = proof.keys[-1] if proof.keys else "nobody"
        proof = _against(proof, "untrusted", proof.size, f"it is signed by {who}, not by {key}")
    return proof


def prove(
    lines: Iterable[bytes],
    check: Check,
    kept: Checkpoint | None = None,
    state: State | None = None,
) -> tuple[Proof, bool]:
    """Also whether the records lead through the checkpoint `kept`. With a `state` to begin from
    there is neither a first nor a last line: it is a mirror."""
    rest, mirror, passed = iter(lines), state is not None, False
    if state is None:
        first = next(rest, b"")
        state = begun(first)
        if state is None:
            return proved(State(), _of_header(first)), False
    for number, text in enumerate(rest, start=1 if mirror else 2):
        after = followed(state, text, check)
        if after is None:
            return proved(state, located(state, number, joined((text,), rest), check)), passed
        state = after
        passed = passed or (
            kept is not None
            and (state.chain.size, state.chain.head.hex()) == (kept.size, kept.head)
        )
    return proved(state, None if mirror else unfinished(state)), passed


def unfinished(state: State) -> Finding | None:
    """What is wrong with a file that ends here."""
    return None if state.ended else _cut(state, 2 + state.chain.size + state.checkpoints)


def located(state: State, number: int, lines: Iterator[bytes], check: Check) -> Finding:
    """What is wrong with the first of `lines`, which `followed` did not take after `state`."""
    text = next(lines)
    if not text.endswith(b"\n"):
        return _cut(state, number)
    if state.ended:
        return _finding("inserted", state.chain.size, number, "something stands behind the end")
    if record := _RECORD.fullmatch(text):
        return _of_record(state, number, record, lines)
    if signed := read(text, Signed):
        return _of_signed(state, number, signed.checkpoint, check)
    if sealed := read(text, Sealed):
        return _of_signed(state, number, sealed.end, check)
    return _of_nothing(state, number, lines)


def _of_record(
    state: State, number: int, record: re.Match[bytes], lines: Iterator[bytes]
) -> Finding:
    due, seq = state.chain.size + 1, int(record[1])
    leaf, own, body = unhexed(record[2]), unhexed(record[3]), record[4]
    if seq != due and own == link_of(state.chain, leaf):
        return _finding("changed", due, number, f"record {due} says that it is {seq}")
    if seq < due:
        return _finding("inserted", seq, number, f"record {seq} stands here a second time")
    following = {int(found[1]) for one in _ahead(lines, due, seq) if (found := _RECORD.match(one))}
    if seq == due:
        if due in following:
            return _finding("inserted", due, number, f"a second record {due} stands before it")
        fits = body == GONE or leaf_of(body) == leaf
        why = "its hash does not follow from the one before" if fits else "its hash is another"
        return _finding("changed", due, number, f"record {due} was changed: {why}")
    if seq in following:
        return _finding("inserted", seq, number, f"record {seq} stands here, before its place")
    if due in following:
        return _finding("reordered", due, number, f"record {seq} stands in the place of {due}")
    return _finding("removed", due, number, f"{_records(due, seq - 1)} gone")


def _ahead(lines: Iterator[bytes], due: int, seq: int) -> Iterator[bytes]:
    """Those of the lines that are about one of two records; for the due one only the next."""
    heads = (b'{"seq":%d,' % due, b'{"seq":%d,' % seq)
    near = islice(lines, 2) if seq == due else lines
    return (one for one in near if one.startswith(heads))


def _of_signed(state: State, number: int, said: Checkpoint | Seal, check: Check) -> Finding:
    here, size = state.chain.size, said.size
    what = "the checkpoint" if isinstance(said, Checkpoint) else "the last line"
    if not by_key(said, check):
        return _finding("changed", here, number, f"{what} after record {here} was changed")
    if size > here:
        return _finding("removed", here + 1, number, f"{_records(here + 1, size)} gone")
    if size < here or (isinstance(said, Checkpoint) and size <= state.signed):
        return _finding("inserted", size, number, f"{what} of {size} records does not belong here")
    if isinstance(said, Seal) and said.header != state.digest:
        return _finding("changed", 0, 1, "the first line was changed")
    if isinstance(said, Seal) and said.gone != state.gone:
        says = f"of {state.gone} records only the hashes are left; when this was sealed, of "
        return _finding("changed", size, number, f"{says}{said.gone}")
    if isinstance(said, Seal) and state.signed < size:
        return _finding("removed", size, number, f"the checkpoint of {size} records is gone")
    if isinstance(said, Checkpoint) and said.previous != state.signed:
        gone = f"the checkpoint of {said.previous} records is gone"
        return _finding("removed", said.previous, number, gone)
    first = state.signed + 1
    rewritten = f"what is signed is not this: {_records(first, size)} not what they were"
    return _finding("changed", first, number, rewritten)


def _of_nothing(state: State, number: int, lines: Iterator[bytes]) -> Finding:
    """A line that cannot be read: which one it was is told by the one behind it."""
    due = state.chain.size + 1
    behind = _RECORD.match(next(lines, b""))
    between = (behind is not None and int(behind[1]) == due) or _is_over(state, due)
    if between:
        says = f"what stands after record {due - 1} cannot be read"
        return _finding("changed", due - 1, number, says)
    return _finding("changed", due, number, f"record {due} was changed: it cannot be read")


def _is_over(state: State, due: int) -> bool:
    return state.header is not None and due > state.header.size


def _of_header(first: bytes) -> Finding:
    if first.endswith(b"\n"):
        return _finding("changed", 0, 1, "the first line is not one of an exported audit")
    return _finding("cut off", 0, 1, "it ends in its first line")


def _cut(state: State, number: int) -> Finding:
    here = state.chain.size
    whole = state.header.size if state.header else 0
    if whole > here:
        says = f"it ends after record {here}: {_records(here + 1, whole)} gone"
        return _finding("cut off", here + 1, number, says)
    return _finding("cut off", here, number, "its end is gone")


def _records(first: int, last: int) -> str:
    return f"record {first} is" if first == last else f"records {first} to {last} are"


def _finding(what: What, record: int, number: int, says: str) -> Finding:
    return Finding(what=what, record=record, line=number, says=says)


def _against(proof: Proof, what: What, record: int, says: str) -> Proof:
    return Proof(
        size=proof.size,
        gone=proof.gone,
        checkpoints=proof.checkpoints,
        signed=proof.signed,
        keys=proof.keys,
        finding=_finding(what, record, 0, says),
    )
