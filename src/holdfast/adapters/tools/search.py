"""The tools that look around: list, glob, search."""

from __future__ import annotations

import fnmatch
import os
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Protocol, cast

import re2  # pyright: ignore[reportMissingTypeStubs]
from anyio import to_thread
from msgspec import Meta, Struct
from msgspec.structs import replace

from holdfast.core.message import EffectClass, Outcome, Returned
from holdfast.ports.tools import Job, Tool, Traits

from .beneath import Denied, Folder
from .content import Entry, load, walk
from .craft import Craft
from .look import folder_of

MOST_ENTRIES = 500
_MOST_FILES = 2_000
_LARGEST_FILE = 524_288
_WIDTH = 300
_SNIFF = 8_192
_re2 = cast("Any", re2)


class List(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """List a folder: one line per entry with its kind, size and path. At most 500 entries."""

    path: Annotated[str, Meta(description="A folder inside the workspace.", min_length=1)] = "."
    pattern: Annotated[str, Meta(description="Only names like this, e.g. `*.py`.")] = "*"
    recursive: Annotated[bool, Meta(description="Also what is in folders below.")] = False


class Glob(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Find files by their path: `**` stands for any folders, `*` and `?` stay inside one name."""

    pattern: Annotated[str, Meta(description="For example `src/**/*.py`.", min_length=1)]


class Search(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Find lines by a regular expression (RE2) in text files, as `path:line: text`."""

    pattern: Annotated[str, Meta(description="RE2 syntax; (?i) ignores case.", min_length=1)]
    path: Annotated[str, Meta(description="A file or folder.", min_length=1)] = "."
    glob: Annotated[str, Meta(description="Only files whose path or name is like this.")] = ""
    max_matches: Annotated[int, Meta(ge=1, le=1_000)] = 200
    max_files: Annotated[int, Meta(ge=1, le=20_000)] = _MOST_FILES
    max_file_bytes: Annotated[int, Meta(ge=1, le=8 << 20)] = _LARGEST_FILE


class _Pattern(Protocol):
    def search(self, text: str) -> object | None: ...

    def fullmatch(self, text: str) -> object | None: ...


def search_tools(also: tuple[Path, ...] = ()) -> list[Tool]:
    """`also` are folders outside the workspace whose files may be searched by whole path."""

    async def list_(asked: List, job: Job) -> Outcome:
        return await to_thread.run_sync(_listed, asked, job)

    async def glob(asked: Glob, job: Job) -> Outcome:
        return await to_thread.run_sync(_globbed, asked, job)

    async def search(asked: Search, job: Job) -> Outcome:
        return await to_thread.run_sync(_searched, asked, job, also)

    below = Traits(effect=EffectClass.READS, stable=True, paths=("path",), source="file")
    return [
        Craft("list", List, below, list_),
        Craft("glob", Glob, replace(below, paths=("pattern",)), glob),
        Craft("search", Search, below, search).vetted(_search_problem),
    ]


def _listed(asked: List, job: Job) -> Outcome:
    folder = Folder(job.workspace)
    name = folder.locate(asked.path)
    entries = (
        entry
        for entry in _below(folder, name, recursive=asked.recursive)
        if fnmatch.fnmatchcase(entry.last, asked.pattern)
    )
    shown = [_line(entry) for entry in islice(entries, MOST_ENTRIES)]
    more = "[more entries are there; narrow it with pattern or path]" if any(entries) else ""
    return Returned(text="\n".join([*shown, more] if more else shown) or "[nothing there]")


def _globbed(asked: Glob, job: Job) -> Outcome:
    folder = Folder(job.workspace)
    start, pattern = _split(folder, asked.pattern)
    if folder.stat(start) is None:
        return Returned(text="[no file matches]")
    matching = _compiled(_expression(pattern))
    prefix = "" if start == "." else f"{start}/"
    found = (
        entry.name
        for entry in _below(folder, start, recursive=True)
        if entry.kind != "dir" and _fits(matching, entry.name.removeprefix(prefix))
    )
    shown = sorted(islice(found, MOST_ENTRIES))
    more = "[more files match; narrow the pattern]" if any(found) else ""
    return Returned(text="\n".join([*shown, more] if more else shown) or "[no file matches]")


def _searched(asked: Search, job: Job, also: tuple[Path, ...]) -> Outcome:
    folder = folder_of(asked.path, job, also)
    name = folder.locate(asked.path)
    if name == "." and any(folder.root == root.resolve() for root in also):
        raise Denied("not_a_file", f"name one file of {asked.path}: the others are other tasks'")
    pattern = _compiled(asked.pattern)
    lines: list[str] = []
    files = 0
    for path, text in _texts(folder, name, asked):
        files += 1
        if files > asked.max_files:
            lines.append(f"[stopped after {asked.max_files:,} files; narrow it with path or glob]")
            break
        lines += islice(_matches(pattern, path, text), asked.max_matches + 1 - len(lines))
        if len(lines) > asked.max_matches:
            lines[-1] = f"[stopped after {asked.max_matches:,} matches]"
            break
    return Returned(text="\n".join(lines) or f"[no match in {files:,} text files]")


def _matches(pattern: _Pattern, path: str, text: str) -> Iterator[str]:
    for number, line in enumerate(text.split("\n"), start=1):
        if pattern.search(line):
            yield f"{path}:{number}: {line.rstrip()[:_WIDTH]}"


def _texts(folder: Folder, name: str, asked: Search) -> Iterator[tuple[str, str]]:
    """Every text file to be searched, with its name."""
    about = folder.stat(name)
    if about is None:
        raise Denied("not_found", f"there is no {name}")
    if not stat.S_ISDIR(about.st_mode):
        yield name, load(folder, name).data.decode(errors="replace")
        return
    wanted = _compiled(_expression(asked.glob)) if asked.glob else None
    for entry in walk(folder, name):
        if entry.kind != "file" or entry.size > asked.max_file_bytes:
            continue
        if wanted and not (_fits(wanted, entry.name) or _fits(wanted, entry.last)):
            continue
        data = _contents(entry)
        if data is not None and b"\0" not in data[:_SNIFF]:
            yield entry.name, data.decode(errors="replace")


def _fits(pattern: _Pattern, name: str) -> bool:
    """A name may hold bytes that are no characters: RE2 knows only characters."""
    return pattern.fullmatch(name.encode(errors="replace").decode()) is not None


def _contents(entry: Entry) -> bytes | None:
    """The content of a file met on a walk; None if it cannot be read."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(entry.last, flags, dir_fd=entry.folder), "rb") as file:
            return file.read()
    except OSError:
        return None


def _below(folder: Folder, name: str, *, recursive: bool) -> Iterator[Entry]:
    about = folder.stat(name)
    if about is None:
        raise Denied("not_found", f"there is no folder {name}")
    if not stat.S_ISDIR(about.st_mode):
        raise Denied("not_a_folder", f"{name} is not a folder; read it instead")
    return walk(folder, name, recursive=recursive)


def _split(folder: Folder, pattern: str) -> tuple[str, str]:
    """The folder a pattern begins in, made safe, and the rest of the pattern."""
    parts = pattern.split("/")
    plain = 0
    while plain < len(parts) - 1 and not set(parts[plain]) & set("*?[{"):
        plain += 1
    rest = "/".join(parts[plain:])
    if ".." in parts[plain:]:
        why = "`..` cannot follow a wildcard"
        raise Denied("outside_workspace", f"the pattern {pattern!r} is outside: {why}")
    start = "/".join(parts[:plain]) or ("/" if pattern.startswith("/") else ".")
    return folder.locate(start), rest


def _expression(pattern: str) -> str:
    """A glob as an RE2 expression."""
    out, rest = "", pattern.removeprefix("./")
    while rest:
        if rest.startswith("**/"):
            out, rest = out + "(?:.*/)?", rest[3:]
        elif rest.startswith("**"):
            out, rest = out + ".*", rest[2:]
        elif rest[0] == "[" and (end := rest.find("]", 2)) > 0:
            inner = rest[1:end].replace("\\", "\\\\")
            out, rest = out + f"[{'^' + inner[1:] if inner[0] == '!' else inner}]", rest[end + 1 :]
        elif rest[0] == "{" and (end := rest.find("}")) > 0:
            choices = (_expression(each) for each in rest[1:end].split(","))
            out, rest = out + f"(?:{'|'.join(choices)})", rest[end + 1 :]
        else:
            out, rest = out + _SIGNS.get(rest[0], _literal(rest[0])), rest[1:]
    return out


_SIGNS = {"*": "[^/]*", "?": "[^/]"}


def _literal(sign: str) -> str:
    return sign if sign.isalnum() or sign in "_/ " or ord(sign) > 127 else f"\\{sign}"


def _compiled(expression: str) -> _Pattern:
    """RE2, which takes time linear in the text whatever the expression."""
    options = _re2.Options()
    options.log_errors = False
    try:
        return cast("_Pattern", _re2.compile(expression, options))
    except _re2.error as error:
        words = error.args[0] if error.args else ""
        text = words.decode(errors="replace") if isinstance(words, bytes) else str(words)
        raise Denied("bad_pattern", f"the pattern is not valid RE2: {text}") from None


def _search_problem(asked: Search) -> str:
    try:
        _compiled(asked.pattern)
        _compiled(_expression(asked.glob))
    except Denied as denied:
        return str(denied)
    return ""


def _line(entry: Entry) -> str:
    end = "/" if entry.kind == "dir" else ""
    return f"{entry.kind}\t{entry.size}\t{entry.name}{end}"
