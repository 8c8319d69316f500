"""What keeps a secret from whoever typed it without knowing it.

The model says where a secret goes, and must not get it back: not from what is shown, and not by
a script or a page of its own that turns it into something nobody recognises.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from fnmatch import fnmatchcase
from typing import Any, cast

from holdfast.adapters.tools.beneath import Denied

from . import scripts
from .cdp import Said
from .elements import Element, all_of, ask_of, held
from .page import Page

Conceal = Callable[[str], str]
"""Takes the values of secrets out of a text."""

_SEARCHED = 1_000_000
_HARMLESS = frozenset({"Enter", "Tab", "Shift+Tab", "Escape"})
_CODE = "secret_on_page"


async def admit(
    page: Page, element: Element, tabs: Collection[Page], hosts: Collection[str]
) -> None:
    """The element is about to hold a secret. Raises `Denied` where none may be."""
    if any(tab.document.scripted for tab in tabs):
        text = "a script of yours ran in a page that is open; open it again before you type secrets"
        raise Denied("secret_not_here", text)
    match await page.ask(scripts.ORIGIN, frame=element.frame):
        case [str(host), True] if any(fnmatchcase(host, each) for each in hosts):
            page.document.secret[element.number] = element.frame
        case _:
            text = f"secrets are typed only into pages over https, of {', '.join(hosts)}"
            raise Denied("secret_not_here", text)


async def may_run(tabs: Collection[Page], conceal: Conceal) -> None:
    """Whether scripts may run: not while any tab holds a secret. Raises `Denied`."""
    for tab in tabs:
        if tab.document.secret or await _holds(tab, conceal):
            text = "this page holds a secret; no scripts run until another page is opened"
            raise Denied(_CODE, text)


async def may_press(page: Page, key: str) -> None:
    """Whether a key may be pressed: what is in a secret's field is not selected and copied."""
    if key in _HARMLESS:
        return
    for frame in set(page.document.secret.values()):
        with suppress(Said):
            for element in await all_of(page, scripts.FOCUSED, frame):
                if element.number in page.document.secret:
                    known = ", ".join(sorted(_HARMLESS))
                    raise Denied(_CODE, f"a secret has the focus; there are only {known} here")


@asynccontextmanager
async def covered(page: Page, conceal: Conceal) -> AsyncGenerator[None]:
    """Fields that hold a password or a secret are unreadable meanwhile. Raises `Denied`."""
    elements: list[Element] = []
    for frame in await page.frames():
        elements += await all_of(page, scripts.PASSWORDS, frame)
        elements += await _telling(page, frame, conceal)
    known = {each.number for each in elements}
    for number, frame in page.document.secret.items():
        with suppress(Denied):
            elements += [] if number in known else [await held(page, number, frame)]
    async with AsyncExitStack() as undo:
        for element in elements:
            style = await ask_of(page, element, scripts.HIDE)
            undo.push_async_callback(_uncover, page, element, style)
        yield


async def _holds(page: Page, conceal: Conceal) -> bool:
    """Also what the browser filled in by itself, as it does on the way back."""
    if page.crashed:
        return False
    for frame in await page.frames():
        shown = [await page.ask(scripts.TEXT, _SEARCHED, frame=frame)]
        shown += await _values(page, frame)
        if any(conceal(str(each)) != str(each) for each in shown):
            return True
    return False


async def _telling(page: Page, frame: str, conceal: Conceal) -> list[Element]:
    """Fields that hold a known value, wherever it came from. The words may not hold any."""
    shown = str(await page.ask(scripts.TEXT, _SEARCHED, frame=frame))
    if conceal(shown) != shown:
        raise Denied(_CODE, "the page shows a secret in plain words; no picture of it")
    values = [str(each) for each in await _values(page, frame)]
    which = [index for index, value in enumerate(values) if conceal(value) != value]
    return await all_of(page, scripts.FIELDS, frame, which) if which else []


async def _values(page: Page, frame: str) -> list[Any]:
    found = await page.ask(scripts.VALUES, _SEARCHED, frame=frame)
    return cast("list[Any]", found) if isinstance(found, list) else []


async def _uncover(page: Page, element: Element, style: object) -> None:
    with suppress(Said):
        await ask_of(page, element, scripts.SHOW, style)
