"""Tools as a provider wants them, made once for all the requests that offer the same ones."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import replace

from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.tools import ToolDefinition

from .remembered import Remembered


def preparing_once(model: Model) -> Model:
    """The same model; it rewrites each tool's schema once, not for every request.

    The library walks and copies them all each time: a fifth of the CPU time of an agent's step
    (`benchmarks/run doors`).
    """
    whole = model.customize_request_parameters

    def prepared(tools: Sequence[ToolDefinition]) -> list[ToolDefinition]:
        return whole(ModelRequestParameters(function_tools=list(tools))).function_tools

    known = Remembered(prepared, operator.is_)

    def customized(model_request_parameters: ModelRequestParameters) -> ModelRequestParameters:
        tools = known.of(model_request_parameters.function_tools)
        rest = whole(replace(model_request_parameters, function_tools=[]))
        return replace(rest, function_tools=list(tools))

    model.customize_request_parameters = customized
    return model
