"""One model that comes in three formats: what each road in makes of it, off what ONNX Runtime makes of the ONNX file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.models.official import sqnr_db
from benchmarks.models.packages import unpack
from benchmarks.options import THREADS
from host_tools.model import load
from host_tools.model.from_tensorflow.options import TensorFlowOptions
from host_tools.model.reference import FloatRunner

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.models.packages import Places
    from host_tools.model import FloatModel

PACKAGE: Final = "basic-pitch==0.4.0"
_FOLDER: Final = "basic_pitch/saved_models/icassp_2022"
_ROADS: Final = (
    ("ONNX", "nmp.onnx", "serving_default_input_2:0"),
    ("TFLite", "nmp.tflite", "serving_default_input_2:0"),
    ("SavedModel", "nmp", "input_2"),
)
"""Format, file or folder, and what the input is called there."""

_SHAPE: Final = (1, 43_844, 1)
_SAMPLES: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Road:
    """One format.

    Attributes:
        format: For people.
        largest: Largest difference from the ONNX file's outputs.
        sqnr_db: Of all outputs together; None where they are equal.
    """

    format: str
    largest: float
    sqnr_db: float | None


def compare(places: Places, work: Path) -> list[Road]:
    """Read the model by all three roads and run it on the same random sound.

    Raises:
        EdgewrightError: The package is not there, a road refuses the model, or there is no TensorFlow for the SavedModel
            (``EDGEWRIGHT_TENSORFLOW_PYTHON`` names the Python that has it).
    """
    files = unpack(places.packages, PACKAGE, _FOLDER, work / "basic-pitch")
    rng = np.random.default_rng(5)
    sounds = rng.uniform(-0.5, 0.5, (_SAMPLES, *_SHAPE)).astype(np.float32)
    models = {
        name: load(files / file, shapes={door: _SHAPE}, tensorflow=TensorFlowOptions(cache=work / "cache"))
        for name, file, door in _ROADS
    }
    exact = _outputs(models.pop("ONNX"), sounds)
    return [_off(name, exact, _outputs(model, sounds)) for name, model in models.items()]


def _outputs(model: FloatModel, sounds: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
    runner = FloatRunner(model, threads=THREADS)
    [spec] = model.inputs
    results = [runner.run({spec.name: sound}) for sound in sounds]
    return {
        name: np.stack([np.asarray(result[name], np.float64) for result in results])
        for name in runner.output_names
    }


def _off(
    name: str, exact: Mapping[str, NDArray[np.float64]], found: Mapping[str, NDArray[np.float64]]
) -> Road:
    """Hold outputs against one another; formats call them differently, so each goes with the nearest of its shape."""
    pairs = []
    for wanted in exact.values():
        near = (one for one in found.values() if one.shape == wanted.shape)
        pairs.append((wanted, min(near, key=lambda one: float(np.abs(one - wanted).max()))))
    first, second = (np.concatenate([pair[side].reshape(-1) for pair in pairs]) for side in (0, 1))
    return Road(format=name, largest=float(np.abs(first - second).max()), sqnr_db=sqnr_db(first, second))
