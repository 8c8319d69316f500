"""The web's tools at work: on a website of this machine, or with answers set beforehand."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import msgspec

from holdfast.adapters.tools.web import EngineSettings, WebSettings, web_tools
from holdfast.core.error import NotAllowed
from holdfast.core.ids import CallId, TaskId
from holdfast.core.message import Failed, Outcome, Returned
from holdfast.ports.egress import Allowed, Egress, Reach
from holdfast.ports.tools import Job, Tool
from holdfast.testing.website import Website
from tests.adapters.plain_egress import PlainEgress

SECRETS = {"search/brave": "brave-key", "search/tavily": "tavily-key"}
_FRAME = re.compile(r"--- outside ([0-9a-f]{16}) ---\n(.*)\n--- end of outside \1 ---", re.DOTALL)


class Surfer:
    """The tools of one task, and what they answer."""

    def __init__(
        self,
        egress: Egress,
        site: Website | None = None,
        *,
        at: Mapping[str, EngineSettings] | None = None,
        **settings: Any,
    ) -> None:
        self._port = site.port if site else 0
        told = WebSettings(search=dict(at or {}), **settings)
        tools = web_tools(egress, self._reach, told, secret)
        self.tools = {tool.spec.name: tool for tool in tools}
        self.job = Job(task=TaskId("task_1"), call=CallId("c1_1"), workspace=Path("/nowhere"))

    def tool(self, name: str) -> Tool:
        return self.tools[name]

    async def run(self, name: str, **arguments: Any) -> Outcome:
        with anyio.fail_after(30):
            out = await self.tools[name].run(arguments, self.job)
        assert isinstance(out, Returned | Failed), out
        return out

    async def says(self, name: str, **arguments: Any) -> str:
        out = await self.run(name, **arguments)
        assert isinstance(out, Returned), out
        return out.text

    async def fails(self, name: str, **arguments: Any) -> tuple[str, str]:
        out = await self.run(name, **arguments)
        assert isinstance(out, Failed), out
        return out.code, out.text

    async def reads(self, url: str, **more: Any) -> str:
        """What a page says, without what is said about it."""
        return framed(await self.says("web_fetch", url=url, **more))

    def _reach(self, job: Job, tool: str) -> Reach:
        mine = Allowed(host="127.0.0.1", port=self._port)
        return Reach(
            task=job.task,
            agent="default",
            tool=tool,
            allowed=(mine,) if self._port and tool != "web_search" else (),
            web=tool != "web_search",
            private=("127.0.0.1",) if self._port and tool != "web_search" else (),
        )


def visiting(site: Website, **settings: Any) -> Surfer:
    return Surfer(PlainEgress(), site, **settings)


def framed(text: str) -> str:
    """What is between the marks, of which there is one pair and nothing behind it."""
    found = _FRAME.search(text)
    assert found is not None, text
    assert text.endswith(found[0]), text
    return found[2]


def head(text: str) -> Mapping[str, Any]:
    """What is said about an answer."""
    return msgspec.json.decode(text.partition("\n")[0])


async def secret(name: str) -> str:
    if name not in SECRETS:
        raise NotAllowed(f"there is no secret {name} for you", code="no_secret")
    return SECRETS[name]
