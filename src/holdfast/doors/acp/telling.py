"""What an editor is shown of one task: from the items of its stream to updates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import calls
from .calls import Json, Look
from .daemon import Item
from .planned import Plan

_BROKE_OFF = "\n\n_That broke off; it begins again._\n\n"


class Telling:
    """Remembers what was shown already, so that nothing is shown twice and nothing is left out.

    `again`: everything is past, and is shown with the words of people. `heard` are words of a
    person that the editor shows by itself.
    """

    def __init__(self, task: str, workspace: str, look: Look, *, again: bool = False) -> None:
        self._task, self._workspace, self._look = task, workspace, look
        self.again = again
        self.heard: list[str] = []
        self.calls: dict[str, Json] = {}
        self._diffs: dict[str, list[Json]] = {}
        self._said = self._thought = ""
        self._number = 0
        self._plan = Plan()

    def told(self, item: Item) -> list[Json]:
        tell = _TOLD.get(item.kind)
        return tell(self, item.data) if tell else []

    def number(self, call: str) -> str:
        """A call's id among all calls of a session."""
        return f"{self._task[-12:]}.{call}"

    def shown(self, call: Json) -> Json:
        """A call as a question about it shows it."""
        wanted = str(call["id"])
        return {
            "toolCallId": self.number(wanted),
            "title": calls.title(call),
            "kind": calls.kind(call),
            "status": "pending",
            "rawInput": call.get("arguments", {}),
            "locations": calls.locations(call, self._workspace),
            "content": self._diffs.get(wanted, []),
        }

    def submitted(self, data: Json) -> list[Json]:
        return [self._person(str(data["request"]["prompt"]))] if self.again else []

    def person_said(self, data: Json) -> list[Json]:
        words = str(data.get("text"))
        if words in self.heard:
            self.heard.remove(words)
            return []
        return [self._person(words)]

    def delta(self, data: Json) -> list[Json]:
        if "reset" in data:
            broken = [self._chunk("message", _BROKE_OFF)] if self._said else []
            self._begin()
            return broken
        told: list[Json] = []
        if piece := str(data.get("thought") or ""):
            self._thought += piece
            told.append(self._chunk("thought", piece))
        if piece := str(data.get("text") or ""):
            self._said += piece
            told.append(self._chunk("message", piece))
        return told

    def replied(self, data: Json) -> list[Json]:
        said: Json = data.get("said") or {}
        told: list[Json] = []
        thoughts = "\n\n".join(str(one.get("text") or "") for one in said.get("thoughts", ()))
        if thoughts.strip() and not self._thought:
            told.append(self._chunk("thought", thoughts))
        told += self._rest(str(said.get("text") or ""))
        self._begin()
        return told + self.judged(data)

    def judged(self, data: Json) -> list[Json]:
        told: list[Json] = []
        for one in data.get("judged", ()):
            call: Json = one["call"]
            wanted = str(call["id"])
            self.calls[wanted] = call
            self._diffs[wanted] = calls.changes(call, self._workspace, self._look)
            told.append({"sessionUpdate": "tool_call", **self.shown(call)})
            if self._plan.proposed(call):
                told.append(self._plan.update())
        return told

    def call_started(self, data: Json) -> list[Json]:
        wanted = str(data["call_id"])
        return [self._update(wanted, status="in_progress"), *self._moved(wanted, "in_progress")]

    def call_settled(self, data: Json) -> list[Json]:
        wanted = str(data["call_id"])
        outcome: Json = data.get("outcome") or {}
        returned = outcome.get("type", "returned") == "returned"
        words = str(outcome.get("text") or outcome.get("reason") or "")
        diffs = self._diffs.get(wanted, []) if returned else []
        content = diffs or ([calls.text(words)] if words else [])
        status = "completed" if returned else "failed"
        update = self._update(wanted, status=status, content=content)
        return [update, *self._moved(wanted, "completed")]

    def waiting(self, data: Json) -> list[Json]:
        """A question that is answered with words."""
        wait: Json = data.get("wait") or {}
        return (
            [self._chunk("message", str(wait["question"]))] if wait.get("type") == "human" else []
        )

    def checks_failed(self, data: Json) -> list[Json]:
        return [self._chunk("thought", f"The checks failed: {data.get('report') or ''}\n\n")]

    def attempt_failed(self, data: Json) -> list[Json]:
        fault: Json = data.get("fault") or {}
        self._begin()
        return [
            self._chunk("thought", f"That failed and is tried again: {fault.get('message')}\n\n")
        ]

    def _rest(self, whole: str) -> list[Json]:
        """What the pieces that were heard left out."""
        if not whole or whole.strip() == self._said.strip():
            return []
        if whole.startswith(self._said):
            return [self._chunk("message", whole[len(self._said) :])]
        broken = self._chunk("message", _BROKE_OFF)
        self._begin()
        return [broken, self._chunk("message", whole)]

    def _begin(self) -> None:
        """The next words are another message."""
        self._said = self._thought = ""
        self._number += 1

    def _chunk(self, who: str, words: str) -> Json:
        return {
            "sessionUpdate": f"agent_{who}_chunk",
            "content": {"type": "text", "text": words},
            "messageId": f"{self._task[-12:]}.{self._number}",
        }

    def _person(self, words: str) -> Json:
        content = {"type": "text", "text": words}
        return {"sessionUpdate": "user_message_chunk", "content": content}

    def _update(self, call: str, **more: Any) -> Json:
        return {"sessionUpdate": "tool_call_update", "toolCallId": self.number(call), **more}

    def _moved(self, call: str, status: str) -> list[Json]:
        return [self._plan.update()] if self._plan.moved(call, status) else []


_TOLD: dict[str, Callable[[Telling, Json], list[Json]]] = {
    "Submitted": Telling.submitted,
    "Said": Telling.person_said,
    "delta": Telling.delta,
    "Replied": Telling.replied,
    "TopUpRequested": Telling.judged,
    "ChecksDue": Telling.judged,
    "CallStarted": Telling.call_started,
    "CallSettled": Telling.call_settled,
    "CallWaiting": Telling.waiting,
    "ChecksFailed": Telling.checks_failed,
    "AttemptFailed": Telling.attempt_failed,
}
