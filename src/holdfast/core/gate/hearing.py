"""What a task has heard, and from whom: what its calls are labelled by."""

from __future__ import annotations

from holdfast.core.gate.labels import PERSON, Heard
from holdfast.core.gate.plan import PLAN, Plan, apart, planned
from holdfast.core.gate.policy import Ask
from holdfast.core.gate.vouching import Said
from holdfast.core.ids import CallId
from holdfast.core.message import (
    ModelSaid,
    Outcome,
    PersonSaid,
    Refused,
    Returned,
    ToolAnswered,
    ToolCall,
    words,
)
from holdfast.core.task import OpenCall, Task


def hearing(task: Task) -> Heard:
    """Everything that people said to the task, everything from outside, and its plan."""
    request = task.request
    said, outside = [request.agent.instructions, *request.said], list[tuple[str, str]]()
    strangers = list[str]()
    behind, calls, plan = set(request.sources), dict[CallId, ToolCall](), Plan()
    fresh = set[CallId]()
    for entry in task.transcript:
        match entry:
            case PersonSaid(text=text, files=files, sources=strange):
                behind |= set(strange)
                if not (strange or (request.sources and text == request.prompt)):
                    said.append(text)
                if files:  # a person sent them, and need not have written them
                    behind.add("file")
            case ToolAnswered(outcome=outcome, sources=sources):
                if sources == (PERSON,):  # handed on by anybody else, it is theirs
                    said.append(words(outcome))
                if strange := [source for source in sources if source != PERSON]:
                    outside += [(source, words(outcome)) for source in strange]
                    strangers += apart(outcome)
                counts = entry.call_id in fresh or sources == (PERSON,)
                if (call := calls.get(entry.call_id)) and (counts or call.tool != PLAN):
                    plan = _going_on(plan, call, entry, Said(tuple(said), tuple(strangers)))
            case ModelSaid(sources=sources):
                behind |= set(sources)
                calls |= {call.id: call for call in entry.calls}
                fresh |= {call.id for call in entry.calls if not behind and not outside}
            case _:
                pass
    texts = tuple(text for text in said if text)
    return Heard(
        said=texts,
        outside=tuple(outside),
        strangers=tuple(strangers),
        sources=frozenset(behind),
        vouched=frozenset(task.vouched),
        plan=plan,
    )


def sources_of(opened: OpenCall, outcome: Outcome, sources: tuple[str, ...]) -> tuple[str, ...]:
    """Where the words of an answer come from; a refusal's are the house's own, and those of a plan
    that was asked about are the person's who agreed to it."""
    call = opened.call
    if call.tool == PLAN and isinstance(opened.verdict, Ask) and isinstance(outcome, Returned):
        return (PERSON,)
    if isinstance(outcome, Refused) or not call.source or getattr(outcome, "apart", False):
        return sources
    return tuple(dict.fromkeys((call.source, *getattr(outcome, "sources", ()), *sources)))


def _going_on(plan: Plan, call: ToolCall, entry: ToolAnswered, said: Said) -> Plan:
    if call.tool != PLAN:
        return plan.after(call, said, entry.outcome)
    return Plan(steps=planned(call.arguments)) if isinstance(entry.outcome, Returned) else plan
