"""A tool made of functions: what it takes, what it does, what it keeps, how it is checked.

The arguments of a tool are one `Struct`. Its fields are the JSON Schema that a model sees, and
the same struct checks what the model sends, so the two cannot disagree.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from difflib import get_close_matches
from inspect import cleandoc
from typing import Any, Generic, TypeVar, cast

import msgspec
from msgspec import Struct

from holdfast.core.message import Change, Failed, Outcome
from holdfast.core.task import Wait
from holdfast.ports.model import ToolSpec
from holdfast.ports.tools import Job, Traits

from .beneath import Denied
from .content import explained

A = TypeVar("A", bound=Struct)


class Craft(Generic[A]):
    """A `Tool`. `do` may raise `Denied` or `OSError`: the model is told, nothing breaks.

    `vet` says what is wrong with arguments of the right types. `keep` is `before`; a refusal
    there is left for `do` to repeat. `settle` is `check`.
    """

    def __init__(
        self,
        name: str,
        arguments: type[A],
        traits: Traits,
        do: Callable[[A, Job], Awaitable[Outcome | Wait]],
    ) -> None:
        self._arguments, self._traits, self._do = arguments, traits, do
        self._spec = ToolSpec(
            name=name, description=cleandoc(arguments.__doc__ or ""), schema=_schema(arguments)
        )
        self._vet: Callable[[A], str] | None = None
        self._keep: Callable[[A, Job], Awaitable[Sequence[Change]]] | None = None
        self._settle: Callable[[A, Sequence[Change], Job], Awaitable[Outcome | None]] | None = None

    def vetted(self, vet: Callable[[A], str]) -> Craft[A]:
        self._vet = vet
        return self

    def kept(self, keep: Callable[[A, Job], Awaitable[Sequence[Change]]]) -> Craft[A]:
        self._keep = keep
        return self

    def settled(
        self, settle: Callable[[A, Sequence[Change], Job], Awaitable[Outcome | None]]
    ) -> Craft[A]:
        self._settle = settle
        return self

    @property
    def spec(self) -> ToolSpec:
        return self._spec

    @property
    def traits(self) -> Traits:
        return self._traits

    def problem(self, arguments: Mapping[str, Any]) -> str:
        try:
            parsed = self._parsed(arguments)
        except msgspec.ValidationError as error:
            return self._sentence(arguments, str(error))
        found = self._vet(parsed) if self._vet else ""
        return f"{self._spec.name}: {found}" if found else ""

    async def before(self, arguments: Mapping[str, Any], job: Job) -> Sequence[Change]:
        if self._keep is None:
            return ()
        try:
            return await self._keep(self._parsed(arguments), job)
        except (Denied, msgspec.ValidationError):
            return ()

    async def run(self, arguments: Mapping[str, Any], job: Job) -> Outcome | Wait:
        if problem := self.problem(arguments):
            return Failed(text=problem, code="bad_arguments")
        try:
            return await self._do(self._parsed(arguments), job)
        except Denied as denied:
            return Failed(text=str(denied), code=denied.code, sources=denied.sources)
        except OSError as error:
            denied = explained(error, self._target(arguments))
            return Failed(text=str(denied), code=denied.code)

    async def check(
        self, arguments: Mapping[str, Any], before: Sequence[Change], job: Job
    ) -> Outcome | None:
        if self._settle is None:
            return None
        try:
            return await self._settle(self._parsed(arguments), before, job)
        except (Denied, msgspec.ValidationError):
            return None  # what is refused before it begins has not happened

    def _parsed(self, arguments: Mapping[str, Any]) -> A:
        return msgspec.convert(dict(arguments), self._arguments)

    def _target(self, arguments: Mapping[str, Any]) -> str:
        name = self._traits.target or next(iter(self._traits.paths), "")
        return str(arguments.get(name) or "the file")

    def _sentence(self, arguments: Mapping[str, Any], error: str) -> str:
        names = [str(name) for name in self._spec.schema.get("properties", {})]
        text = f"{self._spec.name}: {error[:1].lower()}{error[1:]}"
        for strange in set(arguments) - set(names):
            if close := get_close_matches(str(strange), names, n=1):
                text += f"; did you mean `{close[0]}`?"
        takes = ", ".join(names) or "nothing"
        return f"{text} (it takes {takes})"


def _schema(arguments: type[Struct]) -> dict[str, Any]:
    """One plain JSON Schema object, without references: some providers know none."""
    schema = msgspec.json.schema(arguments)
    definitions = cast("dict[str, Any]", schema.get("$defs", {}))
    return cast("dict[str, Any]", _inlined(schema, definitions))


def _inlined(node: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(node, list):
        return [_inlined(each, definitions) for each in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    items = cast("dict[str, Any]", node)
    if reference := items.get("$ref"):
        found = _inlined(definitions[str(reference).rpartition("/")[2]], definitions)
        return {key: each for key, each in found.items() if key not in {"title", "description"}}
    return {key: _inlined(each, definitions) for key, each in items.items() if key != "$defs"}
