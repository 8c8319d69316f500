"""The document and the routes are one table; regenerate the golden with HOLDFAST_GOLDEN=write."""

import dataclasses
import json
import os
import re
from pathlib import Path
from typing import Any, cast

import pytest
from starlette.routing import Route

from holdfast.core.message import Reply
from holdfast.doors.http.config import Setting, Settings
from holdfast.doors.http.openapi import document, statuses
from holdfast.doors.http.table import ROUTES
from holdfast.runtime.chatting import ChatTerms
from tests.doors.house import FACTS, Plan, client, street

pytestmark = pytest.mark.anyio

OURS = ("/api/v1/", "/healthz", "/metrics", "/openapi.json")
"""The other doors' routes are in the documents of others."""
GOLDEN = Path(__file__).parent.parent / "golden" / "openapi.json"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def test_the_document_is_the_one_that_was_reviewed():
    made = document(ROUTES, "golden")
    if os.environ.get("HOLDFAST_GOLDEN") == "write":
        GOLDEN.write_bytes(made)
    assert made == GOLDEN.read_bytes(), "review the difference, then HOLDFAST_GOLDEN=write"


def test_every_reference_leads_somewhere_and_every_schema_is_used():
    whole = json.loads(document(ROUTES, "x"))
    names = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(whole)))
    assert names == whole["components"]["schemas"].keys()


async def test_every_route_of_the_app_is_in_the_document(tmp_path: Path):
    """But for those that somebody else describes: OpenAI, MCP."""
    async with street(tmp_path) as at:
        served = {
            (re.sub(r":\w+}", "}", route.path), method.lower())
            for route in at.app.routes
            if isinstance(route, Route) and route.path.startswith(OURS)
            for method in (route.methods or set()) - {"HEAD"}
        }
        paths = (await client(at.app).get("/openapi.json")).json()["paths"]
        assert served == {(path, method) for path, methods in paths.items() for method in methods}
        assert len(served) == len(ROUTES)


def test_every_number_that_is_given_is_bounded():
    """The stores hold no number of more than 64 bits, and need not be asked for one."""
    whole = json.loads(document(ROUTES, "x"))
    loose: list[str] = []

    def look(schema: Any, where: str) -> None:
        if isinstance(schema, list):
            for each in cast("list[Any]", schema):
                look(each, where)
        elif isinstance(schema, dict):
            told = cast("dict[str, Any]", schema)
            if told.get("type") == "integer" and not told.keys() & {"maximum", "exclusiveMaximum"}:
                loose.append(where)
            if "$ref" in told:
                look(whole["components"]["schemas"][told["$ref"].rpartition("/")[2]], told["$ref"])
            for name, each in told.items():
                look(each, f"{where}.{name}")

    for path, methods in whole["paths"].items():
        for method, operation in methods.items():
            look(operation.get("parameters", []), f"{method} {path}")
            look(operation.get("requestBody", {}), f"{method} {path}")
    assert not loose, sorted(set(loose))


def test_no_path_is_also_another_one_with_a_name_in_it():
    """Its methods would be those of both, and `Allow` would name what is nowhere said."""
    paths = {entry.path for entry in ROUTES}
    named = {path: re.sub(r"{\w+}", "[^/]+", path) for path in paths if "{" in path}
    for path in paths:
        both = [
            other for other, like in named.items() if other != path and re.fullmatch(like, path)
        ]
        assert not both, f"{path} is also {both}"


def test_every_operation_has_a_name_of_its_own():
    names = [entry.run.__name__ for entry in ROUTES]
    assert len(names) == len(set(names))


def fits(value: Any, schema: Any, root: Any) -> bool:
    """As much of JSON Schema as our answers use."""
    if "$ref" in schema:
        return fits(value, root[schema["$ref"].rpartition("/")[2]], root)
    if "anyOf" in schema:
        return any(fits(value, one, root) for one in schema["anyOf"])
    if "enum" in schema:
        return value in schema["enum"]
    match schema.get("type"):
        case "object" if isinstance(value, dict):
            value = cast("dict[str, Any]", value)
            known = schema.get("properties")
            more = schema.get("additionalProperties", {})
            return set(schema.get("required", ())) <= value.keys() and all(
                fits(one, known[name] if known else more, root)
                for name, one in value.items()
                if not known or name in known or pytest.fail(f"{name} is not in the schema")
            )
        case "array" if isinstance(value, list):
            items = cast("list[Any]", value)
            return all(fits(one, schema.get("items", {}), root) for one in items)
        case None:
            return True
        case kind:
            kinds = {"string": str, "integer": int, "number": (int, float), "boolean": bool}
            kinds |= {"object": dict, "array": list}  # of which the value is none
            return value is None if kind == "null" else isinstance(value, kinds[kind])


async def test_answers_look_as_the_document_says(tmp_path: Path):
    class File:
        def read(self) -> Settings:
            one = Setting(key="limits.steps", value=50, source="default")
            return Settings(tag="t", path="", fingerprint="", settings=(one,), warnings=())

    plan = Plan(facts=dataclasses.replace(FACTS, settings=File()))
    async with street(tmp_path, [Reply(text="hello")] * 2, plan=plan) as at:
        whole = (await at.tcp.get("/openapi.json")).json()
        row = await at.done(session="s1")
        at.house.in_force.chat = ChatTerms(enabled=True, users=("*",))
        said = {"sender": "ann", "room": "hall", "text": "hello"}
        brought = (await at.tcp.post("/api/v1/chat", json=said)).json()
        await at.tcp.post("/api/v1/mcp/lab", json={"command": ["server"]})
        hook = {"name": "lab", "url": "https://example.com/"}
        await at.tcp.post("/api/v1/webhooks", json=hook)
        use = await at.tcp.post("/api/v1/tools/pay", json={"wait_seconds": 0})
        assert use.status_code == 200, use.text
        for entry in ROUTES:
            if entry.method != "GET" or isinstance(entry.answer, str):
                continue
            task = use.json()["task"] if "tool-uses" in entry.path else row["id"]
            path = entry.path.replace("{ref}", task).replace("{id:path}", "s1")
            path = (
                path.replace("{seq:int}", "1")
                .replace("{name}", "lab")
                .replace("{task}", brought["task"])
            )
            answer = await at.tcp.get(path)
            assert answer.status_code == 200, path
            schemas = whole["components"]["schemas"]
            assert fits(answer.json(), schemas[entry.answer.__name__], schemas), path
            odd_path = entry.path.replace("{ref}", "nothing").replace("{id:path}", "no")
            odd = await at.tcp.get(odd_path.replace("{seq:int}", "999"))
            assert odd.status_code == 200 or odd.status_code in statuses(entry)
