"""The tools about time and people: what time it is, waiting, asking."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from msgspec import Meta, Struct

from holdfast.core.gate.labels import PERSON
from holdfast.core.message import EffectClass, Failed, Outcome, Returned
from holdfast.core.task import Human, Timer, Wait
from holdfast.ports.clock import Clock
from holdfast.ports.tools import Job, Tool, Traits

from .craft import Craft

_LONGEST = 30 * 86_400


class Time(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The present date and time, in UTC and here."""


class WaitFor(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Wait before going on. Costs nothing meanwhile and survives a restart."""

    seconds: Annotated[float, Meta(description="How long.", gt=0, le=_LONGEST)]


class AskPerson(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ask the person you work for, when you cannot go on without an answer."""

    question: Annotated[str, Meta(description="One clear question.", min_length=1)]


def people_tools(clock: Clock) -> list[Tool]:
    async def tell_time(asked: Time, job: Job) -> Outcome:
        now = datetime.fromtimestamp(clock.now() / 1000, tz=UTC)
        here = now.astimezone()
        utc = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        return Returned(text=f"{utc} ({now:%A}); here {here:%Y-%m-%d %H:%M:%S %z %Z}")

    async def wait(asked: WaitFor, job: Job) -> Outcome | Wait:
        return Timer(until=clock.now() + round(asked.seconds * 1000))

    async def ask(asked: AskPerson, job: Job) -> Outcome | Wait:
        if job.unattended:
            text = "nobody is there to answer; decide yourself or finish with what you have"
            return Failed(text=text, code="nobody_there")
        return Human(question=asked.question)

    reads = EffectClass.READS
    asking = Traits(effect=reads, target="question", source=PERSON)
    return [
        Craft("time", Time, Traits(effect=reads), tell_time),
        Craft("wait", WaitFor, Traits(effect=reads, target="seconds"), wait),
        Craft("ask_person", AskPerson, asking, ask),
    ]
