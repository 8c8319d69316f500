"""Submit, look at, watch and steer tasks."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from holdfast.core.budget import Limits
from holdfast.core.command import Approve, Cancel, Refuse, Retry, Say
from holdfast.core.error import Conflict, Invalid, NotAllowed, NotFound, Refused
from holdfast.core.gate.book import matching
from holdfast.core.gate.hearing import hearing
from holdfast.core.gate.matter import Asking
from holdfast.core.gate.policy import DENY
from holdfast.core.gate.presets import PRESETS
from holdfast.core.ids import CallId, SessionId, TaskId
from holdfast.core.message import File, ModelSaid, PersonSaid, ToolCall
from holdfast.core.task import ENDED, Request, Status, Task
from holdfast.core.view import Question, Summary, questions, summary
from holdfast.engine.live import Happened
from holdfast.ports.journal import Query, Recorded
from holdfast.ports.model import Delta

from .answering import answered, check_leave, question_for
from .house import House

MAX_PROMPT = 1_000_000
MAX_PRIORITY = 100
_CALL_LIMIT = re.compile(
    r"\brun (?:exactly |at most |up to )?(\d{1,3}) tool calls?\b", re.IGNORECASE
)
_MAX_CALLS = 200
_PAGE = 500


async def submit(house: House, request: Request) -> Summary:
    """Put something on the queue; durable when this returns.

    The same `by` and `key` again gives the task that is already there. Raises `Invalid` for a
    request that cannot be run, `Saturated` when too much is waiting, `Refused` when the key was
    used for another request.
    """
    request = house.secrets.clean(_checked(house, request))
    await _renew(house, request)
    if request.agent.shape is not None:
        await house.models.check_shape(request.agent.shape)
    task_id = TaskId(house.clock.new_id("task"))
    try:
        return summary(await house.supervisor.submit(task_id, request))
    except Conflict as conflict:
        if conflict.code != "duplicate_key":
            raise
    return await _already(house, request)


async def _renew(house: House, request: Request) -> None:
    """What a request shows may have been put long ago, for another one."""
    said = [entry.files for entry in request.history if isinstance(entry, PersonSaid)]
    if names := {file.digest for files in (request.files, *said) for file in files}:
        await house.blobs.renew(names)


async def resolve(house: House, text: str) -> TaskId:
    """The one task whose id is, begins with or ends with `text`. Raises `NotFound`, `Invalid`."""
    if len(text) < 4:
        raise Invalid(f"{text!r} is too short to name a task: give 4 characters or more")
    found = await house.journal.find(text)
    if not found:
        raise NotFound(f"there is no task {text}", code="task_not_found", hint="holdfast task list")
    if len(found) > 1:
        raise Invalid(f"{text} could be any of: {', '.join(found[:5])}", code="ambiguous_id")
    return found[0]


async def show(house: House, task_id: TaskId) -> Summary:
    row = await house.journal.summary(task_id)
    if row is None:
        raise NotFound(f"there is no task {task_id}", code="task_not_found")
    return row


async def thinking(house: House, row: Summary, mode: str = "") -> str:
    """What the model thought during an ended task, where people are to see it; else empty.

    `mode` is never, on_error (only if it failed) or always; empty: as configured. Of more than
    `max_thinking_chars` the beginning is left out.
    """
    mode, most = mode or house.in_force.show_thinking, house.in_force.max_thinking_chars
    failed = row.status in {Status.FAILED, Status.DEAD_LETTER}
    if row.status not in ENDED or not (mode == "always" or (mode == "on_error" and failed)):
        return ""
    task = await house.recorder.load(row.id)
    turns = (entry for entry in task.transcript if isinstance(entry, ModelSaid))
    thoughts = (thought.text.strip() for said in turns for thought in said.thoughts)
    whole = "\n\n".join(filter(None, thoughts))
    return whole if len(whole) <= most else f"…{whole[len(whole) - most :]}"


async def heard_from(house: House, row: Summary) -> tuple[str, ...]:
    """Whose words from outside could be behind the answer of an ended task; none while it works."""
    if row.status not in ENDED:
        return ()
    return tuple(sorted(hearing(await house.recorder.load(row.id)).influences))


async def query(house: House, wanted: Query) -> Sequence[Summary]:
    return await house.journal.query(wanted)


async def events(
    house: House, task_id: TaskId, *, after: int = 0, limit: int = _PAGE
) -> Sequence[Recorded]:
    return await house.journal.read(task_id, after, limit)


async def watch(
    house: House, task_id: TaskId, *, after: int = 0
) -> AsyncGenerator[Happened | Delta, None]:
    """Every event with seq > `after`, then what happens, until the task has ended.

    Events are complete and in order; deltas are lost to a reader that is too slow.
    """
    seen = after
    with house.live.watching(task_id) as watcher:
        for recorded in await house.journal.read(task_id, after):
            seen = recorded.seq
            yield Happened(seq=recorded.seq, at=recorded.at, event=recorded.event)
        while not await _over(house, task_id, seen):
            for item in await watcher.take():
                if isinstance(item, Delta):
                    yield item
                elif item.seq > seen + 1 or watcher.gap:
                    watcher.gap = False
                    for recorded in await house.journal.read(task_id, seen):
                        seen = recorded.seq
                        yield Happened(seq=recorded.seq, at=recorded.at, event=recorded.event)
                elif item.seq == seen + 1:
                    seen = item.seq
                    yield item


async def cancel(house: House, task_id: TaskId, *, by: str, reason: str = "") -> Summary:
    """Stop a task for good. Cancelling twice is one cancel; a task that ended otherwise refuses."""
    task = await house.recorder.load(task_id)
    if task.status is Status.CANCELED:
        return summary(task)
    return summary(await house.recorder.tell(task_id, Cancel(by=by, reason=reason)))


async def say(house: House, task_id: TaskId, text: str, *, by: str) -> Summary:
    """Tell a task something; it answers the question in words that it asks, if any."""
    if not text.strip():
        raise Invalid("the message is empty", code="empty_message")
    call = await question_for(house, task_id, by)
    return summary(await house.recorder.tell(task_id, Say(text=text, by=by, answers=call)))


class Yes(Struct, frozen=True, kw_only=True):
    """A yes to one call with exactly the arguments that `digest` names; for the `whole_task` to
    its tool; and, with `vouch`, what nobody had said in it is `by`'s own from now on."""

    call: CallId
    digest: str
    by: str
    whole_task: bool = False
    vouch: bool = False


async def approve(house: House, task_id: TaskId, yes: Yes) -> Summary:
    """Raises `NotAllowed` where the policy leaves the answer to others."""
    command = Approve(
        call_id=yes.call,
        digest=yes.digest,
        by=yes.by,
        whole_task=yes.whole_task,
        vouch=yes.vouch,
    )
    return await answered(house, task_id, command)


async def refuse(
    house: House, task_id: TaskId, call_id: str, *, by: str, reason: str = ""
) -> Summary:
    command = Refuse(call_id=CallId(call_id), by=by, reason=reason)
    return await answered(house, task_id, command)


async def asked(house: House, task_id: TaskId) -> tuple[Question, ...]:
    return questions(await house.recorder.load(task_id))


async def attach(house: House, name: str, media_type: str, data: bytes) -> File:
    """Keep something that a model is to be shown; it counts once a request names it."""
    if not data:
        raise Invalid(f"{name} is empty", code="empty_file")
    digest = await house.blobs.put(data)
    return File(name=name, media_type=media_type, digest=digest, size=len(data))


async def limits(house: House, task_id: TaskId) -> Limits:
    """What a task may use as it stands."""
    return (await house.recorder.load(task_id)).limits


async def retry(house: House, task_id: TaskId, *, by: str, limits: Limits | None = None) -> Summary:
    """Try a failed task again where it stands; one that is over for good is submitted anew.

    `limits` are in force from then on.
    """
    task: Task = await house.recorder.load(task_id)
    if task.status is Status.FAILED:
        return summary(await house.recorder.tell(task_id, Retry(by=by, limits=limits)))
    if task.status not in ENDED:
        raise Refused(f"the task is {task.status}: there is nothing to retry", code="not_ended")
    request = task.request
    again = replace(
        request,
        by=by,
        key="",
        parent=None,
        agent=replace(request.agent, limits=limits or task.limits),
    )
    return await submit(house, again if request.by == by else _of_another(again))


def _of_another(request: Request) -> Request:
    """What only whoever began it can lend stays theirs, and a conversation that is theirs alone: a
    task of somebody else does not come into it."""
    session = SessionId("") if request.own_session else request.session
    return replace(request, session=session, own_session=False, lent=())


async def _over(house: House, task_id: TaskId, seen: int) -> bool:
    """True when the task has ended and everything up to its end has been read."""
    stream = house.recorder.stream(task_id)
    if not stream.cursor.version:
        await house.recorder.load(task_id)
    return stream.task.ended and stream.cursor.version <= seen


async def _already(house: House, request: Request) -> Summary:
    rows = await house.journal.query(Query(by=request.by, key=request.key, limit=1))
    if not rows:
        raise Refused("the key is being used by a request under way", code="key_in_use")
    task = await house.recorder.load(rows[0].id)
    if house.secrets.redact(task.request.prompt) != request.prompt:
        hint = "use a new key for a new request"
        raise Refused(
            f"key {request.key!r} belongs to another request", code="key_reused", hint=hint
        )
    return rows[0]


def _checked(house: House, request: Request) -> Request:
    """The request, complete and possible. Raises `Invalid`."""
    if len(request.prompt) > MAX_PROMPT:
        size = f"{len(request.prompt)} characters, the limit is {MAX_PROMPT}"
        raise Invalid(f"the task is too long: {size}", hint="put the text into a file and name it")
    if not request.prompt.strip():
        raise Invalid("the task is empty: say what should be done", code="empty_prompt")
    if not -MAX_PRIORITY <= request.priority <= MAX_PRIORITY:
        raise Invalid(
            f"priority {request.priority} is not between -{MAX_PRIORITY} and {MAX_PRIORITY}"
        )
    if request.leave.preset and request.leave.preset not in PRESETS:
        raise Invalid(f"there is no preset {request.leave.preset!r}: use {', '.join(PRESETS)}")
    for name in request.deliver:
        if name not in house.channels:
            known = ", ".join(house.channels) or "none"
            raise Invalid(
                f"there is no channel {name!r}; there are: {known}", code="no_such_channel"
            )
    _check_workspace(request.workspace, house.home)
    _check_rules_outside(request.workspace, house.in_force.files)
    _check_checks(house, request)
    check_leave(house, request)
    house.models.find(request.agent.model)
    if match := _CALL_LIMIT.search(request.prompt):
        calls = min(_MAX_CALLS, int(match[1]))
        limits = replace(request.agent.limits, calls=calls)
        request = replace(request, agent=replace(request.agent, limits=limits))
    return request


def _check_checks(house: House, request: Request) -> None:
    """A check is the submitter's own command, so nobody is asked; what is denied stays denied."""
    agent, by = request.agent.name, request.by
    for command in request.checks:
        call = ToolCall(id=CallId(""), tool="exec", arguments={}, target=command)
        asking = Asking(agent=agent, principal=by, at=house.clock.now())
        matter = house.rules.matter(call, asking)
        layers = (*house.rules.layers[:-1], *house.rules.limits_of(agent))
        for rule in (rule for layer in layers for rule in matching(layer, matter)):
            if rule.say is DENY:
                message = f"the check {command!r} is denied by {rule.label}"
                hint = "the rules are in policy.toml or config.toml: holdfast policy show"
                raise NotAllowed(message, code="check_denied", hint=hint)


def _check_rules_outside(workspace: str, files: Sequence[Path]) -> None:
    """What a task may is not said in a file that the task could write."""
    folder = Path(workspace).resolve()
    for file in files:
        real = file.resolve()
        if real.is_relative_to(folder) and not real.is_relative_to(folder / ".holdfast"):
            hint = "work in another folder, or move that file"
            message = f"{workspace} holds the rules that the task is under: {file}"
            raise Invalid(message, code="bad_workspace", hint=hint)


def _check_workspace(path: str, home: Path) -> None:
    folder, home = Path(path), home.resolve()
    if not folder.is_absolute():
        raise Invalid(f"the workspace {path!r} is not an absolute path", code="bad_workspace")
    try:
        there, real = folder.is_dir(), folder.resolve()
    except (OSError, ValueError) as error:  # a name that no folder can have
        what = f"the workspace {path[:200]!r} is not a folder that can be looked at"
        raise Invalid(what, code="bad_workspace") from error
    if not there:
        raise Invalid(f"the workspace {path} is not a folder", code="bad_workspace")
    if folder == Path("/"):
        raise Invalid("the whole file system cannot be a workspace", code="bad_workspace")
    # Tools keep out of `.holdfast`; under any other name the token and the journal would be seen.
    if home.is_relative_to(real) and home != real / ".holdfast":
        hint = "work in another folder, or move the home with HOLDFAST_HOME"
        raise Invalid(f"{path} holds Holdfast's own home {home}", code="bad_workspace", hint=hint)
    if real.is_relative_to(home) and not real.is_relative_to(home / "workspace"):
        raise Invalid(f"{path} is inside Holdfast's own home", code="bad_workspace")
