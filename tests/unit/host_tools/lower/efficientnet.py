"""EfficientNet-Lite0 with its published weights, written for a target, with two photos and what the float network says of them."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import onnx
from PIL import Image

from device_agent.engines.onnxruntime_library import onnxruntime as ort
from examples.efficientnet_lite import graph, photos
from host_tools.lower.lowering import lower
from host_tools.model import load
from host_tools.observe.observer import observe
from host_tools.observe.sources.opening import open_data
from host_tools.plan.planner import plan
from host_tools.progress import Silent
from host_tools.recipe import Recipe
from targets import catalog

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_CALIBRATION, _SHOWN = 8, 2


@dataclass(frozen=True)
class Written:
    """A payload's ONNX file, two pictures (2, 3, 224, 224), and the float network's logits (2, 1000)."""

    data: bytes
    pictures: NDArray[np.float32]
    logits: NDArray[np.float32]


def write_efficientnet(folder: Path, target: str) -> Written:
    """Calibrate on eight crops and write the network for an ONNX target."""
    onnx.save(graph.build_model(graph.load_weights()), folder / "efficientnet.onnx")
    pictures = _pictures()
    np.save(folder / "pictures.npy", pictures)
    model, profile = load(folder / "efficientnet.onnx"), catalog.load(target)
    data = open_data(folder / "pictures.npy", inputs=model.inputs)
    statistics = observe(model, data, histograms=False, threads=2, progress=Silent())
    payload = lower(model, plan(model, statistics, profile, Recipe(method="minmax")), profile)
    session = ort.InferenceSession(str(folder / "efficientnet.onnx"), providers=["CPUExecutionProvider"])
    shown = pictures[:_SHOWN]
    name = session.get_inputs()[0].name
    logits = np.concatenate([session.run(None, {name: picture[np.newaxis]})[0] for picture in shown])
    return Written(payload.files["model.onnx"], shown, logits)


def sqnr_of(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    """Return the signal to quantization noise ratio, in dB."""
    noise = np.square(found.astype(np.float64) - wanted).sum()
    return float(10 * np.log10(np.square(wanted.astype(np.float64)).sum() / noise))


@cache
def _pictures() -> NDArray[np.float32]:
    shown = photos.load_photos()[:_CALIBRATION]
    return np.stack([_as_input(next(iter(photos.calibration_images(photo).values()))) for photo in shown])


def _as_input(encoded: bytes) -> NDArray[np.float32]:
    with Image.open(io.BytesIO(encoded)) as image:
        pixels = np.asarray(image.convert("RGB").resize((224, 224), Image.Resampling.BICUBIC), np.float32)
    return (pixels.transpose(2, 0, 1) - 127) / 128
