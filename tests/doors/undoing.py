"""What tests of undoing stand on: a house whose model proposes given calls, and trees."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from holdfast.core.context import Prompt
from holdfast.core.ids import CallId
from holdfast.core.message import ModelSaid, PersonSaid, Reply, ToolCall
from tests.whole_house import Inhabited

OPEN = '[policy]\npreset = "open"\n'
Proposal = tuple[str, dict[str, Any]]
Tree = dict[str, tuple[str, str, int]]


class Script:
    """A model that proposes, for a task with this prompt, these calls turn by turn."""

    def __init__(self) -> None:
        self.tasks: dict[str, tuple[tuple[Proposal, ...], ...]] = {}

    def __call__(self, prompt: Prompt) -> Reply:
        asked = next(entry.text for entry in prompt.entries if isinstance(entry, PersonSaid))
        turns = self.tasks[asked]
        turn = sum(isinstance(entry, ModelSaid) for entry in prompt.entries)
        if turn >= len(turns):
            return Reply(text="the work is done")
        calls = (
            ToolCall(id=CallId(f"c{turn}{n}"), tool=tool, arguments=arguments)
            for n, (tool, arguments) in enumerate(turns[turn])
        )
        return Reply(calls=tuple(calls))


class Works:
    """A house, its workspace, and tasks that do what they are told."""

    def __init__(self, lives: Inhabited, script: Script) -> None:
        self.lives, self.script = lives, script
        self.folder = lives.house.home / "workspace"

    async def begun(self, *calls: Proposal, **more: Any) -> str:
        """The id of a task that is to do these calls, one turn after the other."""
        prompt = f"work {len(self.script.tasks)}"
        self.script.tasks[prompt] = tuple((one,) for one in calls)
        return await self.lives.submit(prompt, **more)

    async def did(self, *calls: Proposal, **more: Any) -> str:
        """The id of a task that has done them."""
        task = await self.begun(*calls, **more)
        row = await self.lives.ended(task)
        assert row["status"] == "SUCCEEDED", row
        return task

    async def undo(self, ref: str, **body: Any) -> dict[str, Any]:
        answer = await self.lives.tcp.post(f"/api/v1/tasks/{ref}/undo", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def refused(self, ref: str, **body: Any) -> tuple[int, str]:
        answer = await self.lives.tcp.post(f"/api/v1/tasks/{ref}/undo", json=body)
        return answer.status_code, answer.json()["code"]

    async def outlook(self, ref: str, **asked: Any) -> dict[str, Any]:
        answer = await self.lives.tcp.get(f"/api/v1/tasks/{ref}/undo", params=asked)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def file(self, name: str, content: str | bytes = "") -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    @property
    def tree(self) -> Tree:
        return tree(self.folder)


def tree(folder: Path) -> Tree:
    """All that is in a folder: what it is, what it holds, who may do what."""
    found: Tree = {}
    for here, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(here, name)
            mode = path.lstat().st_mode
            kind = "dir" if stat.S_ISDIR(mode) else "link" if stat.S_ISLNK(mode) else "file"
            holds = {"dir": _nothing, "link": os.readlink, "file": _hex}[kind](path)
            found[str(path.relative_to(folder))] = (kind, holds, stat.S_IMODE(mode))
    return found


def _nothing(path: Path) -> str:
    return ""


def _hex(path: Path) -> str:
    return path.read_bytes().hex()


def write(path: str, content: str) -> Proposal:
    return "write", {"path": path, "content": content}


def run(command: str) -> Proposal:
    return "exec", {"command": command}
