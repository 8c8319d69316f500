"""What a person agreed to: the lockfile, and how a server differs from it."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from holdfast.adapters import private
from holdfast.core.error import Broken, Unavailable
from holdfast.core.foreign import NotJson, decoded
from holdfast.core.ids import Instant, digest
from holdfast.core.mcp import ServerSpec
from holdfast.core.message import EffectClass

from .offers import Hints, Offer

_LARGEST = 64 << 20
_LINES, _WIDE = 200, 300


class Agreed(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tool as it was agreed to; the hashes are of its description and its schema."""

    offer: Offer
    effect: EffectClass
    description: str
    schema: str


class Quarantine(Struct, frozen=True, kw_only=True):
    """Since when a server is not what was agreed to, and how."""

    since: Instant
    changes: tuple[str, ...]


class Entry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One server: what it was (`place` is the digest of where and how it runs), and its tools."""

    place: str
    where: str
    trusted_at: Instant
    tools: tuple[Agreed, ...] = ()
    resources: bool = False
    updates: bool = False
    quarantine: Quarantine | None = None

    @property
    def offers(self) -> tuple[Offer, ...]:
        return tuple(tool.offer for tool in self.tools)


class Lock(Struct, frozen=True, kw_only=True):
    """The whole file."""

    version: int = 1
    servers: Mapping[str, Entry] = {}

    def having(self, name: str, entry: Entry | None) -> Lock:
        rest = {key: one for key, one in self.servers.items() if key != name}
        return replace(self, servers=rest if entry is None else {**rest, name: entry})


def read(path: Path) -> Lock:
    """Raises `Broken` for a file that cannot be believed, `Unavailable` if it cannot be read."""
    data = private.read(path, _LARGEST)
    if data is None:
        return Lock()
    try:
        lock = decoded(data, Lock)
    except NotJson as error:
        raise _damaged(path, str(error)) from None
    if lock.version != 1:
        raise _damaged(path, f"version {lock.version} is not known")
    for name, entry in lock.servers.items():
        for tool in entry.tools:
            if (tool.description, tool.schema) != _hashes(tool.offer):
                raise _damaged(path, f"{name}: {tool.offer.name} does not fit its hashes")
    return lock


def write(path: Path, lock: Lock) -> None:
    """On the disk, whole, when this returns. Raises `Unavailable`."""
    ordered = replace(lock, servers=dict(sorted(lock.servers.items())))
    data = msgspec.json.format(msgspec.json.encode(ordered), indent=2)
    try:
        private.write(path, data + b"\n")
    except OSError as error:
        what = f"{path} cannot be written: {error.strerror}"
        raise Unavailable(what, code="not_kept", hint="holdfast doctor") from error


def agreed(offer: Offer, effect: EffectClass) -> Agreed:
    description, schema = _hashes(offer)
    return Agreed(offer=offer, effect=effect, description=description, schema=schema)


def place(spec: ServerSpec) -> str:
    """Another place, command or reach into the box is another server, whatever it is called."""
    return digest(
        [
            list(spec.command),
            spec.url,
            dict(spec.headers),
            dict(spec.environment),
            list(spec.reveal),
            list(spec.read_only),
        ]
    )


def where(spec: ServerSpec) -> str:
    """A line that names the server for a person."""
    return spec.url or " ".join(spec.command)


def effect(spec: ServerSpec, offer: Offer, matches: str) -> EffectClass:
    """What a second run of the tool would do: our word, or the server's where it is believed."""
    if matches:
        return spec.effects[matches]
    if spec.believe_hints and offer.hints.read_only_hint:
        return EffectClass.READS
    if spec.believe_hints and offer.hints.idempotent_hint:
        return EffectClass.REPEATABLE
    return EffectClass.WRITES


def drifted(before: Sequence[Offer], now: Sequence[Offer]) -> bool:
    """A new or changed tool. One that is missing is no danger: it is not offered meanwhile."""
    known = {offer.name: offer for offer in before}
    return any(known.get(offer.name) != offer for offer in now)


def changes(before: Sequence[Offer], now: Sequence[Offer]) -> tuple[str, ...]:
    """The difference, for a person: a line for each tool, and under it what changed."""
    lines = list(_changes({o.name: o for o in before}, {o.name: o for o in now}))
    if len(lines) > _LINES:
        lines = [*lines[:_LINES], f"({len(lines) - _LINES} more lines)"]
    return tuple(line if len(line) <= _WIDE else f"{line[:_WIDE]}…" for line in lines)


def _changes(before: Mapping[str, Offer], now: Mapping[str, Offer]) -> Iterator[str]:
    for name in sorted(before.keys() | now.keys()):
        old, new = before.get(name), now.get(name)
        if old == new:
            continue
        if old is None and new is not None:
            yield f"{name}: is new"
            yield from (f"  + {line}" for line in new.description.splitlines())
        elif new is None:
            yield f"{name}: is gone"
        elif old is not None:
            yield from _changed(name, old, new)


def _changed(name: str, old: Offer, new: Offer) -> Iterator[str]:
    if old.description != new.description:
        yield f"{name}: its description changed"
        yield from _lines(old.description, new.description)
    if old.schema != new.schema:
        yield f"{name}: its arguments changed"
        yield from _lines(_pretty(old.schema), _pretty(new.schema))
    if old.hints != new.hints:
        yield f"{name}: what it says of its effects changed"
        yield from _lines(_pretty(old.hints), _pretty(new.hints))


def _lines(old: str, new: str) -> Iterator[str]:
    for line in difflib.ndiff(old.splitlines()[:_LINES], new.splitlines()[:_LINES]):
        if line[:2] in {"+ ", "- "}:
            yield f"  {line}"


def _pretty(value: dict[str, object] | Hints) -> str:
    return msgspec.json.format(msgspec.json.encode(value, order="sorted"), indent=2).decode()


def _hashes(offer: Offer) -> tuple[str, str]:
    return digest(offer.description), digest([offer.schema, msgspec.to_builtins(offer.hints)])


def _damaged(path: Path, why: str) -> Broken:
    hint = f"move it away; then `holdfast mcp trust NAME` shows each server anew: {path}"
    return Broken(f"{path} is damaged: {why}", code="mcp_lock_damaged", hint=hint)
