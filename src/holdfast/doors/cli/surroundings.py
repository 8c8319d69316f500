"""What the command line finds around it: its home, its terminal, its language."""

from __future__ import annotations

import os
import sys

_WIDTH = 100


def home(given: str) -> str:
    """Where Holdfast lives: `--home`, else $HOLDFAST_HOME, else ~/.holdfast; always absolute."""
    path = given or os.getenv("HOLDFAST_HOME") or f"{os.getenv('HOME') or '/'}/.holdfast"
    if path == "~" or path.startswith("~/"):
        path = f"{os.getenv('HOME') or ''}{path[1:]}"
    if not path.startswith("/"):
        path = f"{os.getcwd()}/{path}"  # noqa: PTH109  pathlib costs 6 ms of the 40 we have
    return path.rstrip("/") or "/"


def variable(name: str) -> str | None:
    """What a file of the person's own refers to as `${NAME}`."""
    return os.getenv(name)


def may_color() -> bool:
    """Colour only for a terminal that did not say no (https://no-color.org)."""
    return not os.getenv("NO_COLOR") and os.getenv("TERM", "dumb") != "dumb"


def is_terminal(descriptor: int) -> bool:
    try:
        return os.isatty(descriptor)
    except OSError:
        return False


def width() -> int:
    """Columns to fill: the terminal's, else $COLUMNS, else a page's worth."""
    for descriptor in (1, 2):
        try:
            columns = os.get_terminal_size(descriptor).columns
        except OSError:
            continue
        if columns > 0:
            return columns
    columns = os.getenv("COLUMNS", "")
    return int(columns) if columns.isdigit() and int(columns) > 0 else _WIDTH


def speaks_unicode() -> bool:
    encoding = getattr(sys.stderr, "encoding", None) or ""
    return encoding.lower().replace("-", "") in {"utf8", "utf8sig"}


def python() -> list[str]:
    """This interpreter, closed to modules that lie in the current folder."""
    return [sys.executable, "-I" if sys.flags.isolated else "-P"]
