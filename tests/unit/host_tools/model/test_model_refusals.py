"""What `load` refuses: the right kind of error, which names the thing and says what to do; and nothing else ever comes out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx.parser
import onnx.version_converter
import onnx_ir as ir
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx_models import model_proto, random_weights, saved

from device_agent.contract.errors import EdgewrightError
from host_tools.errors import DynamicShapeError, ModelError, UnsupportedOperatorError
from host_tools.model import load
from host_tools.model.opset import normalise_opset
from host_tools.model.reference import FloatRunner

if TYPE_CHECKING:
    from pathlib import Path

RELU = "g (float[1,4] x) => (float[1,4] y) { y = Relu(x) }"


def refused(folder: Path, proto: onnx.ModelProto, kind: type[EdgewrightError] = ModelError) -> str:
    with pytest.raises(kind) as caught:
        load(saved(folder, proto))
    assert type(caught.value) is kind
    return str(caught.value)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"absent\.onnx: no such file"):
        load(tmp_path / "absent.onnx")


def test_directory(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is a directory"):
        load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\x00\x01\x02random", b"PK\x03\x04" + b"z" * 100, b"\x08\x08"])
def test_not_onnx(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"net\.onnx"):
        load(path)


def test_truncated(tmp_path: Path) -> None:
    whole = model_proto(
        "g (float[1,64] x) => (float[1,64] y) { y = MatMul(x, w) }", **random_weights(1, w=(64, 64))
    )
    path = tmp_path / "net.onnx"
    path.write_bytes(whole.SerializeToString()[:5000])
    with pytest.raises(ModelError, match="cut short"):
        load(path)


def _with_external_weights(folder: Path, location: str) -> Path:
    proto = model_proto(
        "g (float[1,64] x) => (float[1,64] y) { y = MatMul(x, w) }", **random_weights(1, w=(64, 64))
    )
    path = folder / "net.onnx"
    onnx.save_model(proto, path, save_as_external_data=True, location=location, size_threshold=0)
    return path


def test_external_data_is_read_and_part_of_the_digest(tmp_path: Path) -> None:
    path = _with_external_weights(tmp_path, "weights.bin")
    first = load(path)
    assert load(path).digest == first.digest
    weights = bytearray((tmp_path / "weights.bin").read_bytes())
    weights[0] ^= 1
    (tmp_path / "weights.bin").write_bytes(weights)
    assert load(path).digest != first.digest


def test_external_data_missing(tmp_path: Path) -> None:
    path = _with_external_weights(tmp_path, "weights.bin")
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(ModelError, match=r"'weights\.bin' of tensor 'w' is missing"):
        load(path)


def test_external_data_cut_short(tmp_path: Path) -> None:
    path = _with_external_weights(tmp_path, "weights.bin")
    (tmp_path / "weights.bin").write_bytes(b"short")
    with pytest.raises(ModelError, match="needs bytes 0 to 16384"):
        load(path)


def test_external_data_outside_the_folder(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    path = _with_external_weights(inner, "weights.bin")
    (inner / "weights.bin").rename(tmp_path / "weights.bin")
    proto = onnx.load(path, load_external_data=False)
    for location in ("../weights.bin", str(tmp_path / "weights.bin")):
        next(
            entry for entry in proto.graph.initializer[0].external_data if entry.key == "location"
        ).value = location
        path.write_bytes(proto.SerializeToString())
        with pytest.raises(ModelError, match="outside the model's folder"):
            load(path)


def test_external_data_behind_a_symlink_out_of_the_folder(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    path = _with_external_weights(inner, "weights.bin")
    (inner / "weights.bin").rename(tmp_path / "secret.bin")
    (inner / "weights.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(ModelError, match="outside the model's folder"):
        load(path)


def test_empty_graph(tmp_path: Path) -> None:
    assert "no nodes" in refused(tmp_path, model_proto("g (float[1] x) => (float[1] x) { }"))


def test_no_outputs(tmp_path: Path) -> None:
    proto = model_proto(RELU)
    del proto.graph.output[:]
    assert "no outputs" in refused(tmp_path, proto)


def test_no_inputs(tmp_path: Path) -> None:
    assert "no inputs" in refused(
        tmp_path, model_proto("g () => (float[2] y) { y = Relu(w) }", w=np.ones(2, np.float32))
    )


def test_integer_inputs_only(tmp_path: Path) -> None:
    message = refused(tmp_path, model_proto("g (uint8[1,4] x) => (float[1,4] y) { y = Cast<to=1>(x) }"))
    assert "No input is a float tensor: 'x' (UINT8)" in message


@pytest.mark.parametrize("kind", ["int32", "int64"])
def test_whole_numbers_that_become_floats_come_in(kind: str, tmp_path: Path) -> None:
    """Bytes as a one-hot code, as JAX writes it: there is no table."""
    text = f"g ({kind}[1,6,1] x) => (float[1,6,4] y) {{ e = Equal(x, every) f = Cast<to=1>(e) y = MatMul(f, w) }}"
    proto = model_proto(text, every=np.arange(9, dtype=kind), **(weights := random_weights(1, w=(9, 4))))
    x = np.asarray([[[0], [8], [3], [3], [9], [-1]]], kind)
    found = FloatRunner(load(saved(tmp_path, proto)), threads=1).run({"x": x})["y"]
    assert np.allclose(found[0, :4], weights["w"][[0, 8, 3, 3]])
    assert not found[0, 4:].any()


def test_input_that_is_no_tensor(tmp_path: Path) -> None:
    proto = model_proto("g (seq(float[1,4]) x, float[1,4] z) => (float[1,4] y) { y = Relu(z) }")
    assert "Input 'x' is not a tensor of a known type, but Sequence" in refused(tmp_path, proto)


def test_outputs_that_need_no_node(tmp_path: Path) -> None:
    proto = model_proto("g (float[1,4] x) => (float[1,4] x) { y = Relu(x) }")
    assert "Nothing is left to convert: every output is a constant or an input" in refused(tmp_path, proto)


def test_value_without_an_element(tmp_path: Path) -> None:
    proto = model_proto(
        "g (float[1,4] x) => (float[1,n] y) { z = Slice(x, a, a, i) y = Relu(z) }",
        a=np.array([2]),
        i=np.array([1]),
    )
    assert "'z', output of Slice 'Slice_z', is empty: shape 1,0" in refused(tmp_path, proto)


@pytest.mark.parametrize(
    ("body", "opset", "said"),
    [
        ("y, m, v, p, q = BatchNormalization(x, w, w, w, w)", 13, "from opset 13 to 18: .*outputs"),
        ("y = CumProd(x, i)", 26, "from opset 26 to 21: .*No Previous Version of CumProd"),
    ],
)
def test_operators_that_no_opset_of_ours_has(body: str, opset: int, said: str, tmp_path: Path) -> None:
    text = f"g (float[1,4] x) => (float[1,4] y) {{ {body} }}"
    proto = model_proto(text, opset=opset, ir_version=10, w=np.ones(4, np.float32), i=np.array(1))
    message = refused(tmp_path, proto, UnsupportedOperatorError)
    assert re.search(f"The model cannot be taken {said}", message)
    assert "Export it with an opset of 18 to 21" in message


def test_model_without_the_default_domain() -> None:
    proto = model_proto(RELU)
    proto.opset_import[0].domain = "other"
    with pytest.raises(ModelError, match="declares no opset of the default ONNX domain"):
        normalise_opset(ir.from_proto(proto))


def test_converter_that_stops_half_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx.version_converter, "convert_version", lambda proto, _target: proto)
    message = refused(tmp_path, model_proto(RELU, opset=13))
    assert "The conversion from opset 13 stopped at 13 instead of 18" in message


def test_file_that_goes_away_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _with_external_weights(tmp_path, "weights.bin")
    parse = onnx.load_model_from_string

    def parse_and_lose(content: bytes) -> onnx.ModelProto:
        path.unlink()
        return parse(content)

    monkeypatch.setattr(onnx, "load_model_from_string", parse_and_lose)
    with pytest.raises(
        ModelError, match=r"net\.onnx or its external data changed while it was read: .*No such"
    ):
        load(path)


def test_output_that_only_repeats_the_input(tmp_path: Path) -> None:
    proto = model_proto("g (float[1,4] x) => (float[1,4] y, float[1,4] z) { y = Relu(x) z = Identity(x) }")
    assert "'z' only repeats 'x'" in refused(tmp_path, proto)


def test_output_that_is_constant(tmp_path: Path) -> None:
    proto = model_proto("g (float[1,4] x) => (float[1,4] y, int64[2] z) { y = Relu(x) z = Shape(x) }")
    assert "'z' is a constant" in refused(tmp_path, proto)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weight_that_is_not_finite(value: float, tmp_path: Path) -> None:
    weights = random_weights(1, w=(4, 4))
    weights["w"][1, 2] = value
    message = refused(
        tmp_path, model_proto("g (float[1,4] x) => (float[1,4] y) { y = MatMul(x, w) }", **weights)
    )
    assert "'w'" in message
    assert "1 of 16" in message


def test_attribute_that_is_not_finite(tmp_path: Path) -> None:
    proto = model_proto("g (float[1,4] x) => (float[1,4] y) { y = LeakyRelu<alpha=0.5>(x) }")
    proto.graph.node[0].attribute[0].f = np.nan
    assert "attribute 'alpha' is NaN" in refused(tmp_path, proto)


def test_batchnorm_with_negative_variance(tmp_path: Path) -> None:
    weights = {**random_weights(1, g=(4,), b=(4,), m=(4,)), "v": -np.ones(4, np.float32)}
    proto = model_proto(
        "g (float[1,4] x) => (float[1,4] y) { y = BatchNormalization(x, g, b, m, v) }", **weights
    )
    assert "variance + epsilon is -0.99999" in refused(tmp_path, proto)


def test_batchnorm_that_overflows(tmp_path: Path) -> None:
    weights = {
        "w": np.full((4, 4), 1e30),
        "g": np.full(4, 1e30),
        "b": np.ones(4),
        "m": np.ones(4),
        "v": np.ones(4),
    }
    proto = model_proto(
        "g (float[1,4] x) => (float[1,4] y) { c = MatMul(x, w) y = BatchNormalization(c, g, b, m, v) }",
        **{name: array.astype(np.float32) for name, array in weights.items()},
    )
    assert "overflows float32" in refused(tmp_path, proto)


def test_training_mode(tmp_path: Path) -> None:
    proto = model_proto(
        "g (float[1,4] x) => (float[1,4] y) { y, p, q = BatchNormalization<training_mode=1>(x, w, w, w, w) }",
        w=np.ones(4, np.float32),
    )
    assert "training mode" in refused(tmp_path, proto)
    proto = model_proto(
        "g (float[1,4] x) => (float[1,4] y) { y = Dropout(x, r, t) }", r=np.float32(0.5), t=np.bool_(True)
    )
    assert "training mode" in refused(tmp_path, proto)
    proto = model_proto("g (float[1,4] x) => (float[1,4] y, bool[1,4] m) { r = Relu(x) y, m = Dropout(r) }")
    assert "'m' is a constant" in refused(tmp_path, proto)


def test_random_values_are_no_constants(tmp_path: Path) -> None:
    proto = model_proto(
        "g (float[1,4] x) => (float[1,4] y) { c = RandomNormal<shape=[1,4]>() y = Add(x, c) }"
    )
    message = refused(tmp_path, proto, UnsupportedOperatorError)
    assert "RandomNormal 'RandomNormal_c' depends on no input" in message


def test_constant_of_enormous_size(tmp_path: Path) -> None:
    proto = model_proto(
        "g (float[1,4] x) => (float[1,4] y) { c = ConstantOfShape(n) m = ReduceMean<keepdims=0>(c) y = Add(x, m) }",
        n=np.asarray([90_000, 90_000]),
    )
    assert "too large to be stored" in refused(tmp_path, proto, UnsupportedOperatorError)


def test_constant_that_becomes_infinite(tmp_path: Path) -> None:
    proto = model_proto(
        "g (float[1,4] x) => (float[1,4] y) { c = Div(a, z) y = Add(x, c) }", a=np.float32(1), z=np.float32(0)
    )
    assert "1 of 1 values NaN or infinite after folding" in refused(tmp_path, proto)


@pytest.mark.parametrize(("onnx_type", "dtype"), [("double", np.float64), ("float16", np.float16)])
def test_other_float_widths_become_float32_and_say_so(onnx_type: str, dtype: type, tmp_path: Path) -> None:
    text = f"g ({onnx_type}[1,4] x) => ({onnx_type}[1,4] y) {{ y = MatMul(x, w) }}"
    model = load(saved(tmp_path, model_proto(text, w=np.eye(4, dtype=dtype))))
    assert [spec.dtype for spec in (*model.inputs, *model.outputs)] == ["float32", "float32"]
    assert any("to float32; the original's own rounding is not reproduced" in note for note in model.notes)


def test_weight_that_float32_cannot_hold(tmp_path: Path) -> None:
    proto = model_proto("g (double[1,4] x) => (double[1,4] y) { y = Mul(x, w) }", w=np.full(4, 1e300))
    assert "4 of 4 values NaN or infinite after conversion to float32" in refused(tmp_path, proto)


def test_external_data_of_an_attribute(tmp_path: Path) -> None:
    proto = model_proto("g (float[1,64] x) => (float[1,64] y) { k = Constant() y = Mul(x, k) }")
    attribute = proto.graph.node[0].attribute.add(name="value", type=onnx.AttributeProto.TENSOR)
    attribute.t.CopyFrom(onnx.numpy_helper.from_array(np.ones(64, np.float32), "k"))
    path = tmp_path / "net.onnx"
    onnx.save_model(
        proto, path, save_as_external_data=True, location="k.bin", size_threshold=0, convert_attribute=True
    )
    with pytest.raises(ModelError, match="keeps attribute 'value' in external data"):
        load(path)


def test_output_of_two_names_for_one_value(tmp_path: Path) -> None:
    proto = model_proto("g (float[1,4] x) => (float[1,4] y, float[1,4] z) { y = Relu(x) z = Dropout(y) }")
    assert "'z' only repeats 'y'" in refused(tmp_path, proto)


def test_unreadable_file(tmp_path: Path) -> None:
    path = tmp_path / "loop.onnx"
    path.symlink_to(path)
    with pytest.raises(ModelError, match=r"loop\.onnx cannot be read"):
        load(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = Relu(x) a = Neg(x) y = Add(a, a)", "'a' is redeclared"),
        ("a = Add(b, x) b = Relu(a) y = Relu(b)", "not a sound ONNX model"),
        ("y = Nonsense(x)", "breaks the ONNX rules: No Op registered for Nonsense"),
    ],
)
def test_graph_that_breaks_the_rules(text: str, message: str, tmp_path: Path) -> None:
    assert message in refused(tmp_path, model_proto(f"g (float[1,4] x) => (float[1,4] y) {{ {text} }}"))


def test_already_quantized_in_a_function(tmp_path: Path) -> None:
    proto = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 18, "local": 1]>
        g (float[1,4] x, float s, int8 z) => (float[1,4] y) { y = local.Rounded(x, s, z) }
        <domain: "local", opset_import: ["": 18]> Rounded (x, s, z) => (y) { q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z) }"""
    )
    assert "the model is already quantized, in a function or a branch of its own" in refused(tmp_path, proto)


def test_custom_domain(tmp_path: Path) -> None:
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 18, "com.acme": 1]> g (float[1,4] x) => (float[1,4] y) { y = com.acme.Magic(x) }'
    )
    proto.graph.node[0].name = "trick"
    message = refused(tmp_path, proto, UnsupportedOperatorError)
    assert "Magic 'trick'" in message
    assert "'com.acme'" in message


def test_control_flow_on_data(tmp_path: Path) -> None:
    proto = model_proto(
        """g (float[1] x) => (float[1] y) { c = Cast<to=9>(x)
        y = If(c) <then_branch = t () => (float[1] a) { a = Relu(x) }, else_branch = e () => (float[1] b) { b = Neg(x) }> }"""
    )
    assert "If 'y' is control flow" in refused(tmp_path, proto, UnsupportedOperatorError)


def test_functions_are_inlined(tmp_path: Path) -> None:
    proto = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 18, "mine": 1]> g (float[1,4] x) => (float[1,4] y) { y = mine.Twice(x) }
        <domain: "mine", opset_import: ["": 18]> Twice (a) => (c) { b = Relu(a) c = Add(b, b) }"""
    )
    model = load(saved(tmp_path, proto))
    assert [node.op_type for node in model.graph.graph] == ["Relu", "Add"]
    assert not model.graph.functions
    assert any("Inlined 1" in note for note in model.notes)


@pytest.mark.parametrize(("model", "function"), [(18, 11), (11, 18)])
def test_a_function_of_another_opset_is_not_put_into_the_graph(
    model: int, function: int, tmp_path: Path
) -> None:
    proto = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["": {model}, "mine": 1]> g (float[1,4] x) => (float[1,4] y) {{ y = mine.Rows(x) }}
        <domain: "mine", opset_import: ["": {function}]> Rows (a) => (c) {{ c = Softmax<axis = 1>(a) }}"""
    )
    said = refused(tmp_path, proto, UnsupportedOperatorError)
    assert f"mine::Rows is of opset {function}, the model of {model}. Inline it first" in said


def test_sparse_weights_are_refused_by_name(tmp_path: Path) -> None:
    values = onnx.numpy_helper.from_array(np.ones(1, np.float32), "w")
    sparse = onnx.helper.make_sparse_tensor(values, onnx.numpy_helper.from_array(np.asarray([2])), [4, 4])
    proto = model_proto("g (float[1,4] x) => (float[1,4] y) { y = MatMul(x, w) }")
    proto.graph.sparse_initializer.append(sparse)
    assert "weight 'w' is sparse. Export the model with dense tensors" in refused(tmp_path, proto)
    del proto.graph.sparse_initializer[:]
    proto.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["w"], sparse_value=sparse))
    assert "Constant 'w' holds a sparse tensor (sparse_value)" in refused(tmp_path, proto)


@pytest.mark.parametrize("opset", [13, 18])
def test_an_output_without_a_type_gets_the_one_that_it_has(opset: int, tmp_path: Path) -> None:
    """As `graph.output.append(ValueInfoProto(name=...))` makes inner values outputs."""
    text = "g (float[1,4] x) => (float[1,4] y) { a = Relu(x) b = ArgMax<axis = 1>(a) y = Neg(a) }"
    proto = model_proto(text, opset=opset)
    proto.graph.output.extend([onnx.ValueInfoProto(name="a"), onnx.ValueInfoProto(name="b")])
    found = [(spec.name, spec.dtype, spec.shape) for spec in load(saved(tmp_path, proto)).outputs]
    assert found == [("y", "float32", (1, 4)), ("a", "float32", (1, 4)), ("b", "int64", (1, 1))]


def test_a_part_of_a_split_without_a_name_gets_one(tmp_path: Path) -> None:
    """ONNX Runtime ends the process where one has none."""
    text = "g (float[1,6] x) => (float[1,4] y) { a, b, c = Split<axis = 1, num_outputs = 3>(x) y = Concat<axis = 1>(c, a) }"
    proto = model_proto(text)
    proto.graph.node[0].output[1] = ""
    model = load(saved(tmp_path, proto))
    assert all(output.name for node in model.graph.graph for output in node.outputs)
    x = np.arange(6, dtype=np.float32)[None]
    (y,) = FloatRunner(model, threads=1).run({"x": x}).values()
    assert y.tolist() == [[4, 5, 0, 1]]


@pytest.mark.parametrize(
    "text",
    [
        "g (float[1,4] x) => (float[1,4] y) { s = Add(x, far) y = Sigmoid(s) }",
        "g (float[1,4] x) => (float[1,4] y) { y = Add(x, far) }",
        "g (float[1,4] x) => (float[1,4] y, float[1,4] s) { s = Add(x, far) y = Softmax(s) }",
        "g (float[1,4] x) => (float[1,4] y) { s = Mul(x, far) y = Softmax(s) }",
    ],
)
def test_infinity_is_a_mask_only_where_nothing_but_a_softmax_sees_it(text: str, tmp_path: Path) -> None:
    proto = model_proto(text, far=np.asarray(-np.inf, np.float32))
    assert "Weight 'far'" in refused(tmp_path, proto, ModelError)


def test_clip_bound_from_data(tmp_path: Path) -> None:
    proto = model_proto("g (float[1,4] x, float[2] z) => (float[1,4] y) { y = Clip(x, z) }")
    assert "bound 'z' is computed" in refused(tmp_path, proto, UnsupportedOperatorError)


def test_batchnorm_parameters_from_data(tmp_path: Path) -> None:
    proto = model_proto(
        "g (float[1,4] x, float[4] z) => (float[1,4] y) { y = BatchNormalization(x, z, z, z, z) }"
    )
    assert "parameters are computed" in refused(tmp_path, proto, UnsupportedOperatorError)


def test_pad_amounts_from_data(tmp_path: Path) -> None:
    proto = model_proto("g (float[1,4] x, int64[4] p) => (float[a,b] y) { y = Pad(x, p) }")
    assert "Pad 'y': its pads are computed" in refused(tmp_path, proto, UnsupportedOperatorError)


def test_shape_that_depends_on_data(tmp_path: Path) -> None:
    proto = model_proto("g (float[1,4] x) => (int64[a,b] y) { y = NonZero(x) }")
    assert "'y', output of NonZero" in refused(tmp_path, proto, DynamicShapeError)


def test_opset_too_old(tmp_path: Path) -> None:
    assert "opset 6; at least 7" in refused(tmp_path, model_proto(RELU, opset=6))


def test_shapes_that_contradict(tmp_path: Path) -> None:
    proto = model_proto("g (float[1,4] x, float[1,5] z) => (float[1,4] y) { y = Add(x, z) }")
    assert "do not fit" in refused(tmp_path, proto)


def test_unsupported_element_type(tmp_path: Path) -> None:
    proto = model_proto(
        "g (float[1,4] x, uint64[1,4] z) => (float[1,4] y) { c = Cast<to=1>(z) y = Add(x, c) }"
    )
    assert "element type UINT64" in refused(tmp_path, proto)


DYNAMIC = "g (float[N,3,H,W] x, float[N,3,H,W] z) => (float[N,3,H,W] y) { y = Add(x, z) }"


def test_dynamic_axis_is_named_with_the_remedy(tmp_path: Path) -> None:
    message = refused(tmp_path, model_proto(DYNAMIC), DynamicShapeError)
    assert "Input 'x': axis 0 is dynamic (N)" in message
    assert "--shape x=1,3,1,1" in message


def test_shape_fixes_the_symbols_of_every_input(tmp_path: Path) -> None:
    path = saved(tmp_path, model_proto(DYNAMIC))
    model = load(path, shapes={"x": (1, 3, 6, 7)})
    assert [spec.shape for spec in (*model.inputs, *model.outputs)] == [(1, 3, 6, 7)] * 3
    assert load(path, shapes={"x": (1, 3, 6, 8)}).digest != model.digest


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"q": (1,)}, "'q', which is no input. Inputs are: x, z"),
        ({"x": (1, 3, 6)}, "rank 3, the model's input has rank 4"),
        ({"x": (1, 4, 6, 6)}, "axis 1 is fixed to 3"),
        ({"x": (1, 3, 0, 6)}, "at least 1"),
        ({"x": (1, 3, 6, 6), "z": (1, 3, 6, 5)}, "axis 3 is 'W', already fixed to 6"),
    ],
)
def test_shape_that_cannot_be(shapes: dict[str, tuple[int, ...]], message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message):
        load(saved(tmp_path, model_proto(DYNAMIC)), shapes=shapes)


def test_question_mark_is_no_symbol(tmp_path: Path) -> None:
    """Paddle2ONNX names every extent that it does not know "?", whether it is the same as another or not."""
    proto = model_proto(
        "g (float[N,3,H,W] x, float[M,3,K,L] z) => (float[P,3,Q,R] y, float[S,3,T,U] v) { y = Relu(x) v = Relu(z) }"
    )
    for value in proto.graph.input:
        for axis in (0, 2, 3):
            value.type.tensor_type.shape.dim[axis].dim_param = "?"
    path = saved(tmp_path, proto)
    shapes = {"x": (1, 3, 48, 192), "z": (2, 3, 5, 6)}
    model = load(path, shapes=shapes)
    assert {spec.name: spec.shape for spec in model.inputs} == shapes
    with pytest.raises(DynamicShapeError, match="Input 'z': axis 0 is dynamic"):
        load(path, shapes={"x": (1, 3, 48, 192)})


def test_input_without_any_shape(tmp_path: Path) -> None:
    proto = model_proto(RELU)
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    assert "Input 'x' has no shape" in refused(tmp_path, proto, DynamicShapeError)


def test_source_file_is_not_touched(tmp_path: Path) -> None:
    path = saved(tmp_path, model_proto(RELU))
    path.chmod(0o444)
    before = path.read_bytes()
    load(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["net.onnx"]


def _with_functions() -> bytes:
    proto = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 18, "mine": 1]> g (float[1,4] x) => (float[1,4] y) { y = mine.Twice(x) }
        <domain: "mine", opset_import: ["": 18]> Twice (a) => (c) { b = Relu(a) c = Add(b, b) }"""
    )
    return proto.SerializeToString()


FUZZED = (
    model_proto(
        """g (float[1,3,8,8] x) => (float[1,144] y) { c = Conv<auto_pad="VALID">(x, w, k) n = BatchNormalization(c, k, k, k, v)
        r = Clip(n, , h) s = Shape(r) i = Gather(s, o) u = Unsqueeze(i, q) a = Concat<axis=0>(u, e) y = Reshape(r, a) }""",
        **random_weights(3, w=(4, 3, 3, 3), k=(4,)), v=np.ones(4, np.float32), h=np.float32(6),
        o=np.int64(0), q=np.asarray([0]), e=np.asarray([-1]),
    ).SerializeToString(),
    model_proto(
        """g (float[2,6] x) => (float[2,2] y) { h = Gemm<alpha=0.5, transB=1>(x, w, k) a, b = Split<axis=1>(h) p = Pad<pads=[0,1,0,0]>(a)
        z = Slice<axes=[1], starts=[0], ends=[2]>(p) m = Mul(z, b) y = Softmax<axis=1>(m) }""",
        opset=9, **random_weights(4, w=(4, 6), k=(4,)),
    ).SerializeToString(),
    _with_functions(),
)  # fmt: skip

_EDITS = st.one_of(
    st.tuples(st.just("set"), st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=5)),
    st.tuples(st.just("insert"), st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=5)),
    st.tuples(st.just("cut"), st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=9)),
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    whole=st.sampled_from(FUZZED),
    edits=st.lists(_EDITS, min_size=1, max_size=4),
    cut=st.one_of(st.none(), st.floats(0, 1)),
)
def test_mutated_bytes_load_or_are_refused(
    whole: bytes, edits: list[tuple[str, float, bytes]], cut: float | None, tmp_path: Path
) -> None:
    content = bytearray(whole)
    for kind, place, some in edits:
        at = int(place * len(content))
        replaced = 0 if kind == "insert" else len(some)
        content[at : at + replaced] = b"" if kind == "cut" else some
    path = tmp_path / "net.onnx"
    path.write_bytes(bytes(content if cut is None else content[: int(cut * len(content))]))
    try:
        load(path)
    except EdgewrightError as error:
        assert str(error)  # both ends are right here; that nothing else comes out is what is tested
