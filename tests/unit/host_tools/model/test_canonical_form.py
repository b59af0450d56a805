"""Canonical form, sentence by sentence, over small graphs as exporters write them; and the same outputs as the source."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx.parser
import pytest
from canonical_form import check_canonical
from onnx_models import model_proto, op_types, random_feeds, random_weights, run, saved
from test_model_patterns import PATTERNS

from host_tools.model import export_onnx, load

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_TOLERANCE = 5e-6  # relative to the largest output: folding rounds weights once more


@dataclass(frozen=True)
class Graph:
    text: str
    weights: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    random: dict[str, tuple[int, ...]] = field(default_factory=dict)
    opset: int = 18
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    functions: str = ""

    def proto(self, seed: int) -> onnx.ModelProto:
        if self.functions:
            text = (
                f'<ir_version: 8, opset_import: ["": {self.opset}, "local": 1]> {self.text} {self.functions}'
            )
            proto = onnx.parser.parse_model(text)
            weights = {**random_weights(seed, **self.random), **self.weights}
            proto.graph.initializer.extend(
                onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()
            )
            return proto
        return model_proto(self.text, opset=self.opset, **random_weights(seed, **self.random), **self.weights)


def _ints(*values: int) -> NDArray[np.generic]:
    return np.asarray(values, np.int64)


def _index(value: int) -> NDArray[np.generic]:
    return np.asarray(value, np.int64)


def _float(value: float) -> NDArray[np.generic]:
    return np.asarray(value, np.float32)


_POSITIVE = np.linspace(0.5, 1.5, 4, dtype=np.float32)
_BN = {"g": (4,), "b": (4,), "m": (4,)}
_CONV_BN = {"w": (4, 3, 3, 3), **_BN}


def _network(opset: int) -> Graph:
    """Conv, BatchNormalization, clamp, pad, pool, mean, dropout and Gemm, in the forms that each opset knows."""
    old_clip, old_pad, old_axes, old_mean = opset < 11, opset < 11, opset < 13, opset < 18
    clip = "Clip<min=0.0, max=6.0>(n)" if old_clip else "Clip(n, lo, hi)"
    pad = "Pad<pads=[0,0,1,1,0,0,1,1]>(r)" if old_pad else "Pad(r, pp)"
    squeeze = "Squeeze<axes=[3]>(e)" if old_axes else "Squeeze(e, ax)"
    mean = "ReduceMean<axes=[-1], keepdims=0>(q)" if old_mean else "ReduceMean<keepdims=0>(q, ay)"
    text = (
        "net (float[1,3,8,8] x) => (float[1,5] y) { c = Conv<pads=[1,1,1,1], strides=[2,2]>(x, w) "
        f"n = BatchNormalization(c, g, b, m, v) r = {clip} p = {pad} d = AveragePool<kernel_shape=[2,6]>(p) "
        f"e = Identity(d) q = {squeeze} k = {mean} "
        "u = Dropout(k) i = LeakyRelu(u) y = Gemm<transB=1>(i, f, o) }"
    )
    weights: dict[str, NDArray[np.generic]] = {"v": _POSITIVE}
    if not old_clip:
        weights |= {"lo": _float(0), "hi": _float(6)}
    if not old_pad:
        weights["pp"] = _ints(0, 0, 1, 1, 0, 0, 1, 1)
    if not old_axes:
        weights["ax"] = _ints(-1)
    if not old_mean:
        weights["ay"] = _ints(-1)
    return Graph(text, weights, {**_CONV_BN, "f": (5, 4), "o": (5,)}, opset)


GRAPHS = {
    **{f"network_of_opset_{opset}": _network(opset) for opset in range(7, 23)},
    "view_by_size": Graph(
        """g (float[N,4,3,3] x) => (float[N,36] y) { s = Shape(x) n = Gather<axis=0>(s, i) u = Unsqueeze(n, z)
        c = Concat<axis=0>(u, m) r = Relu(x) y = Reshape(r, c) }""",
        {"i": _index(0), "z": _ints(0), "m": _ints(-1)}, shapes={"x": (2, 4, 3, 3)},
    ),
    "channel_shuffle": Graph(
        """g (float[N,4,H,W] x) => (float[N,4,H,W] y) { s = Shape(x) n = Slice(s, a, b) hw = Slice(s, d, e)
        v = Concat<axis=0>(n, two, half, hw) p = Reshape(x, v) t = Transpose<perm=[0,2,1,3,4]>(p)
        c4 = Mul(two, half) o = Concat<axis=0>(n, c4, hw) q = Reshape(t, o) y = Sigmoid(q) }""",
        {"a": _ints(0), "b": _ints(1), "d": _ints(2), "e": _ints(4), "two": _ints(2), "half": _ints(2)}, shapes={"x": (1, 4, 6, 5)},
    ),
    "upsample_to_the_size_of_another": Graph(
        """g (float[1,2,3,4] x, float[1,2,7,9] z) => (float[1,2,7,9] y) { s = Shape(z) hw = Slice(s, d, e) t = Shape(x) nc = Slice(t, a, b)
        o = Concat<axis=0>(nc, hw) r = Resize<mode="linear", coordinate_transformation_mode="half_pixel">(x, , , o) y = Add(r, z) }""",
        {"a": _ints(0), "b": _ints(2), "d": _ints(2), "e": _ints(4)},
    ),
    "scale_by_floor_of_float_size": Graph(
        """g (float[1,2,3,4] x) => (float[1,2,6,8] y) { s = Shape(x) i = Gather<axis=0>(s, k) f = Cast<to=1>(i) d = Mul(f, two) l = Floor(d)
        j = Cast<to=7>(l) n = Gather<axis=0>(s, h) o = Concat<axis=0>(n, j) y = Resize<mode="nearest">(x, , , o) }""",
        {"k": _ints(2, 3), "h": _ints(0, 1), "two": _float(2)},
    ),
    "padding_as_torch_writes_it": Graph(
        """g (float[1,2,3,4] x) => (float[1,2,5,7] y) { z = ConstantOfShape(n) c = Concat<axis=0>(p, z) r = Reshape(c, two)
        f = Slice(r, s, e, a, t) q = Transpose<perm=[1,0]>(f) w = Reshape(q, flat) i = Cast<to=7>(w) y = Pad<mode="constant">(x, i, k) }""",
        {
            "n": _ints(4), "p": np.asarray([1, 2, 1, 1], np.float32), "two": _ints(-1, 2), "s": _ints(-1), "e": _ints(-1000), "a": _ints(0),
            "t": _ints(-1), "flat": _ints(-1), "k": _float(0.5),
        },
    ),
    "squeeze_and_excite": Graph(
        """g (float[1,3,6,6] x) => (float[1,4,4,4] y) { c = Conv(x, w) n = BatchNormalization(c, g, b, m, v) s = ReduceMean<keepdims=1>(n, ax)
        d = Conv(s, wd, bd) r = Relu(d) u = Conv(r, wu) h = HardSigmoid<alpha=0.16666667>(u) y = Mul(n, h) }""",
        {"v": _POSITIVE, "ax": _ints(-1, -2)}, {**_CONV_BN, "wd": (2, 4, 1, 1), "bd": (2,), "wu": (4, 2, 1, 1)},
    ),
    "mobilenet_v3_block": Graph(
        """g (float[1,3,6,6] x) => (float[1,4,4,4] y) { c = Conv(x, w) n = BatchNormalization(c, g, b, m, v) a = Add(n, three) k = Clip(a, zero, six)
        q = Div(k, six) h = Mul(n, q) y = Conv<group=4, auto_pad="SAME_UPPER">(h, wd) }""",
        {"v": _POSITIVE, "three": _float(3), "zero": _float(0), "six": _float(6)}, {**_CONV_BN, "wd": (4, 1, 3, 3)},
    ),
    "batchnorm_first": Graph(
        "g (float[1,4,6,6] x) => (float[1,2,4,4] y) { n = BatchNormalization(x, g, b, m, v) y = Conv(n, w) }", {"v": _POSITIVE}, {**_BN, "w": (2, 4, 3, 3)}
    ),
    "batchnorm_twice": Graph(
        "g (float[1,3,6,6] x) => (float[1,4,4,4] y) { c = Conv(x, w) n = BatchNormalization(c, g, b, m, v) y = BatchNormalization(n, b, m, g, v) }",
        {"v": _POSITIVE}, _CONV_BN,
    ),
    "batchnorm_after_relu": Graph(
        "g (float[1,3,6,6] x) => (float[1,4,4,4] y) { c = Conv(x, w) r = Relu(c) y = BatchNormalization(r, g, b, m, v) }", {"v": _POSITIVE}, _CONV_BN
    ),
    "batchnorm_after_dropout_of_conv": Graph(
        "g (float[1,3,6,6] x) => (float[1,4,4,4] y) { c = Conv(x, w) d = Dropout(c) y = BatchNormalization(d, g, b, m, v) }", {"v": _POSITIVE}, _CONV_BN
    ),
    "batchnorm_of_a_conv_that_is_an_output_too": Graph(
        "g (float[1,3,6,6] x) => (float[1,4,4,4] c, float[1,4,4,4] y) { c = Conv(x, w) y = BatchNormalization(c, g, b, m, v) }", {"v": _POSITIVE}, _CONV_BN
    ),
    "batchnorm_of_rank_three": Graph(
        "g (float[1,4,9] x) => (float[1,4,7] y) { c = Conv(x, w) y = BatchNormalization(c, g, b, m, v) }", {"v": _POSITIVE}, {**_BN, "w": (4, 4, 3)}
    ),
    "batchnorm_after_concat": Graph(
        "g (float[1,2,3,3] x, float[1,2,3,3] z) => (float[1,4,3,3] y) { c = Concat<axis=-3>(x, z) y = BatchNormalization(c, g, b, m, v) }",
        {"v": _POSITIVE}, _BN,
    ),
    "batchnorm_after_pool_then_transpose_conv": Graph(
        """g (float[1,4,6,6] x) => (float[1,2,6,6] y) { p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(x) n = BatchNormalization(p, g, b, m, v)
        y = ConvTranspose<strides=[2,2]>(n, w) }""",
        {"v": _POSITIVE}, {**_BN, "w": (4, 2, 2, 2)},
    ),
    "weights_shared_by_two_heads": Graph(
        "g (float[1,3,6,6] x, float[1,3,5,5] z) => (float[1,4,4,4] y, float[1,4,3,3] u) { y = Conv(x, w, k) u = Conv(z, w, k) }", {},
        {"w": (4, 3, 3, 3), "k": (4,)},
    ),
    "weights_tied_to_an_embedding_like_use": Graph(
        "g (float[1,5] x, float[4,5] z) => (float[1,4] y, float[4,5] u) { y = Gemm<transB=1>(x, w, k) u = Add(z, w) }", {}, {"w": (4, 5), "k": (4,)}
    ),
    "weight_and_bias_are_one_tensor": Graph("g (float[1,1] x) => (float[1,4] y) { y = Gemm<transB=1>(x, w, k) }", {}, {"w": (4, 1), "k": (4,)}),
    "gemm_without_bias": Graph("g (float[2,5] x) => (float[2,4] y) { y = Gemm<transB=1>(x, w) }", {}, {"w": (4, 5)}),
    "gemm_with_one_output": Graph("g (float[2,5] x) => (float[2,1] y) { y = Gemm<transB=1>(x, w, k) }", {"k": np.ones(1, np.float32)}, {"w": (1, 5)}),
    "gemm_with_alpha_only": Graph("g (float[2,5] x) => (float[2,4] y) { y = Gemm<alpha=0.25>(x, w) }", {}, {"w": (5, 4)}),
    "gemm_with_computed_addend": Graph("g (float[2,5] x, float[2,4] z) => (float[2,4] y) { y = Gemm<beta=2.0>(x, w, z) }", {}, {"w": (5, 4)}),
    "matmul_of_rows_twice": Graph("g (float[2,5] x) => (float[2,3] y) { h = MatMul(x, w) r = Relu(h) y = MatMul(r, u) }", {}, {"w": (5, 4), "u": (4, 3)}),
    "matmul_by_a_vector": Graph("g (float[2,5] x) => (float[2] y) { y = MatMul(x, w) }", {}, {"w": (5,)}),
    "matmul_of_a_vector": Graph("g (float[5] x) => (float[3] y) { y = MatMul(x, w) }", {}, {"w": (5, 3)}),
    "matmul_of_vectors": Graph("g (float[5] x) => (float y) { y = MatMul(x, w) }", {}, {"w": (5,)}),
    "matmul_of_many_rows_by_a_vector": Graph("g (float[2,3,5] x) => (float[2,3] y) { y = MatMul(x, w) }", {}, {"w": (5,)}),
    "matmul_of_a_computed_vector": Graph("g (float[2,3,5] x, float[3] z) => (float[2,5] y) { y = MatMul(z, x) }"),
    "matmul_of_two_inputs": Graph("g (float[2,3,5] x, float[2,5,4] z) => (float[2,3,4] y) { y = MatMul(x, z) }"),
    "attention": Graph(
        """g (float[1,6,8] x) => (float[1,6,8] y) { q = MatMul(x, wq) k = MatMul(x, wk) v = MatMul(x, wv) t = Transpose<perm=[0,2,1]>(k)
        s = MatMul(q, t) d = Div(s, r) a = Softmax<axis=-1>(d) y = MatMul(a, v) }""",
        {"r": _float(2.8284)}, {"wq": (8, 8), "wk": (8, 8), "wv": (8, 8)},
    ),
    "conv_without_bias_dilated_grouped": Graph("g (float[1,4,9,9] x) => (float[1,6,5,5] y) { y = Conv<group=2, dilations=[2,2]>(x, w) }", {}, {"w": (6, 2, 3, 3)}),
    "transpose_conv_without_bias_grouped": Graph(
        "g (float[1,4,3,3] x) => (float[1,6,7,7] y) { y = ConvTranspose<group=2, strides=[2,2]>(x, w) }", {}, {"w": (4, 3, 3, 3)}
    ),
    "conv_with_an_empty_bias_slot": Graph("g (float[1,3,6,6] x) => (float[1,4,4,4] y) { y = Conv(x, w, ) }", {}, {"w": (4, 3, 3, 3)}),
    "conv_with_a_computed_weight": Graph("g (float[1,3,6,6] x, float[4,3,3,3] w) => (float[1,4,4,4] y) { y = Conv(x, w) }"),
    "clip_above_nothing": Graph("g (float[2,3] x) => (float[2,3] y) { c = Clip(x, lo) y = Tanh(c) }", {"lo": _float(-np.inf)}),
    "clip_written_as_relu_and_min": Graph("g (float[2,3] x) => (float[2,3] y) { r = Relu(x) y = Min(r, six) }", {"six": _float(6)}),
    "clip_read_twice": Graph("g (float[2,3] x) => (float[2,3] y, float[2,3] z) { r = Relu(x) y = Clip(r, lo, hi) z = Neg(r) }", {"lo": _float(-1), "hi": _float(2)}),
    "min_with_a_vector_of_bounds": Graph("g (float[2,3] x) => (float[2,3] y) { y = Min(x, k) }", {"k": np.asarray([1, np.inf, 2], np.float32)}),
    "where_and_expand_fold": Graph(
        """g (float[1,3,4] x) => (float[1,3,4] y) { s = Shape(x) e = Expand(k, s) z = ConstantOfShape(s) c = Equal(e, z) w = Where(c, e, k) y = Mul(x, w) }""",
        {"k": _float(2)},
    ),
    "range_and_gather_fold": Graph(
        """g (float[1,6] x) => (float[1,6] y) { s = Shape(x) n = Gather<axis=0>(s, i) r = Range(zero, n, one) f = Cast<to=1>(r) y = Add(x, f) }""",
        {"i": _index(1), "zero": _index(0), "one": _index(1)},
    ),
    "constants_that_are_split": Graph(
        "g (float[1,4] x) => (float[1,2] y) { a, b = Split<axis=-1, num_outputs=2>(w) c = MatMul(x, a) d = MatMul(x, b) y = Add(c, d) }", {}, {"w": (4, 4)}
    ),
    "large_weight_behind_arithmetic": Graph(
        """g (float[1,9] x) => (float[1,700] y) { m = Mul(w, s) r = Reshape(m, z) t = Transpose<perm=[1,0]>(r) y = MatMul(x, t) }""",
        {"z": _ints(700, 9)}, {"w": (700, 3, 3), "s": (700, 1, 1)},
    ),
    "large_fill": Graph(
        "g (float[1,600] x) => (float[1,700] y) { c = ConstantOfShape<value=float[1] {0.01}>(n) y = MatMul(x, c) }", {"n": _ints(600, 700)}
    ),
    "constant_condition": Graph(
        """g (float[1,3] x) => (float[1,3] y) { y = If(c) <then_branch = t () => (float[1,3] a) { a = Relu(x) }, else_branch = e () => (float[1,3] b) { b = Neg(x) }> }""",
        {"c": np.asarray(True)},
    ),
    "functions_in_functions": Graph(
        "g (float[1,4] x) => (float[1,3] y) { h = local.Block(x, w) y = local.Twice(h) }", {}, {"w": (4, 3)},
        functions="""<domain: "local", opset_import: ["": 18, "local": 1]> Twice (a) => (c) { b = Relu(a) c = Add(b, b) }
        <domain: "local", opset_import: ["": 18, "local": 1]> Block (a, v) => (c) { b = MatMul(a, v) c = local.Twice(b) }""",
    ),
    "split_and_concat": Graph(
        "g (float[1,6,2] x) => (float[1,6,2] y) { a, b, c = Split<axis=1>(x, s) r = Relu(b) y = Concat<axis=-2>(c, r, a) }", {"s": _ints(1, 2, 3)}
    ),
    "a_value_named_as_what_we_would_add": Graph(
        "g (float[1,3,6,6] x) => (float[1,4,4,4] y) { w_bias = Relu(x) y = Conv(w_bias, w) }", {}, {"w": (4, 3, 3, 3)}
    ),
    "dynamic_in_every_axis": Graph(
        "g (float[N,3,H,W] x) => (float[N,4,A,B] y) { c = Conv<pads=[1,1,1,1]>(x, w) r = Relu(c) y = MaxPool<kernel_shape=[2,2], strides=[2,2], ceil_mode=1>(r) }",
        {}, {"w": (4, 3, 3, 3)}, shapes={"x": (2, 3, 7, 5)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GRAPHS)
def test_form_and_outputs(name: str, tmp_path: Path) -> None:
    graph, seed = GRAPHS[name], sum(map(ord, name))
    proto = graph.proto(seed)
    model = load(saved(tmp_path, proto), shapes=graph.shapes)
    content = export_onnx(model)
    check_canonical(content)
    for offset in range(2):
        feeds = random_feeds(model, seed + offset)
        for got, want in zip(run(content, feeds), run(proto.SerializeToString(), feeds), strict=True):
            assert got.shape == want.shape
            assert got.dtype == want.dtype
            assert np.abs(got - want).max() <= _TOLERANCE * max(1.0, np.abs(want).max())


@pytest.mark.parametrize("name", PATTERNS)
def test_form_of_every_pattern(name: str, tmp_path: Path) -> None:
    pattern = PATTERNS[name]
    weights = {**random_weights(1, **pattern.shapes), **pattern.weights}
    check_canonical(
        export_onnx(load(saved(tmp_path, model_proto(pattern.text, opset=pattern.opset, **weights))))
    )


def test_external_data_gives_the_same_model(tmp_path: Path) -> None:
    proto = GRAPHS["network_of_opset_18"].proto(1)
    inside = load(saved(tmp_path, proto, "inside.onnx"), name="net")
    (tmp_path / "sub").mkdir()
    outside = tmp_path / "sub" / "outside.onnx"
    onnx.save_model(proto, outside, save_as_external_data=True, location="w.bin", size_threshold=0)
    model = load(outside, name="net")
    check_canonical(export_onnx(model))
    assert export_onnx(model) == export_onnx(inside)


def test_biases_are_zeros_and_said(tmp_path: Path) -> None:
    model = load(saved(tmp_path, GRAPHS["weights_shared_by_two_heads"].proto(1)))
    assert not [note for note in model.notes if "zero biases" in note]
    model = load(saved(tmp_path, GRAPHS["attention"].proto(1)))
    assert not [note for note in model.notes if "zero biases" in note], "MatMul takes none"
    model = load(saved(tmp_path, GRAPHS["transpose_conv_without_bias_grouped"].proto(1)))
    assert "Added zero biases to 1 operators without one." in model.notes
    (bias,) = (value for name, value in model.graph.graph.initializers.items() if name == "w_bias")
    assert bias.const_value is not None
    assert np.array_equal(bias.const_value.numpy(), np.zeros(6, np.float32))


def test_loading_what_was_exported_changes_nothing(tmp_path: Path) -> None:
    first = load(saved(tmp_path, GRAPHS["mobilenet_v3_block"].proto(1)))
    path = tmp_path / "again.onnx"
    path.write_bytes(export_onnx(first))
    again = load(path)
    assert not again.notes
    assert op_types(again) == op_types(first)
    assert export_onnx(again) == export_onnx(first)


def test_fixed_shapes_reach_every_value(tmp_path: Path) -> None:
    model = load(saved(tmp_path, GRAPHS["dynamic_in_every_axis"].proto(1)), shapes={"x": (2, 3, 7, 5)})
    assert [spec.shape for spec in model.outputs] == [(2, 4, 4, 3)]
    assert [spec.shape for spec in model.inputs] == [(2, 3, 7, 5)]
