"""One task while an editor watches: what happens is shown, what is asked is asked there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any

import anyio
from anyio.abc import TaskGroup
from msgspec import Struct

from .daemon import Daemon, Item
from .lines import INTERNAL, Fault, Lines
from .telling import Telling

Json = dict[str, Any]
_ASKING = {"Replied", "TopUpRequested", "ChecksDue", "CallWaiting"}
_LIMITS = {"steps": "max_turn_requests", "tokens": "max_tokens"}
_OTHERS = "not_yours_to_answer"
_OPTIONS = [
    {"optionId": "once", "name": "Allow once", "kind": "allow_once"},
    {"optionId": "task", "name": "Allow for this task", "kind": "allow_always"},
    {"optionId": "no", "name": "Reject", "kind": "reject_once"},
]


class _Chosen(Struct, frozen=True, rename="camel"):
    outcome: str
    option_id: str = ""


class _Answered(Struct, frozen=True):
    outcome: _Chosen


class _Filled(Struct, frozen=True):
    action: str
    content: dict[str, Any] = {}


_WORDS = {
    "type": "object",
    "properties": {"answer": {"type": "string", "title": "Your answer"}},
    "required": ["answer"],
}


class Turn:
    """The task of one prompt. `run` watches it to its end; `rest` waits for an answer to a prompt.

    `update` shows something in the editor.
    """

    def __init__(
        self,
        session: str,
        task: str,
        reach: tuple[Daemon, Lines],
        telling: Telling,
        update: Callable[[Json], Awaitable[None]],
    ) -> None:
        self.task, self.telling = task, telling
        self.over = False
        self._session, self._update = session, update
        self._daemon, self._lines = reach
        self._open: dict[str, anyio.CancelScope] = {}
        self._resting = anyio.Event()
        self._reason = "end_turn"
        self._failure: Fault | None = None
        self._scope = anyio.CancelScope()

    async def run(self, after: int = 0) -> None:
        """Until the task has ended. What a person must decide is asked meanwhile."""
        try:
            with self._scope:
                await self._watch(after)
        except* Fault as faults:
            self._failure = _first(faults)
        finally:
            self.over = True
            self._resting.set()

    def leave(self) -> None:
        """Watch no further. The task goes on."""
        self._scope.cancel()

    async def rest(self) -> str:
        """Why the agent stopped for now. Raises `Fault` if the task came to nothing."""
        await self._resting.wait()
        if not self.over:
            self._resting = anyio.Event()
        if self._failure is not None:
            raise self._failure
        return self._reason

    async def say(self, words: str) -> None:
        """Raises `Fault`, for one if it is over already."""
        self.telling.heard.append(words)
        self._resting = anyio.Event()
        body = {"text": words}
        await self._daemon.post(f"/api/v1/tasks/{self.task}/say", body, repeatable=False)

    async def cancel(self) -> None:
        with suppress(Fault):  # it may have ended by itself
            reason = {"reason": "stopped in the editor"}
            await self._daemon.post(f"/api/v1/tasks/{self.task}/cancel", reason)

    async def _watch(self, after: int) -> None:
        async with anyio.create_task_group() as group:
            if after:
                await self._look(group)
            async with aclosing(self._daemon.follow(self.task, after)) as items:
                async for item in items:
                    await self._heard(item, group)
            group.cancel_scope.cancel()

    async def _heard(self, item: Item, group: TaskGroup) -> None:
        for update in self.telling.told(item):
            await self._update(update)
        if item.kind in {"CallSettled", "CallApproved"}:
            if scope := self._open.pop(str(item.data["call_id"]), None):
                scope.cancel()  # somebody has answered, here or elsewhere
        elif item.kind in _ASKING and _asks(item.data):
            await self._look(group)
        elif item.kind == "end":
            self._end(item.data)

    async def _look(self, group: TaskGroup) -> None:
        """Ask everything that is open and was not asked here yet."""
        row = await self._daemon.get(f"/api/v1/tasks/{self.task}")
        for question in row.get("questions", ()):
            call = str(question["call"])
            if question.get("free_text") and not self._lines.forms:
                self._resting.set()  # the next prompt is the answer
            elif call not in self._open:
                self._open[call] = anyio.CancelScope()
                words = question.get("free_text")
                group.start_soon(self._ask_words if words else self._ask, question)

    async def _ask(self, question: Json) -> None:
        """What is chosen counts only for exactly what was shown: the digest says what that was."""
        wanted = str(question["call"])
        with self._open[wanted]:
            shown = self.telling.shown(self.telling.calls.get(wanted, _unheard(question)))
            shown["title"] = question.get("question") or shown["title"]
            params = {"sessionId": self._session, "toolCall": shown, "options": _OPTIONS}
            try:
                answer = await self._lines.ask("session/request_permission", params, _Answered)
            except Fault as fault:
                text = f"{fault}; `holdfast task approve {self.task[-8:]}` answers as well.\n\n"
                content = {"type": "text", "text": text}
                await self._update({"sessionUpdate": "agent_thought_chunk", "content": content})
                return
            await self._tell(question, answer.outcome)

    async def _ask_words(self, question: Json) -> None:
        """In a form; whoever closes it answers with the next prompt."""
        call = str(question["call"])
        with self._open[call]:
            params = {
                "mode": "form",
                "sessionId": self._session,
                "toolCallId": self.telling.number(call),
                "message": str(question.get("question") or "The agent asks you something."),
                "requestedSchema": _WORDS,
            }
            try:
                said = await self._lines.ask("elicitation/create", params, _Filled)
                answer = said.content.get("answer") if said.action == "accept" else ""
                if isinstance(answer, str) and answer.strip():
                    with anyio.CancelScope(shield=True):
                        body = {"text": answer}
                        await self._daemon.post(
                            f"/api/v1/tasks/{self.task}/say", body, repeatable=False
                        )
                    return
            except Fault as fault:
                content = {"type": "text", "text": f"{fault}\n\n"}
                await self._update({"sessionUpdate": "agent_thought_chunk", "content": content})
            self._resting.set()

    async def _tell(self, question: Json, chosen: _Chosen) -> None:
        target = f"/api/v1/tasks/{self.task}/calls/{question['call']}"
        if chosen.outcome != "selected":
            return
        with anyio.CancelScope(shield=True):
            try:
                await self._answer(target, question, chosen)
            except Fault as fault:
                if (fault.data or {}).get("code") == _OTHERS:  # else somebody was faster
                    content = {"type": "text", "text": f"{fault}.\n\n"}
                    await self._update({"sessionUpdate": "agent_thought_chunk", "content": content})

    async def _answer(self, target: str, question: Json, chosen: _Chosen) -> None:
        if chosen.option_id in {"once", "task"}:
            whole = chosen.option_id == "task"
            body = {"digest": question["digest"], "whole_task": whole}
            await self._daemon.post(f"{target}/approve", body)
        else:
            await self._daemon.post(f"{target}/refuse", {"reason": "refused in the editor"})

    def _end(self, row: Json) -> None:
        status = row.get("status")
        fault: Json = row.get("fault") or {}
        code, message = str(fault.get("code") or ""), str(fault.get("message") or "it failed")
        if status == "CANCELED":
            self._reason = "cancelled"
        elif status != "SUCCEEDED":
            limit = message.partition(":")[0] if code == "budget_exceeded" else ""
            self._reason = "refusal" if code == "content_filtered" else _LIMITS.get(limit, "")
            if not self._reason:
                told = {"code": code, "task": self.task}
                self._failure = Fault(INTERNAL, f"the task failed: {message}", told)


def _asks(data: Json) -> bool:
    judged = data.get("judged") or ()
    return any(one["verdict"].get("type") == "ask" for one in judged) or "wait" in data


def _unheard(question: Json) -> Json:
    return {"id": question["call"], "tool": question["tool"], "target": question.get("target")}


def _first(faults: BaseExceptionGroup[Fault]) -> Fault:
    error: Fault | BaseExceptionGroup[Fault] = faults
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
