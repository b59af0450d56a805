"""What other readers than ONNX Runtime want of a QDQ file, seen in the file: TensorRT, and activations on codes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from lowering_cases import CASES, Case, between
from lowering_template import Prepared, prepare
from onnx import numpy_helper

from device_agent.engines import load_engine
from device_agent.sources.adapt import to_payload, to_source
from host_tools.model.reference import FloatRunner
from targets import catalog

if TYPE_CHECKING:
    from pathlib import Path

CASE = {case.name: case for case in CASES}
RESIDUAL = between(
    "residual_of_a_residual",
    "c = Conv (a, w, b) r = Relu (c) s = Add (a, r) d = Conv (s, v, e) m = Add (s, d)",
    w=(8, 8, 1, 1),
    b=(8,),
    v=(8, 8, 1, 1),
    e=(8,),
)
WEIGHTED = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
NVIDIA = ("nvidia-tensorrt", "nvidia-dla")


class Graph:
    """A payload's graph, asked who writes and who reads."""

    def __init__(self, prepared: Prepared) -> None:
        self.model = onnx.load_from_string(prepared.lower().files["model.onnx"])
        onnx.checker.check_model(self.model, full_check=True)
        self.nodes = list(self.model.graph.node)
        self.constants = {one.name: numpy_helper.to_array(one) for one in self.model.graph.initializer}
        self.writer = {output: node for node in self.nodes for output in node.output}

    def readers(self, value: str) -> list[onnx.NodeProto]:
        return [node for node in self.nodes if value in node.input]

    def of(self, *op_types: str) -> list[onnx.NodeProto]:
        return [node for node in self.nodes if node.op_type in op_types]


def graph(case: Case, target: str, folder: Path) -> Graph:
    return Graph(prepare(case, folder, catalog.load(target)))


@pytest.mark.parametrize("target", NVIDIA)
@pytest.mark.parametrize("case", [*CASES, RESIDUAL], ids=lambda case: case.name)
def test_nvidia_zero_points_are_zero_and_biases_float(case: Case, target: str, tmp_path: Path) -> None:
    found = graph(case, target, tmp_path)
    for node in found.of("QuantizeLinear", "DequantizeLinear"):
        assert len(node.input) == 3
        assert found.constants[node.input[2]].dtype == np.int8
        assert not found.constants[node.input[2]].any()
    assert not [one for one in found.constants.values() if one.dtype == np.int32]
    for node in found.of("Conv", "ConvTranspose", "Gemm"):
        assert all(found.constants[name].dtype == np.float32 for name in node.input[2:3])


@pytest.mark.parametrize("case", [*CASES, RESIDUAL], ids=lambda case: case.name)
def test_tensorrt_quantizes_every_input_of_a_weighted_operator_and_nothing_else(
    case: Case, tmp_path: Path
) -> None:
    found = graph(case, "nvidia-tensorrt", tmp_path)
    assert found.of(*WEIGHTED)
    for node in found.of(*WEIGHTED):
        for name in node.input[:2]:
            dequantize = found.writer[name]
            assert dequantize.op_type == "DequantizeLinear"
            codes = dequantize.input[0]
            if codes in found.constants:  # one scale an output channel
                assert found.constants[codes].dtype == np.int8
                assert found.constants[codes].min() >= -127
                assert (
                    dequantize.attribute or node.op_type == "ConvTranspose"
                )  # a grouped one has no axis for it
            else:
                assert found.writer[codes].op_type == "QuantizeLinear"
    for node in found.of("QuantizeLinear"):
        (dequantize,) = found.readers(node.output[0])
        assert {reader.op_type for reader in found.readers(dequantize.output[0])} & WEIGHTED
    outputs = {value.name for value in found.model.graph.output}
    assert all(found.writer[name].op_type != "DequantizeLinear" for name in outputs)


def test_tensorrt_residuals_are_read_quantized_and_sums_are_not_requantized(tmp_path: Path) -> None:
    """NVIDIA's rule for skip connections: the sum's other operand comes from codes, so that Conv and Add write codes together."""
    found = graph(RESIDUAL, "nvidia-tensorrt", tmp_path)
    for node in found.of("Add"):
        kinds = sorted(found.writer[name].op_type for name in node.input)
        assert kinds in (["Conv", "DequantizeLinear"], ["DequantizeLinear", "Relu"])
    assert not found.of("Mul"), "no shields: they are for ONNX Runtime"


def test_tensorrt_keeps_activations_that_saturation_would_do_where_nothing_saturates(tmp_path: Path) -> None:
    """The output of Gemm and Relu is the network's: it is not quantized, so the Relu must stand."""
    assert len(graph(CASE["gemm_relu"], "nvidia-tensorrt", tmp_path).of("Relu")) == 1


@pytest.mark.parametrize("case", [CASE["conv"], CASE["add_relu"], RESIDUAL], ids=lambda case: case.name)
def test_dla_quantizes_every_tensor(case: Case, tmp_path: Path) -> None:
    found = graph(case, "nvidia-dla", tmp_path)
    for node in found.of("Conv", "Add", "Relu"):
        ends = [reader.op_type for reader in found.readers(node.output[0])]
        assert ends in (["QuantizeLinear"], ["Relu"])


@pytest.mark.parametrize(
    "target", [name for name in catalog.ids() if name.startswith(("generic-", "espressif-"))]
)
def test_a_fused_activation_that_does_not_saturate_stands_on_codes(target: str, tmp_path: Path) -> None:
    found = graph(CASE["relu_bound_per_channel"], target, tmp_path)
    kinds = Counter(node.op_type for node in found.nodes)
    saturates = catalog.load(target).activations.zero_point == "asymmetric"
    assert kinds["Relu"] == 0
    assert kinds["Max"] == (0 if saturates else 1)
    assert kinds["Min"] == 1
    (minimum,) = found.of("Min")
    (bound,) = [found.constants[name] for name in minimum.input if name in found.constants]
    assert bound.dtype == np.int8
    assert bound.shape == (1, 8, 1, 1)
    for node in found.of("Max", "Min"):
        assert {found.writer[name].op_type for name in node.input if name in found.writer} <= {
            "QuantizeLinear",
            "Max",
        }


def test_a_fused_clip_stands_on_codes_on_x86_where_a_shared_scale_does_not_saturate(tmp_path: Path) -> None:
    case = between(
        "clip_in_a_group",
        "c = Conv (a, w, b) r = Clip (c, low, high) p = MaxPool <kernel_shape = [1,1]> (r) m = Max (p, a)",
        w=(8, 8, 1, 1),
        b=(8,),
        low=np.float32(0),
        high=np.float32(0.5),
    )
    found = graph(case, "x86_64-onnxruntime", tmp_path)
    (clip,) = found.of("Clip")
    assert found.writer[clip.input[0]].op_type == "QuantizeLinear"
    assert [found.constants[name].dtype for name in clip.input[1:]] == [np.uint8, np.uint8]


def test_float_weights_without_a_shield_are_told(tmp_path: Path) -> None:
    profile = catalog.load("stm32n6")
    prepared = prepare(CASE["conv"], tmp_path, profile)
    name = prepared.model.graph.graph[1].name
    kept = prepare(CASE["conv"], tmp_path, profile, keep_float=[name]).lower()
    assert [note for note in kept.notes if f"Conv {name!r}" in note and "unshielded" in note]
    assert not prepared.lower().notes
    assert "Mul" not in {node.op_type for node in onnx.load_from_string(kept.files["model.onnx"]).graph.node}


@pytest.mark.parametrize("target", [*NVIDIA, "ncnn", "sony-imx500"])
def test_a_channel_of_next_to_no_weight_and_a_bias_is_not_lost(target: str, tmp_path: Path) -> None:
    """Trained networks have such channels. ONNX Runtime, which stands in, makes an integer of the float bias, and lets it overflow."""
    weight = np.random.default_rng(3).normal(size=(8, 8, 1, 1)).astype(np.float32)
    weight[2] *= np.float32(1e-20)
    bias = np.linspace(0.5, 2.0, 8, dtype=np.float32)
    case = between("silent_channel", "c = Conv (a, w, b) m = Relu (c)", w=weight, b=bias)
    prepared = prepare(case, tmp_path, catalog.load(target))
    payload = prepared.lower()
    engine = load_engine("onnx", payload.files, threads=1)
    exact = FloatRunner(prepared.model, threads=1)
    noise = signal = 0.0
    for arrays in prepared.samples():
        found = to_source(engine.infer(to_payload(arrays, payload.inputs)), payload.outputs)["y"]
        wanted = np.asarray(exact.run(arrays)["y"], np.float64)
        noise, signal = noise + np.square(found - wanted).sum(), signal + np.square(wanted).sum()
    assert signal > 300.0 * noise
