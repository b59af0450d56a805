"""Conversion: wall time and peak memory, each in a fresh process, ours for three targets beside each peer for its one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks.findings import Chapter, Finding, Limit, fresh_processes
from benchmarks.made import float_tflite
from benchmarks.options import TARGETS, THREADS
from benchmarks.peers.edgewright import VERIFICATION
from benchmarks.peers.onnxruntime_static import PREPROCESSING
from benchmarks.spread import median_and_range
from benchmarks.tasks import NotMeasuredError, Task, run_task

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from benchmarks.material import Material
    from benchmarks.options import Options
    from benchmarks.spread import Estimate
    from benchmarks.tasks import Doer, Outcome
    from host_tools.progress import Progress

PEAK_LIMIT = Limit(bound=float(1 << 30), at_most=True)
_SPREAD = "smallest to largest"


@dataclass(frozen=True, slots=True)
class Converter:
    """Who converts, and how; ``name`` is for people, ``method`` in the doer's own words."""

    name: str
    doer: Doer
    method: str = ""


OURS_MINMAX: Final = Converter("Edgewright, three targets, --method minmax", "edgewright", "minmax")
OURS_FULL: Final = Converter("Edgewright, three targets, statistics for every method", "edgewright")
ORT: Final = Converter("quantize_static MinMax, one target", "onnxruntime_static", "MinMax")
ORT_SLOW: Final = Converter("quantize_static Percentile, one target", "onnxruntime_static", "Percentile")
NNCF: Final = Converter("NNCF default, one target", "nncf_default")
LITERT: Final = Converter("litert-quantizer static_wi8_ai8, one target", "litert_static")
RATIOS: Final = ((OURS_MINMAX, ORT, 1.0), (OURS_FULL, ORT, 2.0))
SLOW_RATIO: Final = (OURS_FULL, ORT_SLOW, 0.2)
"""Percentile, entropy and MSE from one pass, beside one that keeps every value."""


def measure(options: Options, material: Material, progress: Progress) -> Chapter:
    """Convert with everyone, in turn, as often as asked."""
    findings: list[Finding] = []
    for kind, data in (("arrays", material.calibration_arrays), ("pictures", material.calibration)):
        findings.extend(_measure_from(kind, data, options, material, progress))
    return Chapter(
        name="conversion",
        title=f"Conversion from {options.calibration_images} calibration pictures",
        findings=tuple(findings),
        notes=(
            "Each conversion is a process of its own with an empty cache, the converters in turn; figures are medians over repeats.",
            "“From arrays”: float32 inputs out of one .npy, so that no decoding, which would cost all the same, levels the difference. "
            "“From pictures”: JPEG files, decoded by the same code for all.",
            f"“Conversion” leaves out imports, and of Edgewright the stage “{VERIFICATION}” (running the files against float, layer by layer), "
            "which no peer does; “whole” has both in.",
            f"quantize_static is preceded by {PREPROCESSING}, as its manual says; one row gives the ratio without it.",
            "litert-quantizer starts from a finished float TFLite file: how a user gets from ONNX to there is not in its time.",
            f"Edgewright uses {THREADS} threads; the peers what they take by default.",
            "Peak memory is VmHWM of the process, imports in, up to its end; with arrays, pages of the mapped file count where a library maps it.",
        ),
    )


def _measure_from(
    kind: str, data: Path, options: Options, material: Material, progress: Progress
) -> list[Finding]:
    converters = [OURS_MINMAX, OURS_FULL, ORT, NNCF, LITERT, *((ORT_SLOW,) if options.slow_peers else ())]
    outcomes: dict[Converter, list[Outcome]] = {converter: [] for converter in converters}
    missing: dict[Converter, str] = {}
    progress.stage(f"Converting from {kind}", options.repeats * len(converters))
    for repeat in range(options.repeats):
        for converter in converters:
            if converter not in missing and not (converter is ORT_SLOW and repeat):
                out = (
                    options.work
                    / "conversion"
                    / f"{kind}-{repeat}"
                    / f"{converter.doer}-{converter.method or 'default'}"
                )
                outcome = _convert(converter, data, out, material)
                if outcome is None or isinstance(outcome, str):
                    missing[converter] = outcome or ""
                else:
                    outcomes[converter].append(outcome)
            progress.step()
    findings = []
    for converter in converters:
        findings.extend(_absolute(converter, kind, outcomes[converter], missing.get(converter, "")))
    for ours, peer, bound in (*RATIOS, *((SLOW_RATIO,) if options.slow_peers else ())):
        findings.extend(ratios(ours, peer, bound, kind, outcomes, missing))
    return findings


def _convert(converter: Converter, data: Path, out: Path, material: Material) -> Outcome | str:
    """Return what a conversion cost, or why it did not come about."""
    try:
        model = float_tflite(material) if converter is LITERT else material.model
    except NotMeasuredError as error:
        return str(error)
    targets = TARGETS if converter.doer == "edgewright" else ()
    task = Task(
        doer=converter.doer,
        model=model,
        data=data,
        preprocess=material.preprocess,
        out=out,
        method=converter.method,
        targets=targets,
    )
    outcome = run_task(task)
    return outcome.missing or outcome


def _absolute(converter: Converter, kind: str, outcomes: Sequence[Outcome], missing: str) -> list[Finding]:
    subject = f"{converter.name}, from {kind}"
    if missing:
        return [Finding(subject=subject, figure="conversion", unit="seconds", missing=missing)]
    peak = [float(outcome.peak_bytes) for outcome in outcomes]
    is_ours = converter.doer == "edgewright"
    told = "; ".join(
        f"{lap} {median_and_range([outcome.laps.get(lap, 0.0) for outcome in outcomes]).value:.2f} s"
        for lap in outcomes[0].laps
    )
    return [
        _finding(
            subject, "conversion", "seconds", median_and_range(_core(outcomes)), len(outcomes), note=told
        ),
        _finding(
            subject, "whole", "seconds", median_and_range([one.seconds() for one in outcomes]), len(outcomes)
        ),
        _finding(
            subject,
            "peak memory",
            "bytes",
            median_and_range(peak),
            len(outcomes),
            PEAK_LIMIT if is_ours else None,
        ),
    ]


def ratios(
    ours: Converter,
    peer: Converter,
    bound: float,
    kind: str,
    outcomes: Mapping[Converter, Sequence[Outcome]],
    missing: Mapping[Converter, str],
) -> list[Finding]:
    """Return ours / a peer's, repeat by repeat: with the peer's preparation (the limit), without, and everything in.

    Args:
        ours: One of our ways.
        peer: Repeated as often, or less: what was not is left out.
        bound: Greatest ratio that is within the limit.
        kind: What was converted from, for people.
        outcomes: What each repeat took, by converter.
        missing: Why a converter was not measured.
    """
    subject = f"{ours.name} / {peer.name}, from {kind}"
    limit = Limit(bound=bound, at_most=True)
    reason = missing.get(ours) or missing.get(peer)
    if reason:
        return [
            Finding(subject=subject, figure="conversion ratio", unit="ratio", limit=limit, missing=reason)
        ]
    count = min(len(outcomes[ours]), len(outcomes[peer]))
    mine, theirs = outcomes[ours][:count], outcomes[peer][:count]
    bare = [one.seconds("imports", PREPROCESSING) for one in theirs]
    return [
        _finding(subject, "conversion ratio", "ratio", _paired(_core(mine), _core(theirs)), count, limit),
        _finding(subject, f"the same without {PREPROCESSING}", "ratio", _paired(_core(mine), bare), count),
        _finding(
            subject,
            "whole ratio (imports, our verification)",
            "ratio",
            _paired([one.seconds() for one in mine], [one.seconds() for one in theirs]),
            count,
        ),
    ]


def _core(outcomes: Sequence[Outcome]) -> list[float]:
    return [outcome.seconds("imports", VERIFICATION) for outcome in outcomes]


def _paired(ours: Sequence[float], theirs: Sequence[float]) -> Estimate:
    return median_and_range([mine / other for mine, other in zip(ours, theirs, strict=True)])


def _finding(
    subject: str,
    figure: str,
    unit: str,
    estimate: Estimate,
    count: int,
    limit: Limit | None = None,
    note: str = "",
) -> Finding:
    return Finding(
        subject=subject,
        figure=figure,
        unit=unit,  # type: ignore[arg-type]  # literals of `Unit` at every call
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        spread=_SPREAD,
        sample=fresh_processes(count),
        limit=limit,
        note=note,
    )
