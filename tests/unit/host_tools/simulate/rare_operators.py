"""Operators with the attributes that no lowering test has: a network each, ``x`` to ``y``."""

from __future__ import annotations

import numpy as np

from tests.unit.host_tools.lower.lowering_cases import Case

_RNG = np.random.default_rng(9)


def _case(name: str, x: str, y: str, body: str, **constants: object) -> Case:
    arrays = {
        key: _RNG.normal(0, 0.4, value).astype(np.float32) if isinstance(value, tuple) else np.asarray(value)
        for key, value in constants.items()
    }
    return Case(name, f"net (float[{x}] x) => (float[{y}] y) {{ {body} }}", arrays)


def _ints(*values: int) -> np.ndarray:
    return np.asarray(values, np.int64)


def _resize(rule: str, nearest: str, sizes: tuple[int, int], mode: str = "nearest") -> Case:
    rounds = f', nearest_mode = "{nearest}"' if mode == "nearest" else ""
    return _case(
        f"resize_{mode}_{rule}_{nearest}_{sizes[0]}x{sizes[1]}",
        "1,2,5,6",
        f"1,2,{sizes[0]},{sizes[1]}",
        f'y = Resize <mode = "{mode}", coordinate_transformation_mode = "{rule}"{rounds}> (x, , , sizes)',
        sizes=_ints(1, 2, *sizes),
    )


RARE: tuple[Case, ...] = (
    _case("conv_1d", "2,4,9", "2,6,5", "y = Conv <strides = [2], pads = [1,1]> (x, w, b)", w=(6, 4, 3), b=(6,)),
    _case("conv_3d", "1,2,4,5,6", "1,3,3,4,5", "y = Conv (x, w, b)", w=(3, 2, 2, 2, 2), b=(3,)),
    _case("conv_same_upper", "1,2,5,5", "1,3,3,3", 'y = Conv <auto_pad = "SAME_UPPER", strides = [2,2]> (x, w, b)', w=(3, 2, 2, 2), b=(3,)),
    _case("conv_same_lower", "1,2,6,6", "1,3,6,6", 'y = Conv <auto_pad = "SAME_LOWER"> (x, w, b)', w=(3, 2, 2, 2), b=(3,)),
    _case("conv_valid", "1,2,5,5", "1,3,4,4", 'y = Conv <auto_pad = "VALID"> (x, w, b)', w=(3, 2, 2, 2), b=(3,)),
    _case("conv_stride_beyond_kernel", "1,2,7,7", "1,3,3,3", "y = Conv <strides = [3,3]> (x, w, b)", w=(3, 2, 1, 1), b=(3,)),
    _case("conv_depth_multiplier", "1,3,5,5", "1,6,5,5", "y = Conv <group = 3, pads = [1,1,1,1]> (x, w, b)", w=(6, 1, 3, 3), b=(6,)),
    _case("conv_hard_swish", "1,3,6,6", "1,4,6,6", "c = Conv (x, w, b) y = HardSwish (c)", w=(4, 3, 1, 1), b=(4,)),
    _case("conv_leaky_relu", "1,3,6,6", "1,4,6,6", "c = Conv (x, w, b) y = LeakyRelu <alpha = 0.3> (c)", w=(4, 3, 1, 1), b=(4,)),
    _case("conv_sigmoid", "1,3,6,6", "1,4,6,6", "c = Conv (x, w, b) y = Sigmoid (c)", w=(4, 3, 1, 1), b=(4,)),
    _case("conv_tanh", "1,3,6,6", "1,4,6,6", "c = Conv (x, w, b) y = Tanh (c)", w=(4, 3, 1, 1), b=(4,)),
    _case("conv_hard_sigmoid", "1,3,6,6", "1,4,6,6", "c = Conv (x, w, b) y = HardSigmoid (c)", w=(4, 3, 1, 1), b=(4,)),
    _case("transposed_1d", "1,4,5", "1,3,11", "y = ConvTranspose <strides = [2]> (x, w, b)", w=(4, 3, 3), b=(3,)),
    _case("transposed_dilated", "1,2,4,4", "1,3,8,8", "y = ConvTranspose <dilations = [2,2]> (x, w, b)", w=(2, 3, 3, 3), b=(3,)),
    _case("transposed_padded_output", "1,2,4,4", "1,3,10,9", "y = ConvTranspose <strides = [2,2], output_padding = [1,0]> (x, w, b)", w=(2, 3, 3, 3), b=(3,)),
    _case("transposed_same_upper", "1,2,4,4", "1,3,8,8", 'y = ConvTranspose <strides = [2,2], auto_pad = "SAME_UPPER"> (x, w, b)', w=(2, 3, 3, 3), b=(3,)),
    _case("transposed_output_shape", "1,2,4,4", "1,3,8,8", "y = ConvTranspose <strides = [2,2], output_shape = [8,8]> (x, w, b)", w=(2, 3, 3, 3), b=(3,)),
    _case("matmul_stack", "2,3,4,5", "2,3,4,6", "y = MatMul (x, w)", w=(3, 5, 6)),
    _case("matmul_constant_left", "1,5,6", "1,4,6", "y = MatMul (w, x)", w=(1, 4, 5)),
    _case("max_pool_ceil", "1,2,6,6", "1,2,3,3", "y = MaxPool <kernel_shape = [3,3], strides = [2,2], ceil_mode = 1> (x)"),
    _case("max_pool_dilated", "1,2,6,6", "1,2,4,4", "y = MaxPool <kernel_shape = [2,2], dilations = [2,2]> (x)"),
    _case("max_pool_same", "1,2,5,5", "1,2,3,3", 'y = MaxPool <kernel_shape = [2,2], strides = [2,2], auto_pad = "SAME_UPPER"> (x)'),
    _case("average_pool_ceil", "1,2,6,6", "1,2,3,3", "y = AveragePool <kernel_shape = [3,3], strides = [2,2], ceil_mode = 1> (x)"),
    _case("average_pool_same_lower", "1,2,5,5", "1,2,5,5", 'y = AveragePool <kernel_shape = [2,2], auto_pad = "SAME_LOWER"> (x)'),
    _case("reduce_mean_all", "1,3,4,5", "1,1,1,1", "y = ReduceMean (x)"),
    _case("values_without_axes", "1,3,4,5", "1,3,4,5", "p = ReduceMean <keepdims = 0> (x) h = Sub (p, half) q = Add (p, h) y = Max (x, q)", half=np.float32(0.5)),
    _case("clip_to_a_number_that_is_found", "1,3,4,5", "1,3,4,5", "low = ReduceMean <keepdims = 0> (x) y = Clip (x, low)"),
    _case("reduce_mean_negative", "1,3,4,5", "1,3,4", "y = ReduceMean <keepdims = 0> (x, axes)", axes=_ints(-1)),
    _case("softmax_first", "3,5,7", "3,5,7", "y = Softmax <axis = 0> (x)"),
    _case("transpose_reversed", "1,3,4,5", "5,4,3,1", "y = Transpose (x)"),
    _case("slice_down_to_the_first", "1,3,6,5", "1,3,3,5", "y = Slice (x, s, e, a, t)", s=_ints(-1), e=_ints(-100), a=_ints(-2), t=_ints(-2)),
    _case("slice_without_axes", "1,3,6,5", "1,2,6,5", "y = Slice (x, s, e)", s=_ints(0, 1), e=_ints(1, 9)),
    _case("split_uneven", "1,5,4,4", "1,3,4,4", "p, y = Split <axis = -3> (x, s)", s=_ints(2, 3)),
    _case("pad_edge", "1,2,4,4", "1,2,7,6", 'y = Pad <mode = "edge"> (x, p)', p=_ints(0, 0, 2, 1, 0, 0, 1, 1)),
    _case("pad_reflect", "1,2,4,4", "1,2,7,6", 'y = Pad <mode = "reflect"> (x, p)', p=_ints(0, 0, 2, 1, 0, 0, 1, 1)),
    _case("pad_cut", "1,2,4,4", "1,2,3,5", "y = Pad (x, p)", p=_ints(0, 0, -2, 1, 0, 0, 1, 0)),
    _case("pad_axes", "1,2,4,4", "1,2,4,6", "y = Pad (x, p, v, a)", p=_ints(1, 1), v=np.float32(-0.3), a=_ints(-1)),
    _case("leaky_relu_by_default", "1,4,4,4", "1,4,4,4", "y = LeakyRelu (x)"),
    _case("prelu_per_element", "1,4,4,4", "1,4,4,4", "y = PRelu (x, s)", s=(4, 4, 4)),
    _case("hard_sigmoid_falling", "1,4,4,4", "1,4,4,4", "y = HardSigmoid <alpha = -0.3, beta = 0.4> (x)"),
    _case("min_of_three", "1,4,4,4", "1,4,4,4", "y = Min (x, a, b)", a=(4, 1, 1), b=(1, 4)),
    _case("div_by_constants", "1,4,4,4", "1,4,4,4", "p = Sigmoid (x) d = Add (p, one) y = Div (x, d)", one=np.float32(1)),
    _case("concat_of_one_value", "1,4,4,4", "1,8,4,4", "y = Concat <axis = -3> (x, x)"),
    _case("square", "1,4,4,4", "1,4,4,4", "y = Mul (x, x)"),
    *(_resize(rule, "round_prefer_floor", (7, 9)) for rule in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric")),
    *(_resize("asymmetric", nearest, (10, 3)) for nearest in ("floor", "ceil", "round_prefer_ceil")),
    *(_resize(rule, "", (7, 11), "linear") for rule in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric")),
    _resize("pytorch_half_pixel", "", (1, 12), "linear"),
    _resize("align_corners", "", (1, 12), "linear"),
    _case(
        "resize_by_a_scale_that_is_no_quotient",
        "1,2,5,6",
        "1,2,8,9",
        'y = Resize <mode = "linear"> (x, , scales)',
        scales=np.asarray([1, 1, 1.7, 1.6], np.float32),
    ),
    _case(
        "resize_axes",
        "1,2,5,6",
        "1,2,10,12",
        'y = Resize <mode = "nearest", axes = [2,3]> (x, , scales)',
        scales=np.asarray([2, 2], np.float32),
    ),
)  # fmt: skip
