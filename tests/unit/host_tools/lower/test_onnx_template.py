"""The ONNX lowering against the template, for every target that it writes, as ONNX Runtime runs it: optimized, and as written."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from lowering_template import LoweringTemplate

from device_agent.engines import onnx as onnx_engine
from device_agent.engines.onnx import OnnxEngine
from device_agent.engines.onnxruntime_library import onnxruntime as ort
from targets import catalog

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lowering_template import Prepared

    from host_tools.plan.quantization_plan import QuantizationPlan


def load_as_written(files: Mapping[str, bytes], *, threads: int) -> OnnxEngine:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return OnnxEngine(ort.InferenceSession(files["model.onnx"], options, providers=["CPUExecutionProvider"]))


TIES = {"hard_sigmoid": (1, 0.95)}
"""Its bounds lie half way between codes, and float32 falls to either side."""


SYMMETRIC = TIES | {
    "softmax": (1, 0.8),  # QLinearSoftmax sums in its own way
    # The sum of two equal ranges without zero points has just twice their scale: every odd sum is a tie, which float32 lets fall to either side.
    "relu_alone": (5, 0.6),
}


AVERAGES = SYMMETRIC | {
    # Means of codes that keep their scale: halves and quarters of a code, and the Conv behind makes more of each tie.
    "average_pool": (10, 0.6),
    "average_pool_padded": (12, 0.8),
    "global_average_pool": (2, 0.6),
    "gemm": (1, 0.8),
    "resize_linear": (10, 0.7),
}


class OnnxTemplate(LoweringTemplate):
    test_refuses_what_only_onnx_can_say = None


class TestOptimized(OnnxTemplate):
    target = "x86_64-onnxruntime"
    load = staticmethod(onnx_engine.load)
    looser = TIES | {"softmax": (1, 0.8)}  # QLinearSoftmax sums in its own way


class TestAsWritten(OnnxTemplate):
    target = "x86_64-onnxruntime"
    load = staticmethod(load_as_written)
    looser = TIES


class TestSignedAsWritten(OnnxTemplate):
    target = "aarch64-onnxruntime"
    load = staticmethod(load_as_written)
    looser = TIES


class TestGenericSymmetric(OnnxTemplate):
    target = "generic-symmetric"
    load = staticmethod(onnx_engine.load)
    looser = SYMMETRIC


class TestGenericPerTensor(OnnxTemplate):
    target = "generic-per-tensor"
    load = staticmethod(onnx_engine.load)
    looser = TIES | {"softmax": (1, 0.8)}


class TestGenericPerTensorSymmetric(OnnxTemplate):
    target = "generic-per-tensor-symmetric"
    load = staticmethod(onnx_engine.load)
    looser = SYMMETRIC


class TestGenericPowerOfTwo(OnnxTemplate):
    target = "generic-power-of-two"
    load = staticmethod(onnx_engine.load)
    looser = SYMMETRIC


class StandIn(OnnxTemplate):
    """For targets of which ONNX Runtime's CPU provider shows the integers alone: the graph is run as written."""

    load = staticmethod(load_as_written)
    looser = AVERAGES
    test_what_the_plan_has_in_integers_runs_in_integers = None


class InputsOnly(StandIn):
    """For dialects in which only integer operators' inputs are quantized."""

    def as_written(self, prepared: Prepared) -> QuantizationPlan:
        nodes = prepared.plan.nodes
        doors = prepared.profile.interface
        read = {
            value.name
            for node in prepared.model.graph.graph
            for value in node.inputs
            if value is not None and nodes[node.name].precision == "int8"
        }
        read |= {spec.name for spec in prepared.model.inputs if doors.input_type != "float32"}
        read |= {spec.name for spec in prepared.model.outputs if doors.output_type != "float32"}
        tensors = {
            name: planned if name in read else dataclasses.replace(planned, qparams=None)
            for name, planned in prepared.plan.tensors.items()
        }
        return dataclasses.replace(prepared.plan, tensors=tensors)


class TestSevenBits(OnnxTemplate):
    target = "x86_64-onnxruntime-avx2"
    load = staticmethod(onnx_engine.load)
    looser = TIES | {"softmax": (1, 0.8)}


class TestVitis(StandIn):
    target = "amd-vitis-dpu"


class TestQualcomm(StandIn):
    target = "qualcomm-htp"


class TestRockchip(StandIn):
    target = "rockchip-rknn"


class TestTensorRt(InputsOnly):
    target = "nvidia-tensorrt"


class TestDla(StandIn):
    target = "nvidia-dla"


class TestEsp32S3(StandIn):
    target = "espressif-esp32s3"


class TestEsp32P4(StandIn):
    target = "espressif-esp32p4"


class TestStm32N6(StandIn):
    target = "stm32n6"


class TestK230(StandIn):
    target = "kendryte-k230"


class TestImx500(StandIn):
    target = "sony-imx500"


class TestNcnn(InputsOnly):
    target = "ncnn"


def test_every_onnx_target_is_here() -> None:
    tested = {
        value.target for value in globals().values() if isinstance(value, type) and hasattr(value, "target")
    }
    assert tested == {name for name in catalog.ids() if catalog.load(name).artifact.format == "onnx_qdq"}
