"""A browser, a site for it inside its box, and what its tools answer."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from msgspec.structs import replace

from holdfast.adapters.blobs.memory import MemoryBlobs
from holdfast.adapters.boxes.bubblewrap import BubblewrapBoxes
from holdfast.adapters.boxes.pool import Pool
from holdfast.adapters.tools.browser.browsers import Attach, Browsers, World, open_browsers
from holdfast.adapters.tools.browser.options import BrowserOptions
from holdfast.adapters.tools.browser.tools import browser_tools
from holdfast.core.ids import CallId, TaskId
from holdfast.core.message import Failed, Returned
from holdfast.ports.box import Box, Boxes
from holdfast.ports.egress import Pass
from holdfast.ports.tools import Job

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome-stable"))), "")

PAGES = {
    "form.html": """<title>A form</title><h1>Sign up</h1>
      <form action=done.html><label>Name <input name=who></label>
      <label>Colour <select name=colour><option>red<option value=b>blue</select></label>
      <label>Key <input name=key></label>
      <label>Password <input type=password name=word value=hunter2></label>
      <button>Send</button><button type=button onclick="document.title='pressed'">More</button>
      <button type=button disabled>Never</button><button type=button>More</button></form>
      <a href=done.html target=_blank>Elsewhere</a>""",
    "framed.html": "<iframe src=form.html height=300 width=900></iframe>",
    "done.html": "<title>Done</title><p>Thank you.</p>",
    "keys.html": "<title>Keys</title><p>use ghp_0123456789abcdefghijABCDEFGHIJ012345 or "
    "sk-abcdefghijklmnopqrstuvwx or deadbeefdeadbeefdeadbeefdeadbeefdeadbeef</p>"
    "<code id=new>token-5f8c-made-for-you</code>",
}
PAGES["some.bin"] = "bytes"
SERVER = """
import functools, http.server, sys
class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
print(server.server_port, flush=True)
server.serve_forever()
"""


class Site:
    """Pages served inside the box, which has no other way out."""

    def __init__(self) -> None:
        self.address = ""
        self.left = anyio.Event()

    def attach(self, box: Box, job: Job) -> AbstractAsyncContextManager[Pass | None]:
        return self._attached(box)

    @asynccontextmanager
    async def _attached(self, box: Box) -> AsyncGenerator[Pass | None]:
        for name, text in PAGES.items():
            await box.put(name, text.encode())
        async with box.start(["/usr/bin/python3", "-c", SERVER]) as running:
            port = (await running.receive()).decode().strip()
            self.address = f"http://127.0.0.1:{port}"
            try:
                yield None
            finally:
                self.address = ""
                self.left.set()


class Stage:
    """One task's folder, its browser and the browser's tools."""

    def __init__(self, place: Path, world: World, browsers: Browsers, site: Site) -> None:
        self.boxes = world.boxes
        self.workspace = place / "workspace"
        self.workspace.mkdir(exist_ok=True)
        self.browsers, self.site = browsers, site
        self.tools = {tool.spec.name: tool for tool in browser_tools(browsers, MemoryBlobs())}
        self.job = Job(task=TaskId("task_1"), call=CallId("c1_1"), workspace=self.workspace)

    async def run(self, name: str, /, *, secrets: tuple[str, ...] = (), **arguments: Any) -> Any:
        tool, job = self.tools[f"browser_{name}"], replace(self.job, secrets=secrets)
        await tool.before(arguments, job)
        return await tool.run(arguments, job)

    async def says(self, name: str, /, **arguments: Any) -> str:
        out = await self.run(name, **arguments)
        assert isinstance(out, Returned), out
        return out.text

    async def tells(self, name: str, /, **arguments: Any) -> dict[str, Any]:
        return json.loads(await self.says(name, **arguments))

    async def fails(self, name: str, /, **arguments: Any) -> tuple[str, str]:
        out = await self.run(name, **arguments)
        assert isinstance(out, Failed), out
        return out.code, out.text

    async def open(self, page: str = "form.html") -> dict[str, Any]:
        """Open a page of the site; its address is known once the browser is up."""
        if not self.site.address:
            await self.says("open", url="about:blank")
        return await self.tells("open", url=f"{self.site.address}/{page}", wait_ms=0)

    async def refs(self) -> dict[str, str]:
        """The refs of the page by `role name`."""
        seen = await self.tells("snapshot")
        return {f"{each['role']} {each['name']}": each["ref"] for each in seen["elements"][::-1]}


@asynccontextmanager
async def on_stage(
    place: Path,
    options: BrowserOptions | None = None,
    *,
    boxes: Boxes | None = None,
    attach: Attach | None = None,
    kept: dict[str, str] | None = None,
) -> AsyncGenerator[Stage]:
    site, known = Site(), {} if kept is None else kept
    pool = boxes or Pool(BubblewrapBoxes(), spares=False)

    async def keep(name: str, value: str, job: Job) -> None:
        known[name] = value

    async def reveal(name: str) -> str:
        return known[name]

    def redact(text: str) -> str:
        for value in known.values():
            text = text.replace(value, "<known>")
        return text

    world = World(
        boxes=pool,
        attach=attach or site.attach,
        keep=keep,
        reveal=reveal,
        redact=redact,
        shelf=place / "shelf",
    )
    try:
        async with open_browsers(options or BrowserOptions(), world) as browsers:
            yield Stage(place, world, browsers, site)
    finally:
        await pool.close()
