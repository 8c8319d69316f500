"""The suite: every attack by name, made against one kind of box, and what came of it."""

from __future__ import annotations

import os
import time
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Collection,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import nullcontext, suppress
from types import ModuleType
from typing import Literal, cast

import anyio
import msgspec
from msgspec import Struct
from msgspec.structs import asdict

from holdfast.core.error import HoldfastError
from holdfast.ports.box import BoxKind, Exit, Strength

from . import hosting, planting, proxies
from .field import LIMITS, PYTHON, Field, Trial, open_field, way_out
from .inside import files, ipc, kernel, network, processes, resources, terminal
from .inside.attack import Attack, Blocked, NotHere
from .means import Means
from .proofs import PROOFS

Verdict = Literal["won", "blocked", "not applicable", "not run"]
_INSIDE: tuple[ModuleType, ...] = (files, processes, kernel, network, ipc, terminal, resources)
_OUTSIDE: tuple[ModuleType, ...] = (hosting, planting, proxies)
_LONGEST = 45.0
_SPARE = 30.0
_TRIES = 2


class Entry(Struct, frozen=True, kw_only=True):
    """One attack of the list: what it tries, which wall is to stop it, where it is made."""

    name: str
    topic: str
    tries: str
    wall: str
    place: Literal["inside", "outside"]


class Result(Struct, frozen=True, kw_only=True):
    """What came of one attack. `unprotected`: what came of it without any box, if tried."""

    entry: Entry
    verdict: Verdict
    detail: str
    unprotected: Verdict | None = None

    @property
    def vacuous(self) -> bool:
        """It cannot win on this machine at all: that it was blocked proves nothing."""
        return self.unprotected is not None and self.unprotected != "won"


class Report(Struct, frozen=True, kw_only=True):
    """What one kind of box withstood."""

    kind: str
    user: int
    seconds: float
    results: tuple[Result, ...]
    walls: Mapping[str, Strength]

    def count(self, verdict: Verdict) -> int:
        return sum(each.verdict == verdict for each in self.results)

    @property
    def won(self) -> tuple[Result, ...]:
        return tuple(each for each in self.results if each.verdict == "won")

    def strength(self, entry: Entry) -> Strength:
        """What the kind itself says of the wall: a soft one is known to give way for a moment."""
        return self.walls.get(entry.wall, "enforced")

    @property
    def breached(self) -> tuple[Result, ...]:
        """Wins over walls that were said to be enforced."""
        return tuple(each for each in self.won if self.strength(each.entry) == "enforced")

    def beside(self, control: Report) -> Report:
        """The same, with what came of each attack without any box."""
        known = {each.entry.name: each.verdict for each in control.results}
        return msgspec.structs.replace(
            self,
            results=tuple(
                msgspec.structs.replace(each, unprotected=known.get(each.entry.name))
                for each in self.results
            ),
        )


Say = Callable[[Result], None]


def _attacks(module: ModuleType) -> Iterator[Attack]:
    return (each for each in vars(module).values() if isinstance(each, Attack))


def _trials(module: ModuleType) -> Iterator[Trial]:
    for each in vars(module).values():
        if isinstance(each, Trial):
            yield each
        elif isinstance(each, tuple):
            several = cast("tuple[object, ...]", each)
            yield from (one for one in several if isinstance(one, Trial))


def _topic(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


def entries() -> tuple[Entry, ...]:
    """The list of all attacks."""
    inside = (
        Entry(name=a.name, topic=_topic(module), tries=a.tries, wall=a.wall, place="inside")
        for module in _INSIDE
        for a in _attacks(module)
    )
    outside = (
        Entry(name=t.name, topic=_topic(module), tries=t.tries, wall=t.wall, place="outside")
        for module in _OUTSIDE
        for t in _trials(module)
    )
    return (*inside, *outside)


async def run(
    kind: BoxKind,
    means: Means,
    say: Say = lambda _: None,
    *,
    only: Collection[str] = (),
    own_network: bool = False,
) -> Report:
    """Make the attacks against boxes of `kind` and what stands around them.

    `own_network`: this process is in a network that is its own, where decoys may have the
    addresses of others.
    """
    began, results = time.monotonic(), list[Result]()

    def tell(entry: Entry, verdict: Verdict, detail: str) -> None:
        results.append(Result(entry=entry, verdict=verdict, detail=detail[:500]))
        say(results[-1])

    wanted = {each.name: each for each in entries() if not only or each.name in only}
    async with open_field(kind, means, own_network=own_network) as field:
        for module in _INSIDE:
            named = [each for each in _attacks(module) if each.name in wanted]
            async for name, verdict, detail in _inside(field, _topic(module), named):
                tell(wanted[name], verdict, detail)
        if not field.no_python and any(each.topic == "resources" for each in wanted.values()):
            with suppress(HoldfastError):  # what is left of its memory is no ground for more
                await field.renew()
        for module in _OUTSIDE:
            trials = [each for each in _trials(module) if each.name in wanted]
            async with way_out(field) if module is proxies and trials else nullcontext():
                for each in trials:
                    tell(wanted[each.name], *await _outside(each.run, field))
    seconds = time.monotonic() - began
    return Report(
        kind=kind.name,
        user=os.getuid(),
        seconds=seconds,
        results=tuple(results),
        walls=(await kind.probe()).walls,
    )


class _Said(Struct, frozen=True):
    """A line of what runs in the box."""

    name: str
    verdict: Verdict
    detail: str


_LINE = msgspec.json.Decoder(_Said)


async def _inside(
    field: Field, topic: str, attacks: Sequence[Attack]
) -> AsyncGenerator[tuple[str, Verdict, str]]:
    """Those that are gentle in one command, the others each in its own."""
    if field.no_python:
        for each in attacks:
            yield each.name, "not run", field.no_python
        return
    gentle = [each for each in attacks if not each.alone]
    told = await _said(field, topic, gentle) if gentle else {}
    for each in attacks:
        said = told.get(each.name) or (await _said(field, topic, [each])).get(each.name)
        verdict, detail = said or ("blocked", "the command was ended")
        if each.proof:
            verdict, detail = await _proved(field, each, verdict, detail)
        yield each.name, verdict, detail


async def _said(
    field: Field, topic: str, attacks: Sequence[Attack]
) -> dict[str, tuple[Verdict, str]]:
    facts = field.ground.facts(asdict(LIMITS))
    names = [each.name for each in attacks]
    seconds = min(_LONGEST, _SPARE + sum(each.seconds for each in attacks))
    ended = ""
    for _ in range(_TRIES):
        try:
            out = await field.box.exec(
                [*PYTHON, topic, *names], stdin=msgspec.json.encode(facts), seconds=seconds
            )
            told = dict[str, tuple[Verdict, str]]()
            if out.timed_out and len(names) == 1:
                told[names[0]] = "not run", f"nothing was said within {seconds:g} s"
            told |= {each.name: (each.verdict, each.detail) for each in _lines(out)}
            if len(told) == len(names) or await field.works():
                return told
            ended = "nothing runs in it any more"
        except HoldfastError as error:
            ended = str(error)
        try:
            await field.renew()
        except HoldfastError as error:
            return dict.fromkeys(names, ("not run", f"there is no other box: {error}"))
    return {} if len(names) > 1 else {names[0]: ("blocked", f"its box ended: {ended}")}


def _lines(out: Exit) -> Iterator[_Said]:
    for line in out.stdout.splitlines():
        with suppress(msgspec.DecodeError):
            yield _LINE.decode(line)


async def _proved(
    field: Field, attack: Attack, verdict: Verdict, detail: str
) -> tuple[Verdict, str]:
    """What the host sees counts: against what was claimed, and against what was denied."""
    seen = await PROOFS[attack.name](field)
    if seen:
        return "won", seen
    if verdict == "won":
        return "blocked", f"{detail}, but the host saw nothing of it"
    return verdict, detail


async def _outside(trial: Callable[[Field], Awaitable[str]], field: Field) -> tuple[Verdict, str]:
    """An attack that finds its box dead proves nothing: it is made once more, in another."""
    came: tuple[Verdict, str] = "not run", ""
    for _ in range(_TRIES):
        try:
            with anyio.fail_after(_LONGEST):
                return "won", await trial(field)
        except Blocked as held:
            return "blocked", str(held)
        except NotHere as odd:
            return "not applicable", str(odd)
        except TimeoutError:
            return "won", f"it hung for {_LONGEST:g} s"
        except HoldfastError as error:
            came = "blocked", str(error)
        except OSError as error:
            came = "not run", f"the attack itself broke: {error}"
        if field.no_python or await field.works():
            break
        try:
            await field.renew()
        except HoldfastError as error:
            return "not run", f"there is no other box: {error}"
    return came
