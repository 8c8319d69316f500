"""Finding the command that was meant, and the reference page of them all."""

from __future__ import annotations

from .command import COMMON, Command, Option
from .parse import nearest
from .stop import EXIT_CODES, Stop
from .table import COMMANDS, DEFAULTS, GROUPS

_TAKES_VALUE = {flag for option in COMMON if option.metavar for flag in option.flags}


def find(arguments: list[str]) -> tuple[Command, list[str]]:
    """The command and what is left for it. Options may stand before it. Raises `Stop`."""
    places = _words(arguments)
    if not places:
        return COMMANDS["help"], arguments
    first = arguments[places[0]]
    if len(places) > 1:
        both = f"{first} {arguments[places[1]]}"
        if both in COMMANDS:
            return COMMANDS[both], _without(arguments, places[:2])
    if first in DEFAULTS and len(places) > 1:
        raise _unknown(f"{first} {arguments[places[1]]}")
    name = DEFAULTS.get(first, first)
    if name in COMMANDS:
        return COMMANDS[name], _without(arguments, places[:1])
    raise _unknown(first)


def reference() -> str:
    """Every command as a page of Markdown."""
    parts = [
        "# Commands\n\nWritten from the table of commands. Data goes to stdout, talk to stderr;"
        " `--json` gives data as JSON. Task ids may be cut to their last eight characters.\n"
    ]
    for title, group in GROUPS:
        parts.append(f"## {title}\n")
        parts += [_section(command) for command in group]
    parts.append("## Everywhere\n\n" + _rows([(_flags(o), o.text) for o in COMMON]))
    codes = [(str(code), text) for code, text in EXIT_CODES]
    return "\n".join([*parts, "## Exit codes\n\n" + _rows(codes)])


def _words(arguments: list[str]) -> list[int]:
    """Where the first two words stand. Before and between them only common options may be."""
    found: list[int] = []
    value_follows = False
    for place, item in enumerate(arguments):
        if value_follows:
            value_follows = False
        elif item.startswith("-"):
            if not _common(item):
                break
            value_follows = item in _TAKES_VALUE
        else:
            found.append(place)
            if len(found) == 2:
                break
    return found


def _common(item: str) -> bool:
    return item.partition("=")[0] in {flag for option in COMMON for flag in option.flags}


def _without(arguments: list[str], places: list[int]) -> list[str]:
    return [item for place, item in enumerate(arguments) if place not in places]


def _unknown(name: str) -> Stop:
    meant = nearest(name, [*COMMANDS, *DEFAULTS])
    if meant:
        hint = f"did you mean `holdfast {meant}`?"
    elif " " in name:
        hint = f'to have it done: holdfast run "{name}"'
    else:
        hint = "holdfast help lists all commands"
    return Stop(f"there is no command {name!r}", hint=hint, name="usage")


def _section(command: Command) -> str:
    parts = [f"### holdfast {command.name}\n", f"{command.what}\n"]
    if command.more:
        parts.append(f"{command.more}\n")
    parts.append(f"```sh\n{command.usage}\n```\n")
    rows = [(f"`{name}`", text) for name, text in command.arguments]
    rows += [(_flags(option), option.text) for option in command.options]
    if rows:
        parts.append(_rows(rows))
    shown = "\n".join(f"{line}  # {text}" for line, text in command.examples)
    parts.append(f"```sh\n{shown}\n```\n")
    return "\n".join(parts)


def _flags(option: Option) -> str:
    return f"`{', '.join(option.flags)}{' ' + option.metavar if option.metavar else ''}`"


def _rows(rows: list[tuple[str, str]]) -> str:
    escaped = [tuple(cell.replace("|", "\\|") for cell in row) for row in rows]
    return "\n".join(["| | |", "|---|---|", *(f"| {a} | {b} |" for a, b in escaped), ""])
