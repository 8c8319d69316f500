"""`holdfast crashtest`: dies at every kind of moment and proves that nothing came of it."""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import anyio
import msgspec
from msgspec import Struct

from holdfast.adapters.stores.sqlite import open_sqlite
from holdfast.ports.journal import Journal

from .crash import Proof, random_story, survive
from .daemon import Daemon, stage
from .lives import MANY_LANES, Lives, Moment
from .lossyfs import LossyDisk, why_not
from .outside import Found, Outside, examine

_PATIENCE = 60.0
_DEPTH = 120

Say = Callable[[str], None]


class Part(Struct, frozen=True, kw_only=True):
    """One kind of dying: how often, how long it took, what was found, in which moments."""

    name: str
    deaths: int
    seconds: float
    found: Found
    moments: dict[str, int] = {}
    skipped: str = ""


def in_process(at_least: int, seed: int, say: Say = lambda _: None) -> Part:
    """Random stories over SQLite, dying between any two steps of the engine."""
    dice, began, proofs = random.Random(seed), time.monotonic(), list[Proof]()
    stories: list[int] = []
    with stage("crash") as folder:
        while sum(proof.crashes for proof in proofs) < at_least:
            story = random_story(dice)
            at = {dice.randint(1, _DEPTH) for _ in range(dice.randint(1, 8))}
            path = folder / f"{len(proofs)}.db"
            proofs.append(anyio.run(_survived, path, story, at))
            stories.append(len(story.names))
            path.unlink()
            if len(proofs) % 50 == 0:
                say(f"  {sum(proof.crashes for proof in proofs)} crash points")
    crashes = sum(proof.crashes for proof in proofs)
    found = Found(
        acknowledged=sum(stories),
        lost=tuple(text for proof in proofs for text in proof.lost),
        repeated=tuple(text for proof in proofs for text in proof.repeated),
        answers=tuple(text for proof in proofs for text in proof.answers),
        refolds=tuple(t for proof in proofs for t in proof.damage if "summary" in t),
        chains=tuple(t for proof in proofs for t in proof.damage if "summary" not in t),
    )
    return Part(name="in process", deaths=crashes, seconds=_since(began), found=found)


async def _survived(path: Path, story: Any, at: set[int]) -> Proof:
    def again() -> AbstractAsyncContextManager[Journal]:
        return open_sqlite(path, now=1)

    with anyio.fail_after(_PATIENCE):
        return await survive(again, story, *at)


def kills(count: int, tasks: int, seed: int, say: Say = lambda _: None) -> Part:
    """A real daemon with real boxes, killed with SIGKILL again and again."""
    began = time.monotonic()
    with stage("kill") as folder:
        home, outside = folder / "home", Outside(folder / "workspace")
        with Daemon(home, MANY_LANES) as daemon:
            lives = Lives(daemon, outside, random.Random(seed), tasks)
            for number in range(1, count + 1):
                lives.live()
                if number % 10 == 0:
                    say(f"  {number} kills")
            lives.finish()
        found = anyio.run(examine, home / "holdfast.db", lives.acknowledged, outside)
    moments = dict(lives.moments.most_common())
    return Part(name="kill -9", deaths=count, seconds=_since(began), found=found, moments=moments)


def power_cuts(count: int, tasks: int, seed: int, say: Say = lambda _: None) -> Part:
    """The home on a disk that forgets what was not synced; every other cut also tears writes."""
    if why := why_not():
        return Part(name="power cuts", deaths=0, seconds=0.0, found=Found(), skipped=why)
    began, found, moments = time.monotonic(), Found(), dict[str, int]()
    for torn, share in ((False, count - count // 2), (True, count // 2)):
        if share:
            more, when = _cut_off(share, tasks, seed, torn=torn, say=say)
            found = _together(found, more)
            moments = {k: moments.get(k, 0) + when.get(k, 0) for k in moments | when}
    return Part(
        name="power cuts", deaths=count, seconds=_since(began), found=found, moments=moments
    )


def _cut_off(
    count: int, tasks: int, seed: int, *, torn: bool, say: Say
) -> tuple[Found, dict[str, int]]:
    with stage("cut") as folder:
        outside, dice = Outside(folder / "workspace"), random.Random(seed)
        with LossyDisk(folder, torn=torn, seed=seed) as disk:
            home = disk.path / "home"
            with Daemon(home, MANY_LANES) as daemon:
                lives = Lives(daemon, outside, dice, tasks)
                for number in range(1, count + 1):
                    # The first life is long enough to have something to lose.
                    lives.live(Moment("CallSettled") if number == 1 else None)
                    disk.cut()
                    disk.mount()
                    say(f"  {number} {'torn ' if torn else ''}power cuts")
                lives.finish()
            found = anyio.run(examine, home / "holdfast.db", lives.acknowledged, outside)
    return found, dict(lives.moments)


def _together(one: Found, other: Found) -> Found:
    fields = Found.__struct_fields__
    return Found(**{name: getattr(one, name) + getattr(other, name) for name in fields})


def lines(parts: list[Part]) -> list[str]:
    """The proof, as lines. A number other than 0 behind a colon is a failure."""
    whole = Found()
    for part in parts:
        whole = _together(whole, part.found)
    told = [
        ("tasks submitted and acknowledged", whole.acknowledged),
        ("lost", len(whole.lost)),
        ("unsafe effects repeated", len(whole.repeated)),
        ("effects claimed that did not happen once", len(whole.untrue)),
        ("calls without exactly one answer", len(whole.answers)),
        ("refold differs", len(whole.refolds)),
        ("chain breaks", len(whole.chains)),
    ]
    return [_died(part) for part in parts] + [f"{text + ':':44}{n:>7,}" for text, n in told]


def _died(part: Part) -> str:
    if part.skipped:
        return f"{part.name:12} skipped: {part.skipped}"
    when = ", ".join(f"{kind} {count}" for kind, count in part.moments.items())
    calls = f", {part.found.calls} calls, {part.found.unknown} unknown" if part.found.calls else ""
    return f"{part.name:12} {part.deaths:>6} in {part.seconds:.0f} s{calls}{when and f' ({when})'}"


def _since(began: float) -> float:
    return round(time.monotonic() - began, 1)


def _failures(parts: list[Part]) -> list[str]:
    groups = ("lost", "repeated", "untrue", "answers", "refolds", "chains")
    return [
        f"{part.name}: {group}: {text}"
        for part in parts
        for group in groups
        for text in getattr(part.found, group)
    ]


def _options(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="holdfast crashtest", description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="kills of a real daemon (20)")
    parser.add_argument("--tasks", type=int, default=1000, help="tasks to submit at most (1000)")
    parser.add_argument("--in-process", type=int, default=300, help="random crash points (300)")
    parser.add_argument("--power-cuts", type=int, default=0, help="cuts on a lossy disk (0)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed, the same moments (1)")
    parser.add_argument("--json", action="store_true", help="the proof as JSON on stdout")
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> int:
    asked = _options(words)

    def say(text: str) -> None:
        sys.stderr.write(f"{text}\n")

    parts: list[Part] = []
    if asked.in_process:
        say("dying in process, between any two steps of the engine")
        parts.append(in_process(asked.in_process, asked.seed, say))
    if asked.kills:
        say("killing a real daemon (SIGKILL) with calls in flight")
        parts.append(kills(asked.kills, asked.tasks, asked.seed, say))
    if asked.power_cuts:
        say("cutting the power under a real daemon's home")
        parts.append(power_cuts(asked.power_cuts, asked.tasks, asked.seed, say))
    holds = all(part.found.holds for part in parts)
    for failure in _failures(parts)[:50]:
        say(failure)
    if asked.json:
        told = {"holds": holds, "seed": asked.seed, "parts": parts}
        sys.stdout.write(msgspec.json.encode(told).decode() + "\n")
    else:
        sys.stdout.write("\n".join(lines(parts)) + "\n")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
