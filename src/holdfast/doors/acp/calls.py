"""Calls of tools as editors show them: what kind, what about, and what they change."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

Json = dict[str, Any]
Look = Callable[[str], str | None]
"""What a file of the workspace holds now; None if there is none, or nothing that can be shown."""

_KINDS = {
    "read": "read",
    "list": "read",
    "glob": "search",
    "search": "search",
    "write": "edit",
    "edit": "edit",
    "append": "edit",
    "move": "move",
    "delete": "delete",
    "exec": "execute",
    "web_fetch": "fetch",
    "web_search": "fetch",
    "http": "fetch",
    "delegate": "think",
}
_TITLE = 160
_SHOWN = 50_000
_LARGEST = 1 << 20


def kind(call: Json) -> str:
    tool = str(call.get("tool"))
    return "fetch" if tool.startswith("browser_") else _KINDS.get(tool, "other")


def title(call: Json) -> str:
    """Its tool and what it is aimed at, on one line."""
    text = " ".join(f"{call.get('tool')} {call.get('target') or ''}".split())
    return text if len(text) <= _TITLE else f"{text[: _TITLE - 1]}…"


def locations(call: Json, workspace: str) -> list[Json]:
    """The files that it is about."""
    if not call.get("names_paths"):
        return []
    paths = [call.get("target"), *call.get("also", ())]
    found: list[Json] = [{"path": str(Path(workspace, path))} for path in paths if path]
    offset = call.get("arguments", {}).get("offset")
    if found and isinstance(offset, int) and offset > 0:
        found[0]["line"] = offset
    return found


def changes(call: Json, workspace: str, look: Look) -> list[Json]:
    """What it changes, as differences; empty where that cannot be said beforehand."""
    arguments: Json = call.get("arguments") or {}
    path = arguments.get("path")
    if not isinstance(path, str) or call.get("problem"):
        return []
    old, new = arguments.get("old"), arguments.get("new")
    content = arguments.get("content")
    match call.get("tool"):
        case "edit" if isinstance(old, str) and isinstance(new, str):
            return [_difference(workspace, path, old, new)]
        case "edit" if isinstance(arguments.get("patch"), str):
            return [text(f"```diff\n{arguments['patch']}\n```")]
        case "write" if isinstance(content, str):
            return [_difference(workspace, path, look(path), content)]
        case "append" if isinstance(content, str):
            before = look(path)
            return [_difference(workspace, path, before, (before or "") + content)]
        case _:
            return []


def text(words: str) -> Json:
    """Words as the content of a call."""
    if len(words) > _SHOWN:
        words = f"{words[:_SHOWN]}\n… ({len(words) - _SHOWN:,} more characters)"
    return {"type": "content", "content": {"type": "text", "text": words}}


def looking(workspace: str) -> Look:
    """Looks at files of a folder, never through a link and never outside of it."""
    root = os.path.realpath(workspace)

    def look(path: str) -> str | None:
        whole = os.path.normpath(Path(root, path))
        if os.path.realpath(whole) != whole or not whole.startswith(f"{root}{os.sep}"):
            return None
        try:
            if not Path(whole).is_file() or Path(whole).stat().st_size > _LARGEST:
                return None
            return Path(whole).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None

    return look


def _difference(workspace: str, path: str, old: str | None, new: str) -> Json:
    return {"type": "diff", "path": str(Path(workspace, path)), "oldText": old, "newText": new}
