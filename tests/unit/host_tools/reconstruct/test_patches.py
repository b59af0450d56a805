"""What `Patches` gathers, times the weights, plus the bias, is what ONNX Runtime gives."""

from __future__ import annotations

import numpy as np
import pytest

from host_tools.model import load
from host_tools.model.topology import bias_of, constant, weight_of
from host_tools.reconstruct.patches import Patches
from tests.unit.host_tools.model.onnx_models import model_proto, random_weights, run, saved

CONVOLUTIONS = {
    "plain": ((1, 4, 7, 7), (6, 4, 3, 3), ""),
    "pointwise": ((1, 4, 5, 6), (6, 4, 1, 1), ""),
    "strided": ((1, 4, 9, 8), (6, 4, 3, 3), "<strides = [2, 3]>"),
    "dilated": ((1, 4, 11, 9), (6, 4, 3, 2), "<dilations = [2, 3], pads = [1, 1, 1, 1]>"),
    "uneven": (
        (1, 4, 6, 7),
        (6, 4, 3, 2),
        "<pads = [2, 0, 1, 3], strides = [2, 1], dilations = [2, 1]>",
    ),
    "grouped": ((1, 6, 6, 6), (4, 3, 3, 3), "<group = 2, pads = [1, 1, 1, 1]>"),
    "depthwise": ((1, 4, 6, 6), (4, 1, 3, 3), "<group = 4, pads = [1, 1, 1, 1]>"),
    "depthwise_multiplied": ((1, 4, 6, 6), (8, 1, 3, 3), "<group = 4, pads = [1, 1, 1, 1]>"),
    "one_axis": ((1, 4, 15), (6, 4, 4), "<strides = [2], pads = [0, 3]>"),
    "three_axes": (
        (1, 2, 4, 5, 6),
        (3, 2, 2, 3, 2),
        "<strides = [1, 2, 1], pads = [1, 0, 1, 0, 2, 0]>",
    ),
    "batch": ((3, 4, 6, 6), (6, 4, 3, 3), "<pads = [1, 1, 1, 1]>"),
    "batch_grouped": ((2, 4, 6, 5), (6, 2, 3, 3), "<group = 2, strides = [2, 2]>"),
    "only_padding_at_the_rim": ((1, 3, 1, 1), (5, 3, 3, 3), "<pads = [1, 1, 1, 1]>"),
    "larger_than_its_input": ((1, 3, 2, 2), (5, 3, 5, 5), "<pads = [3, 3, 3, 3], strides = [2, 2]>"),
}

TRANSPOSED = {
    "plain": ((1, 4, 5, 5), (4, 3, 2, 2), ""),
    "strided": ((1, 4, 5, 6), (4, 3, 3, 2), "<strides = [2, 3]>"),
    "dilated": ((1, 4, 5, 6), (4, 3, 3, 2), "<dilations = [2, 3], strides = [3, 2], pads = [1, 2, 0, 1]>"),
    "padded": (
        (1, 4, 5, 6),
        (4, 3, 3, 3),
        "<pads = [1, 0, 2, 1], strides = [2, 2], output_padding = [1, 0]>",
    ),
    "grouped": ((1, 6, 4, 4), (6, 2, 3, 3), "<group = 3, strides = [2, 2]>"),
    "depthwise": ((2, 4, 4, 5), (4, 1, 2, 3), "<group = 4, strides = [2, 2]>"),
    "same": ((1, 4, 5, 6), (4, 3, 3, 3), '<auto_pad = "SAME_UPPER", strides = [2, 2]>'),
    "one_axis": ((1, 4, 7), (4, 3, 4), "<strides = [2], pads = [1, 2]>"),
}

OTHERS = {
    "gemm": ((1, 7), "y = Gemm <transB = 1> (x, w, b)", {"w": (5, 7), "b": (5,)}),
    "gemm_of_many": ((6, 7), "y = Gemm <transB = 1> (x, w, b)", {"w": (5, 7), "b": (5,)}),
    "matmul": ((1, 4, 7), "y = MatMul (x, w)", {"w": (7, 5)}),
    "matmul_of_four_axes": ((2, 3, 4, 7), "y = MatMul (x, w)", {"w": (7, 5)}),
}

AUTO_PADS = {
    kind: f"<auto_pad = {kind!r}, strides = [2, 2]>".replace("'", '"')
    for kind in ("SAME_UPPER", "SAME_LOWER", "VALID")
}


def shape(extents):
    return ",".join(map(str, extents))


def gathered(folder, text, source_shape, weights):
    """Return what a network of one operator gives and what its patches come to, both (outputs, places), and the patches."""
    proto = model_proto(
        f"net (float[{shape(source_shape)}] x) => (float y) {{ {text} }}",
        **random_weights(5, **weights),
    )
    model = load(saved(folder, proto))
    (node,) = model.graph.graph
    source = np.random.default_rng(2).normal(0, 1, source_shape).astype(np.float32)
    (result,) = run(proto.SerializeToString(), {"x": source})
    patches = Patches.of(node)
    assert patches is not None
    places = np.arange(patches.places)
    rows = patches.weights(np.asarray(constant(weight_of(node)), np.float64))
    assert (patches.as_weight(rows) == constant(weight_of(node))).all()
    found = rows @ patches.inputs_at(source, places)
    if bias_of(node) is not None:
        found = found + np.asarray(constant(bias_of(node)), np.float64).reshape(patches.groups, -1, 1)
    wanted = patches.outputs_at(result, places)
    assert wanted.size == result.size
    return wanted, found, patches, source


@pytest.mark.parametrize("kind", list(CONVOLUTIONS))
@pytest.mark.parametrize("bias", [True, False])
def test_convolutions(tmp_path, kind, bias):
    source, weight, attributes = CONVOLUTIONS[kind]
    text = f"y = Conv {attributes} (x, w{', b' if bias else ''})"
    weights = {"w": weight, **({"b": weight[:1]} if bias else {})}
    wanted, found, *_ = gathered(tmp_path, text, source, weights)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", list(TRANSPOSED))
@pytest.mark.parametrize("bias", [True, False])
def test_transposed_convolutions(tmp_path, kind, bias):
    source, weight, attributes = TRANSPOSED[kind]
    groups = {"grouped": 3, "depthwise": 4}.get(kind, 1)
    text = f"y = ConvTranspose {attributes} (x, w{', b' if bias else ''})"
    weights = {"w": weight, **({"b": (weight[1] * groups,)} if bias else {})}
    wanted, found, *_ = gathered(tmp_path, text, source, weights)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", list(OTHERS))
def test_products_of_matrices(tmp_path, kind):
    source, text, weights = OTHERS[kind]
    wanted, found, *_ = gathered(tmp_path, text, source, weights)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", list(AUTO_PADS))
def test_padding_by_name_is_numbers_in_canonical_form(tmp_path, kind):
    text = f"y = Conv {AUTO_PADS[kind]} (x, w, b)"
    wanted, found, *_ = gathered(tmp_path, text, (1, 4, 7, 8), {"w": (6, 4, 3, 2), "b": (6,)})
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["uneven", "batch_grouped", "one_axis"])
def test_some_places_are_those_of_all(tmp_path, kind):
    source, weight, attributes = CONVOLUTIONS[kind]
    *_, patches, given = gathered(tmp_path, f"y = Conv {attributes} (x, w)", source, {"w": weight})
    some = np.random.default_rng(1).permutation(patches.places)[:5]
    every = patches.inputs_at(given, np.arange(patches.places))
    assert (patches.inputs_at(given, some) == every[:, :, some]).all()


def test_what_is_not_gathered_says_so(tmp_path):
    proto = model_proto(
        "net (float[2,4,7] x) => (float y) { y = MatMul (x, w) }", **random_weights(5, w=(2, 7, 5))
    )
    (node,) = load(saved(tmp_path, proto)).graph.graph
    assert Patches.of(node) is None
