"""Memory: our peak at 200 pictures and at five times as many; it must not grow with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.findings import Chapter, Finding, Limit, fresh_processes
from benchmarks.options import TARGETS
from benchmarks.peers.edgewright import VERIFICATION
from benchmarks.spread import median_and_range
from benchmarks.tasks import Outcome, Task, run_task

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.material import Material
    from benchmarks.options import Options
    from benchmarks.spread import Estimate
    from host_tools.progress import Progress

PEAK_LIMIT = Limit(bound=float(1 << 30), at_most=True)
GROWTH_LIMIT = Limit(bound=0.05, at_most=True)


def measure(options: Options, material: Material, progress: Progress) -> Chapter:
    """Convert from few and from all pictures."""
    findings: list[Finding] = []
    counts = {
        folder: sum(1 for _ in folder.iterdir()) for folder in (material.calibration, material.everything)
    }
    progress.stage("Converting from few and from many", 2 * len(counts) * options.repeats)
    for method in ("minmax", ""):
        name = f"Edgewright, three targets, {'--method minmax' if method else 'statistics for every method'}"
        peaks: dict[int, list[float]] = {count: [] for count in counts.values()}
        missing = ""
        for repeat in range(options.repeats):
            for folder, count in counts.items():
                out = options.work / "memory" / f"{method or 'full'}-{count}-{repeat}"
                outcome = _convert(folder, out, method, material)
                missing = missing or outcome.missing
                peaks[count].append(float(outcome.peak_bytes))
                progress.step()
        if missing:
            findings.append(Finding(subject=name, figure="peak memory", unit="bytes", missing=missing))
        else:
            findings.extend(_findings(name, peaks))
    return Chapter(
        name="memory",
        title="Memory of a conversion",
        findings=tuple(findings),
        notes=(
            "Peak is VmHWM of a fresh process over the whole conversion, imports and verification in; samples are JPEG files.",
            f"The larger run calibrates on calibration and evaluation pictures together ({max(counts.values())}): for memory only, no accuracy "
            "comes from it.",
            f"The {VERIFICATION} stage runs on 64 of the samples in both, as it does when no evaluation data are given.",
        ),
    )


def _convert(folder: Path, out: Path, method: str, material: Material) -> Outcome:
    return run_task(
        Task(
            doer="edgewright",
            model=material.model,
            data=folder,
            preprocess=material.preprocess,
            out=out,
            method=method,
            targets=TARGETS,
        )
    )


def _findings(name: str, peaks: dict[int, list[float]]) -> list[Finding]:
    few, many = sorted(peaks)
    growth = [abs(more / less - 1.0) for less, more in zip(peaks[few], peaks[many], strict=True)]
    return [
        _finding(
            f"{name}, {few} pictures",
            "peak memory",
            "bytes",
            median_and_range(peaks[few]),
            peaks[few],
            PEAK_LIMIT,
        ),
        _finding(
            f"{name}, {many} pictures",
            "peak memory",
            "bytes",
            median_and_range(peaks[many]),
            peaks[many],
            PEAK_LIMIT,
        ),
        _finding(
            f"{name}, {many} against {few} pictures",
            "difference of peak memory",
            "share",
            median_and_range(growth),
            growth,
            GROWTH_LIMIT,
        ),
    ]


def _finding(
    subject: str, figure: str, unit: str, estimate: Estimate, values: Sequence[float], limit: Limit
) -> Finding:
    return Finding(
        subject=subject,
        figure=figure,
        unit=unit,  # type: ignore[arg-type]  # literals of `Unit` at every call
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        spread="smallest to largest",
        sample=fresh_processes(len(values)),
        limit=limit,
    )
