"""Log lines: one JSON object each, with the task they are about; or plain, for a terminal."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

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


def start_logging(folder: Path, *, level: str, as_json: bool, also_stderr: bool) -> None:
    """Write to `<folder>/holdfast.log` (five files of 10 MiB), and to stderr in the foreground."""
    handlers: list[logging.Handler] = [
        RotatingFileHandler(
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
        handler.setFormatter(JsonLines() if as_json else plain)
    wanted = logging.getLevelNamesMapping()[level.upper()]
    # Libraries tell of requests and their headers when asked for details: their warnings will do.
    logging.basicConfig(level=max(wanted, logging.WARNING), handlers=handlers, force=True)
    logging.getLogger("holdfast").setLevel(wanted)
