"""Thinking that a model writes into its text, taken out of it: whole, or piece by piece."""

from __future__ import annotations

import re
from collections.abc import Callable

from holdfast.ports.model import Delta

from .fences import Fences

_NAMES = ("think", "thinking", "analysis", "reasoning")
_COMMENT, _END_OF_COMMENT = "<!--think", "-->"
_TAGS = tuple(f"<{slash}{name}>" for name in _NAMES for slash in ("", "/"))
_INNER_TAG = re.compile(rf"<(/?)({'|'.join(_NAMES)})>", re.IGNORECASE | re.ASCII)
_TAG = re.compile(rf"{_INNER_TAG.pattern}|<!--\s{{0,8}}think\b", re.IGNORECASE | re.ASCII)
_LONGEST_TAG = 24
_DEEPEST = 64
_MOST_TAGS = 10_000


class Thinking:
    """Tells the words from the thoughts in a text that comes in pieces.

    `<think>`, `<thinking>`, `<analysis>` and `<reasoning>`, one in the other if need be, and
    `<!-- think … -->`. One that is never closed goes on to the end; tags in code are words. A
    closing tag at the beginning of a line that nothing opened closes all that came before it: some
    models' templates keep the opening tag to themselves. Every cut of a text gives the same.
    """

    def __init__(
        self, tell: Callable[[Delta], None], shielded: Callable[[], bool] = lambda: False
    ) -> None:
        """`shielded` says, of the place behind all words told so far, that no tag counts there."""
        self._out, self._shielded = tell, shielded
        self._fences = Fences()
        self._held = ""
        self._open: list[str] = []
        self._behind = ""
        self._said: list[str] = []
        self._space: list[str] = []
        self._found = self._words = self._thoughts = False
        self._tags = 0

    def feed(self, text: str) -> None:
        """Tell what is now known to be words, or thoughts."""
        text, self._held = self._held + text, ""
        at = 0
        while at < len(text):
            at = self._read(text, at)

    def end(self) -> None:
        """Tell what was held back because more might have come."""
        rest, self._held = self._held, ""
        self._tell(rest)
        if self._space and not self._found:
            self._out(Delta(text="".join(self._space)))

    def _read(self, text: str, at: int) -> int:
        if self._tags >= _MOST_TAGS:
            self._tell(text[at:])
            return len(text)
        if not self._open:
            return self._word(text, at)
        return self._comment(text, at) if self._open[-1] == _COMMENT else self._thought(text, at)

    def _word(self, text: str, at: int) -> int:
        """Words up to the next tag, and past it."""
        tag = _TAG.search(text, at)
        if tag is None:
            return self._wait(text, at, _unsure(text, at))
        self._say(text[at : tag.start()])
        if tag.end() == len(text) and not tag[2]:
            self._held = tag[0]  # one letter more decides whether the word is `think`
            return len(text)
        self._tags += 1
        orphan = not self._found and self._fences.blank
        if self._fences.code() or self._shielded() or (tag[1] and not orphan):
            self._say(tag[0])
        elif tag[1]:
            self._was_thought()
        else:
            self._begin((tag[2] or _COMMENT).lower())
        return tag.end()

    def _thought(self, text: str, at: int) -> int:
        """Thoughts up to the tag that ends them, or begins others within, and past it."""
        tag = _INNER_TAG.search(text, at)
        if tag is None:
            return self._wait(text, at, _unsure(text, at))
        self._tags += 1
        self._think(text[at : tag.start()])
        name = tag[2].lower()
        if tag[1] and name in self._open:
            while self._open.pop() != name:
                pass
        elif not tag[1] and self._behind != "`" and len(self._open) < _DEEPEST:
            self._open.append(name)
        else:
            self._think(tag[0])
        return tag.end()

    def _comment(self, text: str, at: int) -> int:
        end = text.find(_END_OF_COMMENT, at)
        if end < 0:
            held = next((n for n in (2, 1) if text.endswith("--"[:n], at)), 0)
            return self._wait(text, at, held)
        self._think(text[at:end])
        self._open.pop()
        return end + len(_END_OF_COMMENT)

    def _wait(self, text: str, at: int, unsure: int) -> int:
        safe = len(text) - unsure
        self._tell(text[at:safe])
        self._held = text[safe:]
        return len(text)

    def _tell(self, text: str) -> None:
        if self._open:
            self._think(text)
        else:
            self._say(text)

    def _begin(self, name: str) -> None:
        if self._thoughts:
            self._out(Delta(thought="\n\n"))
        self._open.append(name)
        self._found, self._thoughts, self._behind = True, False, ""
        self._said.clear()

    def _was_thought(self) -> None:
        """All that was said until now was thinking."""
        said = "".join(self._said)
        self._found, self._words, self._thoughts = True, False, bool(said)
        self._fences, self._said = Fences(), []
        if said:
            self._out(Delta(reset=True))
            self._out(Delta(thought=said))

    def _say(self, text: str) -> None:
        """Words; white space before the first of them waits, and goes if there was thinking."""
        if not text:
            return
        self._fences.follow(text)
        if not self._words and text.isspace():
            self._space.append(text)
            return
        if not self._words:
            first = "".join(self._space) + text
            text, self._words = first.lstrip() if self._found else first, True
            self._space.clear()
        if not self._found:
            self._said.append(text)
        self._out(Delta(text=text))

    def _think(self, text: str) -> None:
        text = text if self._thoughts else text.lstrip()
        if text:
            self._thoughts, self._behind = True, text[-1]
            self._out(Delta(thought=text))


def _unsure(text: str, at: int) -> int:
    """How many letters at the end may yet turn out to be the beginning of a tag."""
    start = text.find("<", max(at, len(text) - _LONGEST_TAG))
    while start >= 0:
        end = text[start:].lower()
        bare = "".join(end.split()) if end.startswith("<!--") else end
        if _COMMENT.startswith(bare) or any(tag.startswith(end) for tag in _TAGS):
            return len(end)
        start = text.find("<", start + 1)
    return 0
