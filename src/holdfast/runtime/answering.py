"""Every yes and no to the question of a task goes through here: who answers must be one who may."""

from __future__ import annotations

from holdfast.core.command import Approve, Refuse
from holdfast.core.error import NotAllowed, NotFound
from holdfast.core.gate.policy import Say, parse_rule
from holdfast.core.gate.standing import standing_of
from holdfast.core.ids import CallId, TaskId
from holdfast.core.task import Human, OpenCall, Request, Task
from holdfast.core.view import Summary, summary

from .answerers import Answerers, over, words
from .house import House


async def answered(house: House, task_id: TaskId, answer: Approve | Refuse) -> Summary:
    """Give a person's answer. Raises `NotAllowed` where the policy leaves it to others."""
    task = await house.recorder.load(task_id)
    opened = task.calls.get(answer.call_id)
    if opened is None:
        what = f"task {task_id} has no open call {answer.call_id}"
        raise NotFound(what, code="call_not_open")
    # Whatever its state: it may begin to wait for somebody before the answer is there.
    check(house, task, opened, answer.by)
    _check_no_claim(task, opened, answer)
    _check_reach(house, task, opened, answer)
    return summary(await house.recorder.tell(task_id, answer))


async def question_for(house: House, task_id: TaskId, by: str) -> CallId:
    """The call whose question in words is answered by what `by` says now; empty: there is none.

    Raises `NotAllowed` for who may not answer it.
    """
    task = await house.recorder.load(task_id)
    for opened in task.calls.values():
        if isinstance(opened.wait, Human) and not is_lent(task, opened.call.tool):
            check(house, task, opened, by)
            return opened.call.id
    return CallId("")


def is_lent(task: Task, tool: str) -> bool:
    """Whether it is a tool of whoever submitted the task: they alone say what it gave."""
    return any(one.name == tool for one in task.request.lent)


def who(house: House, task: Task, opened: OpenCall) -> tuple[str, ...]:
    """Who may answer, in words; empty: whoever may answer at all."""
    return words(_over(house, task, opened), task.request.by)


def check(house: House, task: Task, opened: OpenCall, by: str) -> None:
    """Raises `NotAllowed` for who may not answer this question."""
    found = _over(house, task, opened)
    if all(one.may(by, task.request.by) for one in found):
        return
    told = "; ".join(words(found, task.request.by))
    raise NotAllowed(
        f"{by} may not answer call {opened.call.id} ({opened.call.tool}): it is for {told}",
        code="not_yours_to_answer",
        hint="policy.toml says who may: [[answer]]",
    )


def _check_no_claim(task: Task, opened: OpenCall, answer: Approve | Refuse) -> None:
    """A yes to a call that its client is running would say that it has been done."""
    waits = isinstance(opened.wait, Human) and is_lent(task, opened.call.tool)
    if waits and isinstance(answer, Approve):
        raise NotAllowed(
            f"{opened.call.tool} is run by {task.request.by}, who says what it gave",
            code="not_yours_to_answer",
            hint="refuse the call, or cancel the task, if they will not",
        )


def _check_reach(house: House, task: Task, opened: OpenCall, answer: Approve | Refuse) -> None:
    """A yes to more than this call must not reach into what others have to answer."""
    if isinstance(answer, Refuse) or not (answer.whole_task or answer.lease or answer.vouch):
        return
    rule = answer.lease.rule if answer.lease else None
    tools = (rule.tools or (rule.tool,)) if rule else (opened.call.tool,)
    if answer.vouch:  # whose words these are counts for calls of every tool
        tools = ("*",)
    requesters = [task.request.by]
    if answer.lease and not (answer.lease.scope == "task" and answer.lease.of == task.id):
        requesters.append(answer.by)  # it would answer for tasks of one's own
    found = (_of_others(house, tools, answer.by, requester) for requester in requesters)
    if told := next(filter(None, found), ""):
        raise NotAllowed(
            f"a yes to more than this call could cover what is for {told}",
            code="not_yours_to_answer",
            hint="answer this one call alone",
        )


def check_leave(house: House, request: Request) -> None:
    """What others have to answer is not answered by whoever submits the task, beforehand."""
    for text in request.leave.allow:
        rule = parse_rule(text, Say.ALLOW, name="")
        if told := _of_others(house, (rule.tool,), request.by, request.by):
            raise NotAllowed(
                f"to allow {text!r} could cover what is for {told}",
                code="not_yours_to_answer",
                hint="submit it without: who may answer will be asked",
            )


def _of_others(house: House, tools: tuple[str, ...], by: str, requester: str) -> str:
    """Whose questions calls of these tools could be, if not `by`'s own."""
    for one in house.in_force.answerers:
        if one.may_meet(tools) and not one.may(by, requester):
            return "; ".join(words([one], requester))
    return ""


def _over(house: House, task: Task, opened: OpenCall) -> list[Answerers]:
    asking = standing_of(task, house.clock.now()).asking
    return over(house.in_force.answerers, house.rules.matter(opened.call, asking))
