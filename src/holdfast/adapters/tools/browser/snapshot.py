"""What can be seen and done on a page, as a short list: each element with a name to call it by."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from msgspec import Struct

from .cdp import Said
from .page import Page, Ref
from .patterns import SECRET
from .protocol import AxNode, AxTree

MOST = 200
_LONGEST = 300
_ACTIONABLE = frozenset({
    "button", "checkbox", "combobox", "link", "listbox", "menuitem", "menuitemcheckbox",
    "menuitemradio", "option", "radio", "searchbox", "slider", "spinbutton", "switch", "tab",
    "textbox", "treeitem",
})  # fmt: skip
_CONTEXT = frozenset({"alert", "dialog", "heading", "img", "navigation", "status"})
_STATES = ("checked", "disabled", "expanded", "focused", "level", "pressed", "required", "selected")
_ALIASES = {"image": "img", "DisclosureTriangle": "button", "PopUpButton": "combobox"}
_FIELDS = frozenset({"textbox", "searchbox", "combobox", "spinbutton", "slider"})
_BULLETS = frozenset("\u2022\u25cf\u25e6*")


class Seen(Struct, frozen=True, kw_only=True):
    """The list, what its names mean, and whether there was more."""

    elements: tuple[dict[str, Any], ...]
    refs: dict[str, Ref]
    truncated: bool


async def snapshot(page: Page) -> Seen:
    """Look at all frames of the page; its refs are those of this look from now on."""
    nodes: list[tuple[str, AxNode]] = []
    for frame in await page.frames():
        if len(nodes) > MOST:
            break
        try:
            tree = await page.call(
                "Accessibility.getFullAXTree", AxTree, page.options.load_seconds, frameId=frame
            )
        except Said:
            continue  # a frame that went, or that another process has
        nodes += [(frame, node) for node in in_order(tree.nodes)]
    seen = listed(nodes, page.document.secret)
    page.refs = seen.refs
    return seen


def in_order(nodes: Sequence[AxNode]) -> Iterator[AxNode]:
    """Those worth naming, as they follow each other on the page; whatever the tree claims."""
    known = {node.node_id: node for node in nodes}
    ahead = [nodes[0].node_id] if nodes else []
    while ahead:
        if (node := known.pop(ahead.pop(), None)) is not None:
            if _role(node):
                yield node
            ahead.extend(reversed(node.child_ids))


def listed(nodes: Iterable[tuple[str, AxNode]], secret: Iterable[int] = ()) -> Seen:
    """The elements worth naming, in the order of the page; equal ones are told apart by `nth`."""
    elements: list[dict[str, Any]] = []
    refs: dict[str, Ref] = {}
    times: dict[tuple[str, str], int] = {}
    hidden = set(secret)
    for frame, node in nodes:
        if len(elements) == MOST:
            return Seen(elements=tuple(elements), refs=refs, truncated=True)
        ref, role, name = f"e{len(elements) + 1}", _role(node), _words(node.name.value)
        nth = times[role, name] = times.get((role, name), -1) + 1
        item: dict[str, Any] = {"ref": ref, "role": role, "name": name}
        if nth:
            item["nth"] = nth
        if role in _FIELDS and (value := _words(node.value.value)):
            covered = node.element in hidden or _BULLETS.issuperset(value)
            item["value"] = SECRET if covered else value
        item |= _states(node)
        elements.append(item)
        refs[ref] = Ref(element=node.element, frame=frame)
    return Seen(elements=tuple(elements), refs=refs, truncated=False)


def as_json(head: dict[str, Any], elements: Iterable[dict[str, Any]]) -> str:
    """One element a line, so that it can be read and cut."""
    lines = ",\n".join(json.dumps(each, ensure_ascii=False) for each in elements)
    start = json.dumps(head, ensure_ascii=False)[:-1]
    return f'{start}, "elements": [\n{lines}\n]}}' if lines else f'{start}, "elements": []}}'


def _role(node: AxNode) -> str:
    """Empty for what is not named: hidden, without an element, or of no interest."""
    role = str(node.role.value)
    role = _ALIASES.get(role, role)
    if node.ignored or not node.element:
        return ""
    if role in _ACTIONABLE:
        return role
    return role if role in _CONTEXT and _words(node.name.value) else ""


def _states(node: AxNode) -> dict[str, Any]:
    found = {each.name: each.value.value for each in node.properties if each.name in _STATES}
    states: dict[str, Any] = {}
    for name, value in found.items():
        plain = (
            {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value
        )
        if plain is not False and isinstance(plain, bool | int | str):
            states[name] = plain if not isinstance(plain, str) else plain[:20]
    return states


def _words(value: object) -> str:
    text = str(value) if isinstance(value, str | int | float) else ""
    return " ".join(text.split())[:_LONGEST]
