"""Says in words what a value is, what is wrong with a configuration, and where."""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, cast

from pydantic import BaseModel, SecretStr

from .shape import Loc, Schema, at

_SECRET = re.compile(r"key|token|secret|password|credential", re.IGNORECASE)
_HEADER = re.compile(r"^\s*\[{1,2}\s*([^\[\]]+?)\s*\]{1,2}")
_KEY = re.compile(r"""^\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"))*)\s*=""")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_LONG = 60


def problem(loc: Loc, found: Any) -> str:
    """One of pydantic's findings in words: which key, what was expected, what was there."""
    key = ".".join(str(step + 1) if isinstance(step, int) else step for step in loc)
    schema = at(loc)
    if found["type"] == "extra_forbidden":
        known = list(at(loc[:-1]).get("properties", {}))
        return f"{key}: unknown key{meant(str(loc[-1]), known)}"
    if found["type"] == "missing":
        return f"{key}: is missing; it is {expected(schema)}, for example {example(schema)}"
    wanted = f"expected {expected(schema)}"
    if found["type"] == "value_error":
        wanted = str(found["ctx"]["error"])
    there = "" if _hidden(key, wanted) else f", found {short(found['input'], schema)}"
    last = next(step for step in reversed(loc) if isinstance(step, str))
    return f"{key}: {wanted}{there}; for example {last} = {example(at(_named(loc)))}"


def line(text: str, loc: Loc) -> int:
    """The line of a key. Parsers forget positions, so look for the key below its header."""
    wanted = [step for step in loc if isinstance(step, str)]
    index = next((step for step in loc if isinstance(step, int)), None)
    header: list[str] = []
    tables: Counter[str] = Counter()
    best, place, listed = 0, 1, False
    for number, content in enumerate(text.splitlines(), start=1):
        if found := _HEADER.match(content):
            header = path = _split(found[1])
            listed = content.lstrip().startswith("[[")
            tables[".".join(header)] += 1
        elif found := _KEY.match(content):
            path = [*header, *_split(found[1])]
        else:
            continue
        nth = tables[".".join(header)] - 1
        mine = index is None or not listed or nth == index
        if mine and path == wanted[: len(path)] and len(path) > best:
            best, place = len(path), number
    return place


def spot(text: str, loc: Loc) -> str:
    """The line and column of a key."""
    number = line(text, loc)
    content = text.splitlines()[number - 1] if text else ""
    return f"{number}:{len(content) - len(content.lstrip()) + 1}"


def meant(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; there are: {', '.join(known)}"


def expected(schema: Schema) -> str:
    bounds = ""
    if "minimum" in schema:
        bounds = f" from {in_toml(schema['minimum'])} to {in_toml(schema['maximum'])}"
    match schema:
        case {"enum": [*words]}:
            return f"one of {', '.join(map(str, words))}"
        case {"type": "integer"}:
            return f"a whole number{bounds}"
        case {"type": "number"}:
            return f"a number{bounds}"
        case {"type": "boolean"}:
            return "true or false"
        case {"type": "array", "items": {"type": "string"}}:
            return "a list of texts"
        case {"type": "array", "items": {"type": "array"}}:
            return "a list of texts, or of such lists"
        case {"type": "array"}:
            return "a list of tables"
        case {"type": "string"}:
            return "a text"
        case _:
            return "a table"


def example(schema: Schema) -> str:
    none: object = [] if schema.get("type") == "array" else {}
    return in_toml(schema.get("examples", [schema.get("default", none)])[0])


def in_toml(value: Any) -> str:
    match value:
        case None:
            return "none"
        case dict():
            table = cast("dict[str, Any]", value)
            inner = ", ".join(f"{_bare(name)} = {in_toml(one)}" for name, one in table.items())
            return f"{{ {inner} }}" if inner else "{}"
        case list() | tuple():
            items = cast("Sequence[Any]", value)
            return f"[{', '.join(map(in_toml, items))}]"
        case bool() | int() | float() | str():
            return json.dumps(value, ensure_ascii=False)
        case _:
            return str(value)


def _bare(name: str) -> str:
    return name if _BARE.fullmatch(name) else json.dumps(name, ensure_ascii=False)


def by_name(section: BaseModel) -> Iterator[tuple[str, Any]]:
    """The keys of a table as the file writes them, with their values."""
    for name, field in type(section).model_fields.items():
        yield field.alias or name, getattr(section, name)


def masked(key: str, value: Any) -> Any:
    """The value as plain data without its secrets."""
    if isinstance(value, SecretStr):
        return masked(key, value.get_secret_value())
    if isinstance(value, BaseModel):
        return {name: masked(f"{key}.{name}", one) for name, one in by_name(value)}
    if isinstance(value, tuple):
        return [masked(key, one) for one in cast("tuple[Any, ...]", value)]
    if isinstance(value, dict):
        table = cast("dict[str, Any]", value)
        return {name: masked(f"{key}.{name}", one) for name, one in table.items()}
    return "***" if value and _hidden(key) else value


def short(value: Any, schema: Schema) -> str:
    """A value as it was found; of tables, and of what should be one, only that it is there."""
    match value:
        case dict():
            return "a table"
        case list():
            return "a list"
        case str() if expected(schema) in {"a table", "a list of tables"}:
            return "a text"
        case _:
            text = in_toml(value)
            return text if len(text) <= _LONG else f"{text[:_LONG]}…"


def _hidden(key: str, wanted: str = "") -> bool:
    name = key.rpartition(".")[2]
    secret = key.startswith("box.environment.") and _SECRET.search(name)
    return name in {"api_key", "passphrase"} or bool(secret) or "password" in wanted


def _named(loc: Loc) -> Loc:
    """`loc` without the place in a list of texts: the key that a person wrote."""
    while loc and isinstance(loc[-1], int):
        loc = loc[:-1]
    return loc


def _split(dotted: str) -> list[str]:
    return [part.strip().strip("\"'") for part in dotted.split(".")]
