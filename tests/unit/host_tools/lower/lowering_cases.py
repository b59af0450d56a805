"""Networks for `lowering_template`: each operator that Edgewright converts, between neighbours that are quantized."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx.parser
from onnx import numpy_helper

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Case:
    """A network as text, and the constants it speaks of."""

    name: str
    text: str
    constants: dict[str, NDArray[np.generic]]

    def proto(self) -> onnx.ModelProto:
        model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> {self.text}')
        for name, array in self.constants.items():
            model.graph.initializer.append(numpy_helper.from_array(array, name))
        onnx.checker.check_model(model, full_check=True)
        return model


def _weights(seed: int, **shapes: tuple[int, ...]) -> dict[str, NDArray[np.generic]]:
    """Return weights whose channels differ by a factor of ten, so that one scale for all would be seen."""
    rng = np.random.default_rng(seed)
    made: dict[str, NDArray[np.generic]] = {}
    for name, shape in shapes.items():
        spread = np.geomspace(0.3, 3.0, shape[0]).reshape(-1, *[1] * (len(shape) - 1))
        made[name] = (rng.standard_normal(shape) * spread / np.prod(shape[1:]) ** 0.5).astype(np.float32)
    return made


def _ints(*values: int) -> NDArray[np.generic]:
    return np.asarray(values, np.int64)


def _float(value: float) -> NDArray[np.generic]:
    return np.asarray(value, np.float32)


def between(
    name: str, body: str, *, channels: int = 8, result: tuple[int, int, int] = (8, 8, 8), **constants: object
) -> Case:
    """Return Conv (4 to ``channels``) giving ``a``, the body from ``a`` to ``m``, and a Conv from ``m`` of shape (1, *result)."""
    height, width = result[1:]
    text = f"""net (float[1,4,8,8] x) => (float[1,4,{height},{width}] y) {{
        a = Conv (x, front_w, front_b)
        {body}
        y = Conv (m, back_w, back_b)
    }}"""
    ends = _weights(
        len(name), front_w=(channels, 4, 1, 1), front_b=(channels,), back_w=(4, result[0], 1, 1), back_b=(4,)
    )
    return Case(name, text, {**ends, **_arrays(constants)})


def ending(name: str, body: str, result: tuple[int, ...], **constants: object) -> Case:
    """Return Conv (4 to 8) giving ``a``, and a body that ends in the output ``y`` of shape ``result``."""
    shape = ",".join(map(str, result))
    text = f"""net (float[1,4,8,8] x) => (float[{shape}] y) {{
        a = Conv (x, front_w, front_b)
        {body}
    }}"""
    return Case(name, text, {**_weights(len(name), front_w=(8, 4, 1, 1), front_b=(8,)), **_arrays(constants)})


def _arrays(constants: dict[str, object]) -> dict[str, NDArray[np.generic]]:
    """Draw weights where a constant is given by its shape."""
    shapes = {name: value for name, value in constants.items() if isinstance(value, tuple)}
    given = {name: np.asarray(value) for name, value in constants.items() if not isinstance(value, tuple)}
    return {**_weights(77, **shapes), **given}


_INPUT_TWICE = "b = Conv (x, other_w, other_b)"
_OTHER: dict[str, object] = {"other_w": (8, 4, 1, 1), "other_b": (8,)}

CASES: tuple[Case, ...] = (
    between("conv", "m = Conv <pads = [1,1,1,1]> (a, w, b)", w=(8, 8, 3, 3), b=(8,)),
    between("conv_without_bias", "m = Conv <pads = [1,1,1,1]> (a, w)", w=(8, 8, 3, 3)),
    between("conv_grouped", "m = Conv <group = 2, pads = [1,1,1,1]> (a, w, b)", w=(8, 4, 3, 3), b=(8,)),
    between("conv_depthwise", "m = Conv <group = 8, pads = [2,2,2,2]> (a, w, b)", w=(8, 1, 5, 5), b=(8,)),
    between(
        "conv_strided_padded_at_the_end",
        "m = Conv <strides = [2,2], pads = [0,0,1,1]> (a, w, b)",
        result=(8, 4, 4),
        w=(8, 8, 3, 3),
        b=(8,),
    ),
    between(
        "conv_dilated",
        "m = Conv <dilations = [2,2], pads = [2,2,2,2]> (a, w, b)",
        w=(8, 8, 3, 3),
        b=(8,),
    ),
    between("conv_relu", "c = Conv (a, w, b) m = Relu (c)", w=(8, 8, 1, 1), b=(8,)),
    between(
        "conv_clip",
        "c = Conv (a, w, b) m = Clip (c, low, high)",
        w=(8, 8, 1, 1),
        b=(8,),
        low=_float(0),
        high=_float(0.6),
    ),
    between(
        "conv_transpose",
        "m = ConvTranspose <strides = [2,2], pads = [0,0,1,1]> (a, w, b)",
        result=(8, 16, 16),
        w=(8, 8, 3, 3),
        b=(8,),
    ),
    between(
        "conv_transpose_grouped",
        "m = ConvTranspose <group = 2, strides = [2,2]> (a, w, b)",
        result=(8, 16, 16),
        w=(8, 4, 2, 2),
        b=(8,),
    ),
    ending(
        "gemm",
        "p = GlobalAveragePool (a) f = Flatten (p) y = Gemm <transB = 1> (f, w, b)",
        (1, 5),
        w=(5, 8),
        b=(5,),
    ),
    ending(
        "gemm_relu",
        "f = Flatten (a) g = Gemm <transB = 1> (f, w, b) y = Relu (g)",
        (1, 6),
        w=(6, 512),
        b=(6,),
    ),
    ending(
        "matmul_constant",
        "r = Reshape (a, shape) y = MatMul (r, w)",
        (1, 8, 6),
        shape=_ints(1, 8, 64),
        w=np.random.default_rng(5).standard_normal((64, 6)).astype(np.float32),
    ),
    ending(
        "matmul_of_activations",
        f"{_INPUT_TWICE} p = Reshape (a, shape) q = Reshape (b, shape) t = Transpose <perm = [0,2,1]> (q) y = MatMul (p, t)",
        (1, 8, 8),
        shape=_ints(1, 8, 64),
        **_OTHER,
    ),
    between("add", f"{_INPUT_TWICE} m = Add (a, b)", **_OTHER),
    between("add_relu", f"{_INPUT_TWICE} s = Add (a, b) m = Relu (s)", **_OTHER),
    between("add_constant", "m = Add (a, c)", c=(1, 8, 1, 1)),
    between("sub", f"{_INPUT_TWICE} m = Sub (a, b)", **_OTHER),
    between("mul", f"{_INPUT_TWICE} m = Mul (a, b)", **_OTHER),
    between("mul_of_channels", "p = GlobalAveragePool (a) g = Sigmoid (p) m = Mul (a, g)"),
    between(
        "div", f"{_INPUT_TWICE} p = Sigmoid (b) e = Add (p, one) m = Div (a, e)", one=_float(1), **_OTHER
    ),
    between("relu_alone", f"{_INPUT_TWICE} r = Relu (a) m = Add (a, r)", **_OTHER),
    between(
        "clip_alone",
        "p = MaxPool <kernel_shape = [1,1]> (a) r = Clip (p, low, high) m = Add (p, r)",
        low=_float(-0.4),
        high=_float(0.5),
    ),
    between(
        "relu_bound_per_channel",  # what equalization makes of Relu6
        "c = Conv (a, w, b) r = Relu (c) m = Min (r, bound)",
        w=(8, 8, 1, 1),
        b=(8,),
        bound=np.geomspace(0.2, 2.0, 8).astype(np.float32).reshape(1, 8, 1, 1),
    ),
    between("max", f"{_INPUT_TWICE} m = Max (a, b)", **_OTHER),
    between("leaky_relu", "m = LeakyRelu <alpha = 0.2> (a)"),
    between("prelu", "m = PRelu (a, slope)", slope=(8, 1, 1)),
    between("sigmoid", "m = Sigmoid (a)"),
    between("tanh", "m = Tanh (a)"),
    between("hard_swish", "m = HardSwish (a)"),
    between("hard_sigmoid", "m = HardSigmoid <alpha = 0.16666667, beta = 0.5> (a)"),
    ending(
        "softmax",
        "f = Flatten (a) g = Gemm <transB = 1> (f, w, b) y = Softmax <axis = 1> (g)",
        (1, 6),
        w=(6, 512),
        b=(6,),
    ),
    between("global_average_pool", "m = GlobalAveragePool (a)", result=(8, 1, 1)),
    between("average_pool", "m = AveragePool <kernel_shape = [2,2], strides = [2,2]> (a)", result=(8, 4, 4)),
    between("average_pool_padded", "m = AveragePool <kernel_shape = [3,3], pads = [1,1,1,1]> (a)"),
    between(
        "average_pool_counted",
        "m = AveragePool <kernel_shape = [3,3], pads = [1,1,1,1], count_include_pad = 1> (a)",
    ),
    between(
        "average_pool_counted_uneven",
        "m = AveragePool <kernel_shape = [3,3], pads = [2,0,0,2], count_include_pad = 1> (a)",  # 9 taps: no ties to round
    ),
    between(
        "max_pool",
        "m = MaxPool <kernel_shape = [3,3], strides = [2,2], pads = [0,0,1,1]> (a)",
        result=(8, 4, 4),
    ),
    between("reduce_mean", "m = ReduceMean <keepdims = 1> (a, axes)", result=(8, 1, 1), axes=_ints(2, 3)),
    between("concat", f"{_INPUT_TWICE} m = Concat <axis = 1> (a, b)", result=(16, 8, 8), **_OTHER),
    between(
        "split", "p, q = Split <axis = 1> (a, sizes) m = Add (p, q)", result=(4, 8, 8), sizes=_ints(4, 4)
    ),
    between(
        "slice",
        "m = Slice (a, starts, ends, axes, steps)",
        result=(4, 4, 8),
        starts=_ints(2, 0),
        ends=_ints(6, 8),
        axes=_ints(1, 2),
        steps=_ints(1, 2),
    ),
    between("pad", "m = Pad (a, pads)", result=(8, 10, 11), pads=_ints(0, 0, 1, 1, 0, 0, 1, 2)),
    between(
        "pad_with_a_value",
        "m = Pad (a, pads, value)",
        result=(8, 10, 10),
        pads=_ints(0, 0, 1, 1, 0, 0, 1, 1),
        value=_float(0.25),
    ),
    between("reshape", "m = Reshape (a, shape)", result=(16, 4, 8), shape=_ints(1, 16, 4, 8)),
    ending("flatten", "f = Flatten (a) y = Gemm <transB = 1> (f, w, b)", (1, 6), w=(6, 512), b=(6,)),
    ending(
        "squeeze",
        "p = GlobalAveragePool (a) s = Squeeze (p, axes) y = Gemm <transB = 1> (s, w, b)",
        (1, 5),
        axes=_ints(2, 3),
        w=(5, 8),
        b=(5,),
    ),
    between(
        "unsqueeze",
        "p = GlobalAveragePool (a) f = Flatten (p) m = Unsqueeze (f, axes)",
        result=(8, 1, 1),
        axes=_ints(2, 3),
    ),
    between("transpose", "m = Transpose <perm = [0,1,3,2]> (a)"),
    between(
        "resize_nearest",
        'm = Resize <mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"> (a, , scales)',
        result=(8, 16, 16),
        scales=np.asarray([1, 1, 2, 2], np.float32),
    ),
    between(
        "resize_linear",
        'm = Resize <mode = "linear", coordinate_transformation_mode = "half_pixel"> (a, , scales)',
        result=(8, 16, 16),
        scales=np.asarray([1, 1, 2, 2], np.float32),
    ),
    between(
        "batch_normalization_left_over",
        "p = MaxPool <kernel_shape = [2,2]> (a) r = Sigmoid (p) m = BatchNormalization (r, gain, shift, mean, variance)",
        result=(8, 7, 7),
        gain=np.linspace(0.5, 2, 8).astype(np.float32),
        shift=np.linspace(-1, 1, 8).astype(np.float32),
        mean=np.linspace(0.2, 0.6, 8).astype(np.float32),
        variance=np.linspace(0.05, 0.1, 8).astype(np.float32),
    ),
    between(
        "several_readers",
        "p = Conv (a, w, b) q = Relu (a) r = MaxPool <kernel_shape = [1,1]> (a) s = Add (p, q) m = Add (s, r)",
        w=(8, 8, 1, 1),
        b=(8,),
    ),
)

TWO_ENDS = Case(
    "two_inputs_and_outputs",
    """net (float[1,4,8,8] x, float[1,8,8,8] z) => (float[1,8,8,8] s, float[1,4,8,8] y) {
        a = Conv (x, front_w, front_b)
        s = Add (a, z)
        y = Conv (s, back_w, back_b)
    }""",
    _weights(3, front_w=(8, 4, 1, 1), front_b=(8,), back_w=(4, 8, 1, 1), back_b=(4,)),
)
"""Two inputs, and an output that another node reads."""

DETECTOR = ending(
    "boxes_and_scores",
    """b = Mul (a, pixels)
        c = Conv (x, other_w, other_b)
        s = Sigmoid (c)
        y = Concat <axis = 1> (b, s)""",
    (1, 16, 8, 8),
    pixels=_float(1000.0),
    **_OTHER,
)
"""An output that no one scale serves: its second half is at most 1."""
