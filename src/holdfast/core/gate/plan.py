"""What a task planned while it had heard only people, and which of its calls are the plan's.

A plan is a list of steps: a tool, and for each argument its value or where it will come from:

    {"from": 1, "field": "email"}      what step 1 answered; its one value under `email`
        "where": {"title": "Lunch"}    only of the records that have this
        "most" / "least": "size"       only of the record with the largest or smallest
        "each": true                   all of them are meant: any of them will do
    {"text": "a short summary"}        words that the model will find
    {"number": "the difference"}       a number, a date or a time that it will work out

No stranger had a word in it, so a call that fits a step was wanted, however strange what was read
since. What a step leaves open is bounded: words may hold no address that no person has said, and
one value of several may be chosen as long as no stranger talks of it, and neither once something
was read that no step has. A value that stands in the
plan is vouched for only where a person has said it, too: so a model that is hostile from the start
gains little by planning.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from holdfast.core.message import EffectClass, Outcome, Returned, ToolCall, Unknown, words

from .vouching import Said, is_measure, is_prose, leaves

PLAN = "plan"
"""The name of the tool with which a model plans."""

FEW = "~"
"""Before the name of an aim: it takes one of a few values, which a plan may settle."""

_WORKED_OUT = re.compile(r"[\d\s:./,T+Z-]{1,40}")
Given = Mapping[str, Any]


class Step(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One call, or one for each value, that will be made."""

    tool: str
    arguments: Given = {}


class Place(Struct, frozen=True, kw_only=True):
    """The step that a call is, counted from 0, and the values for which that does not vouch."""

    step: int
    open: tuple[str, ...]


class Pick(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"step": "from"}):
    """Values out of what a step answered."""

    step: int
    field: str
    where: Given = {}
    most: str = ""
    least: str = ""
    each: bool = False


class Plan(Struct, frozen=True, kw_only=True):
    """The steps, the calls that took each place, and what they answered.

    `strayed`: something was read that no step has. A stranger may have sent for it, and words that
    are found from then on may carry it off.
    """

    steps: tuple[Step, ...] = ()
    taken: tuple[int, ...] = ()
    seen: tuple[tuple[int, Any], ...] = ()
    strayed: bool = False

    def place_of(self, call: ToolCall, said: Said) -> Place | None:
        """Where the call stands in the plan; of several places the one that leaves least open."""
        found: list[Place] = []
        for index, step in enumerate(self.steps):
            if step.tool != call.tool:
                continue
            try:
                left = tuple(
                    _Fitting(self, said, call.aims).arguments(step.arguments, call.arguments)
                )
            except _OtherError:
                continue
            if self._has_room(index, call.effect):
                found.append(Place(step=index, open=left))
        fresh = [place for place in found if place.step not in self.taken]
        return min([*fresh, *found], key=lambda place: len(place.open), default=None)

    def after(self, call: ToolCall, said: Said, outcome: Outcome | None = None) -> Plan:
        """The plan once this call was made. One that was not run leaves its place free."""
        done = outcome is None or isinstance(outcome, Returned | Unknown)
        if not self.steps or not done:
            return self
        if (place := self.place_of(call, said)) is None:
            strays = bool(call.source) and outcome is not None
            return replace(self, strayed=True) if strays else self
        seen, asked = self.seen, self.steps[place.step].arguments
        # What the model looked for in words of its own may be a stranger's choice.
        reads = call.effect is EffectClass.READS
        chosen = (name for name, s in asked.items() if reads and _is_open(s) and "text" in s)
        ours = all(said.says(one) for name in chosen for one in leaves(call.arguments.get(name)))
        if ours and isinstance(outcome, Returned) and (values := structured(outcome)) is not None:
            seen = (*seen, (place.step, values))
        return replace(self, taken=(*self.taken, place.step), seen=seen)

    def picked(self, pick: Pick) -> set[str]:
        """All values that it may mean."""
        return set(_picked(pick, [values for step, values in self.seen if step == pick.step - 1]))

    def _has_room(self, index: int, effect: EffectClass) -> bool:
        """Once for each value, or once; reading is free."""
        picks = _picks(self.steps[index].arguments)
        most = max((len(self.picked(pick)) for pick in picks if pick.each), default=1)
        return effect is EffectClass.READS or self.taken.count(index) < max(most, 1)


class _OtherError(Exception):
    """The call is not of this step."""


class _Fitting:
    """Holds one call against one step; gives what the step does not vouch for."""

    def __init__(self, plan: Plan, said: Said, aims: tuple[str, ...]) -> None:
        self._plan, self._said = plan, said
        self._few = {aim.removeprefix(FEW) for aim in aims if aim.startswith(FEW)}

    def arguments(self, wanted: Given, given: Given) -> Iterator[str]:
        """Raises `_OtherError`. A call may leave out only what was not settled."""
        if not set(given) <= set(wanted):
            raise _OtherError
        for name, spec in wanted.items():
            if name in given:
                yield from self._value(name, spec, given[name])
            elif not _is_open(spec):
                raise _OtherError

    def _value(self, name: str, spec: Any, given: Any) -> Iterator[str]:
        if (pick := _pick(spec)) is not None:
            yield from self._picked(pick, given)
        elif _is_open(spec):
            yield from self._found(name, spec, given)
        elif isinstance(spec, Mapping) and isinstance(given, Mapping):
            yield from self.arguments(cast("Given", spec), cast("Given", given))
        elif isinstance(spec, list) and isinstance(given, list):
            yield from self._listed(name, cast("list[Any]", spec), cast("list[Any]", given))
        elif _same(spec, given):
            yield from self._literal(name, given)
        else:
            raise _OtherError

    def _listed(self, name: str, spec: list[Any], given: list[Any]) -> Iterator[str]:
        if len(spec) == 1 and _has_each(spec):
            spec = spec * len(given)
        if len(spec) != len(given):
            raise _OtherError
        for one, value in zip(spec, given, strict=True):
            yield from self._value(name, one, value)

    def _literal(self, name: str, given: Any) -> Iterator[str]:
        for value in () if name in self._few or isinstance(given, bool) else leaves(given):
            if not self._said.says_of(name, value):
                yield from self._said.strange(value) if is_prose(name) else (value,)

    def _found(self, name: str, spec: Given, given: Any) -> Iterator[str]:
        if self._plan.strayed:
            yield from (value for value in leaves(given) if not self._said.says(value))
        elif "text" in spec or not is_measure(name):
            yield from self._literal(name, given)
        elif not isinstance(given, int | float) and not _WORKED_OUT.fullmatch(str(given)):
            raise _OtherError

    def _picked(self, pick: Pick, given: Any) -> Iterator[str]:
        """One value must be the only one there is, and several must be all there are."""
        there, wanted = self._plan.picked(pick), set(leaves(given))
        sure = wanted <= there if pick.each else wanted == there
        known = wanted <= there
        talked = self._plan.strayed or (known and any(map(self._said.is_talked_of, wanted)))
        if not (sure or (known and not talked)) or not all(map(self._has_said, pick.where.items())):
            yield from wanted

    def _has_said(self, settled: tuple[str, Any]) -> bool:
        name, given = settled
        return all(self._said.says_of(name, value) for value in leaves(given))


def planned(arguments: Given) -> tuple[Step, ...]:
    """The steps in the arguments of the tool. Raises `ValueError` saying what is wrong."""
    steps = msgspec.convert(arguments.get("steps"), tuple[Step, ...])
    for number, step in enumerate(steps, start=1):
        for pick in _picks(step.arguments):
            if not 1 <= pick.step < number:
                raise ValueError(
                    f"step {number} takes values from step {pick.step}, not an earlier one"
                )
    return steps


def structured(outcome: Returned) -> Any:
    """The values of an answer that has fields; None for one that is only text."""
    text = outcome.text
    if not outcome.structured:
        return None
    try:
        return msgspec.json.decode(text[text.index("{") : text.rindex("}") + 1])
    except (ValueError, RecursionError):
        return None  # cut because it was too long: nobody vouches for what is left


def apart(outcome: Outcome) -> Iterator[str]:
    """What an answer says: its values one by one, or its text."""
    values = structured(outcome) if isinstance(outcome, Returned) else None
    yield from (words(outcome),) if values is None else leaves(values)


def _picked(pick: Pick, answers: Sequence[Any]) -> Iterator[str]:
    rows: list[Given] = [row for answer in answers for row in _records(answer)]
    rows = [row for row in rows if _at(row, pick.field) is not None]
    rows = [row for row in rows if all(_same(_at(row, k), v) for k, v in pick.where.items())]
    for field, best in ((pick.most, max), (pick.least, min)):
        if field and rows:
            most = best([_size(_at(row, field)) for row in rows])
            rows = [row for row in rows if _size(_at(row, field)) == most]
    for row in rows:
        yield from leaves(_at(row, pick.field))


def _records(value: Any) -> Iterator[Given]:
    if isinstance(value, Mapping):
        yield cast("Given", value)
        value = list(cast("Given", value).values())
    if isinstance(value, list):
        for below in cast("list[Any]", value):
            yield from _records(below)


def _at(row: Given, field: str) -> Any:
    value: Any = row
    for name in field.split("."):
        value = cast("Given", value).get(name) if isinstance(value, Mapping) else None
    return value


def _size(value: Any) -> tuple[float, str]:
    number = isinstance(value, int | float)
    return (value, "") if number else (0.0, str(value))


def _same(one: Any, other: Any) -> bool:
    return one == other or _plain(one) == _plain(other)


def _plain(value: Any) -> str:
    return " ".join(str(value).casefold().split())


def _is_open(spec: Any) -> bool:
    return isinstance(spec, Mapping) and set(cast("Given", spec)) in ({"text"}, {"number"})


def _pick(spec: Any) -> Pick | None:
    return msgspec.convert(spec, Pick) if isinstance(spec, Mapping) and "from" in spec else None


def _picks(spec: Any) -> Iterator[Pick]:
    if (pick := _pick(spec)) is not None:
        yield pick
    elif isinstance(spec, Mapping | list):
        for below in (
            cast("Given", spec).values() if isinstance(spec, Mapping) else cast("list[Any]", spec)
        ):
            yield from _picks(below)


def _has_each(spec: Any) -> bool:
    return any(pick.each for pick in _picks(spec))


def laid_out(steps: Iterable[Step]) -> str:
    """The plan as a line for each step, for whoever reads it."""
    lines = (
        f"{number}. {step.tool} {msgspec.json.encode(step.arguments).decode()}"
        for number, step in enumerate(steps, start=1)
    )
    return "\n".join(lines)
