"""Memory: our peak at 200 pictures and at five times as many; it must not grow with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.findings import Chapter, Finding, Limit, fresh_processes, ranged_finding
from benchmarks.options import TARGETS
from benchmarks.peers.edgewright import VERIFICATION
from benchmarks.tasks import Outcome, Task, run_task

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.material import Material
    from benchmarks.options import Options
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
        ranged_finding(
            subject=f"{name}, {few} pictures",
            figure="peak memory",
            unit="bytes",
            values=peaks[few],
            sample=fresh_processes(len(peaks[few])),
            limit=PEAK_LIMIT,
        ),
        ranged_finding(
            subject=f"{name}, {many} pictures",
            figure="peak memory",
            unit="bytes",
            values=peaks[many],
            sample=fresh_processes(len(peaks[many])),
            limit=PEAK_LIMIT,
        ),
        ranged_finding(
            subject=f"{name}, {many} against {few} pictures",
            figure="difference of peak memory",
            unit="share",
            values=growth,
            sample=fresh_processes(len(growth)),
            limit=GROWTH_LIMIT,
        ),
    ]
