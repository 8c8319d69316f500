"""What a task has heard, and from whom: what its calls are labelled by."""

from __future__ import annotations

from holdfast.core.gate.labels import PERSON, Heard
from holdfast.core.message import ModelSaid, PersonSaid, ToolAnswered, words
from holdfast.core.task import Task


def hearing(task: Task) -> Heard:
    """Everything that people said to the task, and everything from outside."""
    request = task.request
    said, outside = [request.agent.instructions, *request.said], list[tuple[str, str]]()
    behind = set(request.sources)
    for entry in task.transcript:
        match entry:
            case PersonSaid(text=text) if not (request.sources and text == request.prompt):
                said.append(text)
            case ToolAnswered(outcome=outcome, sources=sources):
                if sources == (PERSON,):  # handed on by anybody else, it is theirs
                    said.append(words(outcome))
                outside += [(source, words(outcome)) for source in sources if source != PERSON]
            case ModelSaid(sources=sources):
                behind |= set(sources)
            case _:
                continue
    texts = tuple(text for text in said if text)
    return Heard(said=texts, outside=tuple(outside), sources=frozenset(behind))
