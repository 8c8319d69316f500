"""What all tests share: one event loop kind, and what attacks on boxes came to, at the end."""

from __future__ import annotations

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests have recorded as `escape`: how each kind of box did."""
    lines = [
        str(value)
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call"
        for name, value in report.user_properties
        if name == "escape"
    ]
    if lines:
        terminalreporter.section("attacks on boxes")
        terminalreporter.write("\n".join([*sorted(lines), ""]))
