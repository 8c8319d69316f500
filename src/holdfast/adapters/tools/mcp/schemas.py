"""A stranger's JSON Schema as every provider can read it: whole, plain, and not too large.

What is not known is left out, references are written out where they lead, and one that leads to
itself, or nowhere, allows anything. A schema only says what to send; the server checks it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from holdfast.adapters.tools.web.outside import cleaned
from holdfast.core.ids import canonical

_MOST, _DEEPEST = 2_000, 60
_SMALL = 4_000
_HUGE = 10**15
_TYPES = frozenset({"string", "number", "integer", "boolean", "object", "array", "null"})
_TEXTS = frozenset({"title", "description", "format", "pattern"})
_NUMBERS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})
_COUNTS = frozenset({"minLength", "maxLength", "minItems", "maxItems"})
_LISTS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_INNER = frozenset({"items", "additionalProperties", "not", "contains", "propertyNames"})


def plain(schema: Mapping[str, Any]) -> dict[str, Any]:
    """An object's schema without references; too large a one is an object of anything."""
    try:
        found = _Reader(schema).read(schema, ())
    except _TooLarge:
        found = {}
    return {**found, "type": "object", "properties": found.get("properties", {})}


class _TooLarge(Exception):
    """Written out, it has more nodes, or a deeper nest, than a schema may have."""


class _Reader:
    """Reads one schema; counts what it has written, and how deep it is."""

    def __init__(self, whole: Mapping[str, Any]) -> None:
        self._whole, self._count, self._depth = whole, 0, 0

    def read(self, node: object, trail: tuple[str, ...]) -> dict[str, Any]:
        self._count += 1
        if self._count > _MOST or self._depth > _DEEPEST:
            raise _TooLarge
        self._depth += 1
        try:
            return self._told(node, trail)
        finally:
            self._depth -= 1

    def _told(self, node: object, trail: tuple[str, ...]) -> dict[str, Any]:
        if not isinstance(node, dict):
            return {}
        words = cast("dict[str, object]", node)
        told: dict[str, Any] = {}
        reference = words.get("$ref")
        if isinstance(reference, str) and reference not in trail:
            told = self.read(self._there(reference), (*trail, reference))
        for key, value in words.items():
            if (kept := self._kept(key, value, trail)) is not None:
                told[key] = kept
        return told

    def _kept(self, key: str, value: Any, trail: tuple[str, ...]) -> object | None:
        """What is told of one keyword; None for nothing."""
        if key == "properties" and isinstance(value, dict):
            inside = cast("dict[str, object]", value)
            return {name: self.read(one, trail) for name, one in inside.items()}
        if key in _LISTS and isinstance(value, list):
            return [self.read(one, trail) for one in cast("list[object]", value)] or None
        if key in _INNER:
            return self._inner(key, value, trail)
        return _simple(key, cast("object", value))

    def _inner(self, key: str, value: Any, trail: tuple[str, ...]) -> object | None:
        if key == "additionalProperties" and isinstance(value, bool):
            return value
        return self.read(cast("object", value), trail) if isinstance(value, dict) else None

    def _there(self, reference: str) -> object:
        """Where a reference within the schema leads."""
        if not reference.startswith("#/"):
            return None
        node: object = self._whole
        for step in reference[2:].split("/"):
            name = step.replace("~1", "/").replace("~0", "~")
            node = cast("dict[str, object]", node).get(name) if isinstance(node, dict) else None
        return node


def _simple(key: str, value: Any) -> object | None:
    """What holds no schema itself."""
    match value:
        case bool():
            return value if key in {"uniqueItems", "const", "default"} else None
        case str() if key in _TEXTS:
            return cleaned(value)[0]
        case int() if key in _COUNTS:
            return value if 0 <= value < _HUGE else None
        case int() | float() if key in _NUMBERS:
            return value if -_HUGE < value < _HUGE else None
        case str() if key == "type":
            return value if value in _TYPES else None
        case list():
            return _listed(key, cast("list[object]", value))
        case _:
            small = key in {"const", "default"} and len(canonical(value)) <= _SMALL
            return value if small else None


def _listed(key: str, values: list[object]) -> list[object] | None:
    texts = list(dict.fromkeys(one for one in values if isinstance(one, str)))
    if key == "required":
        return [*texts]
    if key == "type":
        known = [*(one for one in texts if one in _TYPES)]
        return [*known] or None
    wanted = key in {"enum", "examples", "const", "default"} and len(canonical(values)) <= _SMALL
    return values if wanted else None
