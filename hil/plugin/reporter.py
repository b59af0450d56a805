"""`SessionReporter`: gathers what tests left behind; writes the page of ``--rig-report`` and the JSON of ``--rig-results``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hil.plugin.options import session_key
from hil.plugin.record import TestLine


class SessionReporter:
    """A plugin of its own, so that every session has its own.

    Args:
        config: The session's.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._session = config.stash[session_key]
        self._problem = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take one phase of one test."""
        line = self._session.tests.setdefault(
            report.nodeid, TestLine(name=report.nodeid, outcome="passed", seconds=0.0, reason="", document={})
        )
        line.seconds += report.duration
        if report.outcome != "passed" and line.outcome == "passed":
            line.outcome = report.outcome if report.when == "call" or report.skipped else "error"
            line.reason = _reason(report)
        line.document = getattr(report, "hil", line.document)
        self._session.facts.update(getattr(report, "hil_facts", {}))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the page, and the results; a session that could not has not passed."""
        if target := self._config.getoption("--rig-results"):
            self._write(target, json.dumps(self._session.document(), ensure_ascii=False, allow_nan=False))
        if target := self._config.getoption("--rig-report"):
            from hil.report.page import render_page  # noqa: PLC0415  templates and charts, only where a page is asked for

            self._write(target, render_page(self._session))
        if self._problem and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show what was measured, and where the page is."""
        rows = [
            (test.name.rpartition("::")[2], one)
            for test in self._session.tests.values()
            for one in test.document.get("measurements", ())
        ]
        if rows:
            terminalreporter.section("measurements")
            for name, one in rows:
                limits = f"  ({one['limits']}: {one['verdict']})" if one["limits"] else ""
                value = one["value"] if isinstance(one["value"], str) else f"{one['value']:.6g}"
                terminalreporter.line(f"{name}: {one['name']} = {value} {one['unit']}{limits}")
        if self._problem:
            terminalreporter.line(f"ERROR: {self._problem}", red=True)
        elif target := self._config.getoption("--rig-report"):
            terminalreporter.line(f"page: {target}")

    def _write(self, target: str, text: str) -> None:
        try:
            Path(target).write_text(text, encoding="utf-8")
        except OSError as error:
            self._problem = f"{target}: cannot be written: {error.strerror or error}"


def _reason(report: pytest.TestReport) -> str:
    if isinstance(report.longrepr, tuple):  # of what is skipped: file, line, reason
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    return report.longreprtext
