"""The built-in tools, at work in one folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from holdfast.adapters.blobs.memory import MemoryBlobs
from holdfast.adapters.boxes.pool import Pool
from holdfast.adapters.tools.builtin import builtin_tools
from holdfast.adapters.tools.execute import BoxOptions
from holdfast.adapters.tools.output import Spool
from holdfast.core.ids import CallId, TaskId
from holdfast.core.message import Failed, Returned
from holdfast.ports.box import BoxKind
from holdfast.ports.tools import Job, Tool
from holdfast.testing.fake_box import FakeBoxes
from holdfast.testing.fake_clock import FakeClock


class Desk:
    """A folder, the tools, and what they answer."""

    def __init__(
        self, place: Path, kind: BoxKind | None = None, options: BoxOptions | None = None
    ) -> None:
        self.workspace = place / "workspace"
        self.workspace.mkdir()
        self.blobs = MemoryBlobs()
        self.clock, self.spool = FakeClock(), place / "spool"
        self.boxes = Pool(kind or FakeBoxes())
        self.tools = builtin_tools(
            boxes=self.boxes,
            blobs=self.blobs,
            clock=self.clock,
            spool=Spool(self.spool, str),
            options=options,
        )
        self.job = Job(task=TaskId("task_1"), call=CallId("c1_1"), workspace=self.workspace)

    async def close(self) -> None:
        await self.boxes.close()

    def tool(self, name: str) -> Tool:
        tool = self.tools.get(name)
        assert tool is not None
        return tool

    async def says(self, name: str, **arguments: Any) -> str:
        out = await self.tool(name).run(arguments, self.job)
        assert isinstance(out, Returned), out
        return out.text

    async def fails(self, name: str, **arguments: Any) -> tuple[str, str]:
        out = await self.tool(name).run(arguments, self.job)
        assert isinstance(out, Failed), out
        return out.code, out.text

    def file(self, name: str, content: str | bytes = "") -> Path:
        path = self.workspace / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path
