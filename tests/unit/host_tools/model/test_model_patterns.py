"""Every pattern that canonicalisation rewrites: the operators it leaves, and the same outputs as the original."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx_models import model_proto, op_types, random_feeds, random_weights, run, saved

from host_tools.model import export_onnx, load

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Pattern:
    text: str
    leaves: str
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    weights: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    opset: int = 18


def _positive(*shape: int) -> NDArray[np.generic]:
    return np.random.default_rng(7).uniform(0.5, 2, shape).astype(np.float32)


def _ints(*values: int) -> NDArray[np.generic]:
    return np.asarray(values, dtype=np.int64)


def _number(value: float) -> NDArray[np.generic]:
    return np.asarray(value, dtype=np.float32)


_BN = {"g": (4,), "b": (4,), "m": (4,)}
_IMAGE = "g (float[1,3,8,8] x) => (float[1,4,6,6] y)"
_SAME = "g (float[1,4,6,6] x) => (float[1,4,6,6] y)"
_TOKENS = "g (float[2,5,6] x) => (float[2,5,6] y)"
_CENTRED = "a = ReduceMean(x, last) d = Sub(x, a)"
_DEVIATION = "v = ReduceMean(q, last) e = Add(v, eps) s = Sqrt(e)"
_LAYER_NORM = {"last": _ints(-1), "two": _number(2), "eps": _number(0.01)}
_ROWS = "g (float[1,5] x) => (float[1,4] y)"

_SCORES = "g (float[2,4,4] x) => (float[2,4,4] y)"
_CAUSAL = np.tril(np.ones((4, 4), dtype=bool))

PATTERNS = {
    "infinite_mask_in_the_place_of_scores": Pattern(
        f"{_SCORES} {{ s = Where(causal, x, far) y = Softmax(s) }}", "Where Softmax",
        {}, {"causal": _CAUSAL, "far": _number(-np.inf)},
    ),
    "infinite_mask_that_is_added": Pattern(
        f"{_SCORES} {{ s = Add(x, mask) t = Transpose<perm=[1,0,2]>(s) u = Transpose<perm=[1,0,2]>(t) l = LogSoftmax(u) y = Exp(l) }}",
        "Add Transpose Transpose LogSoftmax Exp", {}, {"mask": np.where(_CAUSAL, 0, -np.inf).astype(np.float32)},
    ),
    "infinite_mask_that_is_made_of_a_shape": Pattern(
        f"{_SCORES} {{ full = ConstantOfShape<value = float[1] {{-inf}}>(size) mask = Trilu<upper=1>(full, one) s = Add(x, mask) y = Softmax(s) }}",
        "Add Softmax", {}, {"size": _ints(4, 4), "one": np.asarray(1, np.int64)},
    ),
    "clip_to_computed_bounds": Pattern(
        "g (float[1,5] x, float[2] z) => (float[1,5] y) { low = ReduceMin<keepdims=0>(z) high = ReduceMax<keepdims=0>(z) y = Clip(x, low, high) }",
        "ReduceMin ReduceMax Max Min",
    ),
    "clip_to_a_computed_and_a_constant_bound": Pattern(
        "g (float[1,5] x, float[2] z) => (float[1,5] y) { high = ReduceMax<keepdims=0>(z) y = Clip(x, zero, high) }",
        "ReduceMax Relu Min", {}, {"zero": _number(0)},
    ),
    "clip_below_what_is_found": Pattern(
        "g (float[1,5] x) => (float[1,5] y) { most = ReduceMax<keepdims=0>(x) low = Sub(most, one) y = Clip(x, low) }",
        "ReduceMax Sub Max", {}, {"one": _number(1)},
    ),
    "batchnorm_into_conv": Pattern(
        f"{_IMAGE} {{ c = Conv(x, w) y = BatchNormalization<epsilon=0.001>(c, g, b, m, v) }}",
        "Conv", {"w": (4, 3, 3, 3), **_BN}, {"v": _positive(4)},
    ),
    "batchnorm_into_conv_with_bias": Pattern(
        f"{_IMAGE} {{ c = Conv(x, w, k) y = BatchNormalization(c, g, b, m, v) }}",
        "Conv", {"w": (4, 3, 3, 3), "k": (4,), **_BN}, {"v": _positive(4)},
    ),
    "batchnorm_into_grouped_transpose": Pattern(
        "g (float[1,6,4,4] x) => (float[1,4,9,9] y) { c = ConvTranspose<group=2, strides=[2,2]>(x, w) y = BatchNormalization(c, g, b, m, v) }",
        "ConvTranspose", {"w": (6, 2, 3, 3), **_BN}, {"v": _positive(4)},
    ),
    "batchnorm_into_gemm": Pattern(
        f"{_ROWS} {{ c = Gemm<transB=1>(x, w, k) y = BatchNormalization(c, g, b, m, v) }}",
        "Gemm", {"w": (4, 5), "k": (4,), **_BN}, {"v": _positive(4)},
    ),
    "batchnorm_alone": Pattern(
        f"{_SAME} {{ r = Relu(x) y = BatchNormalization(r, g, b, m, v) }}", "Relu Mul Add", _BN, {"v": _positive(4)}
    ),
    "batchnorm_on_a_shared_conv": Pattern(
        f"{_IMAGE} {{ c = Conv(x, w) n = BatchNormalization(c, g, b, m, v) y = Add(c, n) }}",
        "Conv Mul Add Add", {"w": (4, 3, 3, 3), **_BN}, {"v": _positive(4)},
    ),
    "two_convs_share_weights_one_has_batchnorm": Pattern(
        f"{_IMAGE} {{ c = Conv(x, w) n = BatchNormalization(c, g, b, m, v) d = Conv(x, w) y = Add(d, n) }}",
        "Conv Conv Add", {"w": (4, 3, 3, 3), **_BN}, {"v": _positive(4)},
    ),
    "per_channel_mul_and_add_into_conv": Pattern(
        f"{_IMAGE} {{ c = Conv(x, w) s = Mul(c, a) t = Add(k, s) u = Sub(t, n) y = Div(u, q) }}",
        "Conv", {"w": (4, 3, 3, 3), "a": (1, 4, 1, 1), "k": (4, 1, 1)}, {"n": _number(0.5), "q": _positive(4, 1, 1)},
    ),
    "constant_minus_conv": Pattern(f"{_IMAGE} {{ c = Conv(x, w) y = Sub(k, c) }}", "Conv", {"w": (4, 3, 3, 3), "k": (4, 1, 1)}),
    "per_pixel_add_stays": Pattern(f"{_IMAGE} {{ c = Conv(x, w) y = Add(c, k) }}", "Conv Add", {"w": (4, 3, 3, 3), "k": (6, 6)}),
    "widening_mul_stays": Pattern(
        "g (float[1,3,8,8] x) => (float[2,4,6,6] y) { c = Conv(x, w) y = Mul(c, a) }", "Conv Mul", {"w": (4, 3, 3, 3), "a": (2, 1, 1, 1)}
    ),
    "div_by_a_constant": Pattern(f"{_SAME} {{ s = Sigmoid(x) y = Div(s, q) }}", "Sigmoid Mul", weights={"q": _number(2.8)}),
    "div_by_a_constant_without_reciprocal": Pattern(
        f"{_SAME} {{ s = Sigmoid(x) y = Div(s, q) }}", "Sigmoid Div", weights={"q": _number(2e38)}
    ),
    "scale_goes_into_the_conv_behind": Pattern(
        f"{_IMAGE} {{ a = Sigmoid(x) s = Mul(a, k) y = Conv(s, w, b) }}", "Sigmoid Conv", {"w": (4, 3, 3, 3), "b": (4,), "k": (3, 1, 1)}
    ),
    "scale_goes_into_a_padded_conv_of_groups_too": Pattern(
        "g (float[1,4,6,6] x) => (float[1,6,6,6] y) { a = Sigmoid(x) s = Mul(k, a) y = Conv<group=2, pads=[1,1,1,1]>(s, w) }",
        "Sigmoid Conv", {"w": (6, 2, 3, 3), "k": (1, 4, 1, 1)},
    ),
    "scale_and_shift_go_into_the_conv_behind": Pattern(
        f"{_IMAGE} {{ a = Sigmoid(x) s = Mul(a, k) t = Sub(h, s) y = Conv<auto_pad=\"VALID\">(t, w) }}",
        "Sigmoid Conv", {"w": (4, 3, 3, 3), "k": (3, 1, 1), "h": (1, 3, 1, 1)},
    ),
    "shift_stays_before_a_padded_conv": Pattern(
        f"{_SAME} {{ a = Sigmoid(x) t = Add(a, h) y = Conv<pads=[1,1,1,1]>(t, w) }}", "Sigmoid Add Conv", {"w": (4, 4, 3, 3), "h": (4, 1, 1)}
    ),
    "scale_passes_a_shift_before_a_padded_conv": Pattern(
        f"{_SAME} {{ a = Sigmoid(x) s = Mul(a, k) t = Add(h, s) y = Conv<auto_pad=\"SAME_UPPER\">(t, w) }}",
        "Sigmoid Add Conv", {"w": (4, 4, 3, 3), "k": (4, 1, 1), "h": (1, 4, 1, 1)},
    ),
    "scale_of_zero_passes_no_shift": Pattern(
        f"{_SAME} {{ a = Sigmoid(x) s = Mul(a, k) t = Add(s, h) y = Conv<pads=[1,1,1,1]>(t, w) }}",
        "Sigmoid Mul Add Conv", {"w": (4, 4, 3, 3), "h": (4, 1, 1)}, {"k": np.float32([0, 1, 2, 3]).reshape(4, 1, 1)},
    ),
    "scale_goes_into_both_layers_behind": Pattern(
        f"{_IMAGE} {{ a = Sigmoid(x) s = Mul(a, k) c = Conv(s, w) d = Conv(s, w) y = Add(c, d) }}",
        "Sigmoid Conv Conv Add", {"w": (4, 3, 3, 3), "k": (3, 1, 1)},
    ),
    "scale_that_is_read_otherwise_stays": Pattern(
        "g (float[1,3,8,8] x) => (float[1,4,6,6] y, float[1,3,8,8] s) { a = Sigmoid(x) s = Mul(a, k) y = Conv(s, w) }",
        "Sigmoid Mul Conv", {"w": (4, 3, 3, 3), "k": (3, 1, 1)},
    ),
    "scale_that_overflows_weights_stays": Pattern(
        f"{_IMAGE} {{ a = Clip(x, lo, hi) s = Mul(a, k) y = Conv(s, w) }}", "Clip Mul Conv", {},
        {"w": np.full((4, 3, 3, 3), 1e25, np.float32), "k": _number(1e20), "lo": _number(0), "hi": _number(1e-30)},
    ),
    "shift_goes_into_the_gemm_behind": Pattern(
        f"{_ROWS} {{ a = Sigmoid(x) t = Add(a, h) y = Gemm(t, w) }}", "Sigmoid Gemm", {"w": (5, 4), "h": (5,)}
    ),
    "gemm_all_attributes": Pattern(
        "g (float[5,3] x) => (float[3,4] y) { y = Gemm<transA=1, alpha=0.5, beta=2.0>(x, w, k) }", "Transpose Gemm", {"w": (5, 4), "k": (1, 4)}
    ),
    "gemm_scalar_bias": Pattern(f"{_ROWS} {{ y = Gemm(x, w, k) }}", "Gemm", {"w": (5, 4)}, {"k": _number(0.25)}),
    "gemm_column_bias": Pattern(
        "g (float[3,5] x) => (float[3,4] y) { y = Gemm<beta=0.5>(x, w, k) }", "Gemm Add", {"w": (5, 4), "k": (3, 1)}
    ),
    "gemm_of_two_inputs": Pattern(
        "g (float[3,5] x, float[4,5] z, float[3,4] k) => (float[3,4] y) { y = Gemm<transB=1, alpha=0.5, beta=3.0>(x, z, k) }",
        "Transpose MatMul Mul Mul Add",
    ),
    "matmul_then_bias": Pattern(f"{_ROWS} {{ c = MatMul(x, w) y = Add(c, k) }}", "Gemm", {"w": (5, 4), "k": (4,)}),
    "matmul_of_rank_three_stays": Pattern("g (float[1,2,5] x) => (float[1,2,4] y) { y = MatMul(x, w) }", "MatMul", {"w": (5, 4)}),
    "constant_times_input_stays": Pattern("g (float[5,3] x) => (float[4,3] y) { y = MatMul(w, x) }", "MatMul", {"w": (4, 5)}),
    "clip_without_bounds": Pattern(f"{_SAME} {{ r = Clip(x) y = Sigmoid(r) }}", "Sigmoid"),
    "clip_only_low": Pattern(f"{_SAME} {{ y = Clip(x, k) }}", "Clip", weights={"k": _number(-1)}),
    "clip_only_high": Pattern(f"{_SAME} {{ y = Clip(x, , k) }}", "Clip", weights={"k": _number(1)}),
    "clip_zero_is_relu": Pattern(f"{_SAME} {{ y = Clip(x, k) }}", "Relu", weights={"k": _number(0)}),
    "clip_attributes_of_opset_7": Pattern(f"{_SAME} {{ y = Clip<min=0.0, max=6.0>(x) }}", "Clip", opset=7),
    "clip_of_relu": Pattern(f"{_SAME} {{ r = Relu(x) y = Clip(r, k, h) }}", "Clip", weights={"k": _number(-3), "h": _number(2)}),
    "min_max_is_clip": Pattern(f"{_SAME} {{ r = Max(k, x) y = Min(r, h) }}", "Clip", weights={"k": _number(-1), "h": _number(2)}),
    "max_of_two_stays": Pattern("g (float[2,2] x, float[2,2] z) => (float[2,2] y) { y = Max(x, z) }", "Max"),
    "hardswish_from_hardsigmoid": Pattern(f"{_SAME} {{ s = HardSigmoid<alpha=0.16666667, beta=0.5>(x) y = Mul(s, x) }}", "HardSwish"),
    "layer_norm_in_pieces": Pattern(
        f"{_TOKENS} {{ {_CENTRED} q = Pow(d, two) {_DEVIATION} n = Div(d, s) m = Mul(n, g) y = Add(b, m) }}",
        "LayerNormalization", {"g": (6,), "b": (1, 6)}, _LAYER_NORM,
    ),
    "layer_norm_in_pieces_of_opset_12": Pattern(
        f"{_TOKENS} {{ a = ReduceMean<axes=[-1]>(x) d = Sub(x, a) q = Pow(d, two) v = ReduceMean<axes=[2]>(q) e = Add(v, eps) s = Sqrt(e) n = Div(d, s) "
        "m = Mul(n, g) y = Add(m, b) }", "LayerNormalization", {"g": (6,), "b": (6,)}, {"two": _number(2), "eps": _number(1e-5)}, opset=12,
    ),
    "layer_norm_by_a_reciprocal_over_two_axes": Pattern(
        f"{_TOKENS} {{ a = ReduceMean(x, both) d = Sub(x, a) c = Sub(x, a) q = Mul(c, c) v = ReduceMean(q, both) e = Add(eps, v) s = Sqrt(e) "
        "r = Reciprocal(s) n = Mul(r, d) y = Mul(n, g) }",
        "LayerNormalization", {"g": (5, 6)}, {"both": _ints(1, -1), "eps": _number(1e-5)},
    ),
    "layer_norm_by_powers_without_scale": Pattern(
        f"{_TOKENS} {{ {_CENTRED} q = Pow(d, two) v = ReduceMean(q, last) e = Add(v, eps) r = Pow(e, mhalf) n = Mul(d, r) y = Add(n, b) }}",
        "LayerNormalization", {"b": (6,)}, {**_LAYER_NORM, "mhalf": _number(-0.5)},
    ),
    "layer_norm_by_one_over_the_deviation": Pattern(
        f"{_TOKENS} {{ {_CENTRED} q = Pow(d, two) {_DEVIATION} r = Div(one, s) n = Mul(d, r) y = Mul(n, g) }}",
        "LayerNormalization", {"g": (1,)}, {**_LAYER_NORM, "one": _number(1)},
    ),
    "layer_norm_of_keras": Pattern(
        f"{_TOKENS} {{ {_CENTRED} q = Mul(d, d) {_DEVIATION} r = Reciprocal(s) f = Mul(r, g) m = Mul(x, f) k = Neg(a) p = Mul(k, f) t = Add(p, b) y = Add(m, t) }}",
        "LayerNormalization", {"g": (1, 1, 6), "b": (6,)}, _LAYER_NORM,
    ),
    "layer_norm_of_keras_by_a_difference": Pattern(
        f"{_TOKENS} {{ a = GlobalAveragePool(x) d = Sub(x, a) q = Mul(d, d) v = GlobalAveragePool(q) e = Add(v, eps) s = Sqrt(e) r = Reciprocal(s) m = Mul(r, x) "
        "p = Mul(r, a) t = Sub(b, p) y = Add(t, m) }",
        "LayerNormalization", {"b": (6,)}, _LAYER_NORM,
    ),
    "layer_norm_of_keras_without_shift": Pattern(
        f"{_TOKENS} {{ {_CENTRED} q = Mul(d, d) {_DEVIATION} r = Reciprocal(s) f = Mul(r, g) m = Mul(x, f) k = Neg(a) p = Mul(k, f) y = Add(m, p) }}",
        "LayerNormalization", {"g": (6,)}, _LAYER_NORM,
    ),
    "product_minus_another_mean_stays": Pattern(
        f"{_TOKENS} {{ {_CENTRED} q = Mul(d, d) {_DEVIATION} r = Reciprocal(s) m = Mul(x, r) k = Neg(v) p = Mul(k, r) y = Add(m, p) }}",
        "ReduceMean Sub Mul ReduceMean Add Sqrt Reciprocal Mul Neg Mul Add", {}, _LAYER_NORM,
    ),
    "layer_norm_scaled_along_another_axis": Pattern(
        f"{_TOKENS} {{ {_CENTRED} q = Pow(d, two) {_DEVIATION} n = Div(d, s) y = Mul(n, g) }}",
        "LayerNormalization Mul", {"g": (5, 1)}, _LAYER_NORM,
    ),
    "normalization_over_a_middle_axis_stays": Pattern(
        f"{_TOKENS} {{ a = ReduceMean(x, mid) d = Sub(x, a) q = Pow(d, two) v = ReduceMean(q, mid) e = Add(v, eps) s = Sqrt(e) y = Div(d, s) }}",
        "ReduceMean Sub Pow ReduceMean Add Sqrt Div", {}, {**_LAYER_NORM, "mid": _ints(1)},
    ),
    "deviation_that_is_read_again_stays": Pattern(
        f"{_TOKENS} {{ {_CENTRED} q = Pow(d, two) {_DEVIATION} n = Div(d, s) y = Add(n, s) }}",
        "ReduceMean Sub Pow ReduceMean Add Sqrt Div Add", {}, _LAYER_NORM,
    ),
    "root_mean_square_of_the_input_itself_stays": Pattern(
        f"{_TOKENS} {{ {_CENTRED} q = Pow(x, two) {_DEVIATION} y = Div(d, s) }}",
        "ReduceMean Sub Pow ReduceMean Add Sqrt Div", {}, _LAYER_NORM,
    ),
    "other_hardsigmoid_stays": Pattern(f"{_SAME} {{ s = HardSigmoid<alpha=0.2, beta=0.5>(x) y = Mul(s, x) }}", "HardSigmoid Mul"),
    "hardswish_mul_then_div": Pattern(
        f"{_SAME} {{ a = Add(x, t) c = Clip(a, z, s) p = Mul(x, c) y = Div(p, s) }}",
        "HardSwish", weights={"t": _number(3), "z": _number(0), "s": _number(6)},
    ),
    "hardswish_div_then_mul": Pattern(
        f"{_SAME} {{ a = Add(x, t) c = Clip(a, z, s) d = Div(c, s) y = Mul(x, d) }}",
        "HardSwish", weights={"t": _number(3), "z": _number(0), "s": _number(6)},
    ),
    "hardswish_times_a_sixth": Pattern(
        f"{_SAME} {{ a = Add(t, x) c = Clip(a, z, s) d = Mul(q, c) y = Mul(d, x) }}",
        "HardSwish", weights={"t": _number(3), "z": _number(0), "s": _number(6), "q": _number(1 / 6)},
    ),
    "hardsigmoid_from_clip_after_conv": Pattern(
        f"{_IMAGE} {{ k = Conv(x, w) a = Add(k, t) c = Clip(a, z, s) y = Div(c, s) }}",
        "Conv HardSigmoid", {"w": (4, 3, 3, 3)}, {"t": _number(3), "z": _number(0), "s": _number(6)},
    ),
    "identity_and_dropout": Pattern(f"{_SAME} {{ a = Identity(x) d = Dropout(a) r = Relu(d) y = Identity(r) }}", "Relu"),
    "dropout_of_opset_9": Pattern(f"{_SAME} {{ d = Dropout<ratio=0.5>(x) y = Relu(d) }}", "Relu", opset=9),
    "flatten_as_shape_arithmetic": Pattern(
        "g (float[1,4,6,6] x) => (float[1,144] y) { s = Shape(x) n = Gather(s, i) u = Unsqueeze(n, j) c = Concat<axis=0>(u, m) y = Reshape(x, c) }",
        "Reshape", weights={"i": np.asarray(0, dtype=np.int64), "j": _ints(0), "m": _ints(-1)},
    ),
    "weight_behind_transpose": Pattern(
        f"{_ROWS} {{ t = Transpose<perm=[1,0]>(w) y = MatMul(x, t) }}", "Gemm", {"w": (4, 5)}
    ),
    "constant_nodes": Pattern(f"{_SAME} {{ k = Constant<value_float=2.0>() y = Mul(x, k) }}", "Mul"),
    "same_upper_conv": Pattern(
        "g (float[1,3,9,8] x) => (float[1,4,5,4] y) { y = Conv<auto_pad=\"SAME_UPPER\", strides=[2,2]>(x, w) }", "Conv", {"w": (4, 3, 4, 3)}
    ),
    "same_lower_pool": Pattern(
        "g (float[1,3,9,8] x) => (float[1,3,5,4] y) { y = MaxPool<auto_pad=\"SAME_LOWER\", kernel_shape=[4,3], strides=[2,2]>(x) }", "MaxPool"
    ),
    "valid_conv": Pattern(
        "g (float[1,3,9,8] x) => (float[1,4,3,3] y) { y = Conv<auto_pad=\"VALID\", strides=[2,2]>(x, w) }", "Conv", {"w": (4, 3, 4, 3)}
    ),
    "same_lower_transpose": Pattern(
        "g (float[1,3,5,5] x) => (float[1,4,10,10] y) { y = ConvTranspose<auto_pad=\"SAME_LOWER\", strides=[2,2]>(x, w) }",
        "ConvTranspose", {"w": (3, 4, 3, 3)},
    ),
    "same_upper_transpose": Pattern(
        "g (float[1,3,5,5] x) => (float[1,4,10,10] y) { y = ConvTranspose<auto_pad=\"SAME_UPPER\", strides=[2,2]>(x, w) }",
        "ConvTranspose", {"w": (3, 4, 3, 3)},
    ),
    "transpose_with_output_shape": Pattern(
        "g (float[1,3,5,5] x) => (float[1,4,10,10] y) { y = ConvTranspose<output_shape=[10,10], strides=[2,2]>(x, w) }",
        "ConvTranspose", {"w": (3, 4, 3, 3)},
    ),
    "reduce_mean_axes_of_opset_13": Pattern(
        "g (float[1,4,6,6] x) => (float[1,4] y) { y = ReduceMean<axes=[-1,-2], keepdims=0>(x) }", "ReduceMean", opset=13
    ),
    "reduce_mean_of_all": Pattern("g (float[2,3] x) => (float[1,1] y) { y = ReduceMean(x) }", "ReduceMean"),
    "squeeze_and_unsqueeze_of_opset_11": Pattern(
        "g (float[1,4,1,6] x) => (float[1,4,6] y) { s = Squeeze(x) y = Unsqueeze<axes=[0]>(s) }", "Squeeze Unsqueeze", opset=11
    ),
    "slice_of_opset_9": Pattern("g (float[1,4,6,6] x) => (float[1,2,6,5] y) { y = Slice<axes=[1,-1], starts=[1,0], ends=[3,-1]>(x) }", "Slice", opset=9),
    "slice_backwards": Pattern(
        "g (float[1,7] x) => (float[1,4] y) { y = Slice(x, s, e, a, t) }",
        "Slice", weights={"s": _ints(-1), "e": _ints(-1000), "a": _ints(-1), "t": _ints(-2)},
    ),
    "pad_of_opset_9": Pattern("g (float[1,2,3,3] x) => (float[1,2,4,5] y) { y = Pad<pads=[0,0,1,0,0,0,0,2], value=1.5>(x) }", "Pad", opset=9),
    "pad_some_axes": Pattern(
        "g (float[1,2,3,3] x) => (float[1,2,3,6] y) { y = Pad(x, p, , a) }", "Pad", weights={"p": _ints(1, 2), "a": _ints(-1)}
    ),
    "split_in_two": Pattern(
        "g (float[1,6,2] x) => (float[1,3,2] y, float[1,3,2] z) { y, z = Split<axis=-2, num_outputs=2>(x) }", "Split"
    ),
    "split_of_opset_7": Pattern(
        "g (float[1,6,2] x) => (float[1,4,2] y, float[1,2,2] z) { y, z = Split<axis=1, split=[4,2]>(x) }", "Split", opset=7
    ),
    "softmax_of_opset_11_flattens": Pattern("g (float[2,3,4] x) => (float[2,3,4] y) { y = Softmax<axis=1>(x) }", "Flatten Softmax Reshape", opset=11),
    "softmax_of_last_axis_of_opset_11": Pattern("g (float[2,3] x) => (float[2,3] y) { y = Softmax<axis=1>(x) }", "Softmax", opset=11),
    "upsample_of_opset_9": Pattern(
        "g (float[1,2,3,3] x) => (float[1,2,6,6] y) { y = Upsample<mode=\"nearest\">(x, s) }",
        "Resize", weights={"s": np.asarray([1, 1, 2, 2], np.float32)}, opset=9,
    ),
    "prelu_and_others_of_opset_7": Pattern(
        "g (float[1,4,6,6] x) => (float[1,4,3,3] y) { p = PRelu(x, s) l = LeakyRelu<alpha=0.1>(p) t = Tanh(l) y = AveragePool<kernel_shape=[2,2], strides=[2,2]>(t) }",
        "PRelu LeakyRelu Tanh AveragePool", {"s": (4, 1, 1)}, opset=7,
    ),
    "opset_22": Pattern(
        "g (float[1,4,6,6] x) => (float[1,4,3,3] y) { h = HardSwish(x) y = MaxPool<kernel_shape=[2,2], strides=[2,2]>(h) }", "HardSwish MaxPool", opset=22
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PATTERNS)
def test_pattern_is_recognised_and_computes_the_same(name: str, tmp_path: Path) -> None:
    pattern = PATTERNS[name]
    seed = sum(map(ord, name))
    proto = model_proto(
        pattern.text, opset=pattern.opset, **random_weights(seed, **pattern.shapes), **pattern.weights
    )
    model = load(saved(tmp_path, proto))
    assert " ".join(op_types(model)) == pattern.leaves
    feeds = random_feeds(model, seed)
    for got, want in zip(run(export_onnx(model), feeds), run(proto.SerializeToString(), feeds), strict=True):
        assert got.shape == want.shape
        assert np.abs(got - want).max() <= 2e-6 * np.abs(want).max()
