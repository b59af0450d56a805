"""One job, here and now: `convert`, and what it gave as a `JobResult`."""

from __future__ import annotations

import math
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from device_agent.contract.digest import digest_of_file
from device_agent.contract.document import printable
from device_agent.contract.errors import EdgewrightError
from host_tools.batch.job import Failure, JobResult, QualityResult, TargetResult
from host_tools.errors import OutputError
from host_tools.output_folder import open_output_folder
from host_tools.recipe import Recipe
from host_tools.recipe_file import read_recipe
from host_tools.target_profiles import load_profiles

if TYPE_CHECKING:
    from host_tools.batch.job import Job
    from host_tools.pipeline import Conversion
    from host_tools.progress import Progress
    from host_tools.verify.verification_report import TargetReport

GRACE_SECONDS = 10.0
"""A conversion that nobody waits for any more has so long to keep its checkpoint and to leave nothing half-written."""
_POLL_SECONDS = 0.25
_LONGEST = 1 << 14
"""Characters of a message; what a library says may be as long as it likes."""


def run_job(job: Job, progress: Progress) -> JobResult:
    """Convert; whatever goes wrong becomes the result's failure, and an unforeseen error's traceback goes to standard error.

    Raises:
        KeyboardInterrupt: It was interrupted.
    """
    start = time.monotonic()
    targets: tuple[TargetResult, ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    failure = None
    try:
        conversion = _converted(job, progress)
        targets, files = _rows(job, conversion), _files(Path(job.out), conversion)
    except EdgewrightError as error:
        failure = Failure(code=error.code, message=_told(str(error.args[0])), hint=_told(error.hint))
    except MemoryError:
        failure = Failure(
            code="memory", message="There is not enough memory.", hint="Run fewer jobs side by side."
        )
    except Exception as error:  # noqa: BLE001 - one job's fault is no loss to the others
        sys.stderr.write(printable(traceback.format_exc()))
        failure = Failure(
            code="internal",
            message=_told(f"{type(error).__name__}: {error}"),
            hint=f"A fault of Edgewright or of a library; {job.name}/job.log has the traceback.",
        )
    return JobResult(
        job=job.name,
        seconds=time.monotonic() - start,
        host=socket.gethostname(),
        targets=targets,
        files=files,
        failure=failure,
    )


def _told(text: str) -> str:
    return printable(text)[:_LONGEST]


def _converted(job: Job, progress: Progress) -> Conversion:
    progress.stage("Starting", None)
    from host_tools.mixed_precision import Goal  # noqa: PLC0415 - loading the engines takes seconds, which have a name now
    from host_tools.pipeline import convert  # noqa: PLC0415

    if job.code_folder not in sys.path:
        sys.path.insert(0, job.code_folder)
    _wait_for_the_folder(Path(job.out))
    return convert(
        job.model,
        data=job.data,
        targets=job.targets,
        out=job.out,
        name=job.name,
        version=job.version,
        recipe=Recipe(method=job.method) if job.recipe is None else read_recipe(Path(job.recipe)),
        preprocess=job.preprocess,
        shapes=dict(job.shapes),
        limit=job.limit,
        evaluation=job.evaluation,
        labels=job.labels,
        metric=job.metric,
        budget=job.budget,
        goal=Goal(**{name: getattr(job.budget, name) for name in job.goals}) if job.goals else None,
        budget_minutes=job.budget_minutes,
        heat=job.heat,
        latency=job.latency,
        diagnosis=job.diagnosis,
        threads=job.threads,
        cache=job.cache,
        progress=progress,
    )


def _wait_for_the_folder(folder: Path) -> None:
    """Give the process of a batch that was killed a moment ago the time to end; if it is another's, `convert` says so."""
    end = time.monotonic() + GRACE_SECONDS + _POLL_SECONDS
    while time.monotonic() < end:
        try:
            with open_output_folder(folder):
                return
        except OutputError:
            time.sleep(_POLL_SECONDS)


def _rows(job: Job, conversion: Conversion) -> tuple[TargetResult, ...]:
    rows = {
        report.target: _row(report, conversion.artifacts.get(report.target))
        for report in conversion.report.targets
    }
    for refusal in conversion.report.refused:
        rows[refusal.target] = TargetResult(
            target=refusal.target, verdict="refused", reasons=(refusal.reason,)
        )
    return tuple(rows[profile.id] for profile in load_profiles(job.targets))


def _row(report: TargetReport, artifact: Path | None) -> TargetResult:
    sqnr = report.agreement.sqnr_db
    return TargetResult(
        target=report.target,
        verdict=report.verdict,
        reasons=report.reasons,
        quality=tuple(
            QualityResult(
                metric=one.metric,
                float_value=_finite(one.float_value),
                payload_value=_finite(one.payload_value),
            )
            for one in report.quality
        ),
        same_top_class=report.agreement.same_top_class,
        sqnr_db=_finite(sqnr),
        is_exact=sqnr is None,
        latency_seconds=None if report.latency is None else report.latency.median_seconds,
        payload_bytes=report.payload_bytes,
        float_bytes=report.float_bytes,
        is_stand_in=report.execution.stand_in,
        artifact=None if artifact is None else artifact.name,
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _files(folder: Path, conversion: Conversion) -> tuple[tuple[str, str], ...]:
    """Return what this conversion wrote, with digests; files of an earlier one may lie beside them."""
    written = [conversion.report_page, conversion.report_file, folder / "statistics.json"]
    written += conversion.artifacts.values()
    for report in conversion.report.targets:
        written += (file for file in (folder / report.target).rglob("*") if file.is_file())
    return tuple((file.relative_to(folder).as_posix(), digest_of_file(file)) for file in sorted(written))
