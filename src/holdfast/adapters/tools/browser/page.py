"""One tab: where it is, what it shows, and when it has come to rest."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, TypeVar

import anyio
from msgspec import Struct

from holdfast.adapters.tools.beneath import Denied

from . import scripts
from .cdp import PATIENCE, Cdp, Event, Said
from .options import BrowserOptions
from .protocol import (
    Evaluated,
    Frames,
    FrameTree,
    History,
    Lifecycle,
    Navigated,
    Responded,
    Started,
    Value,
    World,
)

T = TypeVar("T")

_WORLD = "holdfast"
_FRAMES = 50
_DOCUMENTS = 100
_STIRRING = 0.5
_NO_TAB = "Session with given id not found"
_NO_WAY = " (the browser has no way out to there: see [egress])"
_MEANING = {
    "net::ERR_TUNNEL_CONNECTION_FAILED": _NO_WAY,
    "net::ERR_INTERNET_DISCONNECTED": _NO_WAY,
    "net::ERR_NAME_NOT_RESOLVED": _NO_WAY,
    "net::ERR_ADDRESS_UNREACHABLE": _NO_WAY,
}
_DOMAINS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("Page.enable", {}),
    ("Page.setLifecycleEventsEnabled", {"enabled": True}),
    ("Page.setInterceptFileChooserDialog", {"enabled": True}),
    ("Network.enable", {"maxTotalBufferSize": 1 << 20, "maxResourceBufferSize": 1 << 20}),
    ("Inspector.enable", {}),
)


class Ref(Struct, frozen=True, kw_only=True):
    """An element that a snapshot has named: the number it keeps, and in which frame it is."""

    element: int
    frame: str


class Document:
    """What was done to one document: `secret` elements with their frames, and a script of ours."""

    def __init__(self) -> None:
        self.secret: dict[int, str] = {}
        self.scripted = False


class Page:
    """A tab of the browser. `heard` takes what the browser tells about it."""

    def __init__(self, cdp: Cdp, session: str, target: str, options: BrowserOptions) -> None:
        self._cdp, self.session, self.target, self.options = cdp, session, target, options
        self.refs: dict[str, Ref] = {}
        self.crashed = False
        self.status = 0
        self._loader = ""
        self._documents = {"": Document()}
        self._reached: set[str] = set()
        self._loading = False
        self._moved = anyio.Event()

    def prepare(self) -> None:
        """Ask to be told what happens in it."""
        for method, params in _DOMAINS:
            self._cdp.post(method, params, session=self.session)
        size = {"width": self.options.width, "height": self.options.height}
        whole_window = {**size, "deviceScaleFactor": 1, "mobile": False}
        self._cdp.post("Emulation.setDeviceMetricsOverride", whole_window, session=self.session)

    def heard(self, event: Event) -> None:
        match event.method:
            case "Page.lifecycleEvent":
                self._lived(event.read(Lifecycle))
            case "Page.frameStartedNavigating" | "Page.frameStartedLoading":
                self._loading |= event.read(Started).frame_id == self.target
            case "Page.frameStoppedLoading":
                self._loading &= event.read(Started).frame_id != self.target
            case "Network.responseReceived":
                answer = event.read(Responded)
                if answer.type == "Document" and answer.frame_id == self.target:
                    self.status = answer.response.status
            case "Inspector.targetCrashed":
                self.crashed = True
            case _:
                return
        moved, self._moved = self._moved, anyio.Event()
        moved.set()

    @property
    def document(self) -> Document:
        """What there is to know about what is shown now; also after a way back to it."""
        return self._documents.setdefault(self._loader, Document())

    async def call(
        self, method: str, shape: type[T], seconds: float = PATIENCE, **params: Any
    ) -> T:
        if self.crashed:
            raise Denied("page_crashed", "the page has crashed; open it again")
        try:
            return await self._cdp.call(
                method, shape, params, session=self.session, seconds=seconds
            )
        except Said as said:
            if str(said).startswith(_NO_TAB):
                raise Denied("tab_closed", "the tab was closed; another is in front now") from None
            raise

    # Going somewhere

    async def go(self, url: str, quiet: float) -> None:
        """Open `url` and wait until it has loaded and is quiet. Raises `Denied`."""
        self.crashed, self.status = False, 0
        seconds = self.options.load_seconds
        began = anyio.current_time()
        try:
            came = await self.call("Page.navigate", Navigated, seconds, url=url)
        except Said as said:
            raise Denied("bad_url", f"{url} cannot be opened: {said}") from None
        if came.is_download:
            raise Denied("download_refused", f"{url} is a download; those are refused")
        if came.error_text:
            why = _MEANING.get(came.error_text, "")
            raise Denied("page_failed", f"{url} did not open: {came.error_text}{why}")
        left = max(0.1, seconds - (anyio.current_time() - began))
        await self._rest(left, quiet, came.loader_id)

    async def show(self, html: str, quiet: float) -> None:
        """Show a document of ours."""
        await self.go("about:blank", 0)
        await self.call("Page.setDocumentContent", dict, frameId=self.target, html=html)
        await self._rest(self.options.load_seconds, quiet)

    async def turn(self, by: int, quiet: float) -> None:
        """Go back or forward in the history; 0 loads the page again. Raises `Denied`."""
        self.crashed = False
        if by == 0:
            await self.call("Page.reload", dict)
        else:
            history = await self.call("Page.getNavigationHistory", History)
            index = history.current_index + by
            if not 0 <= index < len(history.entries):
                raise Denied("no_history", "there is no page in that direction")
            number = history.entries[index].id
            await self.call("Page.navigateToHistoryEntry", dict, entryId=number)
        await self.settle(quiet)

    async def settle(self, quiet: float = _STIRRING) -> None:
        """Wait for what an act has started: half a second, or until a new page has loaded."""
        with anyio.move_on_after(_STIRRING):
            while not self._loading:
                await self._moved.wait()
        if self._loading:
            await self._rest(self.options.load_seconds, quiet)

    async def _rest(self, seconds: float, quiet: float, loader: str = "") -> None:
        """Wait for the load event, then for the network to be quiet; both within bounds."""
        with anyio.move_on_after(seconds):
            while (loader and self._loader != loader) or not self._has("load"):
                if self.crashed:
                    return
                await self._moved.wait()
        with anyio.move_on_after(quiet):
            while not self._has("networkIdle") and not self.crashed:
                await self._moved.wait()

    def _has(self, name: str) -> bool:
        return name in self._reached

    def _lived(self, event: Lifecycle) -> None:
        if event.frame_id != self.target:
            return
        if event.loader_id != self._loader:
            self._loader = event.loader_id
            self._reached.clear()
            self.refs = {}
            self._documents.setdefault(event.loader_id, Document())
            if len(self._documents) > _DOCUMENTS:
                del self._documents[next(iter(self._documents))]
        self._reached.add(event.name[:64])

    # What is there

    async def about(self) -> tuple[str, str]:
        """Its address and title."""
        found = await self.ask(scripts.ABOUT)
        match found:
            case [str(url), str(title)]:
                return url, title
            case _:
                return "", ""

    async def frames(self) -> list[str]:
        """The ids of its documents, the page's own first."""
        tree = (await self.call("Page.getFrameTree", Frames)).frame_tree
        return _ids(tree)[:_FRAMES]

    async def world(self, frame: str) -> int:
        """Where our scripts run in a frame: out of the reach of the page's own."""
        made = await self.call("Page.createIsolatedWorld", World, frameId=frame, worldName=_WORLD)
        return made.execution_context_id

    async def ask(
        self, function: str, *arguments: Any, seconds: float = PATIENCE, frame: str = ""
    ) -> Any:
        """What a function of ours says about a frame; arguments and answer are JSON."""
        found = await self.run(function, arguments, seconds=seconds, by_value=True, frame=frame)
        return found.value

    async def run(
        self,
        function: str,
        arguments: Sequence[Any],
        *,
        by_value: bool,
        seconds: float = PATIENCE,
        frame: str = "",
    ) -> Value:
        given = ", ".join(json.dumps(each) for each in arguments)
        found = await self.call(
            "Runtime.evaluate",
            Evaluated,
            seconds,
            expression=f"({function})({given})",
            contextId=await self.world(frame or self.target),
            returnByValue=by_value,
            awaitPromise=True,
        )
        return plain(found)


def plain(found: Evaluated) -> Value:
    """What it came to. Raises `Said` when the script failed."""
    if (fault := found.exception_details) is not None:
        raise Said((fault.exception.description or fault.text)[:500])
    return found.result


def _ids(tree: FrameTree) -> list[str]:
    found, ahead = list[str](), [tree]
    while ahead and len(found) < _FRAMES:
        here = ahead.pop(0)
        found.append(here.frame.id)
        ahead.extend(here.child_frames)
    return found


def whole(number: float) -> int:
    """A size of the page as whole pixels, whatever it claims."""
    return max(1, math.ceil(number)) if math.isfinite(number) else 1
