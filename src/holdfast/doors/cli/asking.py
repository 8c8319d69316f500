"""From a command line, a pipe and files to one request."""

from __future__ import annotations

import binascii
import json
import os
import select
import stat
import sys
from pathlib import Path

from .out import Screen
from .stop import Stop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .desk import Desk, Given
    from .wire import Json

SECTION = "\n\n---\n\n"
FILE_LIMIT = 256 * 1024
ATTACHMENT_LIMIT = 7_000_000
MEDIA_TYPES = {
    ".gif": "image/gif",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".mp3": "audio/mpeg",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".wav": "audio/wav",
    ".webp": "image/webp",
}
STDIN_LIMIT = 4 * 1024 * 1024
_LIMITS = {"budget": "cost_usd", "steps": "steps", "tokens": "tokens", "seconds": "seconds"}
_QUIET_FOR = 2.0


def request(desk: Desk, given: Given) -> Json:
    """The body of `POST /api/v1/tasks`. Raises `Stop` where nothing sensible was asked."""
    folder = workspace(given)
    prompt = task_text(desk.screen, given) + "".join(
        file_section(Path(name), folder) for name in given.many("file")
    )
    attended = desk.screen.attended or given.has("detach")
    body = {"prompt": prompt, **terms(given, folder), "unattended": not attended}
    files = [attachment(Path(name)) for name in given.many("attach")]
    return body | ({"files": files} if files else {})


def attachment(path: Path) -> Json:
    """A file as the model is to see it."""
    kind = MEDIA_TYPES.get(path.suffix.lower())
    if kind is None:
        known = " ".join(sorted(MEDIA_TYPES))
        raise Stop(f"{path} is of no kind that can be shown to a model: {known}", name="bad_file")
    try:
        if path.exists() and not path.is_file():
            raise Stop(f"{path} is not a file", name="bad_file")
        data = _read(path, ATTACHMENT_LIMIT)
    except OSError as error:
        raise Stop(f"{path} cannot be read: {error.strerror}", name="bad_file") from error
    if data is None:
        most = ATTACHMENT_LIMIT / 1e6
        raise Stop(f"{path} is larger than {most:g} MB", name="bad_file")
    coded = binascii.b2a_base64(data, newline=False).decode("ascii")
    return {"name": path.name, "media_type": kind, "data": coded}


def terms(given: Given, folder: Path) -> Json:
    """Everything but the prompt: where, with what, within which limits."""
    body: Json = {"workspace": str(folder)}
    for name in ("model", "session", "preset", "until", "key"):
        if given.one(name):
            body[name] = given.one(name)
    if given.has("priority"):
        body["priority"] = given.count("priority")
    allow = [*given.many("allow"), *(["*"] if given.has("yes") else [])]
    lists = {"allow": allow, "deny": given.many("deny")}
    lists |= {"checks": given.many("check"), "deliver": given.many("deliver")}
    body |= {name: items for name, items in lists.items() if items}
    if given.one("thinking"):
        body["style"] = {"thinking": given.one("thinking")}
    if given.one("schema"):
        body["shape"] = shape(given)
    limits = limits_of(given)
    return body | ({"limits": limits} if limits else {})


def limits_of(given: Given) -> Json:
    """What the task may use, as far as the options say."""
    return {
        field: given.number(name) if name == "budget" else given.count(name)
        for name, field in _LIMITS.items()
        if given.has(name)
    }


def shape(given: Given) -> Json:
    """What the answer must look like, from a file of JSON Schema. Raises `Stop`."""
    path = Path(given.one("schema"))
    try:
        if (told := _read(path, FILE_LIMIT)) is None:
            raise Stop(f"{path} is larger than {FILE_LIMIT // 1024} KiB", name="bad_schema")
        schema = json.loads(told)
    except OSError as error:
        raise Stop(f"{path} cannot be read: {error.strerror}", name="bad_schema") from error
    except (ValueError, RecursionError) as error:
        raise Stop(f"{path} is not JSON: {error}", name="bad_schema") from error
    if not isinstance(schema, dict):
        raise Stop(f"{path} holds no JSON object", name="bad_schema")
    wanted: Json = {"schema": schema, "strict": not given.has("no-strict")}
    if given.has("schema-retries"):
        wanted["retries"] = given.count("schema-retries")
    return wanted


def workspace(given: Given) -> Path:
    folder = Path(given.one("workspace") or ".").expanduser()
    try:
        folder = folder.resolve(strict=True)
    except OSError as error:
        raise Stop(f"the workspace {folder} cannot be used: {error.strerror}") from error
    if not folder.is_dir():
        raise Stop(f"the workspace {folder} is not a folder")
    return folder


def task_text(screen: Screen, given: Given) -> str:
    """The words given, what is piped in, or what a person types."""
    words = " ".join(given.words).strip()
    piped = _has_pipe()
    if given.has("stdin") or (piped and words) or (not words and not screen.in_is_terminal):
        if given.has("stdin") and screen.in_is_terminal:
            screen.note("reading the task from the terminal; Ctrl-D ends it")
        text = _stdin(screen, patient=not words or given.has("stdin"))
        if not text.strip() and (given.has("stdin") or not words):
            hint = "give the words, or pipe them in"
            raise Stop("No input received on stdin", hint=hint, name="no_input")
        return f"{words}{SECTION}{text}" if words and text.strip() else words or text
    if words:
        return words
    screen.ask("What should be done? ")
    words = sys.stdin.readline().strip()
    if not words:
        raise Stop("there is nothing to do", hint='holdfast run "what to do"', name="no_input")
    return words


def texts(screen: Screen, given: Given) -> list[str]:
    """Each word given as a text of its own; for `-` the lines of stdin that say something."""
    found: list[str] = []
    for word in given.words:
        if word == "-":
            found += [line for line in _stdin(screen, patient=True).splitlines() if line.strip()]
        else:
            found.append(word)
    if not found:
        raise Stop("No input received on stdin", name="no_input")
    return found


def file_section(path: Path, folder: Path) -> str:
    """A text file's content under its name; the name alone of anything else in the workspace."""
    try:
        whole = path.resolve(strict=True)
        size = whole.stat().st_size
        if not whole.is_file():
            raise Stop(f"{path} is not a file", name="bad_file")
        data = whole.read_bytes() if size <= FILE_LIMIT else None
    except OSError as error:
        raise Stop(f"{path} cannot be read: {error.strerror}", name="bad_file") from error
    name = whole.relative_to(folder).as_posix() if whole.is_relative_to(folder) else str(whole)
    text = _text(data) if data is not None else None
    if text is not None:
        return f"\n\n--- file {name} ---\n\n{text}"
    if not whole.is_relative_to(folder):
        why = "is not text" if size <= FILE_LIMIT else f"is larger than {FILE_LIMIT // 1024} KiB"
        raise Stop(
            f"{path} {why} and lies outside the workspace, so the task could not open it",
            hint="copy it into the workspace, or choose another with -C",
            name="bad_file",
        )
    return f"\n\nSee also the file {name} ({size:,} bytes)."


def _read(path: Path, most: int) -> bytes | None:
    """What it holds; None if that is more, however large it says that it is."""
    with path.open("rb") as file:
        data = file.read(most + 1)
    return None if len(data) > most else data


def _text(data: bytes) -> str | None:
    if b"\x00" in data:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _has_pipe() -> bool:
    """True when stdin is a pipe, a file or a socket: something was meant to be read."""
    try:
        mode = os.fstat(0).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)


def _stdin(screen: Screen, *, patient: bool) -> str:
    """All of stdin. Where it may be a pipe that nobody closes, says what it waits for."""
    read = bytearray()
    try:
        if not patient and not select.select([0], [], [], _QUIET_FOR)[0]:
            screen.note("waiting for the end of stdin (</dev/null says that there is none)")
        while piece := os.read(0, 1 << 16):
            read += piece
            if len(read) > STDIN_LIMIT:
                raise Stop(f"stdin holds more than {STDIN_LIMIT >> 20} MiB", name="too_long")
    except OSError as error:
        raise Stop("No input received on stdin", name="no_input") from error
    try:
        return read.decode("utf-8").rstrip("\n")
    except UnicodeDecodeError as error:
        raise Stop(
            f"stdin is not UTF-8: byte 0x{read[error.start]:02x} at position {error.start}",
            hint="convert it first, for example with iconv",
            name="bad_encoding",
        ) from error
