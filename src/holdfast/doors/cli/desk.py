"""What every command is given: the daemon, the screen, and what was asked."""

from __future__ import annotations

from .client import Daemon
from .out import Screen
from .stop import Stop


class Given:
    """A parsed command line: options by name, and the words that are none."""

    def __init__(self, options: dict[str, list[str]], words: list[str]) -> None:
        self.options, self.words = options, words

    def has(self, name: str) -> bool:
        return name in self.options

    def one(self, name: str, otherwise: str = "") -> str:
        """The option's last value: saying it again overrides."""
        return self.options.get(name, [otherwise])[-1]

    def many(self, name: str) -> list[str]:
        return self.options.get(name, [])

    def count(self, name: str) -> int | None:
        return int(self.options[name][-1]) if name in self.options else None

    def number(self, name: str) -> float | None:
        return float(self.options[name][-1]) if name in self.options else None

    def word(self, place: int = 0) -> str:
        return self.words[place] if place < len(self.words) else ""


class Desk:
    """Where one command works."""

    def __init__(self, daemon: Daemon, screen: Screen, serve: list[str]) -> None:
        self.daemon, self.screen, self.serve = daemon, screen, serve

    @property
    def home(self) -> str:
        return self.daemon.home

    def need_person(self, what: str) -> None:
        """Raises `Stop` where nobody can be asked."""
        if not self.screen.attended:
            raise Stop(f"{what} needs a terminal")
