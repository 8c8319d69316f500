"""The browsers that agents use, as the configuration wants them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from holdfast.adapters.tools.browser.browsers import Browsers, World, open_browsers
from holdfast.adapters.tools.browser.options import BrowserOptions
from holdfast.config import Config


@asynccontextmanager
async def browsers_for(config: Config, world: World) -> AsyncGenerator[Browsers]:
    """All browsers of a house, until it closes."""
    options = BrowserOptions(**config.browser.model_dump())
    async with open_browsers(options, world) as browsers:
        yield browsers
