#!/usr/bin/env python3
"""Remove or invert every check of the gate, one at a time: some test must notice each.

Every function is compiled once with all its mutants inside, each behind a switch. The tests are
collected once; for each mutant a fork of that process turns one switch and runs the tests that
reach it until one fails: first those that have noticed its neighbours, then the quickest. What
survives is printed, and is the exit code.

    python scripts/mutants.py                    all of it, as JSON
    python scripts/mutants.py core/egress.py     one module
    python scripts/mutants.py --every 8          each eighth mutant
    python scripts/mutants.py --again told.json  those that survived an earlier run
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib.abc
import importlib.util
import json
import os
import signal
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest
from _pytest.runner import runtestprotocol

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src"
EQUIVALENT = ROOT / "scripts" / "mutants.toml"
GATE = "core/gate/"
MODULES = (
    *("core/gate/book.py", "core/gate/commands.py"),
    *("core/gate/hearing.py", "core/gate/hours.py", "core/gate/judge.py", "core/gate/labels.py"),
    *("core/gate/matter.py", "core/gate/plan.py", "core/gate/policy.py", "core/gate/presets.py"),
    *("core/gate/servers.py", "core/gate/standing.py", "core/gate/suggest.py"),
    *("core/gate/using.py", "core/gate/vouching.py"),
    *("core/rules/calls.py", "engine/authority.py", "core/egress.py", "doors/http/auth.py"),
    *("runtime/answerers.py", "runtime/answering.py", "runtime/domains.py", "runtime/warrants.py"),
)
TESTS = (
    *("tests/core/test_gate_rules.py", "tests/core/test_gate_commands.py"),
    *("tests/core/test_gate_checks.py", "tests/core/test_policy.py", "tests/core/test_labels.py"),
    *("tests/core/test_gate_book.py", "tests/core/test_gate_conditions.py"),
    "tests/core/test_plan.py",
    *("tests/core/test_plan_places.py", "tests/core/test_hearing.py"),
    *("tests/core/test_vouching.py", "tests/core/test_servers_described.py"),
    *("tests/core/test_approvals.py", "tests/core/test_calls.py", "tests/core/test_money.py"),
    *("tests/core/test_turns.py", "tests/core/test_habits.py", "tests/core/test_replay.py"),
    *("tests/core/test_answerers.py", "tests/core/test_trust.py"),
    *("tests/core/test_egress.py", "tests/engine/test_leases.py", "tests/engine/test_authority.py"),
    *("tests/doors/test_policy.py", "tests/doors/test_keys.py", "tests/doors/test_gate.py"),
    *("tests/doors/test_answering.py", "tests/doors/test_trust.py"),
    *("tests/doors/test_http_native.py", "tests/attack/test_the_http_door.py"),
    *("tests/attack/test_commands_in_disguise.py", "tests/attack/test_no_way_around.py"),
)
_SECONDS, _SLOWER = 15, 20
_NEGATED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_EDGE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
}
_ON = "__mutant__"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One check, removed or turned round."""

    number: int
    module: str
    line: int
    function: str
    change: str

    @property
    def name(self) -> str:
        return f"{self.module}::{self.function}: {self.change}"


@dataclass(slots=True)
class Switch:
    """Which mutant is on, and which were reached."""

    on: int = 0
    reached: set[int] = field(default_factory=set[int])

    def __call__(self, number: int) -> bool:
        self.reached.add(number)
        return number == self.on


SWITCH = Switch()


def changed_tests(test: ast.expr) -> Iterator[tuple[ast.expr, str]]:
    """What stands in place of a condition: the other way round, always, never."""
    text = ast.unparse(test)
    match test:
        case ast.Compare(ops=[_]) | ast.UnaryOp(op=ast.Not()):
            pass  # the check itself is turned round
        case _:
            yield ast.UnaryOp(op=ast.Not(), operand=copy.deepcopy(test)), f"not ({text})"
    yield ast.Constant(value=True), f"True for {text}"
    yield ast.Constant(value=False), f"False for {text}"


def changed(node: ast.expr) -> Iterator[tuple[ast.expr, str]]:
    """What stands in place of an expression that checks something."""
    text = ast.unparse(node)
    match node:
        case ast.Compare(ops=[only]):
            for table in (_NEGATED, _EDGE):
                if type(only) in table:
                    other = copy.deepcopy(node)
                    other.ops = [table[type(only)]()]
                    yield other, f"{ast.unparse(other)} for {text}"
        case ast.BoolOp(op=op, values=values):
            other = copy.deepcopy(node)
            other.op = ast.Or() if isinstance(op, ast.And) else ast.And()
            yield other, f"{ast.unparse(other)} for {text}"
            for place, value in enumerate(values):
                less = copy.deepcopy(node)
                del less.values[place]
                left = less if len(less.values) > 1 else less.values[0]
                yield left, f"without {ast.unparse(value)}: {text}"
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield copy.deepcopy(operand), f"{ast.unparse(operand)} for {text}"
        case ast.Call(func=ast.Name(id="any" | "all" as word)):
            other = copy.deepcopy(node)
            other.func = ast.Name(id="all" if word == "any" else "any", ctx=ast.Load())
            yield other, f"{ast.unparse(other)} for {text}"
        case ast.Constant(value=bool() as value):
            yield ast.Constant(value=not value), f"{not value} for {value}"
        case _:
            return


class Planter(ast.NodeTransformer):
    """Puts every mutant of a module into it. Each is made of the original, so none are nested."""

    def __init__(self, module: str, first: int) -> None:
        self.module, self.next = module, first
        self.mutants: list[Mutant] = []
        self._inside: list[str] = []

    def _new(self, node: ast.AST, change: str) -> ast.Call:
        number, self.next = self.next, self.next + 1
        where, line = ".".join(self._inside), getattr(node, "lineno", 0)
        short = " ".join(change.split())
        self.mutants.append(
            Mutant(number=number, module=self.module, line=line, function=where, change=short)
        )
        name = ast.Name(id=_ON, ctx=ast.Load())
        return ast.Call(func=name, args=[ast.Constant(value=number)], keywords=[])

    def _switched(
        self, node: ast.expr, whole: ast.expr, others: Iterable[tuple[ast.expr, str]]
    ) -> ast.expr:
        for other, change in others:
            whole = ast.IfExp(test=self._new(node, change), body=other, orelse=whole)
        return whole

    def planted(self, source: str) -> ast.Module:
        """The whole module, every function of it with its mutants."""
        tree = ast.parse(source)
        self.visit(tree)
        return ast.fix_missing_locations(tree)

    def visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            return self._function(node)
        if isinstance(node, ast.ClassDef):
            self._inside.append(node.name)
            self.generic_visit(node)
            self._inside.pop()
            return node
        if not self._inside or not self._in_function:
            return self.generic_visit(node)
        return self._planted(node)

    _in_function = False

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        outer, self._in_function = self._in_function, True
        self._inside.append(node.name)
        node.body = [self.visit(one) for one in node.body]  # type: ignore[misc]
        self._inside.pop()
        self._in_function = outer
        return node

    def _planted(self, node: ast.AST) -> ast.AST:
        original = copy.deepcopy(node)
        if isinstance(node, ast.match_case):
            return self._case(node)
        if isinstance(node, ast.JoinedStr | ast.arguments | ast.AnnAssign):
            return node  # words, and words about types
        self.generic_visit(node)
        match node, original:
            case ast.If() | ast.While() | ast.IfExp(), ast.If() | ast.While() | ast.IfExp():
                others = changed_tests(original.test)
                node.test = self._switched(original.test, node.test, others)
            case ast.comprehension(), ast.comprehension():
                pairs = zip(node.ifs, original.ifs, strict=True)
                node.ifs = [self._switched(old, one, changed_tests(old)) for one, old in pairs]
            case (ast.Raise() | ast.Continue(), _) | (ast.Expr(value=ast.Call()), _):
                gone = self._new(original, f"without `{ast.unparse(original)}`")
                keep = ast.UnaryOp(op=ast.Not(), operand=gone)
                return ast.If(test=keep, body=[node], orelse=[])
            case ast.expr(), ast.expr():
                return self._switched(original, node, changed(original))
            case _:
                return node
        return node

    def _case(self, node: ast.match_case) -> ast.AST:
        """Patterns stay as they are; a guard is a check."""
        if node.guard is not None:
            old = copy.deepcopy(node.guard)
            node.guard = self._switched(old, self.visit(node.guard), changed_tests(old))  # type: ignore[arg-type]
        node.body = [self.visit(one) for one in node.body]  # type: ignore[misc]
        return node


class Loader(importlib.abc.Loader, importlib.abc.MetaPathFinder):
    """Gives the chosen modules with their mutants in them."""

    def __init__(self, modules: Sequence[str]) -> None:
        self._paths = {f"holdfast.{one[:-3].replace('/', '.')}": one for one in modules}
        self.mutants: list[Mutant] = []

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        if fullname not in self._paths:
            return None
        place = SOURCE / "holdfast" / self._paths[fullname]
        return importlib.util.spec_from_file_location(fullname, place, loader=self)

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        name = self._paths[module.__name__]
        path = SOURCE / "holdfast" / name
        planter = Planter(name, 1 + len(self.mutants))
        tree = planter.planted(path.read_text(encoding="utf-8"))
        self.mutants += planter.mutants
        module.__dict__[_ON] = SWITCH
        exec(compile(tree, str(path), "exec"), module.__dict__)  # noqa: S102 - our own source


@dataclass(slots=True, kw_only=True)
class Run:
    """What became of the mutants: who killed each."""

    every: int
    loader: Loader
    again: frozenset[str] = frozenset()
    killed: dict[int, str] = field(default_factory=dict[int, str])
    survived: list[Mutant] = field(default_factory=list[Mutant])
    tried: list[Mutant] = field(default_factory=list[Mutant])
    failing: list[str] = field(default_factory=list[str])

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        reach = self._reach(session.items)
        wanted = (one for one in self.loader.mutants if not self.again or one.name in self.again)
        self.tried = list(wanted)[:: self.every]
        began, good = time.monotonic(), Counter[tuple[tuple[str, str], str]]()
        for count, mutant in enumerate(self.tried, start=1):
            place = mutant.module, mutant.function
            found = [
                (-good[place, item.nodeid], took, at, item)
                for at, (item, (took, hit)) in enumerate(reach.items())
                if mutant.number in hit
            ]
            killer = _noticed(mutant.number, [(item, took) for _, took, _, item in sorted(found)])
            if killer:
                self.killed[mutant.number] = killer
                good[place, killer] += 1
            else:
                self.survived.append(mutant)
                print(f"survives: {mutant.line}: {mutant.name}", file=sys.stderr, flush=True)
            if count % 25 == 0:
                spent = time.monotonic() - began
                left = f"{count} of {len(self.tried)} in {spent:.0f} s"
                print(f"{left}, {len(self.survived)} survive", file=sys.stderr, flush=True)
        return True

    def _reach(self, items: Sequence[pytest.Item]) -> dict[pytest.Item, tuple[float, set[int]]]:
        """How long each test takes, and which mutants it reaches; asked of a fork."""
        told = _forked(lambda: [_measured(item) for item in items], 900)
        rows: list[tuple[bool, float, list[int]]] = json.loads(told or b"[]")
        pairs = list(zip(items, rows, strict=True))
        self.failing += [item.nodeid for item, (good, _, _) in pairs if not good]
        return {item: (took, set(hit)) for item, (good, took, hit) in pairs if good}


def _passes(item: pytest.Item) -> bool:
    return not any(report.failed for report in runtestprotocol(item, log=False, nextitem=None))


def _measured(item: pytest.Item) -> tuple[bool, float, list[int]]:
    SWITCH.reached.clear()
    began = time.monotonic()
    good = _passes(item)
    return good, time.monotonic() - began, sorted(SWITCH.reached)


def _noticed(number: int, items: Sequence[tuple[pytest.Item, float]]) -> str:
    """The first test that fails with this mutant on, or takes very much longer than it does
    without; empty if none does."""
    if not items:
        return ""

    def until_one_fails() -> str:
        SWITCH.on = number
        for item, took in items:
            signal.alarm(_SECONDS + round(_SLOWER * took))
            if not _passes(item):
                return item.nodeid
        return ""

    told = _forked(until_one_fails, _SECONDS)
    return "it never ended" if told is None else json.loads(told)


def _forked(work: Callable[[], object], seconds: int) -> bytes | None:
    """What a fork of this process says, as JSON; None if it died or did not end in time."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        signal.alarm(seconds)
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        try:
            told = json.dumps(work()).encode()
            with os.fdopen(writing, "wb") as pipe:
                pipe.write(told)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    return told or None


def excused() -> dict[str, str]:
    """Mutants that change nothing that anybody could see, and why."""
    if not EQUIVALENT.exists():
        return {}
    rows = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8"))["equivalent"]
    return {row["mutant"]: row["why"] for row in rows}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Remove or invert every check of the gate.")
    parser.add_argument("modules", nargs="*", default=list(MODULES), help="below src/holdfast")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="each Nth mutant")
    parser.add_argument("--again", type=Path, metavar="FILE", help="survivors of an earlier run")
    parser.add_argument("--tests", nargs="*", default=list(TESTS), help="which tests may notice")
    given = parser.parse_args(arguments)
    sys.path.insert(0, str(ROOT))
    loader = Loader(given.modules)
    sys.meta_path.insert(0, loader)
    before = json.loads(given.again.read_text())["survivors"] if given.again else ()
    again = frozenset(one.partition(": ")[2] for one in before)
    run = Run(every=max(1, given.every), loader=loader, again=again)
    tests = [one for one in given.tests if (ROOT / one.partition("::")[0]).exists()]
    options = ["-p", "no:terminal", "--rootdir", str(ROOT)]
    code = pytest.main([*options, *(str(ROOT / one) for one in tests)], plugins=[run])
    why = excused()
    left = [one for one in run.survived if one.name not in why]
    told = {
        "mutants": len(run.tried),
        "killed": len(run.killed),
        "survivors": [f"{one.line}: {one.name}" for one in left],
        "equivalent": {one.name: why[one.name] for one in run.survived if one.name in why},
        "tests that fail without any": run.failing,
    }
    print(json.dumps(told, indent=2))
    return 1 if left or run.failing or not run.tried or code not in {0, 5} else 0


if __name__ == "__main__":
    sys.exit(main())
