"""One run of suites: a session of pytest in a process of its own, with no plugin but ours, and what it left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hil.suites
from hil.errors import RigError
from hil.table import unknown
from host_tools.errors import InputError, OutputError
from host_tools.parent_death import dying_with_us

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hil.gate.plan import Run

_FOLDER = Path(hil.suites.__file__).parent
_PREFIX = "test_"
_WITH_RESULTS = (0, 1)
"""Exit statuses of pytest after which every test has an outcome: all passed, or some failed."""
_OTHER_WORDS = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS")
"""Variables by which pytest would take options and plugins of somebody else."""
_STDERR = 2
_LOOK_SECONDS = 1.0
_PUT_AWAY_SECONDS = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteOptions:
    """How the suites are run.

    Attributes:
        suites: Names, without ``test_``.
        soak_seconds: How long the soak lasts.
        cuts: Power cuts of the suite ``power_cuts``.
        heat_seconds: How long the suite ``sustained_heat`` heats.
        offline_windows: Windows without a broker of the suite ``offline``.
        cuts_record: Where they are kept, and gone on with; None: nowhere.
        cuts_minutes: No cut is begun that would not end in so long; None: as long as it takes.
    """

    suites: tuple[str, ...]
    soak_seconds: float
    cuts: int
    heat_seconds: float = 60.0
    offline_windows: int = 180
    cuts_record: Path | None = None
    cuts_minutes: float | None = None

    def __post_init__(self) -> None:
        """Refuse a suite that there is not."""
        for name in self.suites:
            if name not in suite_names():
                unknown(f"suite {name!r}", name, suite_names(), error=InputError)


@dataclass(frozen=True, slots=True, kw_only=True)
class TestResult:
    """One test, as ``--rig-results`` has it.

    Attributes:
        name: ``SUITE::TEST``.
        outcome: passed, failed, error or skipped.
        reason: Why it did not pass; empty else.
        measurements: As `Measurement.document` has them.
    """

    __test__ = False

    name: str
    outcome: str
    reason: str
    measurements: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionResults:
    """Of one run: facts by name, and its tests."""

    facts: Mapping[str, str]
    tests: Sequence[TestResult]


def suite_names() -> tuple[str, ...]:
    """Return the suites that ship."""
    return tuple(sorted(path.stem.removeprefix(_PREFIX) for path in _FOLDER.glob(f"{_PREFIX}*.py")))


def suite_file(name: str) -> Path:
    """Return the file of a suite."""
    return _FOLDER / f"{_PREFIX}{name}.py"


def run_session(
    run: Run, options: SuiteOptions, folder: Path, *, look: Callable[[], None] = lambda: None
) -> SessionResults:
    """Run suites against an artifact on a board; pytest's own words go to standard error.

    Args:
        run: Artifact and board.
        options: Which suites, and how long.
        folder: Gets ``BOARD-TARGET.json`` and ``BOARD-TARGET.html``: results and page.
        look: Called every second while it runs.

    Raises:
        OutputError: The folder cannot be written.
        RigError: The rig broke, or the session did not come to its end: nothing is said of the artifact.
    """
    settings, results = folder / "pytest.ini", folder / f"{run.name}.json"
    page = folder / f"{run.name}.html"
    try:
        settings.write_text("[pytest]\n")  # else pytest would take those of the folder that it was started in
        for earlier in (results, page):
            earlier.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror or error}.") from error
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "hil.plugin", "-p", "no:cacheprovider"]
    command += ["--noconftest"]  # one that lies beside the installed package has no say in what is signed
    # Below this root pytest names a test by its suite's file, wherever the package is installed.
    command += ["-c", str(settings), "--rootdir", str(_FOLDER.parents[1]), "--pyargs"]
    command += [f"hil.suites.{_PREFIX}{name}" for name in options.suites]
    command += [f"--rig={run.rig}", f"--rig-artifact={run.archive.path}", f"--rig-results={results}"]
    command += [f"--rig-report={page}"]
    command += [f"--rig-soak={options.soak_seconds}", f"--rig-cuts={options.cuts}"]
    command += [f"--rig-heat={options.heat_seconds}", f"--rig-offline-windows={options.offline_windows}"]
    command += [f"--rig-cuts-record={options.cuts_record}"] if options.cuts_record else []
    command += [f"--rig-cuts-minutes={options.cuts_minutes}"] if options.cuts_minutes else []
    environment = {name: value for name, value in os.environ.items() if name not in _OTHER_WORDS}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    try:
        command = [*dying_with_us("INT"), *command]
        session = subprocess.Popen(command, env=environment, stdout=_STDERR, start_new_session=True)
        status = _ended(session, look)
    finally:
        settings.unlink(missing_ok=True)  # another gate into the same folder may have taken it away
    if status not in _WITH_RESULTS or not results.exists():
        raise RigError(
            f"{run.name}: the session of pytest ended with status {status}; its words are above.",
            hint=f"The same by hand: pytest --pyargs hil.suites --rig {run.rig} --rig-artifact {run.archive.path}",
        )
    return _results(json.loads(results.read_bytes()), run)


def _ended(session: subprocess.Popen[bytes], look: Callable[[], None]) -> int:
    """Return how a session ended. Whoever interrupts us interrupts it, once: it has agents, brokers and boards to put away."""
    try:
        while True:
            try:
                return session.wait(_LOOK_SECONDS)
            except subprocess.TimeoutExpired:
                look()
    except BaseException:
        session.send_signal(signal.SIGINT)
        try:
            session.wait(_PUT_AWAY_SECONDS)
        except subprocess.TimeoutExpired:
            session.kill()
            session.wait()
        raise


def _results(document: dict[str, Any], run: Run) -> SessionResults:
    if document["broken"]:
        test, cause = document["broken"]
        raise RigError(
            f"{run.name}: the rig broke in {_name(test)}: {cause}",
            hint="Mend the rig and run the gate anew; what was not tested is neither good nor bad.",
        )
    return SessionResults(
        facts=document["facts"],
        tests=[
            TestResult(
                name=_name(one["name"]),
                outcome=one["outcome"],
                reason=one["reason"],
                measurements=one["measurements"],
            )
            for one in document["tests"]
        ],
    )


def _name(nodeid: str) -> str:
    """Return ``SUITE::TEST`` of what pytest calls ``PATH/test_SUITE.py::TEST``."""
    path, _, test = nodeid.partition("::")
    return f"{Path(path).stem.removeprefix(_PREFIX)}::{test}"
