"""What a command is, as data: enough to parse it, to help with it and to document it."""

from __future__ import annotations

from .stop import BROKEN, FAILED, INTERRUPTED, NOT_ALLOWED, OK, REFUSED, UNAVAILABLE

USUAL = (OK, REFUSED, NOT_ALLOWED, UNAVAILABLE, BROKEN, INTERRUPTED)
CHECKING = (OK, FAILED, *USUAL[1:])


class Option:
    """One option. Without `metavar` it is a switch; `kind` is text, count or number."""

    __slots__ = ("flags", "kind", "metavar", "name", "repeats", "text")

    def __init__(
        self, flags: str, metavar: str, text: str, *, kind: str = "text", repeats: bool = False
    ) -> None:
        self.flags = tuple(flags.split())
        self.name = self.flags[-1].lstrip("-")
        self.metavar, self.text, self.kind, self.repeats = metavar, text, kind, repeats


COMMON = (
    Option("--json", "", "data as JSON on stdout"),
    Option("--home", "DIR", "where Holdfast lives (default: $HOLDFAST_HOME, else ~/.holdfast)"),
    Option("-h --help", "", "this text"),
)


class Command:
    """One command. `run` names the function that does it as `module:function`.

    `arguments` are (name, text); `takes` is how few and how many words, None for any number.
    A `raw` command gets its words unparsed.
    """

    def __init__(  # noqa: PLR0913  a table entry: every column has a name
        self,
        name: str,
        what: str,
        run: str,
        *,
        arguments: tuple[tuple[str, str], ...] = (),
        takes: tuple[int, int | None] = (0, 0),
        options: tuple[Option, ...] = (),
        examples: tuple[tuple[str, str], ...] = (),
        more: str = "",
        exits: tuple[int, ...] = USUAL,
        raw: bool = False,
    ) -> None:
        self.name, self.what, self.run, self.more, self.raw = name, what, run, more, raw
        self.arguments, self.takes, self.exits = arguments, takes, exits
        self.options, self.examples = options, examples

    @property
    def all_options(self) -> tuple[Option, ...]:
        return self.options + COMMON

    @property
    def usage(self) -> str:
        words = [f"holdfast {self.name}", *(name for name, _ in self.arguments)]
        return " ".join(words if self.raw else [words[0], "[options]", *words[1:]])
