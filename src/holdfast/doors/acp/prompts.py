"""What a person says in an editor: blocks of content as the words and files of a task."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from msgspec import Struct, field

from .lines import PARAMS, Fault

_FILES = 20


class Resource(Struct, frozen=True, rename="camel"):
    """Something of the editor's, with its content."""

    uri: str = ""
    text: str | None = None
    blob: str | None = None
    mime_type: str | None = None


class Block(Struct, frozen=True, rename="camel"):
    """A piece of a prompt, whichever kind it is."""

    type: str
    text: str = ""
    data: str = ""
    mime_type: str | None = None
    uri: str | None = None
    name: str = ""
    resource: Resource = field(default_factory=Resource)


def words_and_files(blocks: Iterable[Block], workspace: str) -> tuple[str, list[dict[str, Any]]]:
    """Raises `Fault`."""
    words: list[str] = []
    sections: list[str] = []
    files: list[dict[str, Any]] = []
    for block in blocks:
        match block.type:
            case "text":
                words.append(block.text)
            case "image" | "audio":
                files.append(_file(block.uri or block.type, block.mime_type, block.data))
            case "resource_link":
                words.append(_named(block.uri or block.name, workspace))
            case "resource" if block.resource.text is not None:
                name = _named(block.resource.uri, workspace)
                words.append(name)
                sections.append(f"\n\n--- file {name} ---\n\n{block.resource.text}")
            case "resource":
                found = block.resource
                files.append(_file(found.uri, found.mime_type, found.blob or ""))
            case other:
                raise Fault(PARAMS, f"a prompt cannot hold {other[:40]!r}")
    if len(files) > _FILES:
        raise Fault(PARAMS, f"a prompt has {len(files)} files; {_FILES} are possible")
    whole = "".join(words) + "".join(sections)
    if not whole.strip():
        raise Fault(PARAMS, "the prompt is empty: say what should be done")
    return whole, files


def _file(uri: str, media_type: str | None, data: str) -> dict[str, Any]:
    name = Path(unquote(urlsplit(uri).path)).name or "file"
    kind = media_type or "application/octet-stream"
    return {"name": name[:200], "media_type": kind, "data": data}


def _named(uri: str, workspace: str) -> str:
    """A file as tools name it, where it is one of the workspace."""
    parts = urlsplit(uri)
    if parts.scheme != "file":
        return uri
    path = Path(unquote(parts.path))
    near = path.is_relative_to(workspace)
    return path.relative_to(workspace).as_posix() if near else str(path)
