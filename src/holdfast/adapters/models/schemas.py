"""JSON Schemas that answers are held against, bounded in every way.

`jsonschema` does the checking. No reference leaves the schema, patterns run in linear time (re2),
sizes and depths are limited, and so is the work of one check.
"""

from __future__ import annotations

import contextvars
import functools
import graphlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, cast
from urllib.parse import unquote

import jsonschema
import msgspec
import re2  # pyright: ignore[reportMissingTypeStubs]
import referencing
from msgspec import Struct

from holdfast.core.error import Invalid
from holdfast.core.ids import canonical

MOST_BYTES = 64 * 1024
_DEEPEST = 64
_WORK = 200_000
_MOST_ERRORS = 20
_SHOWN = 80

# These libraries say little of their types.
_re2, _library = cast("Any", re2), cast("Any", jsonschema)
_Error: Any = _library.ValidationError

_DRAFTS: Mapping[str, Any] = {
    "https://json-schema.org/draft/2020-12/schema": _library.Draft202012Validator,
    "http://json-schema.org/draft-07/schema": _library.Draft7Validator,
}
_NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_LISTED = ("allOf", "anyOf", "oneOf", "prefixItems", "items")
_SINGLE = (
    "not", "if", "then", "else", "items", "additionalItems", "additionalProperties", "contains",
    "propertyNames",
)  # fmt: skip
_IN_PLACE = {"allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas"}
_UNSUPPORTED = {
    "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor", "$anchor",
    "unevaluatedProperties", "unevaluatedItems",
}  # fmt: skip


def check(schema: Mapping[str, Any]) -> None:
    """Raises `Invalid`, saying where, for a schema that answers cannot be held against."""
    try:
        text = canonical(schema)
    except (TypeError, ValueError, RecursionError, msgspec.ValidationError):
        raise _bad("#", "it is not JSON, or nested too deeply") from None
    _validator(text)


class _TooMuch(Exception):
    """The check costs more than it may."""


class _Meter(Struct):
    """How much one check may still cost, and how large each part of the answer is."""

    left: int
    sizes: dict[int, int]

    def pay(self, value: Any) -> None:
        size = len(value) if isinstance(value, str) else self.sizes.get(id(value), 0)
        self.left -= 1 + size // 128
        if self.left < 0:
            raise _TooMuch


_meter: contextvars.ContextVar[_Meter] = contextvars.ContextVar("meter")


def wrong(value: Any, schema: Mapping[str, Any]) -> str:
    """What keeps a value from fitting, in one sentence; empty if it fits. Raises `Invalid`."""
    validator = _validator(canonical(schema))
    sizes: dict[int, int] = {}
    if not _measured(value, sizes, _DEEPEST):
        return f"the answer is nested deeper than {_DEEPEST} levels"
    token = _meter.set(_Meter(left=_WORK, sizes=sizes))
    try:
        errors: list[Any] = []
        for error in validator.iter_errors(value):
            errors.append(error)
            if len(errors) == _MOST_ERRORS:
                break
    except (_TooMuch, RecursionError):
        return "the answer is too large to be checked against the schema"
    finally:
        _meter.reset(token)
    worst = _library.exceptions.best_match(errors)
    return _told(worst) if worst is not None else ""


def _measured(value: Any, sizes: dict[int, int], left: int) -> int:
    """The size of a value, noted for all its parts; 0 if it is nested too deeply."""
    if isinstance(value, str):
        return len(value) + 1
    if not isinstance(value, dict | list):
        return 1
    if not left:
        return 0
    size = 1
    parts = cast("dict[str, Any]", value)
    for one in parts.values() if isinstance(value, dict) else cast("list[Any]", value):
        part = _measured(one, sizes, left - 1)
        if not part:
            return 0
        size += part
    if isinstance(value, dict):
        size += sum(map(len, parts))
    sizes[id(cast("object", value))] = size
    return size


def _told(error: Any) -> str:
    there, keyword, wanted = error.json_path, str(error.validator), error.validator_value
    match keyword:
        case "type":
            names = cast("list[str]", wanted if isinstance(wanted, list) else [wanted])
            said = f"expected {' or '.join(_KINDS.get(str(one), str(one)) for one in names)}"
        case "enum" | "const":
            options = cast("list[Any]", wanted) if keyword == "enum" else [wanted]
            said = f"expected {' or '.join(map(_short, options[:10]))}"
        case "required":
            missing = [name for name in cast("list[str]", wanted) if name not in error.instance]
            return f"at {there}: {', '.join(map(_short, missing[:10]))} missing"
        case "additionalProperties" if error.validator_value is False:
            return f"at {there}: {error.message}"
        case _:
            said = f"expected {keyword} {_short(wanted)}"
    return f"at {there}: {said}, found {_short(error.instance)}"


_KINDS = {
    "object": "an object", "array": "a list", "string": "a string", "number": "a number",
    "integer": "a whole number", "boolean": "true or false", "null": "null",
}  # fmt: skip


def _short(value: Any) -> str:
    text = canonical(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


@functools.lru_cache(maxsize=64)
def _validator(text: str) -> Any:
    """The validator of the schema whose canonical JSON is `text`. Raises `Invalid`."""
    if len(text) > MOST_BYTES:
        raise _bad("#", f"it has {len(text)} characters, the limit is {MOST_BYTES}")
    schema: dict[str, Any] = json.loads(text)
    named = str(schema.pop("$schema", next(iter(_DRAFTS)))).rstrip("#")
    schema.pop("$id", None)
    if named not in _DRAFTS:
        raise _bad("#/$schema", f"unknown: use {' or '.join(_DRAFTS)}")
    draft = _DRAFTS[named]
    try:
        draft.check_schema(schema, format_checker=_library.FormatChecker(formats=()))
    except _library.SchemaError as wrong:
        where = "/".join(["#", *map(str, wrong.absolute_path)])
        raise _bad(where, wrong.message[:300]) from None
    except RecursionError:
        raise _bad("#", "it is nested too deeply") from None
    _check_references(dict(_parts(schema, "#", _DEEPEST)))
    return _bounded(draft)(schema, registry=cast("Any", referencing).Registry())


def _bad(where: str, why: str) -> Invalid:
    hint = "the schema is JSON Schema, draft 2020-12 or 7"
    return Invalid(f"The schema of the answer, at {where}: {why}", code="bad_schema", hint=hint)


def _parts(schema: Any, where: str, left: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema within a schema by its place. Raises `Invalid` for what is not supported."""
    if not isinstance(schema, dict):
        return
    if not left:
        raise _bad(where, f"it is nested deeper than {_DEEPEST} levels")
    own = cast("dict[str, Any]", schema)
    yield where, own
    if odd := _UNSUPPORTED & own.keys() or ({"$id"} & own.keys() if where != "#" else None):
        raise _bad(where, f"{', '.join(sorted(odd))} is not supported")
    for name, inner in _below(own):
        yield from _parts(inner, f"{where}/{name}", left - 1)
    for pattern in (own.get("pattern"), *own.get("patternProperties", {})):
        if isinstance(pattern, str):
            _compiled(pattern, where)


def _below(schema: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key in _NAMED:
        for name, inner in schema.get(key, {}).items():
            yield f"{key}/{name.replace('~', '~0').replace('/', '~1')}", inner
    for key in _LISTED:
        listed: Any = schema.get(key)
        for index, inner in enumerate(
            cast("list[Any]", listed) if isinstance(listed, list) else ()
        ):
            yield f"{key}/{index}", inner
    for key in _SINGLE:
        if key in schema and not isinstance(schema[key], list):
            yield key, schema[key]


def _check_references(parts: Mapping[str, Mapping[str, Any]]) -> None:
    """Every reference leads to a schema in here, and none back to itself without looking deeper."""
    graph: dict[str, set[str]] = {}
    for where, part in parts.items():
        graph[where] = {
            f"{where}/{name}" for name, _ in _below(part) if name.split("/")[0] in _IN_PLACE
        }
        if "$ref" in part:
            target = unquote(str(part["$ref"])).removesuffix("/")
            if target not in parts:
                raise _bad(f"{where}/$ref", f"{_short(part['$ref'])} is no schema in this document")
            graph[where].add(target)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as wrong:
        raise _bad(wrong.args[1][0], "it refers to itself and could never be checked") from None


@functools.lru_cache(maxsize=256)
def _compiled(pattern: str, where: str = "#") -> Any:
    options = _re2.Options()
    options.log_errors = False
    try:
        return _re2.compile(pattern, options)
    except _re2.error as wrong:
        raise _bad(where, f"the pattern {pattern[:80]!r} is not one of RE2's: {wrong}") from None


Keyword = Callable[[Any, Any, Any, Any], Iterable[Any] | None]


@functools.cache
def _bounded(draft: Any) -> Any:
    """The draft's validator with patterns that run in linear time and a meter on every keyword."""
    own: dict[str, Keyword] = {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
        "uniqueItems": _unique_items,
    }
    keywords = {name: _metered(run) for name, run in {**draft.VALIDATORS, **own}.items()}
    return _library.validators.extend(draft, keywords)


def _metered(run: Keyword) -> Keyword:
    def keyword(validator: Any, wanted: Any, instance: Any, schema: Any) -> Iterable[Any] | None:
        _meter.get().pay(instance)
        return run(validator, wanted, instance, schema)

    return keyword


def _pattern(_: Any, wanted: str, instance: Any, __: Any) -> Iterator[Any]:
    if isinstance(instance, str) and not _matches(wanted, instance):
        yield _Error("it does not match")


def _pattern_properties(
    validator: Any, wanted: Mapping[str, Any], instance: Any, _: Any
) -> Iterator[Any]:
    if not isinstance(instance, dict):
        return
    for pattern, schema in wanted.items():
        for name, value in cast("dict[str, Any]", instance).items():
            _meter.get().pay(name)
            if _matches(pattern, name):
                yield from validator.descend(value, schema, path=name, schema_path=pattern)


def _additional_properties(
    validator: Any, wanted: Any, instance: Any, schema: Mapping[str, Any]
) -> Iterator[Any]:
    if not isinstance(instance, dict):
        return
    known, patterns = schema.get("properties", {}), tuple(schema.get("patternProperties", ()))
    more: list[str] = []
    for name, value in cast("dict[str, Any]", instance).items():
        _meter.get().pay(name)
        if name in known or any(_matches(pattern, name) for pattern in patterns):
            continue
        if isinstance(wanted, dict):
            yield from validator.descend(value, wanted, path=name)
        elif wanted is False:
            more.append(name)
    if more:
        yield _Error(f"{', '.join(map(_short, more[:10]))} does not belong there")


def _unique_items(_: Any, wanted: Any, instance: Any, __: Any) -> Iterator[Any]:
    if wanted is True and isinstance(instance, list):
        items = [canonical(one) for one in cast("list[Any]", instance)]
        if len(set(items)) < len(items):
            yield _Error("some of it is there twice")


def _matches(pattern: str, text: str) -> bool:
    return _compiled(pattern).search(text.encode("utf-8", "replace").decode()) is not None
