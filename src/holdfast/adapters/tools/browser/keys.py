"""Keys by their names, as pages know them."""

from __future__ import annotations

from typing import Any

from holdfast.adapters.tools.beneath import Denied

_NAMED = {
    "Enter": ("Enter", 13, "\r"),
    "Tab": ("Tab", 9, ""),
    "Escape": ("Escape", 27, ""),
    "Backspace": ("Backspace", 8, ""),
    "Delete": ("Delete", 46, ""),
    "Space": ("Space", 32, " "),
    "Home": ("Home", 36, ""),
    "End": ("End", 35, ""),
    "PageUp": ("PageUp", 33, ""),
    "PageDown": ("PageDown", 34, ""),
    "ArrowLeft": ("ArrowLeft", 37, ""),
    "ArrowUp": ("ArrowUp", 38, ""),
    "ArrowRight": ("ArrowRight", 39, ""),
    "ArrowDown": ("ArrowDown", 40, ""),
}
_HELD = {"Alt": 1, "Control": 2, "Meta": 4, "Shift": 8}
_COMMANDS = {"a": "selectAll", "c": "copy", "x": "cut", "z": "undo"}


def key_events(name: str) -> list[dict[str, Any]]:
    """Down and up of a key like `Enter`, `a` or `Control+A`. Raises `Denied`."""
    *held, last = name.split("+") if len(name) > 1 else [name]
    if not last or any(each not in _HELD for each in held):
        raise _unknown(name)
    modifiers = sum({_HELD[each] for each in held})
    code, number, text = _key(last, name)
    chord = modifiers & ~_HELD["Shift"]
    key: dict[str, Any] = {
        "key": " " if last == "Space" else last,
        "code": code,
        "windowsVirtualKeyCode": number,
        "modifiers": modifiers,
    }
    down: dict[str, Any] = {**key, "type": "keyDown", "text": "" if chord else text}
    if chord == _HELD["Control"] and (command := _COMMANDS.get(last.lower())):
        down["commands"] = [command]
    return [down, {**key, "type": "keyUp"}]


def _key(last: str, name: str) -> tuple[str, int, str]:
    if found := _NAMED.get(last):
        return found
    if len(last) != 1 or not last.isprintable():
        raise _unknown(name)
    if last.isascii() and last.isalnum():
        code = f"Digit{last}" if last.isdigit() else f"Key{last.upper()}"
        return code, ord(last.upper()), last
    return "", 0, last


def _unknown(name: str) -> Denied:
    known = ", ".join(_NAMED)
    return Denied(
        "no_such_key",
        f"there is no key {name!r}; there are single characters and {known}, each also with "
        "Alt+, Control+, Meta+ or Shift+ before it",
    )
