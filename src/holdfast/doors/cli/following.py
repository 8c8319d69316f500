"""Following a task to its end, through every break of the connection."""

from __future__ import annotations

import time

from .client import query
from .listing import cost, spent
from .out import line, plain
from .reading import count_of, part_of, rows_of, text_of
from .stop import FAILED, OK, UNAVAILABLE, Stop
from .tries import told
from .wire import CutOff

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .client import Happening
    from .desk import Desk
    from .wire import Json

_BREAKS = 20
_PAUSE = 0.1
_ROOM = 88


def follow(
    desk: Desk,
    task: str,
    hear: Callable[[Happening], None],
    *,
    after: int = 0,
    show_thinking: str = "",
) -> Json:
    """The summary of the task when it has ended. `hear` gets each event once, and deltas.

    A daemon that was killed is started again; one that was stopped in good order stays stopped.
    """
    seen, breaks = after, 0
    while True:
        clean = True
        try:
            wanted = query(after=seen, show_thinking=show_thinking)
            for item in desk.daemon.follow(f"/api/v1/tasks/{task}/events{wanted}"):
                if item.kind == "end":
                    return item.data
                if item.kind != "delta":
                    if item.seq <= seen:
                        continue
                    seen, breaks = item.seq, 0
                hear(item)
        except CutOff:
            clean = False
        if clean and not desk.daemon.awake():
            raise Stop(
                "the daemon was stopped; the task goes on at its next start",
                hint=f"holdfast task watch {task[-8:]}",
                code=UNAVAILABLE,
            )
        breaks += 1
        if breaks > _BREAKS:
            raise Stop("the connection breaks again and again", code=UNAVAILABLE)
        if breaks > 1:
            time.sleep(_PAUSE)


def closing(desk: Desk, row: Json) -> int:
    """The last line about a task, and the exit code it stands for."""
    status = str(row.get("status"))
    seconds = max(0, count_of(row, "updated_at") - count_of(row, "submitted_at")) / 1000
    steps = f"{spent(row, 'steps')} step{'' if spent(row, 'steps') == 1 else 's'}"
    used = f"{steps}, {seconds:.1f} s, {spent(row, 'tokens'):,} tokens, {cost(row)}"
    if status == "SUCCEEDED":
        desk.screen.note(f"done in {used}", mark="good")
        return OK
    fault: Json = part_of(row, "fault")
    words = {"CANCELED": "canceled", "DEAD_LETTER": "given up"}.get(status, "failed")
    desk.screen.note(f"{words} after {used}", mark="bad")
    if status != "CANCELED":
        why = plain(text_of(fault, "message") or "no reason was recorded")
        short = str(row.get("id"))[-8:]
        hint = f"holdfast task show {short}"
        if text_of(fault, "code") == "budget_exceeded":
            hint = f"holdfast budget list; its own limits: holdfast task retry {short} --help"
        desk.screen.error(why, hint)
    return FAILED


class Progress:
    """Tells on stderr what happens, one line per fact. Remembers the calls, for approvals."""

    def __init__(self, desk: Desk, *, asks: bool = False) -> None:
        """`asks`: somebody puts the questions to a person here, so they need no telling."""
        self._screen, self._asks = desk.screen, asks
        self.calls: dict[str, Json] = {}
        self._started: set[str] = set()
        self._model = ""

    def hear(self, item: Happening) -> None:
        tell = _TOLD.get(item.kind)
        if tell is not None:
            tell(self, item.data)

    def submitted(self, data: Json) -> None:
        agent: Json = part_of(part_of(data, "request"), "agent")
        self._model = text_of(agent, "model")

    def asking(self, data: Json) -> None:
        self._point(f"asking {self._model or 'the model'}")

    def replied(self, data: Json) -> None:
        if told(data):
            self._model = text_of(data, "model") or self._model
        self._answered(text_of(data, "model"))
        self.tried(data)
        for judged in rows_of(data, "judged"):
            self.calls[str(judged["call"]["id"])] = judged["call"]
            if part_of(judged, "verdict").get("type") == "ask" and not self._asks:
                self._point(f"waiting for approval: {name(judged['call'])}")

    def _answered(self, model: str) -> None:
        """Said when it is not called as it was named: the name was a short one."""
        if model and self._model and model != self._model:
            self._point(f"{model} answers")
        self._model = model or self._model

    def top_up(self, data: Json) -> None:
        for judged in rows_of(data, "judged"):
            self.calls[str(judged["call"]["id"])] = judged["call"]
            if not self._asks:
                question = text_of(part_of(judged, "verdict"), "question")
                self._point(f"waiting for approval: {_first(question)}")

    def context_cut(self, data: Json) -> None:
        chars = count_of(data, "chars")
        self._point(f"too long for the model: asking again with {chars:,} characters")

    def checking(self, data: Json) -> None:
        for judged in rows_of(data, "judged"):
            self.calls[str(judged["call"]["id"])] = judged["call"]
        count = len(rows_of(data, "judged"))
        self._point(f"checking: {count} check{'' if count == 1 else 's'}")

    def call_started(self, data: Json) -> None:
        self._started.add(str(data.get("call_id")))
        self._point(name(self._call(data)))

    def call_settled(self, data: Json) -> None:
        call, outcome = self._call(data), part_of(data, "outcome")
        kind = str(outcome.get("type") or "returned")
        if kind != "returned":
            said = str(outcome.get("text") or outcome.get("reason") or kind)
            word = {"refused": "not allowed: ", "unknown": "unknown: "}.get(kind, "")
            self._bad(f"{name(call)}: {word}{_first(said)}")
        elif str(data.get("call_id")) not in self._started:
            self._point(f"{name(call)} (as before)")

    def checks_failed(self, data: Json) -> None:
        self._bad(f"a check failed: {_first(str(data.get('report') or ''))}")

    def nudged(self, data: Json) -> None:
        self._point(f"reminded the model: {_first(str(data.get('text') or ''))}")

    def said(self, data: Json) -> None:
        self._point(f"{data.get('by') or 'somebody'} said: {_first(str(data.get('text') or ''))}")

    def tried(self, data: Json) -> None:
        for one in told(data):
            self._point(one)

    def attempt_failed(self, data: Json) -> None:
        self.tried(data)
        fault: Json = part_of(data, "fault")
        pause = max(0, count_of(data, "retry_at") - count_of(data, "at")) / 1000
        self._bad(f"{_first(str(fault.get('message') or ''))}; trying again in {pause:.0f} s")

    def recovered(self, data: Json) -> None:
        self._point(f"going on after a break: {_first(str(data.get('reason') or ''))}")

    def _call(self, data: Json) -> Json:
        key = str(data.get("call_id"))
        return self.calls.get(key, {"tool": "call", "target": key})

    def _point(self, text: str) -> None:
        self._screen.note(self._screen.cut(text, _ROOM), mark="point", color="faint")

    def _bad(self, text: str) -> None:
        self._screen.note(self._screen.cut(text, 2 * _ROOM), mark="bad")


def name(call: Json) -> str:
    """A call in a few words: its tool and what it is aimed at."""
    return line(f"{call.get('tool')} {call.get('target') or ''}")


def _first(text: str) -> str:
    return line(next((part for part in text.splitlines() if part.strip()), ""))


_TOLD: dict[str, Callable[[Progress, Json], None]] = {
    "Submitted": Progress.submitted,
    "AskBegun": Progress.asking,
    "Replied": Progress.replied,
    "TopUpRequested": Progress.top_up,
    "ContextCut": Progress.context_cut,
    "ChecksDue": Progress.checking,
    "CallStarted": Progress.call_started,
    "CallSettled": Progress.call_settled,
    "ChecksFailed": Progress.checks_failed,
    "Nudged": Progress.nudged,
    "Said": Progress.said,
    "AttemptFailed": Progress.attempt_failed,
    "Failed": Progress.tried,
    "Recovered": Progress.recovered,
}
