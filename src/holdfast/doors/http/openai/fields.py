"""The fields that both protocols have: read once, refused in one way."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

from holdfast.core.agent import Shape, Style
from holdfast.core.foreign import NotJson, decoded
from holdfast.ports.model import ToolSpec

from .errors import Wrong

Fields = Mapping[str, Any]
_EFFORTS = {
    "none": "off", "minimal": "low", "low": "low",
    "medium": "medium", "high": "high", "xhigh": "high",
}  # fmt: skip
_MOST_LABELS, _LONGEST_LABEL = 16, 512
_MOST_OTHERS = 20
_ANY_OBJECT = {"type": "object"}


def parsed(data: bytes) -> Fields:
    """The body as an object. Raises `Wrong`."""
    try:
        body: object = decoded(data)
    except NotJson as error:
        raise Wrong(f"The body is not valid JSON: {error}", code="invalid_json") from None
    if not isinstance(body, dict):
        raise Wrong("The body must be a JSON object.", code="invalid_json")
    return cast("Fields", body)


def object_of(value: object) -> Fields:
    """The object that this is; an empty one for anything else."""
    return cast("Fields", value) if isinstance(value, dict) else {}


def check(body: Fields, known: Collection[str], refused: Mapping[str, str]) -> None:
    """Raises `Wrong` for a field that nobody knows, and for one whose wish cannot be met.

    `refused` says of a field why; a null, a false, an empty and a zero wish for nothing.
    """
    for name, value in body.items():
        if name not in known:
            raise Wrong(f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
        if name in refused and value:
            raise Wrong(f"'{name}': {refused[name]}", param=name, code="unsupported_parameter")


def text(body: Fields, name: str) -> str:
    value = body.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Wrong(f"'{name}' must be a text.", param=name, code="invalid_type")
    return value


def flag(body: Fields, name: str, default: bool) -> bool:
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise Wrong(f"'{name}' must be true or false.", param=name, code="invalid_type")
    return value


def number(body: Fields, name: str, low: float, high: float) -> float | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Wrong(f"'{name}' must be a number.", param=name, code="invalid_type")
    if not low <= value <= high:
        raise Wrong(f"'{name}' must be between {low:g} and {high:g}.", param=name)
    return value


def whole(body: Fields, name: str, low: int, high: int) -> int | None:
    value = number(body, name, low, high)
    if value is None:
        return None
    if value != int(value):
        raise Wrong(f"'{name}' must be a whole number.", param=name, code="invalid_type")
    return int(value)


def listed(value: object, name: str) -> Sequence[Fields]:
    """A list of objects; none for null."""
    if value is None:
        return ()
    items = cast("Sequence[object]", value) if isinstance(value, list) else (None,)
    for item in items:
        if not isinstance(item, dict):
            raise Wrong(f"'{name}' must be a list of objects.", param=name, code="invalid_type")
    return cast("Sequence[Fields]", items)


def texts(body: Fields, name: str) -> Sequence[str]:
    value = body.get(name)
    if value is None:
        return ()
    items = cast("Sequence[object]", value) if isinstance(value, list) else (None,)
    if not all(isinstance(one, str) for one in items):
        raise Wrong(f"'{name}' must be a list of texts.", param=name, code="invalid_type")
    return cast("Sequence[str]", items)


def labels(body: Fields, name: str) -> dict[str, str]:
    """The client's own notes: at most 16 texts by name."""
    value = body.get(name)
    if value is None:
        return {}
    given = object_of(value)
    short = all(isinstance(one, str) and len(one) <= _LONGEST_LABEL for one in given.values())
    if not isinstance(value, dict) or len(given) > _MOST_LABELS or not short:
        raise Wrong(f"'{name}' must be at most {_MOST_LABELS} short texts by name.", param=name)
    return dict(given)


def model(body: Fields) -> str:
    if not (name := text(body, "model").strip()):
        hint = "GET /v1/models lists them"
        raise Wrong("You must name a model.", param="model", code="missing_parameter", hint=hint)
    return name


def style(body: Fields, most: int | None, effort: str, *, odds: bool) -> Style:
    """How to answer. `most` is the limit of the answer's tokens; with `odds` it says of each how
    likely it was."""
    if effort and effort not in _EFFORTS:
        known = ", ".join(_EFFORTS)
        raise Wrong(f"The reasoning effort must be one of: {known}.", param="reasoning_effort")
    return Style(
        thinking=_EFFORTS.get(effort, ""),
        temperature=number(body, "temperature", 0, 2),
        top_p=number(body, "top_p", 0, 1),
        top_k=whole(body, "top_k", 0, 10**6),
        seed=whole(body, "seed", -(2**63), 2**63 - 1),
        stop=_stops(body.get("stop")),
        max_output=most or 0,
        presence_penalty=number(body, "presence_penalty", -2, 2),
        frequency_penalty=number(body, "frequency_penalty", -2, 2),
        logprobs=_others(body, odds=odds),
    )


def _others(body: Fields, *, odds: bool) -> int | None:
    """How many other tokens are told with each of the answer; None where none is told."""
    others = whole(body, "top_logprobs", 0, _MOST_OTHERS)
    return others or 0 if odds else None


def _stops(value: object) -> tuple[str, ...]:
    given = [value] if isinstance(value, str) else value or ()
    ends = tuple(cast("Sequence[object]", given)) if isinstance(given, list | tuple) else (None,)
    if len(ends) > 16 or not all(isinstance(one, str) and one for one in ends):
        raise Wrong("'stop' must be a text, or at most 16 of them.", param="stop")
    return cast("tuple[str, ...]", ends)


def shape(form: object, where: str) -> Shape | None:
    """What `response_format` or `text.format` wants; the latter has no level of its own."""
    if form is None:
        return None
    if not isinstance(form, dict):
        raise Wrong(f"'{where}' must be an object.", param=where, code="invalid_type")
    fields = cast("Fields", form)
    match fields.get("type"):
        case "text" | None:
            return None
        case "json_object":
            return Shape(schema=_ANY_OBJECT, name="answer", strict=False, retries=0)
        case "json_schema":
            inner = fields.get("json_schema", fields)
            if not isinstance(inner, dict) or not isinstance(inner.get("schema"), dict):  # pyright: ignore[reportUnknownMemberType]
                at = f"{where}.schema"
                raise Wrong(f"'{at}' must be a JSON Schema.", param=at, code="missing_parameter")
            told = cast("Fields", inner)
            name, strict = str(told.get("name") or "answer"), told.get("strict") is not False
            return Shape(schema=told["schema"], name=name, strict=strict, retries=0)
        case other:
            what = f"'{where}.type' is {other!r}; it can be text, json_object or json_schema."
            raise Wrong(what, param=f"{where}.type")


def tool(fields: Fields, at: str) -> ToolSpec:
    """One function; `fields` has its name, description and parameters."""
    name, schema = fields.get("name"), fields.get("parameters")
    if not isinstance(name, str) or not name:
        raise Wrong(f"'{at}.name' must be a text.", param=f"{at}.name", code="missing_parameter")
    if schema is not None and not isinstance(schema, dict):
        raise Wrong(f"'{at}.parameters' must be a JSON Schema.", param=f"{at}.parameters")
    told = fields.get("description")
    return ToolSpec(
        name=name,
        description=told if isinstance(told, str) else "",
        schema=cast("dict[str, Any]", schema) if schema else {"type": "object", "properties": {}},
    )


def choice(value: object, tools: Sequence[ToolSpec]) -> str:
    """Which tool must be called, as `core.Prompt.choice` says it."""
    if value is None or value == "auto":
        return ""
    if value == "none":
        return "none"
    if not tools:
        what = "'tool_choice' is only allowed when 'tools' are specified."
        raise Wrong(what, param="tool_choice")
    if value == "required":
        return "required"
    fields = object_of(value)
    if fields.get("type") == "function":
        name = object_of(fields.get("function", fields)).get("name")
        if any(one.name == name for one in tools):
            return f"={name}"
        raise Wrong(f"'tool_choice' names {name!r}, which is not in 'tools'.", param="tool_choice")
    what = "'tool_choice' must be none, auto, required, or a function of 'tools'."
    raise Wrong(what, param="tool_choice")


def arguments(value: object, at: str) -> dict[str, Any]:
    """The arguments of an earlier call, which are JSON in a text."""
    try:
        found: object = decoded(value or "{}") if isinstance(value, str) else None
    except NotJson:
        found = None
    if not isinstance(found, dict):
        raise Wrong(f"'{at}' must be a JSON object in a text.", param=at)
    return cast("dict[str, Any]", found)
