"""What people do with open questions besides yes and no: ask why, edit, answer all alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from holdfast.core.command import Approve, Refuse
from holdfast.core.error import Invalid, NotAllowed, NotFound, Refused
from holdfast.core.gate.hearing import hearing
from holdfast.core.gate.judge import decided
from holdfast.core.gate.labels import nobodys
from holdfast.core.gate.policy import Ask, Deny
from holdfast.core.gate.standing import standing_of
from holdfast.core.gate.suggest import suggested
from holdfast.core.ids import CallId, TaskId, canonical
from holdfast.core.message import EffectClass, ToolCall
from holdfast.core.task import CallState, OpenCall, Task, bound
from holdfast.core.view import Summary
from holdfast.engine.describe import described
from holdfast.ports.journal import Query

from .advice import advice
from .answering import answered, check, who
from .domains import Level, level_of, read_name
from .house import House
from .tasks import Yes

_ALL = 500


class Why(Struct, frozen=True, kw_only=True):
    """Why a person is asked: the rule that says so, and one under which nobody would be again.

    `nobodys`: the values that no person has said, of a call that labels are about. `advice`: what
    in the words of strangers reads like orders; it decides nothing. `for_whom` says who may answer;
    empty: whoever may answer at all.
    """

    rule: str
    suggested: str
    nobodys: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    for_whom: tuple[str, ...] = ()


async def why(house: House, task_id: TaskId, call_id: CallId) -> Why:
    """Empty words for a question that no rule has put, or that has been answered by now."""
    task = await house.recorder.load(task_id)
    opened = task.calls.get(call_id)
    if opened is None:
        return Why(rule="", suggested="")
    if opened.state is not CallState.ASKED or not isinstance(opened.verdict, Ask):
        return Why(rule="", suggested="", for_whom=who(house, task, opened))
    try:
        instead = suggested(opened.call).label
    except Invalid as none:
        instead = f"none: {none}"
    call, whom = opened.call, who(house, task, opened)
    strange = tuple(dict.fromkeys(nobodys(call, hearing(task)))) if call.labels else ()
    return Why(
        rule=opened.verdict.rule,
        suggested=instead,
        nobodys=strange,
        advice=await advice(house, task_id),
        for_whom=whom,
    )


class Edit(Struct, frozen=True, kw_only=True):
    """Other arguments in place of those of the call that `digest` names."""

    call: CallId
    digest: str
    arguments: Mapping[str, Any]
    by: str


async def edit(house: House, task_id: TaskId, wish: Edit) -> Summary:
    """Say no to a call, and to the model what to propose in its place.

    What the person writes is a new proposal: the model makes it, it is judged like any other, and
    who is asked about it sees exactly what will run. Raises `Invalid` for what the tool cannot
    do, `NotAllowed` for what the rules deny: then the question stays open.
    """
    task = await house.recorder.load(task_id)
    opened = _asked(task, wish.call)
    check(house, task, opened, wish.by)
    if wish.digest != bound(task, opened):
        hint = "look at the call again, then edit what it says now"
        raise Refused(
            f"call {wish.call} is another one by now", code="approval_mismatch", hint=hint
        )
    call = _edited(house, task, opened, wish.arguments)
    verdict = decided(
        call, standing_of(task, house.clock.now()), house.recorder.authority.over(task)
    )
    if isinstance(verdict, Deny):
        message = f"{call.tool} {call.target}: {verdict.reason}"
        raise NotAllowed(message, code="edit_denied", hint=f"rule: {verdict.rule}")
    reason = f"propose {call.tool} with these arguments instead: {canonical(call.arguments)}"
    command = Refuse(call_id=wish.call, by=wish.by, reason=reason)
    return await answered(house, task_id, command)


def _edited(house: House, task: Task, opened: OpenCall, given: Mapping[str, Any]) -> ToolCall:
    """The call as the person wants it; arguments that are not named stay. Raises `Invalid`."""
    call = opened.call
    tool = house.tools.get(call.tool)
    if tool is None:
        raise NotFound(f"the tool {call.tool} is no longer there", code="no_such_tool")
    arguments = house.secrets.clean({**call.arguments, **given})
    if arguments == call.arguments:
        raise Invalid("these are the arguments that it has", code="nothing_edited")
    changed = replace(call, arguments=arguments, problem="")
    changed = described(changed, call.id, {call.tool: tool}, Path(task.request.workspace))
    if changed.problem:
        raise Invalid(changed.problem, code="bad_arguments")
    return changed


async def approve_alike(
    house: House, task_id: TaskId, yes: Yes, may_answer: Callable[[str], bool]
) -> Summary:
    """Say yes to a call, and to every open question about the very same one in that workspace, of
    agents that `may_answer` is true of.

    Each gets an approval of its own, bound to it alone. Raises `Refused` for what is no read and
    in no domain that is trusted so far.
    """
    first = await house.recorder.load(task_id)
    opened = _asked(first, yes.call)
    if not _may_be_several(house, first, opened):
        message = f"{opened.call.tool} is no read: each call of it gets its own answer"
        raise Refused(message, code="not_a_read", hint="approve it without the others")
    command = Approve(call_id=yes.call, digest=yes.digest, by=yes.by)
    row = await answered(house, task_id, command)
    for other in await house.journal.query(Query(asked=True, limit=_ALL)):
        if not may_answer(other.agent):
            continue
        task = await house.recorder.load(other.id)
        if task.request.workspace != first.request.workspace:
            continue
        for one in task.calls.values():
            alike = one.state is CallState.ASKED and _alike(one, opened)
            if alike and _may_be_several(house, task, one):
                await _also(house, task, one, yes.by)
    return row


def _alike(one: OpenCall, other: OpenCall) -> bool:
    mine, its = one.call, other.call
    same = mine.key == its.key and mine.target == its.target and mine.also == its.also
    return same and mine.labels == its.labels


def _may_be_several(house: House, task: Task, opened: OpenCall) -> bool:
    """One yes may answer several reads, and what a domain of medium trust asks: as it was when it
    asked, and no less by now."""
    if opened.call.effect is EffectClass.READS:
        return True
    named = read_name(opened.verdict.rule) if isinstance(opened.verdict, Ask) else None
    if named is None or named[1] is not Level.MEDIUM:
        return False
    grants, agent = house.trust.grants, task.request.agent.name
    levels = [level_of(x, grants, agent) for x in house.in_force.domains if x.name == named[0]]
    return bool(levels) and levels[0] in {Level.MEDIUM, Level.HIGH}


async def _also(house: House, task: Task, opened: OpenCall, by: str) -> None:
    command = Approve(call_id=opened.call.id, digest=bound(task, opened), by=by)
    try:
        await answered(house, task.id, command)
    except (Refused, NotAllowed):
        return  # somebody else has answered it or has to, or its time is over


def _asked(task: Task, call_id: CallId) -> OpenCall:
    opened = task.calls.get(call_id)
    if opened is None:
        raise NotFound(f"task {task.id} has no open call {call_id}", code="call_not_open")
    if opened.state is not CallState.ASKED:
        raise Refused(f"call {call_id} is {opened.state}", code=f"call_{opened.state}")
    return opened
