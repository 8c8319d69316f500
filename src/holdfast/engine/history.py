"""What was said in a session before: the last turns whole, older ones shortened."""

from __future__ import annotations

from holdfast.core.error import Refused
from holdfast.core.gate.hearing import hearing
from holdfast.core.message import Entry, ModelSaid, PersonSaid
from holdfast.core.task import Task
from holdfast.ports.journal import Journal, Query

from .record import Recorder

_TURNS = 50
_WHOLE = 5
_OLDER_CHARS = 6_000
_BRIEF = 200


async def history(journal: Journal, recorder: Recorder, task: Task) -> tuple[Entry, ...]:
    """What was said in the session before: the last turns whole, older ones shortened."""
    request = task.request
    if request.history or not request.session or task.attempt:
        return request.history
    speaker = request.by if request.own_session else ""
    query = Query(session=request.session, by=speaker, limit=_TURNS, before=task.id)
    entries: list[Entry] = []
    room = _OLDER_CHARS
    for index, row in enumerate(await journal.query(query)):
        if row.answer is None:
            continue
        try:
            earlier = await recorder.load(row.id)
        except Refused:
            continue  # purged: that it was said is known, what was said is not
        asked, answer = earlier.request, row.answer
        prompt, sources = asked.prompt, tuple(sorted(hearing(earlier).influences))
        if index >= _WHOLE:
            prompt, answer = _brief(prompt), _brief(answer)
            room -= len(prompt) + len(answer)
            if room < 0:
                break
        said = PersonSaid(text=prompt, by=asked.by, sources=asked.sources)
        entries = [said, ModelSaid(text=answer, sources=sources), *entries]
    return tuple(entries)


def _brief(text: str) -> str:
    return text if len(text) <= _BRIEF else f"{text[:_BRIEF]} …"
