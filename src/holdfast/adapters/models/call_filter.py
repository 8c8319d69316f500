"""Finds the calls in a text that comes in pieces, and lets the words between them through."""

from __future__ import annotations

import re

from holdfast.ports.model import Delta

from .call_json import Broken, Wanted, read
from .fences import Fences

_START = re.compile(
    r"(?P<tag><tool_call>)"
    r"|(?P<fence>```(?:json|tool_calls?|tool)?[ \t]{0,8}\r?\n\s{0,16}(?=[{\[]))"
    r'|(?P<bare>\{\s{0,64}"|\[\s{0,64}\{\s{0,64}")',
    re.IGNORECASE | re.ASCII,
)
_BEGUN = re.compile(
    r"(?:<[a-z_]{0,9}|`{1,3}[a-z_]{0,10}[ \t]{0,8}\r?(?:\n\s{0,16})?"
    r"|\{\s{0,64}|\[\s{0,64}(?:\{\s{0,64})?)\Z",
    re.IGNORECASE | re.ASCII,
)
_LONGEST_START = 160
_END_OF_TAG = re.compile(r"</tool_call>", re.IGNORECASE | re.ASCII)
_END_OF_FENCE = re.compile(r"\n[ \t]{0,3}```")
_LONGEST_END = 16
_LONGEST = 1_000_000
_MOST_LOOKS = 50_000
_DEEPEST = 64
_PAIRS = {"}": "{", "]": "["}


class Braces:
    """Follows a JSON object or list until its braces are balanced. Knows what a string is."""

    def __init__(self) -> None:
        self._open: list[str] = []
        self._in_string = self._escaped = False
        self._key: bool | None = None  # whether the first string has ended, and the colon has come

    def follow(self, text: str, at: int) -> tuple[int, bool | None]:
        """How far it went; True at the end, False where this cannot be JSON, None for more."""
        end, done = len(text), None
        while at < end and done is None:
            if self._in_string:
                at, done = self._string(text, at)
            elif self._key is True:
                at, done = self._colon(text, at)
            elif found := _OUTSIDE.search(text, at):
                at, done = found.end(), self._bracket(found[0])
            else:
                at = end
        return at, done

    def _string(self, text: str, at: int) -> tuple[int, bool | None]:
        if self._escaped:
            self._escaped = False
            return at + 1, None
        found = (_INSIDE if self._key is False else _INSIDE_KEY).search(text, at)
        if found is None:
            return len(text), None
        match found[0]:
            case "\\":
                self._escaped = True
            case '"':
                self._in_string = False
                self._key = self._key is None
            case _:  # a line does not end in the name of a field
                return found.start(), False
        return found.end(), None

    def _colon(self, text: str, at: int) -> tuple[int, bool | None]:
        """Behind the first string stands a colon, or this is no object."""
        found = _SOLID.search(text, at)
        if found is None:
            return len(text), None
        self._key = False
        return (found.end(), None) if found[0] == ":" else (at, False)

    def _bracket(self, mark: str) -> bool | None:
        if mark == '"':
            self._in_string = True
        elif mark in "{[":
            self._open.append(mark)
            return False if len(self._open) > _DEEPEST else None
        elif not self._open or self._open.pop() != _PAIRS[mark]:
            return False
        elif not self._open:
            return True
        return None


_INSIDE, _INSIDE_KEY = re.compile(r'["\\]'), re.compile(r'["\\\n]')
_OUTSIDE, _SOLID = re.compile(r'["{}\[\]]'), re.compile(r"\S")


class CallFilter:
    """Reads a text of a model that was told the text form.

    Holds back only what may become a call. `found` are the calls, in order, no more than `most`
    and one; `left_out` counts those beyond. Every cut of a text gives the same.
    """

    def __init__(self, offered: frozenset[str], most: int) -> None:
        self._offered, self._most = offered, most
        self.found: list[Wanted | Broken] = []
        self.left_out = 0
        self._fences = Fences()
        self._held = ""
        self._kept: list[str] = []
        self._size = 0
        self._kind = ""
        self._braces = Braces()
        self._tail = ""
        self._space: list[str] = []
        self._after_call = False
        self._looks = 0
        self._told: list[Delta] = []

    @property
    def within(self) -> bool:
        """True in the middle of what may be a call."""
        return bool(self._kind)

    def feed(self, text: str) -> list[Delta]:
        text, self._held = self._held + text, ""
        at = 0
        while at < len(text):
            at = self._block(text, at) if self._kind else self._words(text, at)
        return self._flushed()

    def end(self) -> list[Delta]:
        """The text is over: what was begun is a call all the same, a broken one, or words."""
        if self._kind:
            self._ended("")
        self._say(self._held)
        self._held = ""
        if self._space and not self.found:
            self._told.append(Delta(text="".join(self._space)))
        self._space.clear()
        return self._flushed()

    def _words(self, text: str, at: int) -> int:
        """Words up to where a call may begin."""
        if self._looks >= _MOST_LOOKS:  # a text like this is not worth any more time
            self._say(text[at:])
            return len(text)
        start = _START.search(text, at)
        if start is None:
            begun = _BEGUN.search(text, max(at, len(text) - _LONGEST_START))
            safe = begun.start() if begun else len(text)
            self._say(text[at:safe])
            self._held = text[safe:]
            return len(text)
        self._say(text[at : start.start()])
        self._looks += 1
        if self._is_code(fence=start.lastgroup == "fence"):
            mark = _MARK.search(text, start.start() + 1)
            step = mark.start() if mark else start.start() + 1
            self._say(text[start.start() : step])
            return step
        self._kind, self._braces, self._tail = start.lastgroup or "", Braces(), ""
        if self._kind == "bare":
            return start.start()
        self._keep(start[0])
        return start.end()

    def _is_code(self, *, fence: bool) -> bool:
        return (fence and not self._fences.blank) or self._fences.code()

    def _block(self, text: str, at: int) -> int:
        if self._kind == "bare":
            return self._bare(text, at)
        ending = _END_OF_TAG if self._kind == "tag" else _END_OF_FENCE
        end = ending.search(self._tail + text[at : at + _LONGEST_END]) if self._tail else None
        stop = at + end.end() - len(self._tail) if end else 0
        if end is None and (end := ending.search(text, at)):
            stop = end.end()
        if end is None:
            self._tail = (self._tail + text[max(at, len(text) - _LONGEST_END) :])[-_LONGEST_END:]
            return self._more(text, at, len(text))
        self._keep(text[at:stop])
        self._ended(end[0])
        return stop

    def _bare(self, text: str, at: int) -> int:
        went, balanced = self._braces.follow(text, at)
        if balanced is None:
            return self._more(text, at, went)
        self._keep(text[at:went])
        if balanced:
            self._ended("")
        else:
            self._missed()
        return went

    def _more(self, text: str, at: int, stop: int) -> int:
        self._keep(text[at:stop])
        if self._size > _LONGEST:
            self._missed()
        return stop

    def _keep(self, text: str) -> None:
        self._kept.append(text)
        self._size += len(text)

    def _ended(self, end: str) -> None:
        """The block is whole, or all there will be of it: calls, or words after all."""
        head, *rest = self._kept if self._kind != "bare" else ["", *self._kept]
        inner = "".join(rest)
        inner = inner[: len(inner) - len(end)]
        meant = (self._kind == "tag" and "{" in inner) or bool(_TOOL_FENCE.match(head))
        calls = read(inner.strip(), self._offered, meant=meant)
        if not calls:
            self._missed()
            return
        for call in calls:
            self._call(call)
        self._after_call = True
        self._forget()

    def _call(self, call: Wanted | Broken) -> None:
        if len(self.found) > self._most:
            self.left_out += 1
            return
        self.found.append(call)
        self.left_out += len(self.found) > self._most
        self._told.append(Delta(call=call.tool))

    def _missed(self) -> None:
        whole = "".join(self._kept)
        self._forget()
        self._say(whole)

    def _forget(self) -> None:
        self._kept, self._size, self._kind = [], 0, ""

    def _say(self, text: str) -> None:
        """Words. White space waits for what comes next: before a call it is kept, behind it not."""
        if not text:
            return
        self._fences.follow(text)
        text = text.lstrip() if self._after_call else text
        words = text.rstrip()
        if words:
            self._after_call = False
            self._told.append(Delta(text="".join([*self._space, words])))
            self._space.clear()
        if len(words) < len(text):
            self._space.append(text[len(words) :])

    def _flushed(self) -> list[Delta]:
        told, self._told = self._told, []
        return told


_TOOL_FENCE, _MARK = re.compile(r"```tool", re.IGNORECASE), re.compile(r"[`~\n]")
