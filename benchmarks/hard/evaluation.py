"""The files of the hard rows on the evaluation pictures: ours in the target's engine or the simulator, the peers' likewise, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.accuracy import better, compared, run_on
from benchmarks.contestants import open_contestant
from benchmarks.findings import Finding, Limit, estimated
from benchmarks.hard.conversions import peers_of
from benchmarks.hard.rows import AIMET, ESP_PPQ, NNCF_ACCURATE
from benchmarks.made import ENGINE_NAMES
from benchmarks.material import load_arrays
from benchmarks.options import THREADS
from benchmarks.spread import bootstrap
from device_agent.contract.errors import EdgewrightError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.hard.conversions import Made
    from benchmarks.hard.rows import Peer, Row
    from benchmarks.material import Material
    from benchmarks.options import Options
    from host_tools.progress import Progress

    Scores = NDArray[np.float64]

_DOUBTS: Final = {
    NNCF_ACCURATE: "NNCF keeps one bit more than the target has: it will not be forced to signed activations, so what a ReLU6 leaves is unsigned.",
    AIMET: "AIMET's AdaRound runs 250 iterations on 32 pictures; its manual's 10,000 would take hours.",
    ESP_PPQ: "esp-ppq's figures are its own simulation's.",
}


def notes_of(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return how files were run, one sentence each."""
    peers = peers_of(rows)
    simulated = "The simulator computes the plan in whole numbers and rounds as the device does, which no engine here does: its figures count."
    return (
        "Edgewright converts with all defaults (`--method auto`); the deployable file runs in the engine that the subject names.",
        *((simulated,) if any(row.is_simulated for row in rows) else ()),
        *(doubt for peer, doubt in _DOUBTS.items() if peer in peers),
    )


def measure(
    rows: Sequence[Row], made: Made, options: Options, material: Material, progress: Progress
) -> list[Finding]:
    """Run every file; each peer's once."""
    pictures, labels = load_arrays(material.evaluation_arrays), np.load(material.labels)
    exact = _in_engine("float model", material.model, "onnx", pictures, progress)
    theirs: dict[Peer, Scores] = {}
    for peer, folder in made.theirs.items():
        theirs[peer] = (
            np.load(folder / "scores.npy")
            if peer.engine is None
            else _in_engine(peer.name, folder / _FILES[peer.engine], peer.engine, pictures, progress)
        )
    told = {peer: compared(peer.name, exact, scores, labels) for peer, scores in theirs.items()}
    findings: list[Finding] = []
    for row in rows:
        subject = f"{row.target} in {ENGINE_NAMES[row.engine]}"
        if row.target in made.missing:
            findings.append(
                Finding(subject=subject, figure="accuracy", unit="share", missing=made.missing[row.target])
            )
        else:
            folder = made.ours[row.target]
            scores = _in_engine(subject, folder / row.file, row.engine, pictures, progress)
            if row.is_simulated:
                findings.extend(compared(subject, exact, scores, labels))
                count = min(options.simulated, len(pictures))
                subject = f"{row.target} in the simulator"
                simulated = _simulated(subject, row, folder, pictures[:count], progress)
                if isinstance(simulated, Finding):
                    findings.append(simulated)
                    continue
                findings.append(_same("the simulator and ONNX Runtime", simulated, scores[:count]))
                scores = simulated
            findings.extend(own(row, subject, exact, scores, labels))
            for peer in row.peers:
                if peer in theirs:
                    findings.extend(better(f"{subject} / {peer.name}", exact, scores, theirs[peer]))
        for peer in row.peers:
            findings.extend(told.pop(peer, ()))  # of a peer of several rows: beside the first
            if peer in made.missing:
                reason = made.missing[peer]
                findings.append(Finding(subject=peer.name, figure="accuracy", unit="share", missing=reason))
    return findings


def own(row: Row, subject: str, exact: Scores, scores: Scores, labels: NDArray[np.int64]) -> list[Finding]:
    """Return what a row's logits say beside the float model's, with the row's limits.

    Args:
        row: The row.
        subject: What was run, where.
        exact: Float logits, shape (pictures, classes).
        scores: The file's, of the same pictures or the first of them.
        labels: Right classes, shape (pictures,).
    """
    count = len(scores)
    bounds = {"top-1 minus float": row.least_gain, "same class as float": row.least_same}
    limits = {
        figure: Limit(bound=bound, at_most=False) for figure, bound in bounds.items() if bound is not None
    }
    return compared(subject, exact[:count], scores, labels[:count], limits=limits)


def _same(subject: str, first: Scores, second: Scores) -> Finding:
    equal = (first.argmax(axis=1) == second.argmax(axis=1)).astype(np.float64)
    estimate = bootstrap(len(equal), lambda chosen: equal[chosen].mean(axis=-1))
    return estimated(subject, "same class", "share", estimate, f"{len(equal)} pictures")


def _in_engine(
    name: str, file: Path, engine: str, pictures: NDArray[np.float32], progress: Progress
) -> Scores:
    """Return the logits of a file on all pictures."""
    contestant = open_contestant(file, engine, threads=THREADS)  # type: ignore[arg-type]  # of a row or a peer
    progress.stage(f"{name}: run", len(pictures))
    return run_on(contestant, pictures, progress)


def _simulated(
    subject: str, row: Row, folder: Path, pictures: NDArray[np.float32], progress: Progress
) -> Scores | Finding:
    """Return the simulator's logits, or why there are none."""
    from benchmarks.hard.simulation import open_simulation  # noqa: PLC0415 - other rows need no simulator

    try:
        contestant = open_simulation(folder, row.target)
        progress.stage(f"{subject}: run", len(pictures))
        return run_on(contestant, pictures, progress)
    except EdgewrightError as error:
        return Finding(subject=subject, figure="accuracy", unit="share", missing=str(error))


_FILES: Final = {"onnx": "model.onnx", "openvino": "model.xml", "tflite": "model.tflite"}
