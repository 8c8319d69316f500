"""Where one is in Markdown that comes in pieces: in a code block, in a code span, or in words."""

from __future__ import annotations

import re

_MARK = re.compile(r"\n|`+|~+")
_FENCE = 3


class Fences:
    """Follows a text piece by piece; how it is cut makes no difference.

    A code block begins with a line of three or more backticks or tildes and ends with such a line.
    A code span is what stands behind an odd number of runs of backticks of its line.
    """

    def __init__(self) -> None:
        self._block = ""
        self._blank = True
        self._spans = 0
        self._run = ""
        self._ending = False

    @property
    def blank(self) -> bool:
        """True while nothing but white space stands on this line."""
        return self._blank and not self._run

    def code(self) -> bool:
        """Whether what comes next is code. Only to be asked before what is no backtick or tilde."""
        self._settle()
        return bool(self._block) or self._spans % 2 == 1

    def follow(self, text: str) -> None:
        """Go on behind `text`."""
        at = 0
        for mark in _MARK.finditer(text):
            self._words(text, at, mark.start())
            at = mark.end()
            if mark[0] == "\n":
                self._line()
            elif self._run and self._run[0] == mark[0][0]:
                # A longer run says nothing more than one of this length.
                self._run = (self._run + mark[0])[:64]
            else:
                self._settle()
                self._run = mark[0][:64]
        self._words(text, at, len(text))

    def _words(self, text: str, start: int, end: int) -> None:
        if start == end:
            return
        self._settle()
        if not text[start:end].isspace():
            self._blank = self._ending = False

    def _line(self) -> None:
        self._settle()
        if self._ending:
            self._block = ""
        self._blank, self._ending, self._spans = True, False, 0

    def _settle(self) -> None:
        """What the run of backticks or tildes that has now ended means."""
        run, self._run = self._run, ""
        if not run:
            return
        blank, self._blank = self._blank, False
        if self._block:
            long_enough = run[0] == self._block[0] and len(run) >= len(self._block)
            self._ending = blank and long_enough
        elif blank and len(run) >= _FENCE:
            self._block = run
        elif run[0] == "`":
            self._spans += 1
