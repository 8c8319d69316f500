"""An agent made with the protocol's Python library: asks leave for what it is told to do."""

import asyncio
from pathlib import Path
from typing import Any

import acp
from acp import schema


class Agent:
    """`write NAME` asks leave and writes a file; all else is said back."""

    def __init__(self) -> None:
        self.client: Any = None
        self.folder = Path()

    def on_connect(self, conn: Any) -> None:
        self.client = conn

    async def initialize(self, protocol_version: int, **_: Any) -> schema.InitializeResponse:
        return schema.InitializeResponse(protocol_version=protocol_version)

    async def new_session(self, cwd: str, **_: Any) -> schema.NewSessionResponse:
        self.folder = Path(cwd)
        return schema.NewSessionResponse(session_id="one")

    async def cancel(self, session_id: str, **_: Any) -> None:
        return None

    async def prompt(self, session_id: str, prompt: list[Any], **_: Any) -> schema.PromptResponse:
        words = prompt[0].text
        await self._say(session_id, f"You said: {words}. ")
        if words.startswith("write "):
            await self._say(session_id, await self._write(session_id, words.split()[1]))
        return schema.PromptResponse(stop_reason="end_turn")

    async def _write(self, session: str, name: str) -> str:
        start = acp.start_tool_call("t1", f"write {name}", kind="edit", status="pending")
        await self.client.session_update(session_id=session, update=start)
        answer = await self.client.request_permission(
            session_id=session,
            tool_call=schema.ToolCallUpdate(tool_call_id="t1", title=f"write {name}"),
            options=[
                schema.PermissionOption(option_id="y", name="Yes", kind="allow_once"),
                schema.PermissionOption(option_id="n", name="No", kind="reject_once"),
            ],
        )
        good = getattr(answer.outcome, "option_id", "") == "y"
        if good:
            (self.folder / name).write_text("by the agent\n")
        status = "completed" if good else "failed"
        done = acp.update_tool_call("t1", status=status)
        await self.client.session_update(session_id=session, update=done)
        return "Done." if good else "I was not allowed to."

    async def _say(self, session: str, text: str) -> None:
        update = acp.update_agent_message_text(text)
        await self.client.session_update(session_id=session, update=update)


if __name__ == "__main__":
    made: Any = Agent()
    asyncio.run(acp.run_agent(made))
