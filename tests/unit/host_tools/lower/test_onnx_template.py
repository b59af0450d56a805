"""The ONNX lowering against the template, as ONNX Runtime runs it: optimized, and as written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lowering_template import LoweringTemplate

from device_agent.engines import onnx as onnx_engine
from device_agent.engines.onnx import OnnxEngine
from device_agent.engines.onnxruntime_library import onnxruntime as ort

if TYPE_CHECKING:
    from collections.abc import Mapping


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


class TestOptimized(LoweringTemplate):
    target = "x86_64-onnxruntime"
    load = staticmethod(onnx_engine.load)
    looser = TIES | {"softmax": (1, 0.8)}  # QLinearSoftmax sums in its own way


class TestAsWritten(LoweringTemplate):
    target = "x86_64-onnxruntime"
    load = staticmethod(load_as_written)
    looser = TIES


class TestSignedAsWritten(LoweringTemplate):
    target = "aarch64-onnxruntime"
    load = staticmethod(load_as_written)
    looser = TIES


class TestGenericSymmetric(LoweringTemplate):
    target = "generic-symmetric"
    load = staticmethod(onnx_engine.load)
    looser = SYMMETRIC


class TestGenericPerTensor(LoweringTemplate):
    target = "generic-per-tensor"
    load = staticmethod(onnx_engine.load)
    looser = TIES | {"softmax": (1, 0.8)}


class TestGenericPerTensorSymmetric(LoweringTemplate):
    target = "generic-per-tensor-symmetric"
    load = staticmethod(onnx_engine.load)
    looser = SYMMETRIC


class TestGenericPowerOfTwo(LoweringTemplate):
    target = "generic-power-of-two"
    load = staticmethod(onnx_engine.load)
    looser = SYMMETRIC
