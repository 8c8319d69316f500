"""Log lines: one JSON object each, with the task they are about; or plain, for a terminal."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import cast

from holdfast.adapters import private
from holdfast.core.patterns import SHAPES

# Those that nothing but a secret has, and that take no quotes along: a line stays what it is.
_SURE = [
    SHAPES[kind]
    for kind in ("PEM", "JWT", "AWS", "GITHUB", "ANTHROPIC", "STRIPE", "SK", "SLACK", "BEARER")
]
_BYTES = 10 << 20
_FILES = 5
_MAX = 4_000


class JsonLines(logging.Formatter):
    """`{"at", "level", "component", "message", "task"?, "error"?}`; times are UTC, RFC 3339."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "component": record.name,
            "message": record.getMessage()[:_MAX],
        }
        if task := getattr(record, "task", ""):
            line["task"] = task
        if code := getattr(record, "code", ""):
            line["code"] = code
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)[-_MAX:]
        return json.dumps(line, ensure_ascii=False)


class Redacted(logging.Formatter):
    """Another formatter's lines, without what is known as a secret or has the shape of a key."""

    def __init__(self, lines: logging.Formatter, redact: Callable[[str], str]) -> None:
        super().__init__()
        self._lines, self._redact = lines, redact

    def format(self, record: logging.LogRecord) -> str:
        line = self._redact(self._lines.format(record))
        for shape in _SURE:
            line = shape.sub("[***]", line)
        return line


class PrivateFile(RotatingFileHandler):
    """A log that nobody else can read, from its first moment on."""

    def _open(self) -> TextIOWrapper:
        mode, coding, errors = self.mode, self.encoding, self.errors
        file = open(self.baseFilename, mode, encoding=coding, errors=errors, opener=private.opener)  # noqa: SIM115 - the handler keeps it
        return cast("TextIOWrapper", file)


def start_logging(
    folder: Path,
    *,
    level: str,
    as_json: bool,
    also_stderr: bool,
    redact: Callable[[str], str],
) -> None:
    """Write to `<folder>/holdfast.log` (five files of 10 MiB), and to stderr in the foreground."""
    handlers: list[logging.Handler] = [
        PrivateFile(
            folder / "holdfast.log",
            maxBytes=_BYTES,
            backupCount=_FILES,
            encoding="utf-8",
            errors="backslashreplace",
        )
    ]
    if also_stderr:
        handlers.append(logging.StreamHandler(sys.stderr))
    plain = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    for handler in handlers:
        handler.setFormatter(Redacted(JsonLines() if as_json else plain, redact))
    wanted = logging.getLevelNamesMapping()[level.upper()]
    # Libraries tell of requests and their headers when asked for details: their warnings will do.
    logging.basicConfig(level=max(wanted, logging.WARNING), handlers=handlers, force=True)
    logging.getLogger("holdfast").setLevel(wanted)
