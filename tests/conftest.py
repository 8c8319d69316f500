"""What all tests share: one event loop kind, and Hypothesis profiles."""

from __future__ import annotations

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
