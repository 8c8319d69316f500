"""What is done to a page: clicking, typing, keys, pictures, scripts."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

import anyio

from holdfast.adapters.tools.beneath import Denied

from . import scripts, secrecy
from .cdp import PATIENCE, Said, Silent
from .elements import Element, ask_of, find
from .keys import key_events
from .page import Page, whole
from .protocol import Evaluated, Metrics, Picture, Quads, Value

_TALLEST = 16_384
_WIDEST = 4_096
_PNG = b"\x89PNG\r\n\x1a\n"
LONGEST = 50_000
"""Characters of a page or a result that are shown."""

_MILLI = 1_000


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


async def fill(page: Page, element: Element, text: str, name: str) -> None:
    """Put `text` in place of what a field holds, or choose that option. Raises `Denied`."""
    how = await ask_of(page, element, scripts.FOCUS, text)
    if how == "insert" and text:
        await page.call("Input.insertText", dict, text=text)
    elif how == "insert":
        await _strike(page, "Delete")
    elif how != "set":
        _allow(how, name)


async def press(page: Page, key: str) -> None:
    """Press a key where the focus is. Raises `Denied`."""
    await secrecy.may_press(page, key)
    await _strike(page, key)


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
    page.document.secret[element.number] = element.frame
    return found.strip()


async def evaluate(page: Page, script: str) -> str:
    """What a script of the page's own world says, in words. Raises `Denied`, `Said`."""
    page.document.scripted = True
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


async def picture(page: Page, conceal: secrecy.Conceal, *, full: bool) -> bytes:
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
    async with secrecy.covered(page, conceal):
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


async def _strike(page: Page, key: str) -> None:
    for event in key_events(key):
        await page.call("Input.dispatchKeyEvent", dict, **event)


def _allow(why: object, name: str) -> None:
    if why == "gone":
        raise Denied("stale_ref", f"{name} is gone; take a new snapshot")
    if why:
        raise Denied("not_possible", f"{name}: {str(why)[:1_000]}")
