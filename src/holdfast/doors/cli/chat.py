"""`holdfast chat`: a conversation, line by line; each message is a task of one session."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import time

from .approving import Approver
from .asking import terms, workspace
from .choosing import pick_model
from .client import Happening, query
from .following import Progress, closing, follow
from .listing import describe, spent, task_rows
from .out import dollars, plain, short
from .reading import number_of, part_of, rows_of, text_of
from .run import asks, interrupted, showing, submit, with_thinking
from .sessions import exchanges
from .stop import OK, Stop
from .version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .desk import Desk, Given
    from .wire import Json

_SHOWN = 3
_QUITS = {"quit", "exit", "/quit", "/exit"}


def chat(desk: Desk, given: Given) -> int:
    pick_model(desk, given)
    talk = Talk(desk, given)
    talk.greet()
    while (text := talk.hear()) is not None and text not in _QUITS:
        if not text:
            continue
        try:
            talk.command(text) if _is_command(text) else talk.message(text)
        except Stop as stop:
            desk.screen.error(stop.message, stop.hint)
    talk.part()
    return OK


def _is_command(text: str) -> bool:
    """As the house sees it: a path is none, and `/tool name {json}` tells the model what to do."""
    word = text.split(maxsplit=1)[0]
    plain_word = word[1:].isascii() and word[1:].isalpha()
    return word.startswith("/") and plain_word and word.lower() != "/tool"


class Talk:
    """One conversation: its session, and what this sitting has used."""

    def __init__(self, desk: Desk, given: Given) -> None:
        self._desk, self._screen = desk, desk.screen
        self._terms = terms(given, workspace(given))
        self._show_thinking = showing(desk, given)
        self._session = self._resumed(given.one("resume")) or given.one("session")
        self._fresh = not self._session
        self._session, self._agent = self._session or f"chat-{os.urandom(4).hex()}", ""
        self._tasks = self._tokens = 0
        self._money = 0.0
        if self._screen.in_is_terminal:
            with contextlib.suppress(ImportError):
                importlib.import_module("readline")

    def greet(self) -> None:
        found = self._desk.daemon.get("/api/v1/status")
        model = self._terms.get("model") or found.get("model") or "no model"
        self._screen.note(f"holdfast {VERSION} | {model} | session {self._session} | /help")
        if not self._fresh:
            self._recall()

    def _recall(self) -> None:
        """The end of what was said before."""
        past = self._past()
        if len(past) > _SHOWN:
            self._screen.note(f"({len(past) - _SHOWN} earlier exchanges)", color="faint")
        for said in past[-_SHOWN:]:
            self._screen.note(f"> {plain(str(said['prompt']))}", color="faint")
            self._screen.note(plain(str(said.get("answer") or said["status"])), color="faint")

    def _past(self) -> list[Json]:
        """What was said before; nothing in a session that begins here."""
        try:
            return exchanges(self._desk, self._session)
        except Stop as stop:
            if stop.name != "session_not_found":
                raise
            return []

    def hear(self) -> str | None:
        """The next line, or None at the end of the input."""
        try:
            if self._screen.in_is_terminal:
                return input("> ").strip()
            text = sys.stdin.readline()
        except (EOFError, KeyboardInterrupt):
            self._screen.note("")
            return None
        return text.strip() if text else None

    def message(self, text: str) -> None:
        """One message and its answer. Ctrl-C stops the task, not the conversation."""
        body = {"prompt": text, **self._terms, "session": self._session}
        row = submit(self._desk, {**body, "unattended": not self._screen.attended})
        task = str(row["id"])
        voice = Voice(self._desk, task)
        try:
            row = follow(self._desk, task, voice.hear, show_thinking=self._show_thinking)
        except KeyboardInterrupt:
            interrupted(self._desk, task)
            return
        voice.end(row)
        closing(self._desk, row)
        self._tasks += 1
        self._tokens += spent(row, "tokens")
        self._money += number_of(row, "cost_usd")

    def command(self, text: str) -> None:
        word, _, rest = text.partition(" ")
        if (action := _COMMANDS.get(word)) is not None:
            action[1](self, rest.strip())
        else:
            self._ask(text)

    def _ask(self, text: str) -> None:
        """A command that the house answers; it may lead to another conversation."""
        body = {"text": text, "session": self._session, "agent": self._agent}
        told = self._desk.daemon.post("/api/v1/chat-command", body)
        before, self._session = self._session, text_of(told, "session")
        self._agent = text_of(told, "agent")
        self._screen.note(plain(text_of(told, "reply")))
        if before != self._session:
            self._recall()

    def part(self) -> None:
        tasks = f"{self._tasks} task{'' if self._tasks == 1 else 's'}"
        used = f"{tasks}, {self._tokens:,} tokens, {dollars(self._money)}"
        self._screen.note(f"Session {self._session} | {used}")

    def help(self, _rest: str) -> None:
        for word, (what, _) in _COMMANDS.items():
            if word != "/help":  # the house's own list ends with it
                self._screen.note(f"{word:<14}{what}")
        self._ask("/help")
        self._screen.note(f"{'/quit':<14}end, as Ctrl-D does; everything is kept")

    def status(self, _rest: str) -> None:
        for name, value in describe(self._desk.daemon.get("/api/v1/status")):
            self._screen.note(f"{name:<12}{value}")

    def tasks(self, _rest: str) -> None:
        rows = self._of_session()
        for row in task_rows(rows, time.time()):
            self._screen.note("  ".join(row))
        if not rows:
            self._screen.note("no tasks yet")

    def cancel(self, rest: str) -> None:
        ended = {"SUCCEEDED", "FAILED", "CANCELED", "DEAD_LETTER"}
        rows = [row for row in self._of_session() if str(row["status"]) not in ended]
        task = rest or (str(rows[0]["id"]) if rows else "")
        if not task:
            self._screen.note("nothing is running")
            return
        row = self._desk.daemon.post(f"/api/v1/tasks/{task}/cancel", {"reason": "said in the chat"})
        self._screen.note(f"canceled {short(str(row['id']))}")

    def model(self, rest: str) -> None:
        if rest:
            self._terms["model"] = rest
        self._screen.note(f"model: {self._terms.get('model') or 'the default one'}")

    def approve(self, _rest: str) -> None:
        """Whatever waits in this session, one question after the other."""
        self._desk.need_person("approving")
        asked = [row for row in self._of_session() if row.get("questions")]
        for row in asked:
            Approver(self._desk, str(row["id"])).look(self._calls(str(row["id"])))
        if not asked:
            self._screen.note("nothing waits for an answer")

    def _calls(self, task: str) -> dict[str, Json]:
        progress = Progress(self._desk)
        page = self._desk.daemon.get(f"/api/v1/tasks/{task}/events?limit=5000")
        for event in rows_of(page, "events"):
            for judged in rows_of(part_of(event, "data"), "judged"):
                progress.calls[str(judged["call"]["id"])] = judged["call"]
        return progress.calls

    def _of_session(self) -> list[Json]:
        found = self._desk.daemon.get(f"/api/v1/tasks{query(session=self._session, limit=20)}")
        return rows_of(found, "tasks")

    def _resumed(self, wanted: str) -> str:
        """The session that `--resume` names: whole, by its beginning, or `last`."""
        if not wanted:
            return ""
        found = rows_of(self._desk.daemon.get("/api/v1/sessions"), "sessions")
        names = [str(row["id"]) for row in found]
        if wanted == "last" and not names:
            raise Stop("there is no session to resume", hint="holdfast chat")
        found = names[:1] if wanted == "last" else [n for n in names if n == wanted]
        found = found or [name for name in names if name.startswith(wanted)]
        if len(found) > 1:
            raise Stop(f"{wanted} could be any of: {', '.join(found[:5])}")
        if not found:
            raise Stop(f"there is no session {wanted}", hint="holdfast session list")
        return found[0]


class Voice:
    """What is heard of a task in a conversation: its words as they come, the rest as progress."""

    def __init__(self, desk: Desk, task: str) -> None:
        self._screen = desk.screen
        self._progress = Progress(desk, asks=desk.screen.attended)
        self._approver = Approver(desk, task)
        self._said = ""

    def hear(self, item: Happening) -> None:
        if item.kind == "delta":
            if "reset" in item.data:
                self._begin_again(text_of(item.data, "reset"))
            self._speak(text_of(item.data, "text"))
            return
        if item.kind == "AskBegun":
            self._pause()
            return
        if item.kind == "CallStarted":
            self._pause()
        self._progress.hear(item)
        if self._screen.attended and asks(item):
            self._pause()
            self._approver.look(self._progress.calls)

    def end(self, row: Json) -> None:
        """The answer, unless it has been heard already."""
        answer = row.get("answer")
        if self._said and plain(str(answer or "")).strip() == plain(self._said).strip():
            self._screen.give("\n")
        elif answer is not None:
            self._pause()
            self._screen.answer(str(answer))
        if row.get("thinking"):
            self._pause()
            self._screen.answer(with_thinking("", row))

    def _speak(self, piece: str) -> None:
        """A program that reads wants the answer only, and once."""
        if self._screen.out_is_terminal:
            self._said += piece
            self._screen.give(piece)

    def _begin_again(self, model: str) -> None:
        """What was said is void: it broke off, and `model` begins anew, or nobody."""
        said, _ = self._said, self._pause()
        if said:
            then = f"; {model} begins again" if model else ""
            self._screen.note(f"that broke off{then}", mark="point", color="faint")

    def _pause(self) -> None:
        if self._said:
            self._screen.give("\n")
        self._said = ""


_COMMANDS: dict[str, tuple[str, Callable[[Talk, str], None]]] = {
    "/help": ("this list", Talk.help),
    "/status": ("how the daemon is", Talk.status),
    "/tasks": ("the tasks of this conversation", Talk.tasks),
    "/cancel": ("stop the task that is running, or the one named", Talk.cancel),
    "/model": ("NAME: who answers from now on", Talk.model),
    "/approve": ("answer what is asked", Talk.approve),
}
