"""What the checks of the compatibility kit share: one house, started once."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Generator

import pytest

from tests.e2e.at_home import ENVIRONMENT


@pytest.fixture(scope="package")
def sut() -> Generator[str]:
    """Where the house for the kit is asked."""
    running = subprocess.Popen(
        [sys.executable, "-m", "holdfast.testing.a2a_tck", "--port", "0"],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert running.stdout
    try:
        yield running.stdout.readline().strip()
    finally:
        running.send_signal(signal.SIGINT)
        running.wait(30)
        running.stdout.close()
