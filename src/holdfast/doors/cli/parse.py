"""From words on a command line to what was asked, by the command's own table entry."""

from __future__ import annotations

from .desk import Given
from .stop import Stop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .command import Command, Option


def parse(command: Command, arguments: list[str]) -> Given:
    """Options may stand anywhere; after `--` everything is a word. Raises `Stop` on nonsense."""
    if command.raw:
        return Given({}, arguments)
    options: dict[str, list[str]] = {}
    words: list[str] = []
    rest = list(arguments)
    while rest:
        item = rest.pop(0)
        if item == "--":
            words += rest
            break
        if not item.startswith("-") or item == "-":
            words.append(item)
            continue
        option, value = _option(command, item)
        if not option.metavar:
            if value is not None:
                raise _misused(command, f"{option.flags[0]} takes no value")
            value = ""
        elif value is None:
            if not rest:
                raise _misused(command, f"{option.flags[0]} needs a value: {option.metavar}")
            value = rest.pop(0)
        options.setdefault(option.name, []).append(_checked(command, option, value))
    if "help" not in options:
        _count_words(command, words)
    return Given(options, words)


def nearest(word: str, known: list[str]) -> str:
    """The known word that was probably meant, or nothing. No import is worth this question."""
    best = min(known, key=lambda other: (_distance(word, other), other), default="")
    return best if best and _distance(word, best) <= max(1, len(word) // 3) else ""


def _option(command: Command, item: str) -> tuple[Option, str | None]:
    flag, equals, value = item.partition("=")
    known = {name: option for option in command.all_options for name in option.flags}
    if flag in known:
        return known[flag], value if equals else None
    if not item.startswith("--") and item[:2] in known and known[item[:2]].metavar:
        return known[item[:2]], item[2:]
    meant = nearest(flag, list(known))
    raise _misused(command, f"there is no option {flag}", f"did you mean {meant}?" if meant else "")


def _checked(command: Command, option: Option, value: str) -> str:
    if option.kind not in {"count", "number"}:
        return value
    try:
        found = int(value) if option.kind == "count" else float(value)
    except ValueError:
        found = None
    if found is None or found != found or abs(found) > 1e15:
        what = "a whole number" if option.kind == "count" else "a number"
        raise _misused(command, f"{option.flags[0]} {value!r} is not {what}")
    if found < 0 and option.name != "priority":
        raise _misused(command, f"{option.flags[0]} {value} is below zero")
    return value


def _count_words(command: Command, words: list[str]) -> None:
    least, most = command.takes
    if len(words) < least:
        wanted = command.arguments[len(words)][0]
        raise _misused(command, f"`holdfast {command.name}` needs {wanted}")
    if most is not None and len(words) > most:
        raise _misused(command, f"{words[most]!r} is one word too many")


def _misused(command: Command, message: str, hint: str = "") -> Stop:
    return Stop(message, hint=hint or f"holdfast {command.name} --help", name="usage")


def _distance(one: str, other: str) -> int:
    """Edits between two words, a swap of neighbours counting once."""
    before: list[int] = []
    last = list(range(len(other) + 1))
    for i, sign in enumerate(one, start=1):
        now = [i]
        for j, mark in enumerate(other, start=1):
            now.append(min(last[j] + 1, now[-1] + 1, last[j - 1] + (sign != mark)))
            if i > 1 < j and sign == other[j - 2] and one[i - 2] == mark:
                now[-1] = min(now[-1], before[j - 2] + 1)
        before, last = last, now
    return last[-1]
