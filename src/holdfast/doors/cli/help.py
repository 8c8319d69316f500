"""Help and completion, written from the table of commands."""

from __future__ import annotations

import textwrap

from .command import COMMON, Command, Option
from .commands import find
from .desk import Desk, Given
from .stop import EXIT_CODES, OK, Stop
from .table import COMMANDS, DEFAULTS, GROUPS
from .version import VERSION

_WIDTH = 92


def show(desk: Desk, given: Given) -> int:
    """Help for one command, for a group such as `task`, or for all."""
    words = given.words
    if len(words) == 1 and words[0] in DEFAULTS:
        text = overview(words[0])
    elif words:
        command, rest = find(words)
        if rest:
            raise Stop(f"there is no command {' '.join(words)!r}", hint="holdfast help")
        text = explain(command)
    else:
        text = overview()
    desk.screen.tell(text)
    return OK


def overview(group: str = "") -> str:
    """Every command on one line, or those of one group."""
    parts = [f"holdfast {VERSION}: agents that lose nothing and repeat nothing.\n"]
    for title, commands in GROUPS:
        shown = [c for c in commands if not group or c.name.split()[0] == group]
        if shown:
            parts.append(f"{title}:\n" + _rows([(c.name, c.what) for c in shown]))
    parts.append("Everywhere:\n" + _rows([(_flags(option), option.text) for option in COMMON]))
    parts.append("`holdfast COMMAND --help` explains one of them, with examples.")
    return "\n".join(parts)


def explain(command: Command) -> str:
    parts = [command.what, f"\nUsage: {command.usage}\n"]
    if command.more:
        parts.append(textwrap.fill(command.more, _WIDTH) + "\n")
    if command.arguments:
        parts.append("Arguments:\n" + _rows(list(command.arguments)))
    options = [(_flags(option), _text(option)) for option in command.all_options]
    if not command.raw:
        parts.append("Options:\n" + _rows(options))
    parts.append("Examples:\n" + _rows(list(command.examples)))
    codes = [(str(code), text) for code, text in EXIT_CODES if code in command.exits]
    parts.append("Exit codes:\n" + _rows(codes).rstrip())
    return "\n".join(parts)


def completion(desk: Desk, given: Given) -> int:
    """A script that completes commands and options."""
    scripts = {"bash": _bash, "zsh": _zsh, "fish": _fish}
    shell = given.word()
    if shell not in scripts:
        raise Stop(f"there is no completion for {shell!r}", hint=f"one of {', '.join(scripts)}")
    desk.screen.tell(scripts[shell]())
    return OK


def _text(option: Option) -> str:
    return f"{option.text} (repeatable)" if option.repeats else option.text


def _flags(option: Option) -> str:
    return f"{', '.join(option.flags)}{' ' + option.metavar if option.metavar else ''}"


def _rows(rows: list[tuple[str, str]]) -> str:
    wide = min(30, max(len(left) for left, _ in rows))
    lines: list[str] = []
    for left, right in rows:
        first, *more = textwrap.wrap(right, _WIDTH - wide - 4) or [""]
        if len(left) > wide:
            lines += [f"  {left}", f"  {'':<{wide}}  {first}"]
        else:
            lines.append(f"  {left:<{wide}}  {first}")
        lines += [f"  {'':<{wide}}  {line}" for line in more]
    return "\n".join(lines) + "\n"


def _words() -> dict[str, list[str]]:
    """What may follow each command: subcommands, then options."""
    found: dict[str, list[str]] = {"": []}
    for name, command in COMMANDS.items():
        first, _, second = name.partition(" ")
        if first not in found[""]:
            found[""].append(first)
        if second:
            found.setdefault(first, []).append(second)
        found.setdefault(name, []).extend(
            option.flags[-1] for option in command.all_options if not command.raw
        )
    return found


def _bash() -> str:
    cases = "\n".join(
        f'    "{name}") words="{" ".join(words)}" ;;' for name, words in _words().items()
    )
    return f"""_holdfast() {{
  local words= typed="${{COMP_WORDS[*]:1:COMP_CWORD-1}}"
  case "$typed" in
{cases}
    *) words="$(_holdfast_after "$typed")" ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
_holdfast_after() {{
  local words=
  case "$1" in
{_prefixes()}
  esac
  echo "$words"
}}
complete -o default -F _holdfast holdfast"""


def _prefixes() -> str:
    """Longest first, so that `task list` wins over `task`."""
    names = sorted((name for name in _words() if name), key=len, reverse=True)
    return "\n".join(f'    "{name} "*) words="{" ".join(_words()[name])}" ;;' for name in names)


def _zsh() -> str:
    return "autoload -U +X bashcompinit && bashcompinit\n" + _bash()


def _fish() -> str:
    lines = ["complete -c holdfast -f"]
    for name, command in COMMANDS.items():
        first, _, second = name.partition(" ")
        seen = f"__fish_seen_subcommand_from {first}" if second else "__fish_use_subcommand"
        what = command.what.replace("'", "\\'")
        lines.append(f"complete -c holdfast -n '{seen}' -a {second or first} -d '{what}'")
        where = f"__fish_seen_subcommand_from {first}"
        where += f"; and __fish_seen_subcommand_from {second}" if second else ""
        lines += [
            f"complete -c holdfast -n '{where}' -l {option.name}"
            for option in command.options
            if not command.raw
        ]
    return "\n".join(lines)
