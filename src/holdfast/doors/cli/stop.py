"""The one way a command ends early, and what its exit codes mean."""

from __future__ import annotations

OK, FAILED, REFUSED, NOT_ALLOWED, UNAVAILABLE, BROKEN = 0, 1, 2, 3, 4, 70
INTERRUPTED, READER_GONE = 130, 141

EXIT_CODES = (
    (OK, "done; the task succeeded"),
    (FAILED, "the task failed, or a check found something wrong"),
    (REFUSED, "the request makes no sense: wrong usage, wrong input, no such task"),
    (NOT_ALLOWED, "identity or policy says no"),
    (UNAVAILABLE, "the daemon or the world did not answer; trying again may work"),
    (BROKEN, "a bug in Holdfast, or damaged data"),
    (INTERRUPTED, "interrupted with Ctrl-C"),
)


class Stop(Exception):
    """Ends the command: a sentence for stderr, what to do next, and the exit code."""

    def __init__(
        self, message: str, *, hint: str = "", code: int = REFUSED, name: str = ""
    ) -> None:
        super().__init__(message)
        self.message, self.hint, self.code, self.name = message, hint, code, name or "error"
