"""All browsers: one for each task that wants one, up when first used, gone when idle."""

from __future__ import annotations

import importlib
import re
import shutil
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup
from msgspec import Struct

from holdfast.adapters.tools.beneath import Denied
from holdfast.core.error import HoldfastError, Unavailable
from holdfast.core.ids import TaskId
from holdfast.ports.box import Box, Boxes
from holdfast.ports.egress import Pass
from holdfast.ports.tools import Job

from .browser import Browser, open_browser
from .cdp import Oversize, Pipe, Said, Trouble
from .launch import box_spec, command, proxy_of
from .options import BrowserOptions
from .secrecy import Conceal

_REMOTE = 120.0
_ENDING = 5.0
_REFERENCE = re.compile(r"\$SECRET\{([^{}]+)\}")

Attach = Callable[[Box, Job], AbstractAsyncContextManager[Pass | None]]
"""A way out of a browser's box for as long as the context lasts; None: it has none."""

Keep = Callable[[str, str, Job], Awaitable[None]]
"""Keep a secret: its name, its value, for whom."""

Reveal = Callable[[str], Awaitable[str]]
"""The value of a secret that the house itself uses."""


class World(Struct, frozen=True, kw_only=True):
    """What browsers get from the house.

    `redact` takes known secrets out of a text; `shelf` holds the browsers' empty workspaces;
    `requires` are walls that their boxes must have.
    """

    boxes: Boxes
    attach: Attach
    keep: Keep
    reveal: Reveal
    redact: Conceal
    shelf: Path
    requires: tuple[str, ...] = ()


class _Seat:
    """The browser of one task: on its way up, up, or over."""

    def __init__(self) -> None:
        self.browser: Browser | None = None
        self.trouble: Denied | None = None
        self.lock = anyio.Lock()
        self.touched = anyio.Event()
        self.up, self.over = anyio.Event(), anyio.Event()
        self.closing = False

    @property
    def usable(self) -> bool:
        """False once it is over, or about to be."""
        ended = self.browser is not None and bool(self.browser.cdp.over)
        return not (self.closing or ended or self.trouble)

    def touch(self) -> None:
        touched, self.touched = self.touched, anyio.Event()
        touched.set()


class Browsers:
    """Made by `open_browsers`."""

    def __init__(self, options: BrowserOptions, world: World, group: TaskGroup) -> None:
        self.options, self.world, self._group = options, world, group
        self._seats: dict[TaskId, _Seat] = {}

    @asynccontextmanager
    async def use(self, job: Job, *, fresh: bool = False) -> AsyncGenerator[Browser]:
        """The task's browser, for one call at a time; brought up if there is none and `fresh`.

        One that fails in the call, or is too slow to be believed, is closed. Raises `Denied`.
        """
        seat = await self._seat(job, fresh=fresh)
        await seat.up.wait()
        async with seat.lock:
            if seat.trouble is not None:
                raise Denied(seat.trouble.code, str(seat.trouble))
            if (browser := seat.browser) is None or not seat.usable:
                raise Denied("browser_gone", "the browser has ended; call browser_open again")
            seat.touch()
            try:
                yield browser
            except Said as said:
                raise Denied("browser_failed", f"the browser refused: {said}") from None
            except Oversize as oversize:
                raise Denied("too_large", str(oversize)) from None
            except Trouble as trouble:
                await self._close(seat)
                raise Denied(
                    "browser_gone", f"{trouble}; the browser was closed, call browser_open again"
                ) from None
            finally:
                seat.touch()

    async def release(self, task: TaskId) -> None:
        """The task needs its browser no more. May be called for any task."""
        if seat := self._seats.get(task):
            await self._close(seat)

    async def _seat(self, job: Job, *, fresh: bool) -> _Seat:
        while (seat := self._seats.get(job.task)) and not seat.usable:
            await self._close(seat)
        if seat is not None:
            return seat
        if not fresh:
            raise Denied("no_page", "no page is open; call browser_open first")
        if len(self._seats) >= self.options.most:
            raise Denied(
                "too_many_browsers",
                f"{len(self._seats)} browsers are open, which is all there may be; try later",
            )
        seat = self._seats[job.task] = _Seat()
        self._group.start_soon(self._host, seat, job)
        return seat

    async def _close(self, seat: _Seat) -> None:
        seat.closing = True
        seat.touch()
        await seat.over.wait()

    async def _host(self, seat: _Seat, job: Job) -> None:
        """The life of one browser, from its box to the end of it."""
        try:
            await self._live(seat, job)
        except* HoldfastError as failed:
            seat.trouble = _told(failed)
        except* (Trouble, Denied, OSError) as failed:
            seat.trouble = Denied("browser_failed", f"no browser came up: {_first(failed)}")
        finally:
            self._seats.pop(job.task, None)
            seat.up.set()
            seat.over.set()

    async def _live(self, seat: _Seat, job: Job) -> None:
        opened = self._remote() if self.options.tier == "remote" else self._local(job)
        async with opened as browser:
            try:
                await browser.begin()
            except (Trouble, Denied) as trouble:
                seat.trouble = Denied("browser_failed", f"no browser came up: {trouble}")
                return
            seat.browser = browser
            seat.up.set()
            async with anyio.create_task_group() as watch:
                watch.start_soon(self._wake, seat, browser)
                await self._until_done(seat, browser)
                watch.cancel_scope.cancel()
            if self.options.tier == "remote" and not browser.cdp.over:
                with anyio.move_on_after(_ENDING):
                    await browser.end()

    async def _wake(self, seat: _Seat, browser: Browser) -> None:
        await browser.cdp.ended.wait()
        seat.touch()

    async def _until_done(self, seat: _Seat, browser: Browser) -> None:
        """Returns when it is to be closed, has ended by itself, or was idle for long."""
        while not seat.closing and not browser.cdp.over:
            touched = seat.touched
            with anyio.move_on_after(self.options.idle_seconds) as idle:
                await touched.wait()
            if idle.cancelled_caught and not seat.lock.locked():
                seat.closing = True

    @asynccontextmanager
    async def _local(self, job: Job) -> AsyncGenerator[Browser]:
        scratch = anyio.Path(self.world.shelf / job.task)
        await scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = f"{job.task} browser"
        try:
            spec = box_spec(self.options, Path(scratch), job.agent, self.world.requires)
            async with (
                self.world.boxes.lend(owner, spec) as box,
                self.world.attach(box, job) as way_out,
                box.start(command(self.options, way_out)) as running,
                open_browser(
                    Pipe(running), self.options, self.world.redact, proxy_of(way_out)
                ) as browser,
            ):
                yield browser
        finally:
            with anyio.CancelScope(shield=True):
                await self.world.boxes.release(owner)
                with suppress(RecursionError):  # a page may have made it as deep as it likes
                    await to_thread.run_sync(lambda: shutil.rmtree(scratch, ignore_errors=True))

    @asynccontextmanager
    async def _remote(self) -> AsyncGenerator[Browser]:
        if not self.options.remote_url:
            raise Unavailable(
                "the remote browser has no address",
                code="browser_tier_missing",
                hint="set [browser] remote_url",
            )
        url = self.options.remote_url
        for name in set(_REFERENCE.findall(url)):
            url = url.replace(f"$SECRET{{{name}}}", await self.world.reveal(name))
        wires = importlib.import_module(f"{__package__}.remote")
        async with (
            wires.connected(url, _REMOTE) as wire,
            open_browser(wire, self.options, self.world.redact) as browser,
        ):
            yield browser


@asynccontextmanager
async def open_browsers(options: BrowserOptions, world: World) -> AsyncGenerator[Browsers]:
    """Browsers for as long as this lasts; all are closed at its end."""
    async with anyio.create_task_group() as group:
        browsers = Browsers(options, world, group)
        try:
            yield browsers
        finally:
            group.cancel_scope.cancel()


def _told(failed: BaseExceptionGroup[HoldfastError]) -> Denied:
    error = _first(failed)
    assert isinstance(error, HoldfastError)  # noqa: S101 - they are all of it
    return Denied(error.code, f"no browser came up: {error}. {error.hint}".strip(" ."))


def _first(failed: BaseExceptionGroup[BaseException]) -> BaseException:
    first: BaseException = failed
    while inside := getattr(first, "exceptions", ()):
        first = inside[0]
    return first
