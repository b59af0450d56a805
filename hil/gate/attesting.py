"""A run of suites as an attestation."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from device_agent.contract.digest import digest_of, digest_of_file
from hil.gate.plan import release_of
from hil.gate.session import suite_file
from host_tools.repository.attestation import Attestation, AttestedTest
from host_tools.repository.attestation_policy import LENGTHS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from hil.gate.plan import Run
    from hil.gate.session import SessionResults, SuiteOptions, TestResult
    from host_tools.repository.attestation import TestOutcome


def attest(
    run: Run,
    results: SessionResults,
    options: SuiteOptions,
    *,
    started_seconds: float,
    finished_seconds: float,
) -> Attestation:
    """Return what a run showed.

    Args:
        run: Artifact and board.
        results: What the session left behind.
        options: What it was asked for.
        started_seconds: Unix time.
        finished_seconds: Unix time.

    Raises:
        OSError: A suite's file cannot be read.
    """
    configuration = {
        f"hil/suites/{(path := suite_file(name)).name}": digest_of_file(path) for name in options.suites
    }
    lengths = {
        "soak": f"{options.soak_seconds:g}",
        "power_cuts": str(options.cuts),
        "sustained_heat": f"{options.heat_seconds:g}",
        "offline": str(options.offline_windows),
    }
    return Attestation(
        artifact=run.archive.path.name,
        digest=run.archive.digest,
        release=release_of(run.archive),
        target=run.archive.manifest.target,
        rig=run.board.name,
        suites=options.suites,
        tests=tuple(_attested(one) for one in results.tests),
        configuration=configuration | {run.board.origin: run.board.digest},
        facts={**results.facts, **{LENGTHS[suite]: length for suite, length in lengths.items()}},
        started_seconds=int(started_seconds),
        finished_seconds=int(finished_seconds),
    )


def measurements_digest(measurements: Sequence[Mapping[str, Any]]) -> str:
    """Return the digest of a test's measurements: their JSON with sorted keys, without spaces, in UTF-8."""
    text = json.dumps(
        measurements, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return digest_of(text.encode())


def _attested(test: TestResult) -> AttestedTest:
    return AttestedTest(
        name=test.name,
        outcome=_outcome(test),
        reason=_reason(test.reason),
        measurements_digest=measurements_digest(test.measurements),
    )


def _outcome(test: TestResult) -> TestOutcome:
    if test.outcome == "skipped":
        return "skipped"
    if test.outcome != "passed":
        return "failed"
    is_marginal = any(one["verdict"] == "marginal" for one in test.measurements)
    return "marginal" if is_marginal else "passed"


def _reason(told: str) -> str:
    """Return a reason as one line: of a traceback, what pytest marks as the error."""
    lines = told.splitlines()
    errors = [line.removeprefix("E").strip() for line in lines if line.startswith("E ")]
    return " ".join(" ".join(errors or lines).split())
