"""What is done to a page: clicking, typing, keys, pictures, scripts."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import AsyncGenerator, Collection
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, cast

import anyio

from holdfast.adapters.tools.beneath import Denied

from . import scripts
from .cdp import PATIENCE, Said, Silent
from .elements import Element, all_of, ask_of, find, held
from .keys import key_events
from .page import Page, whole
from .protocol import Evaluated, Metrics, Picture, Quads, Value

_TALLEST = 16_384
_WIDEST = 4_096
_PNG = b"\x89PNG\r\n\x1a\n"
LONGEST = 50_000
"""Characters of a page or a result that are shown."""

_MILLI = 1_000
_SEARCHED = 1_000_000


async def click(page: Page, ref: str, selector: str) -> None:
    """Click the middle of an element once it can be. Raises `Denied`."""
    element = await find(page, ref, selector)
    patience = page.options.act_seconds
    why = await ask_of(
        page, element, scripts.READY, round(patience * _MILLI), seconds=patience + PATIENCE
    )
    _allow(why, ref or selector)
    quads = (await page.call("DOM.getContentQuads", Quads, objectId=element.handle)).quads
    if not quads:
        raise Denied("not_clickable", f"{ref or selector} has no place on the page")
    x, y = sum(quads[0][0::2]) / 4, sum(quads[0][1::2]) / 4
    at: dict[str, Any] = {"x": x, "y": y}
    await page.call("Input.dispatchMouseEvent", dict, type="mouseMoved", **at)
    for kind in ("mousePressed", "mouseReleased"):
        await page.call(
            "Input.dispatchMouseEvent", dict, type=kind, button="left", clickCount=1, **at
        )
    await page.settle()


async def type_into(page: Page, ref: str, selector: str, text: str, *, secret: bool) -> None:
    """Put `text` in place of what a field holds, or choose that option. Raises `Denied`."""
    element = await find(page, ref, selector)
    if secret:
        page.secret[element.number] = element.frame
    how = await ask_of(page, element, scripts.FOCUS, text)
    if how == "insert":
        if text:
            await page.call("Input.insertText", dict, text=text)
        else:
            await press(page, "Delete")
    elif how != "set":
        _allow(how, ref or selector)


async def press(page: Page, key: str) -> None:
    """Press a key where the focus is. Raises `Denied`."""
    for event in key_events(key):
        await page.call("Input.dispatchKeyEvent", dict, **event)


async def wait_for(page: Page, words: str) -> None:
    """Wait until the page, or the one it turns into, shows these words. Raises `Denied`."""
    seconds = page.options.act_seconds
    deadline = anyio.current_time() + seconds
    while (left := deadline - anyio.current_time()) > 0:
        try:
            milliseconds = round(left * _MILLI)
            if await page.ask(scripts.SHOWS, words, milliseconds, seconds=left + PATIENCE):
                return
        except Said:
            await page.settle()  # it went while we looked
    raise Denied("not_shown", f"the page did not show {words!r} within {seconds:g} s")


async def words_of(page: Page, ref: str, selector: str) -> str:
    """The value or the words of an element, which holds a secret from now on. Raises `Denied`."""
    element = await find(page, ref, selector)
    found = await ask_of(page, element, scripts.WORDS, LONGEST + 1)
    if not isinstance(found, str) or not found.strip():
        raise Denied("empty", f"{ref or selector} holds nothing")
    if len(found) > LONGEST:
        raise Denied("too_large", f"{ref or selector} holds more than a secret can be")
    page.secret[element.number] = element.frame
    return found.strip()


async def evaluate(page: Page, script: str) -> str:
    """What a script of the page's own world says, in words. Raises `Denied`, `Said`."""
    if await _holds_secret(page):
        raise Denied(
            "secret_on_page",
            "a field of this page holds a secret; no scripts run here until it is gone",
        )
    try:
        value = await _evaluated(page, script)
    except Denied as denied:
        if not str(denied).startswith("SyntaxError: Illegal return"):
            raise
        value = await _evaluated(page, f"(async () => {{ {script}\n}})()")
    if value.object_id:
        handle = Element(handle=value.object_id)
        return str(await ask_of(page, handle, scripts.SAID, LONGEST + 1))
    if value.type == "string":
        return str(value.value)
    if value.type == "undefined":
        return "undefined"
    return value.unserializable_value or json.dumps(value.value)


async def _evaluated(page: Page, script: str) -> Value:
    """`replMode`: `await` works everywhere; a promise that is the value is awaited too."""
    seconds = page.options.act_seconds
    asked = {"expression": script, "replMode": True, "timeout": round(seconds * _MILLI)}
    gesture = {"awaitPromise": True, "userGesture": True}
    try:
        found = await page.call("Runtime.evaluate", Evaluated, seconds + 1, **asked, **gesture)
        if found.result.subtype == "promise" and found.exception_details is None:
            promise = found.result.object_id
            found = await page.call(
                "Runtime.awaitPromise", Evaluated, seconds, promiseObjectId=promise
            )
    except Silent:
        text = f"the script did not come to an end within {seconds:g} s"
        raise Denied("timeout", text) from None
    if (fault := found.exception_details) is not None:
        raise Denied("script_failed", (fault.exception.description or fault.text)[:2_000])
    return found.result


async def picture(page: Page, secrets: Collection[str], *, full: bool) -> bytes:
    """A PNG of what is shown, with passwords and secrets covered. Raises `Denied`."""
    params: dict[str, Any] = {"format": "png"}
    if full:
        size = (await page.call("Page.getLayoutMetrics", Metrics)).css_content_size
        clip = {
            "x": 0,
            "y": 0,
            "width": min(whole(size.width), _WIDEST),
            "height": min(whole(size.height), _TALLEST),
            "scale": 1,
        }
        params |= {"captureBeyondViewport": True, "clip": clip}
    async with _covered(page, secrets):
        taken = await page.call(
            "Page.captureScreenshot", Picture, page.options.load_seconds, **params
        )
    try:
        data = base64.b64decode(taken.data, validate=True)
    except binascii.Error:
        data = b""
    if not data.startswith(_PNG):
        raise Denied("no_picture", "the browser gave no picture")
    return data


@asynccontextmanager
async def _covered(page: Page, secrets: Collection[str]) -> AsyncGenerator[None]:
    """Fields that hold a password or a secret are unreadable meanwhile. Raises `Denied`."""
    elements: list[Element] = []
    for frame in await page.frames():
        elements += await all_of(page, scripts.PASSWORDS, frame)
        if secrets:
            elements += await _telling(page, frame, secrets)
    known = {each.number for each in elements}
    for number, frame in page.secret.items():
        with suppress(Denied):
            elements += [] if number in known else [await held(page, number, frame)]
    async with AsyncExitStack() as undo:
        for element in elements:
            style = await ask_of(page, element, scripts.HIDE)
            undo.push_async_callback(_uncover, page, element, style)
        yield


async def _telling(page: Page, frame: str, secrets: Collection[str]) -> list[Element]:
    """Fields that hold one of these values, wherever it came from. The words may not hold any."""
    shown = str(await page.ask(scripts.TEXT, _SEARCHED, frame=frame))
    if any(secret in shown for secret in secrets):
        raise Denied("secret_on_page", "the page shows a secret in plain words; no picture of it")
    values = await page.ask(scripts.VALUES, _SEARCHED, frame=frame)
    listed = cast("list[object]", values) if isinstance(values, list) else []
    which = [i for i, value in enumerate(listed) if any(each in str(value) for each in secrets)]
    return await all_of(page, scripts.FIELDS, frame, which) if which else []


async def _uncover(page: Page, element: Element, style: object) -> None:
    with suppress(Said):
        await ask_of(page, element, scripts.SHOW, style)


async def _holds_secret(page: Page) -> bool:
    for number, frame in page.secret.items():
        with suppress(Denied, Said):
            if await ask_of(page, await held(page, number, frame), scripts.HOLDS):
                return True
    return False


def _allow(why: object, name: str) -> None:
    if why == "gone":
        raise Denied("stale_ref", f"{name} is gone; take a new snapshot")
    if why:
        raise Denied("not_possible", f"{name}: {str(why)[:1_000]}")
