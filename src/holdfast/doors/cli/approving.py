"""Asking the person at the terminal: exactly what, and one letter for an answer."""

from __future__ import annotations

import json
import sys
import textwrap

from .out import line, plain
from .reading import part_of, rows_of, texts_of
from .stop import REFUSED, Stop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .desk import Desk
    from .wire import Json

_LINES = 24
_VALUE = 400
_CHOICES = "[y]es once / [a]lways for this task / yes to the [l]ike for a day / [n]o / [s]top"
_BEFORE, _AFTER = ("old", "before", "find", "search"), ("new", "after", "replace", "content")


class Approver:
    """Puts a task's open questions to the person, each once."""

    def __init__(self, desk: Desk, task: str) -> None:
        self._desk, self._task = desk, task
        self._done: set[str] = set()

    def look(self, calls: dict[str, Json]) -> None:
        """Ask everything that is open now. `calls` are the calls heard of, by id."""
        row = self._desk.daemon.get(f"/api/v1/tasks/{self._task}?advice=true")
        for question in rows_of(row, "questions"):
            if question["call"] not in self._done:
                self._done.add(question["call"])
                for noticed in texts_of(row, "advice"):
                    self._desk.screen.ask(f"  careful: {line(noticed)}\n")
                self._put(question, calls.get(question["call"], {}))

    def _put(self, question: Json, call: Json) -> None:
        screen = self._desk.screen
        for text in describe(question, call):
            screen.ask(text + "\n")
        if question.get("free_text"):
            self._answer(question)
            return
        while True:
            screen.ask(f"{_CHOICES} ")
            typed = sys.stdin.readline()
            choice = typed.strip().lower()[:1]
            if not typed:
                screen.ask(f"\nleft open: holdfast task approve {self._task[-8:]}\n")
                return
            if choice in {"y", "a", "l", "n", "s"}:
                self._tell(question, choice)
                return

    def _tell(self, question: Json, choice: str) -> None:
        body: Json = {}
        target = f"/api/v1/tasks/{self._task}/calls/{question['call']}"
        if choice == "s":
            target, body = f"/api/v1/tasks/{self._task}/cancel", {"reason": "stopped at a question"}
        elif choice == "n":
            target += "/refuse"
        else:
            target += "/approve"
            body = {"digest": question["digest"], "whole_task": choice == "a"}
            body |= {"lease": {"scope": "task"}} if choice == "l" else {}
        try:
            self._desk.daemon.post(target, body, repeatable=True)
        except Stop as stop:
            # Somebody else answered, or the time for it ran out: the stream tells what came of it.
            if stop.code != REFUSED:
                raise
            self._desk.screen.note(stop.message, mark="bad")

    def _answer(self, question: Json) -> None:
        self._desk.screen.ask("> ")
        typed = sys.stdin.readline().strip()
        if typed:
            self._desk.daemon.post(f"/api/v1/tasks/{self._task}/say", {"text": typed})


def describe(question: Json, call: Json) -> list[str]:
    """What is asked, in full as far as a person can take it in."""
    head = line(f"{question.get('tool')} {question.get('target') or ''}")
    lines = [f"? {line(str(question.get('question') or head))}"]
    # A question for more money says it all; its arguments are in units for programs.
    arguments: Json = part_of(call, "arguments") if call.get("tool") != "top_up" else {}
    for key, value in arguments.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        sign = "-" if key in _BEFORE else "+" if key in _AFTER else ""
        if sign or "\n" in text:
            lines += _block(key, text, sign)
        elif text != question.get("target"):
            lines.append(f"    {key}: {line(_trimmed(text))}")
    return lines if arguments else [*lines, f"    {head}"]


def _block(key: str, text: str, sign: str) -> list[str]:
    """A longer text as lines; with a sign in front it reads like a diff."""
    whole = plain(text).splitlines()
    shown = [
        f"    {sign or '|'} {textwrap.shorten(one, 160) if len(one) > 200 else one}"
        for one in whole
    ]
    rest = len(shown) - _LINES
    more = [f"      ({rest} more lines)"] if rest > 0 else []
    return [f"    {key}:", *shown[:_LINES], *more]


def _trimmed(text: str) -> str:
    return (
        text if len(text) <= _VALUE else f"{text[:_VALUE]} ({len(text) - _VALUE} more characters)"
    )
