"""One conversation of an editor: a folder, its settings, and a durable task for each prompt."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from typing import Any

from anyio.abc import TaskGroup

from . import calls, commands
from .daemon import Daemon, Item
from .lines import INTERNAL, NOT_FOUND, REQUEST, Fault, Lines
from .prompts import Block, words_and_files
from .settings import Settings
from .telling import Telling
from .turn import Turn

Json = dict[str, Any]
_MOST = 500
_PAGE = 5_000
_OVER = {"SUCCEEDED", "FAILED", "CANCELED", "DEAD_LETTER"}


class Session:
    """`notes` are told before the first answer."""

    def __init__(
        self, name: str, folder: str, reach: tuple[Daemon, Lines], group: TaskGroup
    ) -> None:
        self.name, self.folder = name, folder
        self.settings = Settings()
        self.notes: Sequence[str] = ()
        self._reach, self._group = reach, group
        self._daemon, self._lines = reach
        self._turn: Turn | None = None
        self._busy = self._canceled = False

    async def prompt(self, blocks: Iterable[Block]) -> str:
        """Why it stopped. Words to a task at work, or to one that asks, are said to it."""
        if self._busy:
            raise Fault(REQUEST, "a prompt of this session is being answered; cancel it first")
        words, files = words_and_files(blocks, self.folder)
        self._busy, self._canceled = True, False
        try:
            for note in self.notes:
                await self._thought(note)
            self.notes = ()
            answer = await commands.ran(self._daemon, self.name, words) if not files else None
            if answer is not None:
                await self._said(answer)
                return "end_turn"
            turn = await self._continued(words) if not files else None
            turn = turn or await self._begun(words, files)
            if self._canceled:
                await turn.cancel()
            return await turn.rest()
        finally:
            self._busy = False

    async def cancel(self) -> None:
        """Stop what is at work here for good; the prompt then ends as cancelled."""
        self._canceled = True
        if self._turn is not None and not self._turn.over:
            await self._turn.cancel()

    def leave(self) -> None:
        """Nothing is shown here any more; what is at work goes on."""
        if self._turn is not None:
            self._turn.leave()

    async def tell(self, update: Json) -> None:
        await self._lines.tell("session/update", {"sessionId": self.name, "update": update})

    async def forget(self) -> None:
        """Make all that was said here unreadable for good. Raises `Fault` while it is at work."""
        body = {"session": self.name, "reason": "deleted in the editor"}
        await self._daemon.post("/api/v1/purge", body)

    async def replay(self) -> None:
        """Show all that was said before, and go on with what is still at work."""
        query = {"session": self.name, "limit": _MOST}
        rows = (await self._daemon.get("/api/v1/tasks", **query))["tasks"]
        if not rows:
            raise Fault(NOT_FOUND, f"there is no session {self.name}")
        for row in reversed(rows):
            telling = Telling(row["id"], self.folder, calls.looking(self.folder), again=True)
            last = await self._shown(row["id"], telling)
            if row["status"] not in _OVER:
                telling.again = False
                self._watch(Turn(self.name, row["id"], self._reach, telling, self.tell), last)

    async def resume(self) -> None:
        """Go on without showing what was. Raises `Fault` for a session that there is not."""
        query = {"session": self.name, "limit": 1}
        if not (await self._daemon.get("/api/v1/tasks", **query))["tasks"]:
            raise Fault(NOT_FOUND, f"there is no session {self.name}")

    async def _continued(self, words: str) -> Turn | None:
        turn = self._turn
        if turn is None or turn.over:
            return None
        try:
            await turn.say(words)
        except Fault:
            row = await self._daemon.get(f"/api/v1/tasks/{turn.task}")
            if row["status"] not in _OVER:
                raise
            return None  # it ended a moment ago
        return turn

    async def _begun(self, words: str, files: list[Json]) -> Turn:
        body = {
            "prompt": words,
            "workspace": self.folder,
            "session": self.name,
            "key": f"acp-{secrets.token_hex(16)}",
            **self.settings.terms(),
            **({"files": files} if files else {}),
        }
        row = await self._daemon.post("/api/v1/tasks", body)
        telling = Telling(row["id"], self.folder, calls.looking(self.folder))
        await self.tell({"sessionUpdate": "session_info_update", "title": row.get("title", "")})
        return self._watch(Turn(self.name, row["id"], self._reach, telling, self.tell), 0)

    def _watch(self, turn: Turn, after: int) -> Turn:
        self._turn = turn
        self._group.start_soon(turn.run, after)
        return turn

    async def _shown(self, task: str, telling: Telling) -> int:
        """Tells everything so far; the number of the last event."""
        last = 0
        while True:
            path = f"/api/v1/tasks/{task}/events"
            try:
                page = await self._daemon.get(path, after=last, limit=_PAGE)
            except Fault as fault:
                if fault.code == INTERNAL and not (fault.data or {}).get("code"):
                    raise
                await self._thought(f"What was said in {task} cannot be shown: {fault}")
                return last
            for event in page["events"]:
                for update in telling.told(Item(kind=event["kind"], data=event["data"])):
                    await self.tell(update)
            if not page["events"]:
                return last
            last = int(page["last"])

    async def _said(self, text: str) -> None:
        content = {"type": "text", "text": text}
        await self.tell({"sessionUpdate": "agent_message_chunk", "content": content})

    async def _thought(self, text: str) -> None:
        content = {"type": "text", "text": f"{text}\n\n"}
        await self.tell({"sessionUpdate": "agent_thought_chunk", "content": content})
