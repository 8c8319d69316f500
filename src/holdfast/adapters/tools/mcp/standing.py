"""How each server stands, from what is configured, added and agreed to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from holdfast.core.error import HoldfastError
from holdfast.core.mcp import ServerSpec
from holdfast.ports.mcp import ServerState

from . import lock, saved
from .lock import Agreed, Entry, Lock
from .offers import Offer

LOCKFILE, ADDED = "mcp.lock.json", "mcp.json"


class Books(Struct, frozen=True, kw_only=True):
    """What is written in the home; `problem` says why that cannot be believed."""

    lock: Lock = Lock()
    added: Mapping[str, ServerSpec] = {}
    problem: HoldfastError | None = None


def books(home: Path) -> Books:
    """Nothing is believed of a file that is damaged: then no server is trusted."""
    try:
        return Books(lock=lock.read(home / LOCKFILE), added=saved.read(home / ADDED))
    except HoldfastError as problem:
        return Books(problem=problem)


def specs(configured: Iterable[ServerSpec], kept: Books) -> dict[str, ServerSpec]:
    """All servers by name; the configuration goes before what was added."""
    return {**kept.added, **{spec.name: spec for spec in configured}}


def states(configured: Iterable[ServerSpec], kept: Books) -> list[ServerState]:
    """How they all stand, by name."""
    told = tuple(configured)
    names = {spec.name for spec in told}
    everyone = specs(told, kept)
    return [_state(everyone[name], kept, added=name not in names) for name in sorted(everyone)]


def trusted(spec: ServerSpec, kept: Books) -> Entry | None:
    """What a person agreed to, if it is that server and still what it was."""
    entry = kept.lock.servers.get(spec.name)
    if entry is None or entry.quarantine or entry.place != lock.place(spec):
        return None
    return entry


def wanted(spec: ServerSpec, offer: Offer, name: str) -> bool:
    """Whether the owner of the house wants it, by the server's name for it or by ours."""
    return any(fnmatchcase(one, pattern) for pattern in spec.tools for one in (offer.name, name))


def agreed(spec: ServerSpec, offer: Offer) -> Agreed:
    """With what is configured now about its effect."""
    matches = next((one for one in spec.effects if fnmatchcase(offer.name, one)), "")
    return lock.agreed(offer, lock.effect(spec, offer, matches))


def _state(spec: ServerSpec, kept: Books, *, added: bool) -> ServerState:
    state = ServerState(
        name=spec.name,
        kind="url" if spec.url else "command",
        where=lock.where(spec),
        state="untrusted",
        source="added" if added else "configuration",
        agents=spec.agents,
    )
    if kept.problem is not None:
        return replace(state, problem=f"{kept.problem}; {kept.problem.hint}".strip("; "))
    entry = kept.lock.servers.get(spec.name)
    if entry is None:
        what = f"nobody has agreed to its tools yet: holdfast mcp trust {spec.name}"
        return replace(state, problem=what)
    if entry.place != lock.place(spec):
        now = lock.where(spec)
        moved = entry.where if entry.where != now else "the same, with other headers or variables"
        changes = ("it is not the server that was agreed to", f"  - {moved}", f"  + {now}")
        return replace(state, state="quarantined", problem=_look(spec), changes=changes)
    if entry.quarantine is not None:
        changes = entry.quarantine.changes
        return replace(state, state="quarantined", problem=_look(spec), changes=changes)
    return replace(state, state="trusted", tools=len(entry.tools))


def _look(spec: ServerSpec) -> str:
    return (
        f"it is not what was agreed to any more; to look and agree: holdfast mcp trust {spec.name}"
    )
