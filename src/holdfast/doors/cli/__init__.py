"""The command line: a thin client of the daemon that starts in the blink of an eye."""

from .dispatch import main

__all__ = ["main"]
