"""Accuracy: float and every converted file on the same evaluation pictures."""

from __future__ import annotations

from itertools import combinations
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.contestants import open_contestant
from benchmarks.findings import Chapter, Finding, Limit, estimated
from benchmarks.made import ENGINE_NAMES, ENTRIES, obtain
from benchmarks.material import load_arrays
from benchmarks.options import THREADS
from benchmarks.spread import bootstrap
from benchmarks.tasks import NotMeasuredError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from benchmarks.contestants import Contestant
    from benchmarks.findings import Unit
    from benchmarks.made import Entry
    from benchmarks.material import Material
    from benchmarks.options import Options
    from benchmarks.spread import Estimate
    from host_tools.progress import Progress

    Scores = NDArray[np.float64]

TOP1_LIMIT = Limit(bound=-0.5, at_most=False)
SAME_CLASS_LIMIT = Limit(bound=0.985, at_most=False)
PAIR_LIMIT = Limit(bound=0.99, at_most=False)
BETTER_LIMIT = Limit(bound=0.0, at_most=False)
LIMITS = {"top-1 minus float": TOP1_LIMIT, "same class as float": SAME_CLASS_LIMIT}


def measure(options: Options, material: Material, progress: Progress) -> Chapter:
    """Run every file on the evaluation pictures."""
    pictures, labels = load_arrays(material.evaluation_arrays), np.load(material.labels)
    sample = f"{len(pictures)} pictures"
    reference, *others = ENTRIES
    exact = _scores(material, reference, pictures, progress)
    right = exact.argmax(axis=1) == labels
    findings = [estimated("float model", "top-1", "share", _mean(right), sample)]
    ours: dict[Entry, Scores] = {}
    for entry in others:
        if (entry.side, entry.engine) == ("float", "openvino"):
            continue  # the same file in another engine says nothing about a conversion
        try:
            scores = _scores(material, entry, pictures, progress)
        except NotMeasuredError as error:
            findings.append(Finding(subject=entry.name, figure="accuracy", unit="share", missing=str(error)))
            continue
        if entry.side == "ours":
            ours[entry] = scores
        findings.extend(
            compared(entry.name, exact, scores, labels, limits=LIMITS if entry.side == "ours" else {})
        )
        if entry.side == "peer":
            same = next((one for one in ours if one.engine == entry.engine), None)
            if same is not None:
                findings.extend(better(f"{same.name} / {entry.name}", exact, ours[same], scores))
    findings.extend(_pairs({entry.name: scores for entry, scores in ours.items()}, sample))
    return Chapter(
        name="accuracy",
        title="Accuracy",
        findings=tuple(findings),
        notes=(
            f"EfficientNet-Lite0, {options.calibration_images} calibration and {len(pictures)} evaluation pictures; the same for every converter.",
            "Reference: the float model in ONNX Runtime. SQNR is over all logits of all pictures.",
            "Edgewright with its own choice of method; quantize_static: MinMax, QDQ, uint8 activations, int8 weights per channel; "
            "NNCF: its defaults; litert-quantizer: static_wi8_ai8.",
            "A standard error of top-1 at 800 pictures is about one point; the pictures were chosen to be easy: not an ImageNet accuracy.",
        ),
    )


def compared(
    subject: str,
    exact: Scores,
    scores: Scores,
    labels: NDArray[np.int64],
    *,
    limits: Mapping[str, Limit] = MappingProxyType({}),
) -> list[Finding]:
    """Return what a file's logits say beside the float model's.

    Args:
        subject: Whose they are.
        exact: Float logits, shape (pictures, classes).
        scores: The file's logits, likewise.
        labels: Right classes, shape (pictures,).
        limits: What figures must reach, by figure.
    """
    sample = f"{len(labels)} pictures"
    right, exactly_right = scores.argmax(axis=1) == labels, exact.argmax(axis=1) == labels
    gain = right.astype(np.float64) - exactly_right
    figures: tuple[tuple[str, Unit, Estimate], ...] = (
        ("top-1", "share", _mean(right)),
        ("top-1 minus float", "points", _mean(100.0 * gain)),
        ("same class as float", "share", _mean(scores.argmax(axis=1) == exact.argmax(axis=1))),
        ("SQNR", "decibels", sqnr_db(exact, scores)),
    )
    return [
        estimated(subject, figure, unit, estimate, sample, limits.get(figure))
        for figure, unit, estimate in figures
    ]


def better(subject: str, exact: Scores, ours: Scores, theirs: Scores) -> list[Finding]:
    """Return by how much ours are nearer to the float model's than a peer's, picture by picture.

    Args:
        subject: Ours and theirs.
        exact: Float logits, shape (pictures, classes).
        ours: Our logits, of the same pictures or the first of them.
        theirs: The peer's.
    """
    count = min(len(ours), len(theirs))
    exact, ours, theirs = exact[:count], ours[:count], theirs[:count]
    right = exact.argmax(axis=1)
    gain = 100.0 * ((ours.argmax(axis=1) == right).astype(np.float64) - (theirs.argmax(axis=1) == right))
    sample = f"{count} pictures"
    return [
        estimated(subject, "same class, difference", "points", _mean(gain), sample, BETTER_LIMIT),
        Finding(
            subject=subject,
            figure="SQNR, difference",
            unit="decibels",
            value=sqnr_db(exact, ours).value - sqnr_db(exact, theirs).value,
            sample=sample,
            limit=BETTER_LIMIT,
        ),
    ]


def sqnr_db(exact: Scores, scores: Scores) -> Estimate:
    """Return the signal-to-quantization-noise ratio in dB over all elements; infinite when nothing differs.

    Args:
        exact: Shape (pictures, classes).
        scores: Likewise.
    """
    signal, noise = (exact**2).sum(axis=1), ((scores - exact) ** 2).sum(axis=1)

    def decibels(chosen: NDArray[np.intp]) -> NDArray[np.float64]:
        with np.errstate(divide="ignore"):
            return np.asarray(10.0 * np.log10(signal[chosen].sum(axis=-1) / noise[chosen].sum(axis=-1)))

    return bootstrap(len(signal), decibels)


def _pairs(ours: dict[str, Scores], sample: str) -> list[Finding]:
    return [
        estimated(
            f"{first} and {second}",
            "same class",
            "share",
            _mean(ours[first].argmax(axis=1) == ours[second].argmax(axis=1)),
            sample,
            PAIR_LIMIT,
        )
        for first, second in combinations(ours, 2)
    ]


def _scores(material: Material, entry: Entry, pictures: NDArray[np.float32], progress: Progress) -> Scores:
    """Return the logits of a file on all pictures, shape (pictures, classes)."""
    progress.stage(f"{entry.name} in {ENGINE_NAMES[entry.engine]}: obtain", 1)
    contestant = open_contestant(obtain(material, entry), entry.engine, threads=THREADS)
    progress.stage(f"{entry.name} in {ENGINE_NAMES[entry.engine]}: run", len(pictures))
    return run_on(contestant, pictures, progress)


def run_on(contestant: Contestant, pictures: NDArray[np.float32], progress: Progress) -> Scores:
    """Return a loaded file's logits on pictures, shape (pictures, classes)."""
    rows = []
    for index in range(len(pictures)):
        contestant.feed(np.ascontiguousarray(pictures[index : index + 1]))
        contestant.run()
        rows.append(contestant.scores())
        progress.step()
    return np.stack(rows)


def _mean(values: NDArray[np.generic]) -> Estimate:
    numbers = values.astype(np.float64)
    return bootstrap(len(numbers), lambda chosen: numbers[chosen].mean(axis=-1))
