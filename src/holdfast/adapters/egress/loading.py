"""The loader: what brings heavy libraries is imported when a box first needs it."""

from __future__ import annotations

import importlib
from typing import Any


def load(name: str) -> Any:
    """The module `name` of this folder. The first time takes a while."""
    return importlib.import_module(f"{__package__}.{name}")
