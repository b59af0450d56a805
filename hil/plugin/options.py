"""Command line and markers. Nothing heavy is imported here: pytest loads this in every session."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from host_tools.cli.arguments import above_zero, count

if TYPE_CHECKING:
    from hil.plugin.record import SessionRecord
    from hil.rig import Rig

RIG_HELP = "board to test on: a name (local) or the path of its TOML file; without it, tests that need a rig are skipped"

session_key: pytest.StashKey[SessionRecord] = pytest.StashKey()
rig_key: pytest.StashKey[Rig] = pytest.StashKey()
"""Of the rig that the session has opened."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("rig", "hardware in the loop (edgewright)")
    group.addoption("--rig", default=None, metavar="NAME|FILE", help=RIG_HELP)
    group.addoption(
        "--rig-artifact",
        default=None,
        metavar="FILE",
        help="the .ewa to test, or null: one for the null engine; without it, a small network is converted for the board",
    )
    group.addoption(
        "--rig-report", default=None, metavar="FILE", help="write a self-contained page of the results"
    )
    group.addoption(
        "--rig-results",
        default=None,
        metavar="FILE",
        help="write outcomes, measurements and facts as JSON",
    )
    group.addoption(
        "--rig-soak",
        default=4.0,
        type=above_zero,
        metavar="SECONDS",
        help="how long the soak lasts (default: 4)",
    )
    group.addoption(
        "--rig-heat",
        default=60.0,
        type=above_zero,
        metavar="SECONDS",
        help="how long the suite test_sustained_heat heats the board (default: 60)",
    )
    group.addoption(
        "--rig-offline-windows",
        default=180,
        type=count,
        metavar="N",
        help="windows of ten seconds without a broker, by hurried clocks (default: 180; 8640 are a day)",
    )
    group.addoption(
        "--rig-against",
        default=None,
        metavar="FILE",
        help="the .ewa that test_latency_comparison holds against that of --rig-artifact, in turn with it",
    )
    group.addoption(
        "--rig-rounds",
        default=6,
        type=count,
        metavar="N",
        help="rounds of each, at least 6 (default: 6)",
    )
    group.addoption(
        "--rig-slower-at-most",
        default=None,
        type=above_zero,
        metavar="RATIO",
        help="fail unless it is shown, with 95 % confidence, to take at most so many times as long (default: no limit)",
    )
    group.addoption(
        "--rig-cuts",
        default=4,
        type=count,
        metavar="N",
        help="power cuts of the suite test_power_cuts, one an update (default: 4)",
    )
    group.addoption(
        "--rig-cuts-record",
        default=None,
        metavar="FILE",
        help="keep every power cut in this file, and go on with what is in it: N is then that of all sessions together",
    )
    group.addoption(
        "--rig-cuts-minutes",
        default=math.inf,
        type=above_zero,
        metavar="M",
        help="begin no power cut that would not end in so long, by the longest one so far; the first is always made",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Name the markers, and begin the session's record; what would be found out after hours of tests is refused."""
    from hil.plugin.record import SessionRecord  # noqa: PLC0415  it needs the key above
    from hil.plugin.reporter import SessionReporter  # noqa: PLC0415

    config.addinivalue_line(
        "markers", "needs(*features): skipped where the rig lacks one (power, network, thermal, meter, …)"
    )
    _require_files(config)
    config.stash[session_key] = SessionRecord()
    if not hasattr(config, "workerinput"):  # a worker of pytest-xdist reports to the session that started it
        config.pluginmanager.register(SessionReporter(config), "hil.plugin.reporter")


def _require_files(config: pytest.Config) -> None:
    for option in ("--rig-artifact", "--rig-against"):
        named = config.getoption(option)
        if named and named != "null" and not Path(named).is_file():
            raise pytest.UsageError(f"{option} {named}: there is no such file.")
    for option in ("--rig-report", "--rig-results"):
        named = config.getoption(option)
        if named and Path(named).is_dir():
            raise pytest.UsageError(f"{option} {named}: expected a file, got a folder.")
        if named and not Path(named).parent.is_dir():
            raise pytest.UsageError(f"{option} {named}: there is no folder {Path(named).parent}.")


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say which board is tested on."""
    rig = config.getoption("--rig")
    return f"rig: {rig}" if rig else None
