"""The tools that make and change one file: write, append, edit.

Each is a pure function from the old content to the new. So what an interrupted run did can be
told afterwards: the file holds the new content, the old one, or something else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

from anyio import to_thread
from msgspec import Meta, Struct

from holdfast.core.message import Change, EffectClass, Outcome, Returned, Unknown
from holdfast.ports.blobs import Blobs
from holdfast.ports.tools import Job, Tool, Traits

from .beneath import Denied, Folder
from .content import Content, load_if_there, store
from .craft import Craft
from .edit import Lines, difference, lines_of, relined, replaced
from .patch import hunks, patched

Inside = Annotated[str, Meta(description="A path inside the workspace.", min_length=1)]


class Write(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Make a text file or replace all of its content. Missing folders are made."""

    path: Inside
    content: Annotated[str, Meta(description="The whole new content.")]


class Append(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Add text to the end of a file; makes the file, and missing folders, if need be."""

    path: Inside
    content: Annotated[str, Meta(description="What to add; include the line ends.")]


class Edit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Change a part of a text file, in exactly one of three forms.

    `old` and `new`: replace a piece that is in the file exactly once. `edits`: replace ranges of
    lines, by their numbers before the change. `patch`: apply a unified diff of this file.
    """

    path: Inside
    old: Annotated[str | None, Meta(description="The exact piece to replace.")] = None
    new: Annotated[str | None, Meta(description="What stands there instead.")] = None
    patch: Annotated[str | None, Meta(description="A unified diff of this one file.")] = None
    edits: Annotated[
        list[Lines] | None,
        Meta(description="Line ranges from 1, ends included; end = start - 1 inserts before."),
    ] = None


A = TypeVar("A", Write, Append, Edit)


def rewriting_tools(blobs: Blobs) -> list[Tool]:
    write = Traits(effect=EffectClass.REPEATABLE, checkable=True, paths=("path",))
    change = Traits(effect=EffectClass.WRITES, checkable=True, paths=("path",))
    edit = _rewriting("edit", Edit, change, (_edited, _edited_words), blobs)
    return [
        _rewriting("write", Write, write, (_written, _written_words), blobs),
        _rewriting("append", Append, change, (_appended, _appended_words), blobs),
        edit.vetted(_edit_problem),
    ]


def _rewriting(
    name: str,
    arguments: type[A],
    traits: Traits,
    rule: tuple[Callable[[A, bytes | None], bytes], Callable[[A, bytes, bytes, str], str]],
    blobs: Blobs,
) -> Craft[A]:
    """A tool from its rule: the new content out of the old, and the words about it."""
    renewed, words = rule

    def now(asked: A, job: Job) -> tuple[str, Folder, Content | None]:
        folder = Folder(job.workspace)
        at = folder.changeable(asked.path)
        return at, folder, load_if_there(folder, at)

    def change(asked: A, job: Job) -> Outcome:
        at, folder, old = now(asked, job)
        new = renewed(asked, old.data if old else None)
        store(folder, at, new)
        return Returned(text=words(asked, old.data if old else b"", new, at))

    async def do(asked: A, job: Job) -> Outcome:
        return await to_thread.run_sync(change, asked, job)

    async def keep(asked: A, job: Job) -> Sequence[Change]:
        at, _, old = await to_thread.run_sync(now, asked, job)
        if old is None:
            return (Change(path=at),)
        return (Change(path=at, before=await blobs.put(old.data), mode=old.mode),)

    async def settle(asked: A, before: Sequence[Change], job: Job) -> Outcome | None:
        if not before:
            return None
        kept = before[0].before
        old = None if kept is None else await blobs.get(kept)
        new = renewed(asked, old)
        at, _, found = await to_thread.run_sync(now, asked, job)
        data = found.data if found else None
        if data == new:
            return Returned(text=f"it had happened before the interruption: {at} is as intended")
        if data == old:
            return None
        return Unknown(reason=f"{at} is neither as it was nor as it should become")

    return Craft(name, arguments, traits, do).kept(keep).settled(settle)


def _written(asked: Write, old: bytes | None) -> bytes:
    return _bytes(asked.content)


def _written_words(asked: Write, old: bytes, new: bytes, at: str) -> str:
    return f"wrote {_size(new)} to {at}"


def _appended(asked: Append, old: bytes | None) -> bytes:
    return (old or b"") + _bytes(asked.content)


def _appended_words(asked: Append, old: bytes, new: bytes, at: str) -> str:
    return f"appended {_size(_bytes(asked.content))} to {at}, now {len(new):,} bytes"


def _edited(asked: Edit, old: bytes | None) -> bytes:
    if old is None:
        raise Denied("not_found", f"there is no {asked.path}; use write to make it")
    if b"\0" in old:
        raise Denied("binary_file", f"{asked.path} is not a text file")
    # Bytes that are no UTF-8 pass through unchanged.
    text = old.decode(errors="surrogateescape")
    if asked.patch is not None:
        new = patched(text, asked.patch)
    elif asked.edits is not None:
        new = relined(text, asked.edits)
    else:
        new = replaced(text, asked.old or "", asked.new or "")
    return _bytes(new, errors="surrogateescape")


def _edited_words(asked: Edit, old: bytes, new: bytes, at: str) -> str:
    before, after = (data.decode(errors="surrogateescape") for data in (old, new))
    first, gone, came = difference(before, after)
    if old == new:
        return f"{at} already is as asked; nothing changed"
    lines = f"{gone} {_lines(gone)} became {came} at line {first}"
    return f"edited {at}: {lines}; it has {len(lines_of(after)):,} lines now"


def _edit_problem(asked: Edit) -> str:
    pair = asked.old is not None or asked.new is not None
    if pair + (asked.patch is not None) + (asked.edits is not None) != 1:
        return "give exactly one of: `old` with `new`, `edits`, `patch`"
    if pair and (asked.old is None or asked.new is None):
        return "`old` and `new` go together"
    if pair and not asked.old:
        return "`old` is empty; give the exact text to replace, or use write or append"
    if pair and asked.old == asked.new:
        return "`old` and `new` are the same; nothing would change"
    if asked.edits is not None and not asked.edits:
        return "`edits` is empty"
    try:
        hunks(asked.patch if asked.patch is not None else "@@")
    except Denied as denied:
        return str(denied)
    return ""


def _bytes(text: str, errors: str = "strict") -> bytes:
    try:
        return text.encode(errors=errors)
    except UnicodeEncodeError as error:
        where = f"character {error.start + 1}"
        raise Denied("invalid_text", f"the text is not valid Unicode at {where}") from None


def _size(data: bytes) -> str:
    lines = data.count(b"\n") + (not data.endswith(b"\n") and data != b"")
    return f"{len(data):,} bytes, {lines:,} {_lines(lines)}"


def _lines(count: int) -> str:
    return "line" if count == 1 else "lines"
