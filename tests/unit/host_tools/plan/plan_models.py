"""Tiny canonical models, statistics and profiles for the tests of the plan. Nothing here runs a model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
from onnx import numpy_helper

from host_tools.model.float_model import FloatModel
from host_tools.observe.statistics import Statistics, TensorStatistics
from host_tools.plan.distributions import of_array
from host_tools.plan.planner import plan
from host_tools.recipe import Recipe
from targets import catalog

if TYPE_CHECKING:
    from collections.abc import Mapping

    from host_tools.plan.quantization_plan import QuantizationPlan
    from targets.profile import CapabilityProfile

MODEL_DIGEST = "sha256:" + "1" * 64
DATA_DIGEST = "sha256:" + "2" * 64


def float_model(text: str, constants: Mapping[str, np.ndarray] | None = None) -> FloatModel:
    """Build a model from ONNX text (the graph only) and its constants by name."""
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 18, "odd.domain": 1]>\n{text}')
    for name, array in (constants or {}).items():
        proto.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    graph = ir.from_proto(onnx.shape_inference.infer_shapes(proto))
    return FloatModel(name="tiny", digest=MODEL_DIGEST, graph=graph, inputs=(), outputs=(), notes=())


def values(low: float, high: float) -> TensorStatistics:
    """Return the statistics of evenly spread values."""
    return of_array(np.linspace(low, high, 257, dtype=np.float32))


def statistics(
    model: FloatModel,
    ranges: Mapping[str, tuple[float, float] | TensorStatistics] | None = None,
    *,
    default: tuple[float, float] = (-1.0, 2.0),
    samples: int = 8,
    histograms: bool = True,
) -> Statistics:
    """Return statistics of every float activation: evenly spread over ``ranges``, or over ``default``."""
    tensors = {}
    graph = model.graph.graph
    activations = [*graph.inputs, *(output for node in graph for output in node.outputs)]
    for value in activations:
        if value.dtype != ir.DataType.FLOAT or not value.name:
            continue
        given = (ranges or {}).get(value.name, default)
        seen = given if isinstance(given, TensorStatistics) else values(*given)
        tensors[value.name] = seen if histograms else replace(seen, histogram=None)
    return Statistics(
        model_digest=MODEL_DIGEST, data_digest=DATA_DIGEST, sample_count=samples, tensors=tensors
    )


def profile(base: str = "cortex-a-tflite", **parts: Mapping[str, Any] | Any) -> CapabilityProfile:
    """Return a catalogue profile with fields of its parts replaced: ``profile(weights={"bits": 4})``."""
    loaded = catalog.load(base)
    changed = {
        name: replace(getattr(loaded, name), **change)
        if isinstance(change, dict) and name not in MAPPINGS
        else change
        for name, change in parts.items()
    }
    return replace(loaded, **changed)


MAPPINGS = ("ops", "fixed_outputs")


def with_op(base: CapabilityProfile, op_type: str, **change: Any) -> CapabilityProfile:
    """Return the profile with fields of one operator's support replaced."""
    return replace(base, ops={**base.ops, op_type: replace(base.ops[op_type], **change)})


def without_op(base: CapabilityProfile, op_type: str) -> CapabilityProfile:
    """Return the profile without an operator."""
    return replace(base, ops={name: support for name, support in base.ops.items() if name != op_type})


def planned(
    model: FloatModel,
    target: CapabilityProfile | str = "cortex-a-tflite",
    recipe: Recipe | None = None,
    ranges: Mapping[str, tuple[float, float] | TensorStatistics] | None = None,
    **more: Any,
) -> QuantizationPlan:
    """Plan a model on made-up statistics."""
    loaded = catalog.load(target) if isinstance(target, str) else target
    return plan(model, statistics(model, ranges, **more), loaded, recipe or Recipe())


def ramp(*shape: int, scale: float = 1.0) -> np.ndarray:
    """Return the same well mixed float32 values every time, in [-scale, scale]."""
    count = int(np.prod(shape))
    mixed = (np.arange(count) * 37 % 101 - 50) / 50.0
    return (mixed * scale).astype(np.float32).reshape(shape)


def conv_relu() -> FloatModel:
    """Conv then Relu."""
    return float_model(
        """g (float[1,2,6,6] x) => (float[1,3,6,6] y) {
            [conv] c = Conv<pads=[1,1,1,1]>(x, w, b)
            [relu] y = Relu(c)
        }""",
        {"w": ramp(3, 2, 3, 3), "b": ramp(3)},
    )


def conv_clip(low: float, high: float) -> FloatModel:
    """Conv then Clip."""
    return float_model(
        """g (float[1,2,6,6] x) => (float[1,3,6,6] y) {
            [conv] c = Conv<pads=[1,1,1,1]>(x, w, b)
            [clip] y = Clip(c, low, high)
        }""",
        {"w": ramp(3, 2, 3, 3), "b": ramp(3), "low": np.float32(low), "high": np.float32(high)},
    )


def residual() -> FloatModel:
    """Two convolutions, a residual Add and a Relu."""
    return float_model(
        """g (float[1,2,6,6] x) => (float[1,2,6,6] y) {
            [first] a = Conv<pads=[1,1,1,1]>(x, w1, b1)
            [act] r = Relu(a)
            [second] b = Conv<pads=[1,1,1,1]>(r, w2, b2)
            [sum] s = Add(b, r)
            [out] y = Relu(s)
        }""",
        {"w1": ramp(2, 2, 3, 3), "b1": ramp(2), "w2": ramp(2, 2, 3, 3, scale=0.5), "b2": ramp(2)},
    )


def classifier() -> FloatModel:
    """Depthwise convolution, pooling, Gemm, Softmax."""
    return float_model(
        """g (float[1,4,6,6] x) => (float[1,5] y) {
            [depthwise] d = Conv<group=4, pads=[1,1,1,1]>(x, dw, db)
            [relu6] r = Clip(d, zero, six)
            [pool] p = GlobalAveragePool(r)
            [flat] f = Flatten(p)
            [gemm] g1 = Gemm<transB=1>(f, gw, gb)
            [softmax] y = Softmax(g1)
        }""",
        {
            "dw": ramp(4, 1, 3, 3),
            "db": ramp(4),
            "zero": np.float32(0),
            "six": np.float32(6),
            "gw": ramp(5, 4),
            "gb": ramp(5),
        },
    )


def branches() -> FloatModel:
    """A Sigmoid branch and a convolution joined by Concat, then MaxPool."""
    return float_model(
        """g (float[1,2,6,6] x) => (float[1,4,3,3] y) {
            [gate] s = Sigmoid(x)
            [conv] c = Conv<pads=[1,1,1,1]>(x, w, b)
            [join] j = Concat<axis=1>(s, c)
            [pool] y = MaxPool<kernel_shape=[2,2], strides=[2,2]>(j)
        }""",
        {"w": ramp(2, 2, 3, 3), "b": ramp(2)},
    )


def gated() -> FloatModel:
    """Squeeze and excite: pooling, two convolutions, HardSigmoid, Mul."""
    return float_model(
        """g (float[1,4,6,6] x) => (float[1,4,6,6] y) {
            [squeeze] p = GlobalAveragePool(x)
            [reduce] a = Conv(p, w1, b1)
            [relu] r = Relu(a)
            [expand] e = Conv(r, w2, b2)
            [gate] h = HardSigmoid<alpha=0.16666667, beta=0.5>(e)
            [excite] y = Mul(x, h)
        }""",
        {"w1": ramp(2, 4, 1, 1), "b1": ramp(2), "w2": ramp(4, 2, 1, 1), "b2": ramp(4)},
    )


def upsampler() -> FloatModel:
    """Grouped and plain ConvTranspose, PRelu, Resize."""
    return float_model(
        """g (float[1,4,4,4] x) => (float[1,3,16,16] y) {
            [grouped] a = ConvTranspose<group=2, strides=[2,2], kernel_shape=[2,2]>(x, w1, b1)
            [prelu] p = PRelu(a, slope)
            [plain] b = ConvTranspose<strides=[1,1], kernel_shape=[1,1]>(p, w2, b2)
            [resize] y = Resize<mode="nearest">(b, , scales)
        }""",
        {
            "w1": ramp(4, 2, 2, 2),
            "b1": ramp(4),
            "slope": ramp(4, 1, 1, scale=0.25),
            "w2": ramp(4, 3, 1, 1),
            "b2": ramp(3),
            "scales": np.asarray([1, 1, 2, 2], np.float32),
        },
    )


def attention() -> FloatModel:
    """MatMul by a constant, MatMul of two activations, scaling, Softmax."""
    return float_model(
        """g (float[1,4,8] x) => (float[1,4,8] y) {
            [query] q = MatMul(x, wq)
            [turn] t = Transpose<perm=[0,2,1]>(x)
            [scores] s = MatMul(q, t)
            [scale] m = Mul(s, factor)
            [soft] p = Softmax<axis=-1>(m)
            [mix] y = MatMul(p, x)
        }""",
        {"wq": ramp(8, 8), "factor": np.float32(0.35)},
    )
