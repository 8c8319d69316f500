"""What every table of the file is made of."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """One table of the file."""

    # Only the whole file is ever validated, so only its validator is built.
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        defer_build=True,
    )


def number(default: float, low: float, high: float, unit: str, text: str) -> Any:
    extra: dict[str, Any] = {"unit": unit}
    return Field(default=default, ge=low, le=high, description=text, json_schema_extra=extra)


def word(default: Any, text: str, example: Any = None) -> Any:
    examples = [default if example is None else example]
    return Field(default=default, description=text, examples=examples)
