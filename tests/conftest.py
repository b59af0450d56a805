"""What every test may count on."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    import pytest

# Examples are not timed: on a machine that does other things one that computes for a millisecond may take a second.
settings.register_profile("edgewright", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("edgewright")

# What a shell's background job or `nohup` started with a signal ignored hands that on to everything it starts, and tests of that signal
# would wait in vain. A handler is not handed on: children begin with the default.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda _number, _frame: None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what a test said that failed and passed when it was run once more: it is a defect, of the test or of what it tests."""
    for report in terminalreporter.stats.get("rerun", []):
        terminalreporter.section(f"failed, then run once more: {report.nodeid}")
        terminalreporter.write_line(report.longreprtext)
