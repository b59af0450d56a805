"""Small quantized files: as ONNX Runtime's quantizer writes them, and by hand where that cannot be asked for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from device_agent.engines.onnxruntime_library import (
    onnxruntime,
)  # first: it keeps the library from calling home
from tests.unit.host_tools.model.onnx_models import model_proto, saved

from onnxruntime.quantization import (  # isort: skip  # noqa: TID251 - loaded already, by the import above
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["QuantType", "by_onnxruntime", "cnn", "onnxruntime", "qdq"]

CNN = """g (float[1,3,8,8] x) => (float[1,5] y) {
    [c1] a = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(x, w1, b1)
    [r1] b = Relu(a)
    [c2] c = Conv<kernel_shape=[3,3], pads=[1,1,1,1], group=4>(b, w2, b2)
    [s1] d = Add(c, b)
    [p1] e = MaxPool<kernel_shape=[2,2], strides=[2,2]>(d)
    [f1] f = Flatten(e)
    [g1] y = Gemm<transB=1>(f, w3, b3)
}"""


def cnn() -> onnx.ModelProto:
    """Return a float network with a residual connection, a depthwise convolution and a matrix."""
    rng = np.random.default_rng(3)
    shapes = {"w1": (4, 3, 3, 3), "b1": (4,), "w2": (4, 1, 3, 3), "b2": (4,), "w3": (5, 64), "b3": (5,)}
    weights = {name: (rng.standard_normal(shape) * 0.3).astype(np.float32) for name, shape in shapes.items()}
    return model_proto(CNN, **weights)


class Reader(CalibrationDataReader):  # type: ignore[misc]  # untyped
    """Random samples for ONNX Runtime's calibration."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], count: int = 8) -> None:
        rng = np.random.default_rng(0)
        self._samples = iter(
            [
                {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
                for _ in range(count)
            ]
        )

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return next(self._samples, None)


def by_onnxruntime(
    folder: Path,
    proto: onnx.ModelProto,
    *,
    is_qdq: bool = True,
    per_channel: bool = True,
    activations: QuantType = QuantType.QUInt8,
    weights: QuantType = QuantType.QInt8,
    reduce_range: bool = True,
) -> Path:
    """Return what ONNX Runtime's static quantization makes of a float model.

    With weights in 7 bits: of 8, processors without VNNI saturate the sums of two products, in ONNX Runtime as in OpenVINO.
    """
    fed = {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in proto.graph.input
    }
    out = folder / "quantized.onnx"
    quantize_static(
        saved(folder, proto, "float.onnx"),
        out,
        Reader(fed),
        quant_format=QuantFormat.QDQ if is_qdq else QuantFormat.QOperator,
        per_channel=per_channel,
        activation_type=activations,
        weight_type=weights,
        reduce_range=reduce_range,
    )
    return out


def qdq(
    *,
    weight_scale: Any = (0.02, 0.01),
    weight_zero: Any = (0, 0),
    weight_dtype: Any = np.int8,
    axis: int = 0,
    input_scale: Any = 0.05,
    input_zero: Any = 3,
    input_dtype: Any = np.int8,
    output_scale: Any = 0.1,
    scale_dtype: Any = np.float32,
    bias: NDArray[np.int32] | None = None,
    codes: NDArray[np.generic] | None = None,
) -> onnx.ModelProto:
    """Return Q-DQ, a Gemm of 2 by 3 with coded weight and bias, and Q-DQ behind it."""
    scales, zeros = np.asarray(weight_scale, scale_dtype), np.asarray(weight_zero, weight_dtype)
    stored = np.asarray([[1, -127, 5], [127, 0, -3]]) if codes is None else codes
    with np.errstate(all="ignore"):
        bias_scale = (np.float64(input_scale) * np.asarray(weight_scale, np.float64)).astype(np.float32)
    many = bias_scale.ndim > 0
    text = f"""g (float[1,3] x) => (float[1,2] y) {{
        xq = QuantizeLinear(x, sx, zx)
        xd = DequantizeLinear(xq, sx, zx)
        wd = DequantizeLinear<axis={axis}>(w, sw, zw)
        bd = DequantizeLinear{"<axis=0>" if many else ""}(b, sb)
        [gemm] g = Gemm<transB=1>(xd, wd, bd)
        gq = QuantizeLinear(g, sg, zx)
        y = DequantizeLinear(gq, sg, zx)
    }}"""
    return model_proto(
        text,
        opset=19,
        ir_version=9,
        sx=np.asarray(input_scale, np.float32),
        zx=np.asarray(input_zero, input_dtype),
        sw=scales,
        zw=zeros,
        w=stored.astype(weight_dtype),
        sb=bias_scale,
        b=np.asarray([11, -7], np.int32) if bias is None else bias,
        sg=np.asarray(output_scale, np.float32),
    )
