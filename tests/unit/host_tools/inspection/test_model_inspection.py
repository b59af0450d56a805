"""What `inspect_model` says of a file, and what it warns of."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from host_tools.errors import DynamicShapeError, ModelError, UnsupportedOperatorError
from host_tools.inspection.inspection import inspect_model
from tests.e2e.small_network import write_network
from tests.unit.host_tools.model.onnx_models import model_proto, random_weights, saved


def inspected(path, *, shapes=None, profiles=()):
    return inspect_model(path, shapes=shapes or {}, profiles=profiles, rehearse=False)


def test_costs_of_the_small_network(tmp_path):
    path = write_network(tmp_path / "small.onnx")
    found = inspected(path)
    by_name = {node.name: node for node in found.nodes}
    assert by_name["stem"].macs == 8 * 8 * 8 * 27
    assert by_name["depthwise"].macs == 8 * 8 * 8 * 9
    assert by_name["project"].macs == 8 * 8 * 8 * 8
    assert by_name["classifier"].macs == 10 * 8
    assert found.macs == sum((13824, 4608, 4096, 80))
    # with a bias that the folded BatchNormalization leaves behind
    assert by_name["stem"].parameters == 8 * 27 + 8
    assert by_name["stem"].float_bytes == 4 * 224
    assert by_name["stem"].int8_bytes == 216 + 4 * 8
    assert found.parameters == 224 + 80 + 72 + 90
    assert (found.opset, found.canonical_opset) == (13, 18)
    assert found.file_bytes == path.stat().st_size
    assert found.cautions == ()
    assert any("Folded" in note for note in found.notes)


def test_a_constant_that_two_nodes_read_is_counted_once(tmp_path):
    proto = model_proto(
        "net (float[1,3] x) => (float[1,3] y) { a = Mul (x, k)  b = Sigmoid (a)  y = Mul (b, k) }",
        k=np.asarray([0.5, 2.0, 3.0], np.float32),
    )
    found = inspected(saved(tmp_path, proto))
    assert found.parameters == 3
    assert (found.float_bytes, found.int8_bytes, found.macs) == (12, 3, 0)


def test_an_open_batch_is_taken_as_one_and_told(tmp_path):
    path = write_network(tmp_path / "small.onnx", dynamic_batch=True)
    found = inspected(path)
    assert found.inputs[0].shape == (1, 3, 16, 16)
    assert found.cautions == (
        "Input 'images' has a dynamic first axis; 1 is taken here. A conversion asks for --shape images=1,3,16,16.",
    )
    fixed = inspected(path, shapes={"images": (2, 3, 16, 16)})
    assert fixed.macs == 2 * found.macs
    assert fixed.cautions == ("Input 'images' takes 2 at once: MACs, memory and latency are those of all 2.",)


def test_other_open_axes_are_for_the_user_to_fix(tmp_path):
    proto = model_proto("net (float[N,3,H,W] x) => (float[N,3,H,W] y) { y = Sigmoid (x) }")
    path = saved(tmp_path, proto)
    with pytest.raises(DynamicShapeError, match="'x'") as raised:
        inspected(path)
    assert "--shape x=1,3,1,1" in raised.value.hint
    assert inspected(path, shapes={"x": (1, 3, 4, 5)}).inputs[0].shape == (1, 3, 4, 5)


def test_an_axis_that_the_user_bound_is_not_taken_otherwise(tmp_path):
    proto = model_proto("net (float[N,3] x, float[N,3] z) => (float[N,3] y) { y = Add (x, z) }")
    found = inspected(saved(tmp_path, proto), shapes={"x": (4, 3)})
    assert [spec.shape for spec in found.inputs] == [(4, 3), (4, 3)]
    assert not any("dynamic" in caution for caution in found.cautions)


@pytest.mark.parametrize(
    ("dtype", "said"),
    [
        (np.float16, "8 weights are float16"),
        (np.float64, "8 weights are float64: they are rounded to float32."),
    ],
)
def test_weights_of_another_width(dtype, said, tmp_path):
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph = helper.make_graph(
        [
            helper.make_node("Add", ["x", "w"], ["a"], "sum"),
            helper.make_node("Sigmoid", ["a"], ["y"], "last"),
        ],
        "net",
        [helper.make_tensor_value_info("x", kind, [1, 8])],
        [helper.make_tensor_value_info("y", kind, [1, 8])],
        [numpy_helper.from_array(np.ones(8, dtype), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    (caution,) = inspected(saved(tmp_path, model)).cautions
    assert caution.startswith(said)


def test_an_opset_that_is_newer_than_ours(tmp_path):
    proto = model_proto("net (float[1,3] x) => (float[1,3] y) { y = Sigmoid (x) }", opset=23)
    found = inspected(saved(tmp_path, proto))
    assert (found.opset, found.canonical_opset) == (23, 21)
    assert any(caution.startswith("Opset 23 is newer than 21") for caution in found.cautions)


def test_an_input_of_integers_and_operators_whose_macs_are_not_counted(tmp_path):
    weights = random_weights(1, w=(1, 16, 3), r=(1, 16, 4))
    proto = model_proto(
        """net (float[5,1,3] x, int32[1] lengths) => (float[5,1,1,4] y) { y, h, c = LSTM <hidden_size: int = 4> (x, w, r, , lengths) }""",
        **weights,
    )
    found = inspected(saved(tmp_path, proto))
    assert found.macs == 0
    assert [caution.split(":")[0] for caution in found.cautions if "MACs of" not in caution] == [
        "Input 'x' takes 5 at once",
        "Input 'lengths' is int32",
    ]
    assert "The MACs of LSTM are not counted." in found.cautions


def test_weights_in_another_file(tmp_path):
    proto = model_proto(
        "net (float[1,300] x) => (float[1,4] y) { y = Gemm <transB: int = 1> (x, w) }",
        **random_weights(2, w=(4, 300)),
    )
    onnx.save_model(
        proto, tmp_path / "net.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    found = inspected(tmp_path / "net.onnx")
    assert found.external_files == ("weights.bin",)
    assert found.parameters == 4 * 300 + 4  # and the bias of zeros that canonical form has


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x08"])
def test_what_is_no_model_is_told_as_a_conversion_tells_it(content, tmp_path):
    (tmp_path / "net.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=r"net\.onnx"):
        inspected(tmp_path / "net.onnx")
    with pytest.raises(ModelError, match="no such file"):
        inspected(tmp_path / "absent.onnx")


def test_a_custom_domain_is_refused(tmp_path):
    graph = helper.make_graph(
        [helper.make_node("Strange", ["x"], ["y"], "odd", domain="some.where")],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
    )
    sets = [helper.make_opsetid("", 18), helper.make_opsetid("some.where", 1)]
    model = helper.make_model(graph, opset_imports=sets, ir_version=8)
    with pytest.raises(UnsupportedOperatorError, match=r"some\.where"):
        inspected(saved(tmp_path, model))
