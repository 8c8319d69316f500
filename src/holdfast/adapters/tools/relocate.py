"""The tools that move and delete files and folders."""

from __future__ import annotations

import hashlib
import posixpath
import stat
from collections.abc import Iterable, Sequence
from typing import Annotated

from anyio import to_thread
from msgspec import Meta, Struct, field

from holdfast.core.message import Change, EffectClass, Outcome, Returned, Unknown
from holdfast.ports.blobs import Blobs
from holdfast.ports.tools import Job, Tool, Traits

from .beneath import Denied, Folder, guarded
from .content import Content, remove, rename, whole
from .craft import Craft


class Move(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Move or rename a file or folder. Missing folders on the way are made."""

    source: Annotated[str, Meta(description="What to move.", min_length=1)] = field(name="from")
    to: Annotated[str, Meta(description="Its new path, name included.", min_length=1)]
    overwrite: Annotated[bool, Meta(description="Replace a file that is there.")] = False


class Delete(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Delete a file, or with `recursive` a folder and all that is in it."""

    path: Annotated[str, Meta(description="A path inside the workspace.", min_length=1)]
    recursive: Annotated[bool, Meta(description="Needed for folders.")] = False
    missing_ok: Annotated[bool, Meta(description="Not an error if it is not there.")] = False


Touched = dict[str, Content | None]
"""Files that a change touches, by name; None for one that is made."""


def relocating_tools(blobs: Blobs) -> list[Tool]:
    return [_move(blobs), _delete(blobs)]


def _move(blobs: Blobs) -> Tool:
    async def do(asked: Move, job: Job) -> Outcome:
        return await to_thread.run_sync(_moved, asked, job)

    async def keep(asked: Move, job: Job) -> Sequence[Change]:
        return await _changes(blobs, await to_thread.run_sync(_move_touches, asked, job))

    async def settle(asked: Move, before: Sequence[Change], job: Job) -> Outcome | None:
        return await to_thread.run_sync(_move_came_to, asked, before, job)

    traits = Traits(effect=EffectClass.WRITES, checkable=True, paths=("from", "to"))
    return Craft("move", Move, traits, do).kept(keep).settled(settle)


def _delete(blobs: Blobs) -> Tool:
    async def do(asked: Delete, job: Job) -> Outcome:
        return await to_thread.run_sync(_deleted, asked, job)

    async def keep(asked: Delete, job: Job) -> Sequence[Change]:
        return await _changes(blobs, await to_thread.run_sync(_delete_touches, asked, job))

    async def settle(asked: Delete, before: Sequence[Change], job: Job) -> Outcome | None:
        return await to_thread.run_sync(_delete_came_to, asked, before, job)

    traits = Traits(effect=EffectClass.WRITES, checkable=True, paths=("path",))
    return Craft("delete", Delete, traits, do).kept(keep).settled(settle)


def _move_ends(asked: Move, job: Job) -> tuple[Folder, str, str]:
    folder = Folder(job.workspace)
    source = folder.changeable(asked.source, follow=False)
    to = folder.changeable(asked.to, follow=False)
    if source == to or to.startswith(f"{source}/"):
        raise Denied("not_possible", f"{source} cannot be moved into itself")
    return folder, source, to


def _moved(asked: Move, job: Job) -> Outcome:
    folder, source, to = _move_ends(asked, job)
    files = _present(folder, source)
    there = folder.stat(to)
    if there is not None and stat.S_ISDIR(there.st_mode):
        raise Denied("exists", f"{to} is a folder; say the whole new path, as {to}/{_last(source)}")
    if there is not None and not asked.overwrite:
        raise Denied("exists", f"{to} is there already; set overwrite to replace it")
    whole(folder, to)
    rename(folder, source, to)
    what = "" if [source] == [each.name for each in files] else f" ({_count(len(files))})"
    return Returned(text=f"moved {source} to {to}{what}")


def _move_touches(asked: Move, job: Job) -> Touched:
    folder, source, to = _move_ends(asked, job)
    files = _present(folder, source)
    touched: Touched = {to + each.name.removeprefix(source): None for each in files}
    touched |= {each.name: each for each in [*files, *whole(folder, to)]}
    return touched


def _move_came_to(asked: Move, before: Sequence[Change], job: Job) -> Outcome | None:
    folder, source, to = _move_ends(asked, job)
    gone = [each for each in before if _under(each.path, source)]
    after: dict[str, str | None] = {each.path: None for each in gone}
    after |= {to + each.path.removeprefix(source): each.before for each in gone}
    if folder.stat(source) is None and folder.stat(to) is not None and _is(folder, after):
        return Returned(text=f"it had happened before the interruption: {source} is now {to}")
    return _undone_or_unknown(folder, before, source)


def _deleted(asked: Delete, job: Job) -> Outcome:
    folder = Folder(job.workspace)
    name = folder.changeable(asked.path, follow=False)
    about = folder.stat(name)
    if about is None and asked.missing_ok:
        return Returned(text=f"{name} is not there; nothing to delete")
    if about is not None and stat.S_ISDIR(about.st_mode) and not asked.recursive:
        raise Denied("not_a_file", f"{name} is a folder; set recursive to delete all that is in it")
    files = _present(folder, name)
    _no_guarded(files)
    remove(folder, name)
    what = "" if [name] == [each.name for each in files] else f" ({_count(len(files))})"
    return Returned(text=f"deleted {name}{what}")


def _delete_touches(asked: Delete, job: Job) -> Touched:
    folder = Folder(job.workspace)
    name = folder.changeable(asked.path, follow=False)
    return {each.name: each for each in whole(folder, name)}


def _delete_came_to(asked: Delete, before: Sequence[Change], job: Job) -> Outcome | None:
    folder = Folder(job.workspace)
    name = folder.changeable(asked.path, follow=False)
    if folder.stat(name) is None:
        return Returned(text=f"it had happened before the interruption: {name} is gone")
    return _undone_or_unknown(folder, before, name)


async def _changes(blobs: Blobs, touched: Touched) -> list[Change]:
    changes: list[Change] = []
    for name, content in touched.items():
        if content is None:
            changes.append(Change(path=name))
        else:
            kept = await blobs.put(content.data)
            changes.append(Change(path=name, before=kept, mode=content.mode))
    return changes


def _undone_or_unknown(folder: Folder, before: Sequence[Change], name: str) -> Outcome | None:
    if folder.stat(name) is not None and _is(folder, {each.path: each.before for each in before}):
        return None
    return Unknown(reason=f"{name} is neither as it was nor as it should become")


def _is(folder: Folder, wanted: dict[str, str | None]) -> bool:
    """True if every file is there with the content of that SHA-256, or not there for None."""
    return all(_digest(folder, name) == digest for name, digest in wanted.items())


def _digest(folder: Folder, name: str) -> str | None:
    found = whole(folder, name)
    return hashlib.sha256(found[0].data).hexdigest() if found else None


def _present(folder: Folder, name: str) -> list[Content]:
    if folder.stat(name) is None:
        raise Denied("not_found", f"there is no {name}")
    return whole(folder, name)


def _no_guarded(files: Iterable[Content]) -> None:
    if inside := next((each.name for each in files if guarded(each.name)), None):
        raise Denied("protected_path", f"{inside} is protected, so its folder cannot be deleted")


def _under(path: str, name: str) -> bool:
    return path == name or path.startswith(f"{name}/")


def _last(name: str) -> str:
    return posixpath.basename(name)


def _count(files: int) -> str:
    return "1 file" if files == 1 else f"{files:,} files"
