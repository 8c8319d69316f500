#!/usr/bin/env python3
"""Hold the sizes and habits that keep the code readable.

Limits per function, class, module and room of the heart; who may catch everything or import inside
a function; no import knot. The few exceptions stand by name in ratchet.toml.
"""

import ast
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Code lines of a room, and of the heart that must be readable in an afternoon; the gate and what
# proves it, which are read by themselves, are counted by themselves.
APART = ("core/gate", "core/audit")
ROOMS = {"core": 3000, "engine": 1500, "core ports engine": 5000, " ".join(APART): 1700}
# A socket is what an adapter must do: a protocol of at most so many code lines.
PROTOCOL = 40
LIMITS = {"functions": 60, "modules": 600, "classes": 200, "broad_excepts": 0, "local_imports": 0}
TOTALS = {"broad_excepts": 5, "local_imports": 3}
WORDS = {
    "functions": "lines",
    "modules": "lines",
    "classes": "lines",
    "broad_excepts": "catching everything",
    "local_imports": "imports in a function",
}

Ratchet = Mapping[str, Mapping[str, int]]
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One thing that was counted; `kind` is a table of ratchet.toml, `where` its name there."""

    kind: str
    where: str
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a node stands: `module.py::Class.function`, and whether that runs only when called."""

    name: str
    runs_later: bool = False

    def within(self, node: Definition) -> "Place":
        dot = "" if self.name.endswith("::") else "."
        later = self.runs_later or not isinstance(node, ast.ClassDef)
        return Place(name=f"{self.name}{dot}{node.name}", runs_later=later)


def measure(root: Path) -> list[Measure]:
    found: list[Measure] = []
    for path in sorted([*(root / "src").rglob("*.py"), *(root / "scripts").rglob("*.py")]):
        name, text = path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")
        found += measure_module(name, text)
    return found


def rooms(root: Path) -> Iterator[str]:
    """The rooms of the heart that have grown beyond their budget, in lines of code."""
    for room, limit in ROOMS.items():
        folders = [root / "src" / "holdfast" / name for name in room.split()]
        paths = [
            path
            for folder in folders
            for path in folder.rglob("*.py")
            if room == " ".join(APART) or not any(each in path.as_posix() for each in APART)
        ]
        amount = sum(code_lines(path.read_text(encoding="utf-8")) for path in paths)
        if amount > limit:
            yield f"{room}: {amount} lines of code, allowed {limit}"
    yield from sockets(root)


def sockets(root: Path) -> Iterator[str]:
    """Protocols of `ports` that ask more of an adapter than fits on a page."""
    for path in sorted((root / "src" / "holdfast" / "ports").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef) and "Protocol" in map(ast.unparse, node.bases):
                amount = code_lines(ast.unparse(node))
                if amount > PROTOCOL:
                    yield f"{path.name}::{node.name}: {amount} lines of code, allowed {PROTOCOL}"


def code_lines(text: str) -> int:
    """Lines that are neither blank nor comment nor docstring."""
    prose: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | Definition) and ast.get_docstring(node, clean=False):
            said = node.body[0]
            prose.update(range(said.lineno, (said.end_lineno or said.lineno) + 1))
    return sum(
        bool(line.strip()) and not line.lstrip().startswith("#") and number not in prose
        for number, line in enumerate(text.splitlines(), start=1)
    )


def measure_module(name: str, text: str) -> list[Measure]:
    tree = ast.parse(text, filename=name)
    found = [Measure(kind="modules", where=name, amount=len(text.splitlines()))]
    for where, node in definitions(tree, f"{name}::"):
        kind = "classes" if isinstance(node, ast.ClassDef) else "functions"
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        found.append(Measure(kind=kind, where=where, amount=lines))
    places = list(placed(tree, Place(name=f"{name}::")))
    broad = [place.name for place, node in places if is_broad(node)]
    local = [place.name for place, node in places if place.runs_later and is_import(node)]
    return found + count("broad_excepts", broad) + count("local_imports", local)


def count(kind: str, places: Iterable[str]) -> list[Measure]:
    amounts: dict[str, int] = {}
    for place in places:
        amounts[place] = amounts.get(place, 0) + 1
    return [Measure(kind=kind, where=where, amount=amount) for where, amount in amounts.items()]


def definitions(tree: ast.AST, prefix: str) -> Iterator[tuple[str, Definition]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Definition):
            yield prefix + node.name, node
            yield from definitions(node, f"{prefix}{node.name}.")
        else:
            yield from definitions(node, prefix)


def placed(tree: ast.AST, place: Place) -> Iterator[tuple[Place, ast.AST]]:
    """Every node with the definitions around it."""
    for node in ast.iter_child_nodes(tree):
        yield place, node
        yield from placed(node, place.within(node) if isinstance(node, Definition) else place)


def is_import(node: ast.AST) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom)


def is_broad(node: ast.AST) -> bool:
    match node:
        case ast.ExceptHandler(type=caught):
            return caught is None or names_everything(caught)
        case ast.Call(func=ast.Name(id="suppress") | ast.Attribute(attr="suppress"), args=given):
            return any(names_everything(argument) for argument in given)
        case _:
            return False


def names_everything(caught: ast.expr) -> bool:
    parts = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    names = {part.id for part in parts if isinstance(part, ast.Name)}
    return bool(names & {"Exception", "BaseException"})


def complaints(found: list[Measure], ratchet: Ratchet) -> Iterator[str]:
    for kind, limit in LIMITS.items():
        allowed = ratchet.get(kind, {})
        needed = {x.where: x.amount for x in found if x.kind == kind and x.amount > limit}
        for where, amount in sorted(needed.items()):
            if amount > allowed.get(where, limit):
                yield f"{where}: {amount} {WORDS[kind]}, allowed {allowed.get(where, limit)}"
        for where, amount in sorted(allowed.items()):
            if amount > needed.get(where, 0):
                yield f"ratchet.toml [{kind}] {where}: needs only {needed.get(where, 0)}, shrink it"
        if sum(allowed.values()) > TOTALS.get(kind, sys.maxsize):
            yield f"ratchet.toml [{kind}]: never more than {TOTALS[kind]} in all"
    for kind in sorted(ratchet.keys() - LIMITS.keys()):
        yield f"ratchet.toml: nothing is measured as {kind!r}"


def imports_at_top(root: Path) -> dict[str, set[str]]:
    """Who imports whom when loaded. `if TYPE_CHECKING` counts: the reader depends all the same."""
    paths: dict[str, Path] = {}
    for path in sorted((root / "src").rglob("*.py")):
        parts = path.relative_to(root / "src").with_suffix("").parts
        paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    graph: dict[str, set[str]] = {}
    for name, path in paths.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        loading = Place(name=f"{name}::")
        at_top = [node for place, node in placed(tree, loading) if not place.runs_later]
        graph[name] = {x for node in at_top for x in targets(node, package, paths)} - {name}
    return graph


def targets(node: ast.AST, package: str, known: Mapping[str, Path]) -> Iterator[str]:
    match node:
        case ast.Import(names=aliases):
            yield from (alias.name for alias in aliases if alias.name in known)
        case ast.ImportFrom(module=module, level=level, names=aliases):
            above = ".".join(package.split(".")[: package.count(".") + 2 - level]) if level else ""
            source = ".".join(part for part in (above, module) if part)
            for alias in aliases:
                # `from room import thing`: the module `room.thing` if there is one, else `room`.
                inner = f"{source}.{alias.name}"
                name = inner if inner in known else source
                if name in known:
                    yield name
        case _:
            return


def knots(graph: Mapping[str, set[str]]) -> Iterator[list[str]]:
    """Modules that reach each other. There should be none: the largest knot is one module."""
    reach = {name: reachable(name, graph) for name in graph}
    seen: set[str] = set()
    for name in sorted(graph):
        knot = {other for other in reach[name] if name in reach[other]} | {name}
        if name not in seen and len(knot) > 1:
            yield sorted(knot)
        seen |= knot


def reachable(start: str, graph: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    ahead = [start]
    while ahead:
        for name in graph.get(ahead.pop(), set()) - found:
            found.add(name)
            ahead.append(name)
    return found


def main() -> int:
    ratchet = tomllib.loads((ROOT / "ratchet.toml").read_text(encoding="utf-8"))
    wrong = list(complaints(measure(ROOT), ratchet))
    wrong += rooms(ROOT)
    wrong += [f"import knot: {', '.join(knot)}" for knot in knots(imports_at_top(ROOT))]
    print("\n".join(wrong) or "sizes hold")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
