"""A command line as a shell would take it apart: into commands of plain words, or not plainly.

What is allowed must be plain: words that stand there as they will run. What is denied or asked
about is looked for in every command that the line can be seen to hold. A speed bump for honest
models; the box is the wall.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

Argv = tuple[str, ...]

_TOKEN = re.compile(
    r"""(?P<space>[ \t]+|\\\n)|(?P<quoted>'[^']*')|(?P<double>"(?:[^"\\]|\\.)*")|(?P<escaped>\\.)
    |(?P<redirect>\d*(?:<<<|<<-?|&>>?|>>|<>|[<>]&|>\||[<>]))|(?P<between>&&|\|\||;;|\|&|[;|&\n])
    |(?P<word>[^ \t\n\\'"<>&;|()`$*?\[{}~#!]+)|(?P<odd>.)""",
    re.DOTALL | re.VERBOSE,
)
_SIMPLE = re.compile(r"[\w./:@,+%^-]+(?: [\w./:@,+%^-]+)*", re.ASCII)
_ASSIGNED = re.compile(r"[A-Za-z_]\w*(?:\[[^\]]*\])?\+?=")
_KEYWORDS = frozenset(
    (
        *("if", "then", "elif", "else", "fi", "for", "while", "until", "do", "done"),
        *("case", "esac", "select", "function", "time", "coproc", "!", "{", "}", "[["),
    )
)
_CARRIERS = frozenset(
    (
        *("sudo", "doas", "env", "nohup", "nice", "ionice", "timeout", "xargs", "command"),
        *("builtin", "exec", "time", "stdbuf", "setsid", "busybox", "find", "chroot"),
        *("watch", "parallel", "strace", "unshare", "runuser"),
    )
)
_SHELLS = frozenset(
    (
        *("sh", "bash", "dash", "zsh", "ksh", "ash", "fish", "eval", "su", "ssh"),
        *("script", "watch"),
    )
)
_DEEPEST = 4
_MOST = 200
_INNER = re.compile(r"\$\(|`")


class Line(NamedTuple):
    """The commands of a line; `plain` if every word of it stands there as it will run."""

    commands: tuple[Argv, ...]
    plain: bool


class _Reading:
    """A line on its way to being one."""

    def __init__(self) -> None:
        self.commands: list[Argv] = []
        self.plain, self.dropping = True, False
        self._argv: list[str] = []
        self._word: str | None = None

    @property
    def begun(self) -> bool:
        return bool(self._word)

    def add(self, text: str) -> None:
        self._word = (self._word or "") + text

    def end_word(self) -> None:
        if self._word is not None and not self.dropping:
            self._argv.append(self._word)
        self.dropping = self.dropping and self._word is None
        self._word = None

    def end_command(self) -> None:
        self.end_word()
        self.dropping = False
        while self._argv and (self._argv[0] in _KEYWORDS or _ASSIGNED.match(self._argv[0])):
            self.plain = False
            del self._argv[0]
        if self._argv:
            self.commands.append(tuple(self._argv))
        self._argv = []


def parsed(text: str, depth: int = 0) -> Line:
    """`text` as commands. Never fails: what is not understood is not plain."""
    if _SIMPLE.fullmatch(text):
        words = tuple(text.split(" "))
        if words[0] not in _KEYWORDS:
            return Line((words,), plain=True)
    reading, place = _Reading(), 0
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:  # pragma: no cover - `odd` takes every character
            break
        if found.lastgroup == "odd" and text[place] == "#" and not reading.begun:
            end = text.find("\n", place)
            place = len(text) if end < 0 else end
            continue
        _take(reading, found.lastgroup or "", found[0], depth)
        place = found.end()
    reading.end_command()
    return Line(tuple(reading.commands), reading.plain)


def _take(reading: _Reading, kind: str, said: str, depth: int) -> None:
    match kind:
        case "space":
            if not said.startswith("\\"):
                reading.end_word()
        case "word":
            reading.add(said)
        case "quoted":
            reading.add(said[1:-1])
        case "escaped":
            reading.add(said[1:])
        case "double":
            _take_double(reading, said[1:-1], depth)
        case "between":
            reading.end_command()
        case "redirect":
            reading.end_word()
            reading.plain, reading.dropping = False, True
        case _:
            _take_odd(reading, said)


def _take_double(reading: _Reading, inner: str, depth: int) -> None:
    bare = re.sub(r"\\(.)", "", inner, flags=re.DOTALL)
    if "$" in bare or "`" in bare:
        reading.plain = False
        if depth < _DEEPEST:
            for piece in _INNER.split(inner)[1:]:
                reading.commands += parsed(piece, depth + 1).commands
    reading.add(re.sub(r'\\([\\"$`\n])', lambda m: "" if m[1] == "\n" else m[1], inner))


def _take_odd(reading: _Reading, sign: str) -> None:
    """A sign that makes a shell do more than run words; inside a word, some are only letters."""
    if sign in "~#!" and reading.begun:
        reading.add(sign)
        return
    reading.plain = False
    if sign in "()`":
        reading.end_command()
    else:
        reading.add(sign)


def pieces(line: Line) -> tuple[Argv, ...]:
    """Every command of the line, and those that it carries for another program to run."""
    found: list[Argv] = []
    for argv in line.commands:
        _carried(argv, found, 0)
    return tuple(dict.fromkeys(found))


def _carried(argv: Argv, found: list[Argv], depth: int) -> None:
    if len(found) >= _MOST:
        return
    found.append(argv)
    program = argv[0].rpartition("/")[2]
    if depth >= _DEEPEST:
        return
    if program in _CARRIERS:
        for start in range(1, len(argv)):
            if not argv[start].startswith("-"):
                _carried(argv[start:], found, depth + 1)
    if program in _SHELLS:
        for inner in (one for text in argv[1:] for one in parsed(text).commands):
            _carried(inner, found, depth + 1)


def fits(argv: Argv, patterns: Sequence[str], *, anywhere: bool = False) -> bool:
    """True if the words are as the patterns say: one pattern a word, `**` any number of words.

    A `*` at the end stands for all further words, if any. `anywhere`: the program may be named by
    a path.
    """
    if patterns[-1] == "*":
        patterns = (*patterns[:-1], "**")
    names = (argv, (argv[0].rpartition("/")[2], *argv[1:])) if anywhere else (argv,)
    return any(_fits(words, patterns) for words in names)


def _fits(words: Argv, patterns: Sequence[str]) -> bool:
    """As shells match names: on failure the last `**` takes one word more."""
    at = place = 0
    again: tuple[int, int] | None = None
    while at < len(words):
        if place < len(patterns) and patterns[place] == "**":
            again, place = (at, place + 1), place + 1
        elif place < len(patterns) and fnmatchcase(words[at], patterns[place]):
            at, place = at + 1, place + 1
        elif again is not None:
            at, place = again[0] + 1, again[1]
            again = (at, place)
        else:
            return False
    return all(pattern == "**" for pattern in patterns[place:])


_CHAINING = frozenset(";|&$`<>()\n\\")


def is_chained(text: str) -> bool:
    """True if the line may be more than one command, told by its signs alone."""
    return not _CHAINING.isdisjoint(text)


def rough(text: str) -> Iterator[str]:
    """The texts between the signs with which a shell chains commands."""
    for sign in _CHAINING:
        text = text.replace(sign, "\n")
    return (piece.strip() for piece in text.split("\n") if piece.strip())
