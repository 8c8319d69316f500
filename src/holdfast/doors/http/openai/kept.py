"""Responses as they are kept, and how one looks at any moment."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from holdfast.core.error import HoldfastError, NotFound, Saturated
from holdfast.core.ids import TaskId
from holdfast.core.message import Usage
from holdfast.runtime import responses
from holdfast.runtime.house import House

from .errors import Wrong, told
from .output import Output, usage_of
from .wanted import Answer

_LONGEST_CHAIN = 1_000
# OpenAI says null while it works, and its own description does not allow that.
_NONE = usage_of(Usage())
_UNFINISHED = frozenset({"queued", "in_progress"})


class Kept(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A response as it was last told, its own input, and the task behind it in the background."""

    response: dict[str, Any]
    input: list[dict[str, Any]]
    task: TaskId = TaskId("")
    shaped: bool = False

    @property
    def status(self) -> str:
        return self.response["status"]


async def find(house: House, name: str, by: str) -> Kept:
    return await responses.find(house, name, by, Kept)


async def before(house: House, name: str, by: str) -> list[dict[str, Any]]:
    """Everything that was said up to the end of a response. Raises `Wrong`, `NotFound`."""
    turns: list[list[dict[str, Any]]] = []
    while name:
        try:
            kept = await find(house, name, by)
        except NotFound:
            what = f"Previous response with id '{name}' not found."
            raise Missing(what) from None
        if kept.status in _UNFINISHED:
            what = f"The response '{name}' is {kept.status}: wait for its end."
            raise Wrong(what, param="previous_response_id")
        turns.append([*kept.input, *kept.response["output"]])
        if len(turns) > _LONGEST_CHAIN:
            what = f"The conversation has more than {_LONGEST_CHAIN} responses."
            raise Wrong(what, param="previous_response_id")
        name = kept.response["previous_response_id"] or ""
    return [item for turn in reversed(turns) for item in turn]


class Missing(NotFound):
    """There is no such response to go on from."""

    code, param = "previous_response_not_found", "previous_response_id"


class Page:
    """A response at any moment: what never changes of it, and what does."""

    def __init__(self, name: str, begun: int, model: str, echo: dict[str, Any]) -> None:
        self.name = name
        self._base: dict[str, Any] = {
            "id": name, "object": "response", "created_at": begun, "model": model, **echo,
        }  # fmt: skip
        self.output = Output(name)

    def told(self, status: str, **more: Any) -> dict[str, Any]:
        rest = {"completed_at": None, "error": None, "incomplete_details": None, "usage": _NONE}
        items = [dict(item) for item in self.output.items]
        return {**self._base, "status": status, **rest, "output": items, **more}

    def ended(self, answer: Answer, at: int) -> dict[str, Any]:
        """After `output.ended`."""
        more: dict[str, Any] = {"usage": usage_of(answer.usage), "model": answer.model}
        if answer.finish == "length":
            why = {"reason": "max_output_tokens"}
            return self.told("incomplete", incomplete_details=why, **more)
        return self.told("completed", completed_at=at, **more)

    def failed(self, error: HoldfastError) -> dict[str, Any]:
        limited = isinstance(error, Saturated) or told(error)["code"] == "rate_limit_exceeded"
        code = "rate_limit_exceeded" if limited else "server_error"
        return self.told("failed", error={"code": code, "message": told(error)["message"]})


def again(response: dict[str, Any]) -> Page:
    """The page of a response that was told before, as yet without output."""
    changes = {
        "id", "object", "created_at", "model", "status", "completed_at", "error",
        "incomplete_details", "usage", "output",
    }  # fmt: skip
    echo = {name: value for name, value in response.items() if name not in changes}
    return Page(response["id"], response["created_at"], response["model"], echo)
