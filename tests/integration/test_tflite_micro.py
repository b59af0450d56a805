"""What is written for microcontrollers, run by TensorFlow Lite for Microcontrollers itself: a small network, and EfficientNet-Lite0."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from examples.efficientnet_lite import graph, photos
from tests.e2e.small_network import samples, write_network
from tests.integration.environments import run_tflite_micro
from tests.integration.test_vela import as_input, written

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

RUN = """
import sys
import numpy as np
from tflite_micro.python.tflite_micro import runtime

engine = runtime.Interpreter.from_file(sys.argv[1], arena_size=1 << 25)
results = []
for codes in np.load(sys.argv[2]):
    engine.set_input(codes, 0)
    engine.invoke()
    results.append(np.array(engine.get_output(0)))
np.save(sys.argv[3], np.stack(results))
"""


def codes_of(file: Path, pictures: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Return pictures (n, channels, height, width) as the file's input codes, and what LiteRT's reference kernels make of them."""
    engine = Interpreter(str(file), experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    engine.allocate_tensors()
    (fed,), (given,) = engine.get_input_details(), engine.get_output_details()
    scale, zero_point = fed["quantization"]
    codes = np.clip(np.rint(pictures.transpose(0, 2, 3, 1) / scale) + zero_point, -128, 127).astype(np.int8)
    results = []
    for one in codes:
        engine.set_tensor(fed["index"], one[np.newaxis])
        engine.invoke()
        results.append(engine.get_tensor(given["index"]))
    return codes[:, np.newaxis], np.stack(results)


def small(folder: Path) -> tuple[Path, NDArray[np.float32]]:
    path = write_network(folder / "small.onnx")
    return written(path, samples(8), target="cortex-m-tflm"), samples(8)[:3]


def efficientnet(folder: Path) -> tuple[Path, NDArray[np.float32]]:
    path = folder / "efficientnet_lite0.onnx"
    onnx.save(graph.build_model(graph.load_weights()), path)
    crops = [next(iter(photos.calibration_images(photo).values())) for photo in photos.load_photos()[:4]]
    pictures = np.stack([as_input(crop) for crop in crops])
    return written(path, pictures, target="cortex-m-tflm"), pictures[:1]


@pytest.mark.parametrize("network", [small, efficientnet], ids=lambda one: one.__name__)
def test_a_whole_network_gives_the_codes_of_the_reference_kernels(network: object, tmp_path: Path) -> None:
    assert callable(network)
    file, pictures = network(tmp_path)
    codes, expected = codes_of(file, pictures)
    np.save(tmp_path / "in.npy", codes)
    run_tflite_micro("-c", RUN, str(file), str(tmp_path / "in.npy"), str(tmp_path / "out.npy"))
    found = np.load(tmp_path / "out.npy")
    assert found.shape == expected.shape
    assert len(np.unique(expected)) > 3
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1
