"""Words for a task that are nobody's here: an agent elsewhere says them, or hands them on."""

from __future__ import annotations

from holdfast.core.command import SettleCall
from holdfast.core.error import Invalid, Refused
from holdfast.core.ids import TaskId
from holdfast.core.message import Returned
from holdfast.core.view import Summary, summary

from .answering import question_for
from .house import House


async def relay(
    house: House, task_id: TaskId, text: str, sources: tuple[str, ...], *, by: str
) -> Summary:
    """Answer the question in words that a task asks; its answer is labelled with its `sources`.

    Raises `Refused` where no such question waits: then only a person may speak up; `NotAllowed`
    where the policy leaves the answer to others than `by`.
    """
    if not text.strip():
        raise Invalid("the message is empty", code="empty_message")
    if call := await question_for(house, task_id, by):
        said = Returned(text=text)
        answer = SettleCall(call_id=call, outcome=said, sources=sources, by=by)
        return summary(await house.recorder.tell(task_id, answer))
    hint = "begin a task with it, in the same context"
    message = "the task has asked nothing that can be answered in words"
    raise Refused(message, code="nothing_asked", hint=hint)
