"""The OpenAPI 3.1 document, made from the table of routes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, cast

import msgspec
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from .answers import Problem
from .bodies import NoQuery, Nothing
from .errors import PROBLEM
from .route import Entry

Json = dict[str, Any]

_REF = "#/components/schemas/"
_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")
_ABOUT = {
    "ref": "A task's id, or at least 4 characters of its beginning or end.",
    "call": "The call's id, as in the question.",
    "id": "The session's id.",
    "name": "Its name.",
    "alias": "What the Slack workspace is called here.",
    "seq": "The record's number.",
    "task": "The task, as it was named when the message was taken.",
    "attempt": "The login, as `login` named it.",
    "question": "The question, as it is listed.",
}
_AGAIN = ("Idempotency-Key", "Repeating a request with it is safe.")
_HEADERS = {
    ("POST", "/api/v1/tasks"): _AGAIN,
    ("POST", "/api/v1/chat"): _AGAIN,
    ("PATCH", "/api/v1/config"): ("If-Match", "The ETag of what was read."),
    ("GET", "/api/v1/tasks/{ref}/events"): ("Last-Event-ID", "Go on after this event."),
}


def document(routes: Sequence[Entry], version: str) -> bytes:
    """The whole document as JSON, the same bytes for the same table."""
    paths: dict[str, Json] = {}
    for entry in routes:
        path = _PARAMETER.sub(r"{\1}", entry.path)
        paths.setdefault(path, {})[entry.method.lower()] = _operation(entry, path)
    whole: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": "Holdfast",
            "version": version,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": _schemas(routes),
        },
    }
    return msgspec.json.format(msgspec.json.encode(whole), indent=1) + b"\n"


def _operation(entry: Entry, path: str) -> Json:
    operation: Json = {
        "operationId": entry.run.__name__,
        "summary": entry.summary,
        "parameters": list(_parameters(entry, path)),
        "responses": dict(_responses(entry)),
    }
    if entry.public:
        operation["security"] = []
    if entry.writes and entry.body is not Nothing:
        schema = {"$ref": _REF + entry.body.__name__}
        required = bool(entry.body.model_json_schema().get("required"))
        content = {"application/json": {"schema": schema}}
        operation["requestBody"] = {"required": required, "content": content}
    return operation


def _parameters(entry: Entry, path: str) -> Iterable[Json]:
    for match in _PARAMETER.finditer(path):
        schema: Json = {"type": "string"}
        if match[1] == "ref":
            schema["minLength"] = 4
        yield {
            "name": match[1],
            "in": "path",
            "required": True,
            "description": _ABOUT[match[1]],
            "schema": schema,
        }
    if entry.query is not NoQuery:
        schema = entry.query.model_json_schema(ref_template=f"{_REF}{{model}}")
        for name, one in schema["properties"].items():
            about = one.pop("description", "")
            yield {"name": name, "in": "query", "description": about, "schema": _untitled(one)}
    header = _HEADERS.get((entry.method, path)) or (_AGAIN if entry.repeatable else None)
    if header:
        schema = {"type": "string"}
        yield {"name": header[0], "in": "header", "description": header[1], "schema": schema}


def _responses(entry: Entry) -> Iterable[tuple[str, Json]]:
    if isinstance(entry.answer, str):
        kind = {"type": "object"} if entry.answer == "application/json" else {}
        content: Json = {entry.answer: {"schema": kind}}
    else:
        content = {"application/json": {"schema": {"$ref": _REF + entry.answer.__name__}}}
    if entry.streams:
        content["text/event-stream"] = {"schema": {"type": "string"}}
    yield str(entry.status), {"description": entry.summary, "content": content}
    for status, kind in entry.also:
        shape = {"application/json": {"schema": {"$ref": _REF + kind.__name__}}}
        yield str(status), {"description": HTTPStatus(status).phrase, "content": shape}
    failure = {PROBLEM: {"schema": {"$ref": _REF + Problem.__name__}}}
    for status in sorted(statuses(entry)):
        yield str(status), {"description": HTTPStatus(status).phrase, "content": failure}


def statuses(entry: Entry) -> set[int]:
    """The statuses with which a request to `entry` may fail."""
    always = {403, 500} if entry.public else {401, 403, 500}
    names = {match[1] for match in _PARAMETER.finditer(entry.path)}
    named = names or entry.query is not NoQuery or entry.body is not Nothing
    missing = {404} if named else set[int]()  # what is named may not be there
    ambiguous = {422}  # a key in the address
    body = {408, 413, 422} if entry.writes else set[int]()
    return always | missing | ambiguous | body | set(entry.errors)


def _schemas(routes: Sequence[Entry]) -> Mapping[str, Any]:
    models = [model for entry in routes for model in (entry.body, entry.query)]
    asked: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        (model, "validation") for model in models if model not in {Nothing, NoQuery}
    ]
    _, bodies = models_json_schema(asked, ref_template=f"{_REF}{{model}}")
    kinds = [entry.answer for entry in routes if not isinstance(entry.answer, str)]
    kinds += [kind for entry in routes for _, kind in entry.also]
    _, answers = msgspec.json.schema_components([*kinds, Problem], ref_template=f"{_REF}{{name}}")
    queries = {entry.query.__name__ for entry in routes}
    mine = {name: s for name, s in bodies["$defs"].items() if name not in queries}
    both_ways = sorted(mine.keys() & answers.keys())
    if twice := [name for name in both_ways if "properties" in mine[name]]:
        raise ValueError(f"{', '.join(twice)}: one name for what is asked and what is answered")
    both = {**{name: _untitled(schema) for name, schema in mine.items()}, **answers}
    return dict(sorted(both.items()))


def _untitled(schema: Any) -> Any:
    """Without the titles that only repeat the names."""
    match schema:
        case list():
            return [_untitled(one) for one in cast("list[Any]", schema)]
        case dict():
            pairs = cast("dict[str, Any]", schema).items()
            kept = {key: one for key, one in pairs if key != "title" or not isinstance(one, str)}
            return {key: _untitled(one) for key, one in kept.items()}
        case _:
            return schema
