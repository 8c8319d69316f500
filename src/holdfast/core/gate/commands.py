"""A command line as a shell would take it apart: into commands of plain words, or not plainly.

What is allowed must be plain: words that stand there as they will run. What is denied or asked
about is looked for in every command that the line can be seen to hold. A speed bump for honest
models; the box is the wall.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import islice
from typing import NamedTuple

Argv = tuple[str, ...]


def _each(words: str) -> frozenset[str]:
    return frozenset(words.split())


_TOKEN = re.compile(
    r"""(?P<space>[ \t]+|\\\n)|(?P<quoted>'[^']*')|(?P<double>\$?"(?:[^"\\]|\\.)*")|(?P<escaped>\\.)
    |(?P<redirect>\d*(?:<<<|<<-?|&>>?|>>|<>|[<>]&|>\||[<>]))|(?P<between>&&|\|\||;;|\|&|[;|&\n])
    |(?P<word>[^ \t\n\\'"<>&;|()`$*?\[{}~#!]+)|\$(?P<coded>'(?:[^'\\]|\\.)*')|(?P<odd>.)""",
    re.DOTALL | re.VERBOSE,
)
_SIMPLE = re.compile(r"[\w./:@,+%^-]+(?: [\w./:@,+%^-]+)*", re.ASCII)
_ASSIGNED = re.compile(r"[A-Za-z_]\w*(?:\[[^\]]*\])?\+?=")
_UNTIL = re.compile(r"""[ \t]*(?:'([^'\n]*)'|"([^"\n]*)"|\\?([^\s\\'"<>&;|()`$]+))""")
_CODE = re.compile(r"\\(?:x([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{1,4})|([0-7]{1,3})|(.))", re.DOTALL)
_KEYWORDS = _each(
    "if then elif else fi for while until do done case esac select function time coproc ! { } [["
    " -p --"  # the last two stand behind `time`
)
_CARRIERS = _each(
    "sudo doas env nohup nice ionice timeout xargs command builtin exec time stdbuf setsid busybox"
    " find chroot watch parallel strace unshare runuser eval ssh su flock taskset setpriv nsenter"
    " systemd-run toybox fakeroot chrt prlimit ltrace pkexec"
)
_SHELLS = _each(
    "sh bash dash zsh ksh ash fish eval su ssh script watch env parallel runuser flock trap"
)
_DEEPEST = 4
_MOST, _MOST_WORDS = 200, 300_000
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
        self.documents: list[tuple[str, str]] = []
        self.word: str | None = None
        self._argv: list[str] = []

    def add(self, text: str) -> None:
        self.word = (self.word or "") + text

    def end_word(self) -> None:
        if self.word is not None and not self.dropping:
            self._argv.append(self.word)
        self.dropping = self.dropping and self.word is None
        self.word = None

    def end_command(self) -> None:
        self.end_word()
        self.dropping = False
        while self._argv and (self._argv[0] in _KEYWORDS or _ASSIGNED.match(self._argv[0])):
            self.plain = False
            del self._argv[: 2 if self._argv[2:3] == ["{"] else 1]  # the name of what is made
        if self._argv:
            self.commands.append(tuple(self._argv))
        self._argv = []

    def look_into(self, texts: Sequence[str], depth: int) -> None:
        """Texts in which a shell would look for commands once more."""
        for text in texts if depth < _DEEPEST else ():
            self.commands += parsed(text, depth + 1).commands


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
        if text[place] == "#" and reading.word is None:
            end = text.find("\n", place)
            place = len(text) if end < 0 else end
            continue
        _take(reading, found.lastgroup or "", found[0], depth)
        place = found.end()
        if found[0] in {"<<", "<<-"} and (until := _UNTIL.match(text, place)):
            tabs = "\t*" if found[0] == "<<-" else ""
            reading.documents.append(("".join(filter(None, until.groups())), tabs))
        elif found[0] == "\n":
            place = _read_documents(reading, text, place, depth)
    reading.end_command()
    return Line(tuple(reading.commands), reading.plain)


def _read_documents(reading: _Reading, text: str, place: int, depth: int) -> int:
    """What stands between `<<END` and END is no part of the line: its quotes end with it."""
    for until, tabs in reading.documents:
        end = re.compile(rf"^{tabs}{re.escape(until)}(?:\n|\Z)", re.MULTILINE).search(text, place)
        body = text[place : end.start() if end else len(text)]
        place = end.end() if end else len(text)
        reading.look_into((body, *_INNER.split(body)[1:]), depth)
    reading.documents.clear()
    return place


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
            _take_double(reading, said, depth)
        case "between":
            reading.end_command()
        case "coded":
            reading.plain = False
            reading.add(_CODE.sub(_coded, said[2:-1]))
        case "redirect":
            reading.end_word()
            reading.plain, reading.dropping = False, True
        case _:
            _take_odd(reading, said)


def _take_double(reading: _Reading, said: str, depth: int) -> None:
    inner = said.lstrip("$")[1:-1]
    bare = said[0] + re.sub(r"\\(.)", "", inner, flags=re.DOTALL)
    if "$" in bare or "`" in bare:
        reading.plain = False
        reading.look_into(_INNER.split(inner)[1:], depth)
    reading.add(re.sub(r'\\([\\"$`\n])', lambda m: "" if m[1] == "\n" else m[1], inner))


def _coded(found: re.Match[str]) -> str:
    """A letter as `$'…'` has it. Which of the few named ones it is does not matter here."""
    if digits := found[1] or found[2]:
        return chr(int(digits, 16))
    return chr(int(found[3], 8)) if found[3] else found[4]


def _take_odd(reading: _Reading, sign: str) -> None:
    """A sign that makes a shell do more than run words; inside a word, some are only letters."""
    if sign in "~#!" and reading.word is not None:
        reading.plain &= sign != "~" or "=" not in reading.word  # a home, as in PREFIX=~/x
        reading.add(sign)
        return
    reading.plain = False
    if sign in "()`":
        reading.end_command()
    else:
        reading.add(sign)


def pieces(line: Line) -> tuple[Argv, ...]:
    """Every command of the line, and those that it carries for another program to run."""
    found, words = dict.fromkeys(line.commands), 0
    for argv in line.commands:
        for carried in islice(_carried(argv, 0), _MOST):
            words += len(carried)
            if words < _MOST_WORDS:
                found[carried] = None
    return tuple(found)


def _carried(argv: Argv, depth: int) -> Iterator[Argv]:
    for one in _inside(argv) if depth < _DEEPEST else ():
        yield one
        yield from _carried(one, depth + 1)


def _inside(argv: Argv) -> Iterator[Argv]:
    program = argv[0].rpartition("/")[2]
    if program in _CARRIERS:
        yield from (argv[at:] for at in range(1, len(argv)) if not argv[at].startswith("-"))
    if program in _SHELLS:
        for word in argv[1:]:
            yield from parsed(word).commands
            yield from parsed(word.partition("=")[2]).commands


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
    return (piece.strip() for piece in text.split("\n"))
