"""`holdfast box test`: hold a kind of box against every attack, and say what came of each."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import anyio
import msgspec
from msgspec import Struct

from holdfast.core.error import Invalid
from holdfast.ports.box import BoxKind, Strength

from .bare import Bare
from .decoys import private_network
from .means import CARELESS, Means
from .suite import Entry, Report, Result, Verdict, entries, run

_DAEMONLESS = frozenset({"bare", "bubblewrap", "degraded"})
_PATIENCE = 600.0
_SIGNS: Mapping[Verdict, str] = {
    "won": "WON",
    "blocked": "blocked",
    "not applicable": "n/a",
    "not run": "not run",
}


class Tested(Struct, frozen=True, kw_only=True):
    """What is told as JSON. `vacuous`: attacks that win nowhere on this machine."""

    kind: str
    user: int
    seconds: float
    won: int
    blocked: int
    not_applicable: int
    not_run: int
    vacuous: int | None
    walls: Mapping[str, Strength]
    results: tuple[Result, ...]


def box_test(
    words: Sequence[str],
    *,
    kinds: Mapping[str, Callable[[], BoxKind]],
    usual: str,
    means: Means,
    private: bool = True,
) -> int:
    """Run what the command line asks for; 1 if any attack won.

    `private`: this process may move into a network of its own.
    """
    given = _parser(usual).parse_args(words)
    if given.box not in kinds:
        known = ", ".join(sorted(kinds))
        raise Invalid(f"there is no kind of box {given.box}", hint=f"choose one of {known}")
    if given.list:
        _list(as_json=given.json)
        return 0
    unknown = set(given.only) - {each.name for each in entries()}
    if unknown:
        names = ", ".join(sorted(unknown))
        raise Invalid(f"there is no attack {names}", hint="holdfast box test --list")
    # A network of our own is for those alone whose boxes are made by this very process.
    own_network = private and given.box in _DAEMONLESS and private_network()
    report = anyio.run(_tested, given, kinds[given.box], means, own_network)
    if given.json:
        _write(msgspec.json.encode(_told(report)).decode())
    else:
        _write("\n".join(table(report)))
    return int(report.count("won") > 0)


def table(report: Report) -> list[str]:
    """What lets a person judge: what won, what stands behind it, and what was not tried."""
    control = any(each.unprotected for each in report.results)
    lines = [_line(each, control=control) for each in report.results]
    counts = Counter(each.verdict for each in report.results)
    summary = ", ".join(f"{counts[verdict]} {verdict}" for verdict in _SIGNS if counts[verdict])
    lines += ["", f"{report.kind}: {summary}, as user {report.user}, {report.seconds:.0f} s"]
    if control:
        vacuous = sum(each.vacuous for each in report.results)
        lines.append(f"{vacuous} of them win nowhere on this machine, even without a box")
    for each in report.won:
        wall = f"{each.entry.wall}, {report.strength(each.entry)}"
        lines.append(f"WON {each.entry.name} ({wall}): {_short(each.detail, 200)}")
    return lines


def _line(result: Result, *, control: bool) -> str:
    bare = ""
    if control:
        bare = f"{'bites' if result.unprotected == 'won' else 'vacuous':<8} "
    sign, entry = _SIGNS[result.verdict], result.entry
    return f"{sign:<8} {bare}{entry.topic:<10} {entry.name:<28} {_short(result.detail)}"


def _short(text: str, most: int = 90) -> str:
    """One line of what came from inside: nothing in it can steer a terminal."""
    clean = "".join(each if each.isprintable() else " " for each in text)
    return clean if len(clean) <= most else clean[: most - 1] + "…"


def _told(report: Report) -> Tested:
    control = any(each.unprotected for each in report.results)
    return Tested(
        kind=report.kind,
        user=report.user,
        seconds=report.seconds,
        won=report.count("won"),
        blocked=report.count("blocked"),
        not_applicable=report.count("not applicable"),
        not_run=report.count("not run"),
        vacuous=sum(each.vacuous for each in report.results) if control else None,
        walls=report.walls,
        results=report.results,
    )


async def _tested(
    given: argparse.Namespace,
    make: Callable[[], BoxKind],
    means: Means,
    own_network: bool,
) -> Report:
    attempt = partial(run, only=frozenset(given.only), own_network=own_network)
    control: Report | None = None
    with anyio.fail_after(_PATIENCE):
        if given.control:
            control = await attempt(Bare(), CARELESS, partial(_progress, "bare"))
        kind = make()
        try:
            report = await attempt(kind, means, partial(_progress, kind.name))
        finally:
            with anyio.CancelScope(shield=True):
                await kind.close()
    return report.beside(control) if control else report


def _progress(kind: str, result: Result) -> None:
    if result.verdict in {"won", "not run"} or not sys.stderr.isatty():
        sys.stderr.write(f"{kind}: {result.entry.name}: {result.verdict}\n")
    else:
        sys.stderr.write(f"\r\x1b[K{kind}: {result.entry.name}\r")
    sys.stderr.flush()


def _list(*, as_json: bool) -> None:
    found = entries()
    if as_json:
        _write(msgspec.json.encode(found).decode())
        return
    _write("\n".join(_row(each) for each in found))
    _write(f"\n{len(found)} attacks")


def _row(entry: Entry) -> str:
    return f"{entry.name:<28} {entry.topic:<10} {entry.wall:<12} {entry.tries}"


def _write(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _parser(usual: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="holdfast box test", description=__doc__)
    parser.add_argument("--box", metavar="KIND", default=usual)
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    parser.add_argument("--control", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--json", action="store_true")
    return parser
