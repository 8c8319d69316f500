"""Whether what we send is what OpenAI's own description of its interface says."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema

_FILE = Path(__file__).resolve().parent.parent / "kits" / "openai" / "schemas.json"


def valid(name: str, value: Any) -> Any:
    """`value`, which must fit the schema `name`."""
    found = [
        f"{list(error.path)}: {error.message[:300]}" for error in _checker(name).iter_errors(value)
    ]
    assert not found, f"{name}: {found[:4]}"
    return value


def events(text: str) -> list[dict[str, Any]]:
    """The events of a stream that ends as it must, without the end and without comments."""
    *frames, end, rest = text.split("\n\n")
    assert (end, rest) == ("data: [DONE]", ""), text[-200:]
    lines = [line for frame in frames for line in frame.split("\n")]
    return [json.loads(line[6:]) for line in lines if line.startswith("data: ")]


@cache
def _checker(name: str) -> Any:
    schemas = json.loads(_FILE.read_text(encoding="utf-8"))
    return jsonschema.Draft202012Validator({**schemas, "$ref": f"#/components/schemas/{name}"})
