"""One running browser: its tabs, what it says by itself, and how it gets out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager

import anyio

from holdfast.adapters.tools.beneath import Denied

from . import scripts
from .cdp import Cdp, Event, Gone, Said, Wire
from .launch import Proxy
from .options import BrowserOptions
from .page import Page
from .patterns import SHORTEST, redacted, without
from .protocol import (
    Attached,
    AuthRequired,
    Created,
    Detached,
    Dialog,
    Download,
    Paused,
    Version,
)
from .secrecy import Conceal

_TABS = 8
_NOTES = 8
_NOTE = 300
_EVERYTHING = [{"urlPattern": "*"}]


class Browser:
    """A browser that is up. `open_browser` makes one."""

    def __init__(
        self, wire: Wire, options: BrowserOptions, redact: Conceal, proxy: Proxy | None
    ) -> None:
        self.options = options
        self.cdp = Cdp(wire, self._heard)
        self._redact = redact
        self._secrets: set[str] = set()
        self._proxy = proxy
        self._tabs: dict[str, Page] = {}
        self._agent = ""
        self._came = anyio.Event()
        self._starting = False
        self._answered: set[str] = set()
        self._notes: list[str] = []

    @property
    def page(self) -> Page:
        """The tab in front: the one that came last. Raises `Denied` when there is none."""
        if not self._tabs:
            raise Denied("no_page", "no page is open; call browser_open first")
        return next(reversed(self._tabs.values()))

    @property
    def tabs(self) -> Collection[Page]:
        return self._tabs.values()

    async def begin(self) -> None:
        """Make it ready and open the first tab. Raises `Trouble`."""
        patience = self.options.load_seconds
        version = await self.cdp.call("Browser.getVersion", Version, seconds=patience)
        if self.options.tier == "stealth":
            self._agent = version.user_agent.replace("Headless", "")
        await self.cdp.call(
            "Target.setAutoAttach",
            dict,
            {
                "autoAttach": True,
                "waitForDebuggerOnStart": True,
                "flatten": True,
                "filter": [{"type": "page"}, {"type": "iframe", "exclude": True}],
            },
        )
        try:
            refuse = {"behavior": "deny", "eventsEnabled": True}
            await self.cdp.call("Browser.setDownloadBehavior", dict, refuse)
        except Said:
            self._say("this browser may keep what it downloads, elsewhere")
        self._starting = True
        made = await self.cdp.call(
            "Target.createTarget",
            Created,
            {"url": "about:blank"},
            seconds=patience,
        )
        with anyio.move_on_after(patience):
            while not any(page.target == made.target_id for page in self._tabs.values()):
                if self.cdp.over:
                    raise Gone(self.cdp.over)
                await self._came.wait()
        self._starting = False
        for session in [key for key, tab in self._tabs.items() if tab.target != made.target_id]:
            del self._tabs[session]
            self._leave(session)
        self.page  # noqa: B018 - raises when the first tab did not come

    async def end(self) -> None:
        """Close our tabs; a browser in a box ends with its box."""
        for page in self._tabs.values():
            await self.cdp.call("Target.closeTarget", dict, {"targetId": page.target})

    def learn(self, secret: str) -> None:
        """Never show this value again, unless it is too short to be told from other words."""
        if len(secret) >= SHORTEST:
            self._secrets.add(secret)

    def conceal(self, text: str) -> str:
        """`text` without the secrets that went through here, and without all that are known."""
        return self._redact(without(self._secrets, text))

    def clean(self, text: str) -> str:
        """The same, and without what looks like a key of anybody."""
        return redacted(self.conceal(text))

    def told(self) -> list[str]:
        """What happened by itself since the last time: dialogs, downloads, new tabs."""
        notes, self._notes = self._notes, []
        return notes

    def _heard(self, event: Event) -> None:
        match event.method:
            case "Target.attachedToTarget":
                self._attached(event.read(Attached))
            case "Target.detachedFromTarget":
                self._tabs.pop(event.read(Detached).session_id, None)
            case "Fetch.requestPaused":
                paused = event.read(Paused)
                self._post(event, "Fetch.continueRequest", requestId=paused.request_id)
            case "Fetch.authRequired":
                self._challenged(event)
            case "Page.javascriptDialogOpening":
                self._dialog(event)
            case "Page.fileChooserOpened":
                self._say("the page asked for a file; it got none")
            case "Browser.downloadWillBegin":
                name = event.read(Download).suggested_filename
                self._say(f"a download of {name!r} was refused")
            case _:
                if page := self._tabs.get(event.session):
                    page.heard(event)

    def _attached(self, event: Attached) -> None:
        """A tab came. Ours are the first and those that ours opened; strangers are left alone."""
        target, session = event.target_info, event.session_id
        opened = any(tab.target == target.opener_id for tab in self._tabs.values())
        if target.type != "page" or not (opened or self._starting):
            self._leave(session)
            return
        page = Page(self.cdp, session, target.target_id, self.options)
        if len(self._tabs) >= _TABS:
            self.cdp.post("Target.closeTarget", {"targetId": target.target_id})
            self._say(f"a new tab was closed: there are {_TABS} already")
            return
        page.prepare()
        if self._proxy is not None:
            wants = {"handleAuthRequests": True, "patterns": _EVERYTHING}
            self.cdp.post("Fetch.enable", wants, session=session)
        if self._agent:
            self.cdp.post(
                "Emulation.setUserAgentOverride", {"userAgent": self._agent}, session=session
            )
            source = {"source": scripts.UNDRIVEN}
            self.cdp.post("Page.addScriptToEvaluateOnNewDocument", source, session=session)
        self.cdp.post("Runtime.runIfWaitingForDebugger", session=session)
        if opened:
            self._say("a new tab opened; it is in front now")
        self._tabs[session] = page
        came, self._came = self._came, anyio.Event()
        came.set()

    def _leave(self, session: str) -> None:
        self.cdp.post("Runtime.runIfWaitingForDebugger", session=session)
        self.cdp.post("Target.detachFromTarget", {"sessionId": session})

    def _challenged(self, event: Event) -> None:
        """The proxy gets its word, once for each request; sites get none."""
        asked = event.read(AuthRequired)
        answer = {"response": "CancelAuth"}
        if asked.auth_challenge.source != "Proxy":
            self._say(f"{asked.auth_challenge.origin} wants a name and a password; none was given")
        elif self._proxy is not None and asked.request_id not in self._answered:
            if len(self._answered) > _TABS << 10:
                self._answered.clear()
            self._answered.add(asked.request_id)
            answer = {
                "response": "ProvideCredentials",
                "username": self._proxy.user,
                "password": self._proxy.password,
            }
        self._post(
            event,
            "Fetch.continueWithAuth",
            requestId=asked.request_id,
            authChallengeResponse=answer,
        )

    def _dialog(self, event: Event) -> None:
        dialog = event.read(Dialog)
        leaving = dialog.type == "beforeunload"
        self._post(event, "Page.handleJavaScriptDialog", accept=leaving)
        if not leaving:
            self._say(f"the page's {dialog.type} was dismissed: {dialog.message!r}")

    def _post(self, event: Event, method: str, **params: object) -> None:
        self.cdp.post(method, params, session=event.session)

    def _say(self, note: str) -> None:
        if len(self._notes) < _NOTES:
            self._notes.append(note[:_NOTE])


@asynccontextmanager
async def open_browser(
    wire: Wire, options: BrowserOptions, redact: Conceal, proxy: Proxy | None = None
) -> AsyncGenerator[Browser]:
    """A browser at the other end of `wire`, heard as long as this lasts."""
    browser = Browser(wire, options, redact, proxy)
    async with anyio.create_task_group() as group:
        group.start_soon(browser.cdp.listen)
        yield browser
        group.cancel_scope.cancel()
