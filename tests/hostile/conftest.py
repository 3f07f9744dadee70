"""Prints the table of the hostile inputs at the end of a run."""

from __future__ import annotations

import pytest

from tests.hostile.table import ROWS, table


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if ROWS:
        terminalreporter.section("hostile inputs")
        for line in table():
            terminalreporter.write_line(line)
