"""Builds every part from the configuration and runs the daemon: the one place that knows all."""

from .checkup import examine
from .command import main
from .home import prepare

__all__ = ["examine", "main", "prepare"]
