"""The shape of the file, from the sections' own schema."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any, cast

from .sections import Settings

LISTS = ("budget",)
"""What is no table in the file, but a list of tables."""

Loc = tuple[str | int, ...]
Schema = Mapping[str, Any]


@functools.cache
def whole() -> Schema:
    """The JSON Schema of the whole file."""
    return Settings.model_json_schema(by_alias=True)


def sections() -> Iterator[tuple[str, Schema]]:
    """Every section with the schemas of its keys."""
    for section in whole()["properties"]:
        if section not in LISTS:
            yield section, at((section,))["properties"]


def definition(name: str) -> Schema:
    return whole()["$defs"][name]


def at(loc: Loc) -> Schema:
    """The schema of the value at `loc`, empty if there is none; none is left out."""
    node = whole()
    for step in loc:
        node = _told(_inner(node, step))
    return node


def _inner(node: Schema, step: str | int) -> Schema:
    if isinstance(step, int):
        return node.get("items", {})
    return node.get("properties", {}).get(step) or _others(node.get("additionalProperties"))


def _others(node: Any) -> Schema:
    return cast("Schema", node) if isinstance(node, dict) else {}


def _told(node: Schema) -> Schema:
    """A schema without references and without the case that there is no value."""
    if "$ref" in node:
        beside = {name: value for name, value in node.items() if name != "$ref"}
        return {**definition(node["$ref"].rpartition("/")[2]), **beside}
    if "anyOf" in node:
        return {**node, **next(one for one in node["anyOf"] if one.get("type") != "null")}
    return node
