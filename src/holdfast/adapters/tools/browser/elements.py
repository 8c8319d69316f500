"""Elements of a page: found by ref or selector, and asked about."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from holdfast.adapters.tools.beneath import Denied

from . import scripts
from .cdp import PATIENCE, Said
from .page import Page, plain
from .protocol import Described, Evaluated, Resolved

_MOST = 50


class Element(Struct, frozen=True, kw_only=True):
    """An element at hand: `handle` is good until the page goes, `number` identifies it."""

    handle: str
    number: int = 0
    frame: str = ""


async def find(page: Page, ref: str, selector: str) -> Element:
    """The element that is meant. Raises `Denied`."""
    if not ref:
        return await _selected(page, selector)
    known = page.refs.get(ref)
    if known is None:
        raise Denied("unknown_ref", f"Unknown ref {ref!r}. Call browser_snapshot first to get refs")
    return await held(page, known.element, known.frame, f"{ref} is gone; take a new snapshot")


async def held(page: Page, number: int, frame: str, gone: str = "it is gone") -> Element:
    """An element by the number it keeps. Raises `Denied`."""
    try:
        world = await page.world(frame)
        found = await page.call(
            "DOM.resolveNode", Resolved, backendNodeId=number, executionContextId=world
        )
    except Said:
        raise Denied("stale_ref", gone) from None
    return Element(handle=found.object.object_id, number=number, frame=frame)


async def all_of(page: Page, function: str, frame: str, *arguments: Any) -> list[Element]:
    """The elements that a function of ours returns as an array. Raises `Denied` for very many."""
    listed = await page.run(function, arguments, by_value=False, frame=frame)
    found: list[Element] = []
    while (element := await _item(page, listed.object_id, len(found), frame)) is not None:
        if len(found) == _MOST:
            raise Denied("too_large", f"the page has more than {_MOST} fields of secrets")
        found.append(element)
    return found


async def ask_of(
    page: Page, element: Element, function: str, *arguments: Any, seconds: float = PATIENCE
) -> Any:
    """What a function of ours says about an element, which is its `this`; in JSON."""
    found = await page.call(
        "Runtime.callFunctionOn",
        Evaluated,
        seconds,
        functionDeclaration=function,
        objectId=element.handle,
        arguments=[{"value": each} for each in arguments],
        returnByValue=True,
        awaitPromise=True,
        userGesture=True,
    )
    return plain(found).value


async def _item(page: Page, handle: str, index: int, frame: str) -> Element | None:
    got = await page.call(
        "Runtime.callFunctionOn",
        Evaluated,
        functionDeclaration=f"function() {{ return this[{index}]; }}",
        objectId=handle,
    )
    return await _known(page, got.result.object_id, frame) if got.result.object_id else None


async def _selected(page: Page, selector: str) -> Element:
    try:
        found = await page.run(scripts.FIND, (selector,), by_value=False)
    except Said:
        raise Denied("bad_selector", f"{selector!r} is no CSS selector") from None
    if not found.object_id:
        raise Denied("no_such_element", f"nothing on the page matches {selector!r}")
    return await _known(page, found.object_id, page.target)


async def _known(page: Page, handle: str, frame: str) -> Element:
    described = await page.call("DOM.describeNode", Described, objectId=handle)
    return Element(handle=handle, number=described.node.backend_node_id, frame=frame)
