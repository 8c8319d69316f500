"""What all end-to-end tests share: none of them leaves a daemon behind."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from .at_home import nothing_below


@pytest.fixture(scope="module", autouse=True)
def no_daemon_outlives_its_tests(tmp_path_factory: pytest.TempPathFactory) -> Generator[None]:
    yield
    nothing_below(tmp_path_factory.getbasetemp())
