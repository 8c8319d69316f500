"""From a command line to the function that answers it; the slow half is loaded when needed."""

from __future__ import annotations

import importlib
import os
import sys

from .client import Daemon
from .commands import find
from .desk import Desk, Given
from .out import Screen
from .parse import parse
from .stop import BROKEN, INTERRUPTED, READER_GONE, UNAVAILABLE, Stop
from .surroundings import home, python

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType, TracebackType

    from .command import Command


def main(arguments: list[str] | None = None, *, serve: list[str] | None = None) -> int:
    """Run one command line and return its exit code. `serve` is how a daemon is started."""
    if arguments is None:
        arguments = sys.argv[1:]
        sys.excepthook = _bug
        _open_what_is_closed()
    screen = Screen()
    code = _answered(arguments, screen, serve)
    try:
        sys.stdout.flush()
    except OSError as error:
        _forget_stdout()
        if isinstance(error, BrokenPipeError):
            return READER_GONE
        screen.error(f"the output could not be written: {error.strerror}")
        return UNAVAILABLE
    return code


def _answered(arguments: list[str], screen: Screen, serve: list[str] | None) -> int:
    try:
        return _run(arguments, screen, serve)
    except Stop as stop:
        _tell(stop, screen, wants_json="--json" in arguments)
        return stop.code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return READER_GONE
    except OSError as error:
        named = f": {error.filename}" if error.filename else ""
        screen.error(f"{error.strerror or error}{named}")
        return UNAVAILABLE


def load(name: str) -> ModuleType:
    """A module of the slow half."""
    return importlib.import_module(f"{__package__}.{name}")


def _run(arguments: list[str], screen: Screen, serve: list[str] | None) -> int:
    if arguments[:1] in (["--version"], ["-V"]):
        arguments = ["version", *arguments[1:]]
    command, rest = find(arguments)
    given = parse(command, rest)
    if given.has("help") and not command.raw:
        words = command.name.split()
        group = words if all(word in arguments for word in words) else words[:1]
        given, command = Given({}, group), find(["help"])[0]
    desk = _desk(given, screen, serve)
    return _function(command)(desk, given)


def _desk(given: Given, screen: Screen, serve: list[str] | None) -> Desk:
    folder = home(given.one("home"))
    command = serve or [*python(), "-m", "holdfast.assembly", "--home", folder, "serve"]

    def start() -> None:
        load("starting").start(folder, command)

    return Desk(Daemon(folder, start), screen, command)


def _function(command: Command) -> Callable[[Desk, Given], int]:
    module, _, name = command.run.partition(":")
    function: Callable[[Desk, Given], int] = getattr(load(module), name)
    return function


def _tell(stop: Stop, screen: Screen, *, wants_json: bool) -> None:
    if wants_json:
        screen.json({"error": {"code": stop.name, "message": stop.message, "hint": stop.hint}})
    screen.error(stop.message, stop.hint)


def _open_what_is_closed() -> None:
    """`>&-` leaves a hole: the next thing opened would fall into it and be written to."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            flags = os.O_RDONLY if number == 0 else os.O_WRONLY
            nowhere = os.open(os.devnull, flags)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", closefd=False))


def _forget_stdout() -> None:
    """Nobody reads any more: what is still buffered must not fail again at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def _bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What nothing else caught is our mistake: show it, and say so with the exit code."""
    sys.__excepthook__(kind, error, trace)
    sys.stderr.write("error: this is a bug in Holdfast; please report it with the lines above\n")
    sys.stderr.flush()
    os._exit(BROKEN)
