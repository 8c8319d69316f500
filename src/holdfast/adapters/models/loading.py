"""The loader: parts that bring heavy libraries are imported when they are first needed."""

from __future__ import annotations

import importlib
from typing import Any

import anyio.to_thread


def load(name: str) -> Any:
    """The module `name` of this folder. The first time may take seconds: see `load_aside`."""
    return importlib.import_module(f"{__package__}.{name}")


async def load_aside(name: str) -> Any:
    """Like `load`, in a thread, so that the loop goes on; a stop does not wait for it."""
    return await anyio.to_thread.run_sync(load, name, abandon_on_cancel=True)
