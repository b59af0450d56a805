"""Our int8 beside the int8 files that MLPerf Tiny gives out, each against the float model that it was made from, on the same inputs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from benchmarks.models.zoo import by_id
from benchmarks.options import THREADS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.models.packages import Places

TARGET: Final = "cortex-a-tflite"


@dataclass(frozen=True, slots=True, kw_only=True)
class OfficialRow:
    """A model of MLPerf Tiny.

    Attributes:
        title: For people.
        float_file: What both sides are held against.
        their_share: Share of samples with the float model's top class; None for no classifier.
        their_db: SQNR of their outputs.
        our_share: Likewise, of ours.
        our_db: Likewise.
    """

    title: str
    float_file: str
    their_share: float | None
    their_db: float
    our_share: float | None
    our_db: float


_FILES: Final = {
    "ad01": "ad01_int8.tflite",
    "resnet8": "pretrainedResnet_quant.tflite",
    "vww": "vww_96_int8.tflite",
}
"""Entry to MLPerf's int8 file."""


def compare(name: str, places: Places, folder: Path) -> OfficialRow | None:
    """Return both sides of a model, or None where MLPerf gives no int8 file of it, or ours was not made.

    Args:
        name: Id of the entry.
        places: Where MLPerf's files are.
        folder: Of the model, with ``others.npz`` and a folder of `TARGET`.
    """
    ours = folder / "out" / TARGET / "model.tflite"
    if name not in _FILES or not ours.is_file():
        return None
    entry = by_id(name)
    with np.load(folder / "others.npz") as arrays:
        [samples] = (arrays[key] for key in arrays.files)
    exact, theirs, own = (
        run(path, samples)
        for path in (entry.file_in(folder), places.data / "mlperf_tiny" / _FILES[name], ours)
    )
    is_classifier = entry.comparison is not None
    return OfficialRow(
        title=entry.title,
        float_file=entry.member,
        their_share=_share(exact, theirs) if is_classifier else None,
        their_db=sqnr_db(exact, theirs),
        our_share=_share(exact, own) if is_classifier else None,
        our_db=sqnr_db(exact, own),
    )


def run(path: Path, samples: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return the real outputs of a TFLite file with one input and one output, shape (samples, elements)."""
    interpreter = Interpreter(str(path), num_threads=THREADS)
    interpreter.allocate_tensors()
    [door], [out] = interpreter.get_input_details(), interpreter.get_output_details()
    results = []
    for sample in samples:
        interpreter.set_tensor(door["index"], _codes(sample, door).reshape(door["shape"]))
        interpreter.invoke()
        scale, zero_point = out["quantization"]
        values = interpreter.get_tensor(out["index"]).astype(np.float64).reshape(-1)
        results.append((values - zero_point) * scale if scale else values)
    return np.stack(results)


def sqnr_db(exact: NDArray[np.float64], found: NDArray[np.float64]) -> float:
    """Return the signal-to-quantization-noise ratio over all elements, in decibels; infinite where they are equal."""
    noise = ((exact - found) ** 2).sum()
    return float(10.0 * np.log10((exact**2).sum() / noise)) if noise else math.inf


def _share(exact: NDArray[np.float64], found: NDArray[np.float64]) -> float:
    return float((exact.argmax(axis=1) == found.argmax(axis=1)).mean())


def _codes(sample: NDArray[np.generic], door: dict[str, Any]) -> NDArray[np.generic]:
    scale, zero_point = door["quantization"]
    dtype = np.dtype(door["dtype"])
    if not scale:
        return sample.astype(dtype)
    bounds = np.iinfo(dtype)
    codes = np.rint(sample.astype(np.float64) / scale) + zero_point
    return np.asarray(np.clip(codes, bounds.min, bounds.max), dtype)
