"""Is this installation sound? One finding per thing looked at, worst news in plain words."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from holdfast.core.error import HoldfastError
from holdfast.ports.box import Boxes
from holdfast.ports.journal import Journal
from holdfast.ports.mcp import ServerState

from .permissions import Exposed, close, exposed

_LOW_DISK = 1 << 30
_TOLD = 20
_FIX = "holdfast doctor --fix"
_NEEDED = ("files", "system", "network", "pids", "capabilities", "environment")


class Finding(Struct, frozen=True, kw_only=True):
    """What was looked at and how it is: `level` is ok, warn or fail."""

    name: str
    level: str
    detail: str
    hint: str = ""


async def examine(
    home: Path, journal: Journal | None, boxes: Boxes, model: Finding, warnings: Sequence[str]
) -> list[Finding]:
    """Every finding about this installation. `journal` None: a daemon has it, so it is in use.

    `model` is what `model` says of the models that were found.
    """
    found = [_python(), *_private(home), _disk(home)]
    found += [Finding(name="configuration", level="warn", detail=text) for text in warnings]
    if not warnings:
        found.append(Finding(name="configuration", level="ok", detail="complete and valid"))
    return [*found, await _history(journal), await _walls(boxes), model]


def model(found: str, *, offline: bool) -> Finding:
    """The finding about the models that were `found`; `offline` if none but the rules answer."""
    if not offline:
        return Finding(name="model", level="ok", detail=found)
    hint = "set a key such as ANTHROPIC_API_KEY, or start Ollama; see docs/guides/models.md"
    return Finding(name="model", level="warn", detail=found, hint=hint)


def vault(kept: int, problems: Sequence[HoldfastError]) -> list[Finding]:
    """The findings about where secrets are kept: how many, and each that is not used."""
    if not problems:
        return [Finding(name="vault", level="ok", detail=f"{kept} secrets, for their owner alone")]
    return [
        Finding(name="vault", level="fail", detail=str(problem), hint=problem.hint)
        for problem in problems
    ]


def noted(notes: Sequence[tuple[str, str]]) -> list[Finding]:
    """What a person should know of single providers."""
    return [Finding(name=f"provider: {name}", level="warn", detail=note) for name, note in notes]


def doubted(doubts: Sequence[tuple[str, str]]) -> list[Finding]:
    """The models that are configured and cannot be asked: nobody would notice until they must."""
    return [Finding(name=f"model: {name}", level="warn", detail=why) for name, why in doubts]


def servers(states: Sequence[ServerState]) -> list[Finding]:
    """The servers of tools: which are used, and each that nobody agreed to as it is."""
    found = [
        Finding(
            name=f"mcp: {one.name}",
            level="warn",
            detail="; ".join([one.state, *(line.strip() for line in one.changes[:_TOLD])]),
            hint=one.problem,
        )
        for one in states
        if one.problem
    ]
    good = [f"{one.name} ({one.tools} tools)" for one in states if not one.problem]
    return [*found, *([Finding(name="mcp", level="ok", detail=", ".join(good))] if good else [])]


def fixed(home: Path) -> list[Finding]:
    """Close what others could open, and say so: they may have seen what it says."""
    return [
        Finding(name="fixed", level="ok", detail=f"{path} is for its owner alone now")
        for path in close(exposed(home))
    ]


def _python() -> Finding:
    return Finding(name="python", level="ok", detail=sys.version.split()[0])


def _private(home: Path) -> list[Finding]:
    found = exposed(home)
    if not found:
        detail = "everything here is for its owner alone"
        return [Finding(name="permissions", level="ok", detail=detail)]
    told = [_private_finding(one) for one in found[:_TOLD]]
    if len(found) > _TOLD:
        detail = f"and {len(found) - _TOLD} more files and folders"
        told.append(Finding(name="permissions", level="fail", detail=detail, hint=_FIX))
    return told


def _private_finding(one: Exposed) -> Finding:
    quoted = shlex.quote(str(one.path))
    hint = f"chown it to yourself: {quoted}" if one.foreign else f"chmod go-rwx {quoted}, or {_FIX}"
    return Finding(name="permissions", level="fail", detail=one.problem, hint=hint)


def _disk(home: Path) -> Finding:
    free = shutil.disk_usage(home).free
    level = "ok" if free > _LOW_DISK else "warn"
    return Finding(name="disk", level=level, detail=f"{free / (1 << 30):.1f} GiB free")


async def _history(journal: Journal | None) -> Finding:
    if journal is None:
        return Finding(name="history", level="ok", detail="in use by the running daemon")
    try:
        health = await journal.verify()
    except HoldfastError as error:
        return Finding(name="history", level="fail", detail=str(error), hint=error.hint)
    if health.problems:
        hint = "holdfast restore <backup>"
        detail = "; ".join(health.problems[:3])
        return Finding(name="history", level="fail", detail=detail, hint=hint)
    detail = f"{health.streams} tasks, {health.events} events, every chain verifies"
    return Finding(name="history", level="ok", detail=detail)


async def _walls(boxes: Boxes) -> Finding:
    try:
        walls = await boxes.probe()
    except HoldfastError as error:
        return Finding(name="box", level="fail", detail=str(error), hint=error.hint)
    missing = [name for name in _NEEDED if walls.walls.get(name, "none") == "none"]
    strengths: dict[str, list[str]] = {"enforced": [], "soft": [], "none": []}
    for name, how in walls.walls.items():
        strengths[how].append(name)
    said = "; ".join(f"{how}: {', '.join(names)}" for how, names in strengths.items() if names)
    detail = f"{walls.kind} ({said})"
    if missing or walls.problems:
        detail = "; ".join([detail, *walls.problems])
    return Finding(name="box", level="fail" if missing else "ok", detail=detail)
