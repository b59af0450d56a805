"""The plan of a quantized file: its own numbers on a target that can have them, else a refusal that names tensor, file and target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from host_tools.errors import CapabilityError
from host_tools.lower.lowering import lower
from host_tools.model import FloatModel, load
from host_tools.plan.check import check
from host_tools.plan.codes import codes_of
from host_tools.plan.imported import plan_imported
from host_tools.plan.planned_values import with_planned_values
from host_tools.plan.quantization_plan import NO_DATA_DIGEST
from host_tools.recipe import KeepFloat, Recipe
from targets import catalog
from tests.unit.host_tools.lower.lowering_cases import DETECTOR
from tests.unit.host_tools.model.onnx_models import model_proto, saved
from tests.unit.host_tools.model.quantized_files import qdq
from tests.unit.host_tools.plan.plan_models import profile, with_op
from tests.unit.host_tools.simulate.parity import planned

CODES = np.asarray([[1, -127, 5], [127, 0, -3]])


def read(folder: Path, **changed: Any) -> FloatModel:
    return load(saved(folder, qdq(**changed)))


def refused(model: FloatModel, target: Any) -> str:
    with pytest.raises(CapabilityError) as caught:
        plan_imported(model, target, Recipe())
    assert target.id in str(caught.value)
    assert "Give the float model it was made from, with --data" in str(caught.value.hint)
    return str(caught.value)


@pytest.mark.parametrize("target", ["cortex-a-tflite", "x86_64-openvino", "x86_64-onnxruntime", "cortex-m-tflm"])  # fmt: skip
def test_the_numbers_are_the_files(target: str, tmp_path: Path) -> None:
    model, found = read(tmp_path), catalog.load(target)
    plan = plan_imported(model, found, Recipe())
    check(plan, model, found)
    lower(model, plan, found)
    assert plan.data_digest == NO_DATA_DIGEST
    assert (
        "those of the file, which is quantized already (ONNX QDQ); nothing was calibrated"
        in plan.method_reason
    )
    tensors = {tensor.role: tensor for tensor in plan.tensors.values()}
    weight, bias, fed = tensors["weight"], tensors["bias"], tensors["input"]
    assert weight.qparams is not None
    assert bias.qparams is not None
    assert fed.qparams is not None
    assert weight.qparams.scale == (float(np.float32(0.02)), float(np.float32(0.01)))
    exact = with_planned_values(model, plan).graph.graph.initializers
    values = {name: np.asarray(one.const_value.numpy(), np.float64) for name, one in exact.items()}  # type: ignore[union-attr]
    np.testing.assert_array_equal(codes_of(values[weight.name], weight.qparams), CODES)
    np.testing.assert_array_equal(codes_of(values[bias.name], bias.qparams), [11, -7])
    offset = 0 if found.activations.signed else 128
    assert (fed.qparams.scale, fed.qparams.zero_point) == ((float(np.float32(0.05)),), (3 + offset,))
    assert "of the file (int8 asymmetric per tensor)" in fed.reason


@pytest.mark.parametrize("target", ["cortex-a-tflite", "x86_64-onnxruntime"])
def test_boxes_and_scores_that_leave_in_float_still_do(target: str, tmp_path: Path) -> None:
    made = planned(DETECTOR, catalog.load("cortex-a-tflite"))
    (content,) = lower(made.model, made.plan, made.profile).files.values()
    (tmp_path / "detector.tflite").write_bytes(content)
    model, found = load(tmp_path / "detector.tflite"), catalog.load(target)
    plan = plan_imported(model, found, Recipe())
    check(plan, model, found)
    (concat,) = (node for node in plan.nodes.values() if node.op_type == "Concat")
    assert concat.precision == "float32"
    assert plan.tensors["y"].qparams is None
    assert [tensor.dtype for tensor in lower(model, plan, found).outputs] == ["float32"]


def test_a_bias_beyond_float32_keeps_its_integers(tmp_path: Path) -> None:
    codes = np.asarray([(1 << 29) + 1, -(1 << 27) - 3], np.int32)
    model = read(tmp_path, bias=codes)
    plan = plan_imported(model, catalog.load("cortex-a-tflite"), Recipe())
    (bias,) = (tensor for tensor in plan.tensors.values() if tensor.role == "bias")
    assert bias.values is not None
    assert bias.qparams is not None
    np.testing.assert_array_equal(codes_of(np.asarray(bias.values), bias.qparams), codes)


@pytest.mark.parametrize(
    ("changed", "target", "message"),
    [
        (
            {},
            profile("x86_64-openvino", activations={"zero_point": "symmetric"}),
            "value 'x': the file has the zero point 3 in int8; the target's activations are symmetric",
        ),
        (
            {},
            profile("cortex-a-tflite", scale={"kind": "power_of_two"}),
            "the file has the scale 0.05; the target's are powers of two",
        ),
        (
            {},
            profile("cortex-a-tflite", weights={"per_channel_ops": frozenset()}),
            "of Gemm 'gemm': the file has 2 scales, one per channel; the target has one for a weight of Gemm",
        ),
        (
            {"codes": np.asarray([[1, -128, 5], [1, 2, 3]])},
            profile("cortex-a-tflite", weights={"narrow_range": True}),
            "the file has the code -128; the target's weights are int8 from -127 to 127",
        ),
        (
            {"weight_zero": (0, 4)},
            profile("cortex-a-tflite"),
            "the file has int8 with the zero point 4; the target's weights are symmetric",
        ),
        (
            {"input_dtype": np.int16, "input_zero": 0},
            profile("cortex-a-tflite"),
            "the file has int16; the target has int8",
        ),
        (
            {},
            profile("cortex-a-tflite", accumulator={"max_weight_sum": 100}),
            "exceeds 100 (accumulator.max_weight_sum)",
        ),
        (
            {},
            profile("cortex-a-tflite", scale={"minimum": 0.03}),
            "the file has the scale 0.02; the target's are at least 0.03",
        ),
        (
            {},
            with_op(profile("cortex-a-tflite"), "Gemm", requantization_ratio=(1e-9, 0.001)),
            "is not legal (ops.Gemm.requantization_ratio",
        ),
        (
            {"weight_dtype": np.uint8, "weight_zero": (128, 127), "codes": CODES + 128},
            profile("cortex-a-tflite"),
            "the file has uint8 with the zero point 127",
        ),
        (
            {"bias": np.asarray([(1 << 31) - 1, 0], np.int32)},
            profile("cortex-a-tflite"),
            "overflows 32 bits",
        ),
    ],
)
def test_what_a_target_does_not_have(
    changed: dict[str, Any], target: Any, message: str, tmp_path: Path
) -> None:
    assert message in refused(read(tmp_path, **changed), target)


@pytest.mark.parametrize(
    "changed",
    [
        {"weight_dtype": np.uint8, "weight_zero": (128, 128), "codes": CODES + 128},
        {"input_dtype": np.uint8, "input_zero": 131},
    ],
)
def test_signedness_moves_codes_by_128(changed: dict[str, Any], tmp_path: Path) -> None:
    target = catalog.load("cortex-a-tflite")
    ours, theirs = (plan_imported(read(tmp_path, **one), target, Recipe()) for one in ({}, changed))
    strip = [{name: tensor.qparams for name, tensor in plan.tensors.items()} for plan in (ours, theirs)]
    assert strip[0] == strip[1]


QDQ = "{v}q = QuantizeLinear({v}, {s}, z) {v}d = DequantizeLinear({v}q, {s}, z)"


def network(body: str, **more: np.ndarray[Any, Any]) -> Any:
    scales = {f"s{place}": np.float32(0.1 * place) for place in range(1, 5) if f"s{place}" in body}
    return model_proto(
        f"g (float[1,4,4,4] x) => (float[1,4,4,4] y) {{ {body} }}", z=np.int8(5), **scales, **more
    )


def coded(value: str, scale: str) -> str:
    return QDQ.format(v=value, s=scale)


@pytest.mark.parametrize("copy", ["Identity(nd)", "Dropout(nd)", "Cast<to = 1>(nd)"])
def test_an_output_that_is_a_copy_keeps_the_scale_of_what_it_copies(copy: str, tmp_path: Path) -> None:
    body = f"{coded('x', 's1')} [n] n = HardSwish(xd) {coded('n', 's2')} y = {copy}"
    plan = plan_imported(load(saved(tmp_path, network(body))), catalog.load("cortex-a-tflite"), Recipe())
    assert plan.tensors["y"].qparams is not None
    assert plan.tensors["y"].qparams.scale[0] == pytest.approx(0.2)
    assert plan.nodes["n"].precision == "int8"


def test_a_neighbour_that_moves_data_has_the_same_scale(tmp_path: Path) -> None:
    body = f"{coded('x', 's1')} [t] t = Transpose<perm=[0,1,3,2]>(xd) [r] r = Relu(t) [n] n = Sigmoid(r) {coded('n', 's2')} y = Transpose<perm=[0,1,3,2]>(nd)"
    model = load(saved(tmp_path, network(body)))
    plan = plan_imported(model, catalog.load("x86_64-openvino"), Recipe())
    scales = {name: tensor.qparams.scale[0] for name, tensor in plan.tensors.items() if tensor.qparams}
    assert {name: scales[name] for name in ("x", "t", "r") if name in scales} == {"x": pytest.approx(0.1), "t": pytest.approx(0.1), "r": pytest.approx(0.1)}  # fmt: skip
    assert scales["y"] == scales["n"] == pytest.approx(0.2)


def test_what_the_file_has_in_float_runs_in_float_or_is_refused(tmp_path: Path) -> None:
    body = f"{coded('x', 's1')} [s] m = Sigmoid(xd) [h] n = HardSwish(m) {coded('n', 's2')} y = Identity(nd)"
    model = load(saved(tmp_path, network(body)))
    plan = plan_imported(model, catalog.load("x86_64-openvino"), Recipe())
    assert {name: node.precision for name, node in plan.nodes.items()} == {"s": "float32", "h": "float32"}
    assert "the file has it in float: it has no scale for 'm'" in plan.nodes["s"].reason
    strict = profile("cortex-a-tflite", fallback={"to": "refuse"})
    with pytest.raises(CapabilityError, match="the file has it in float"):
        plan_imported(model, strict, Recipe())


def test_light_arithmetic_between_floats_keeps_the_codes_of_the_file(tmp_path: Path) -> None:
    body = f"{coded('x', 's1')} [s] a = Sigmoid(xd) [e] b = Exp(a) {coded('b', 's2')} [sum] c = Add(bd, bd) {coded('c', 's3')} [l] d = Exp(cd) y = Identity(d)"
    model = load(saved(tmp_path, network(body)))
    plan = plan_imported(model, catalog.load("x86_64-openvino"), Recipe())
    assert {node.precision for node in plan.nodes.values() if node.op_type == "Exp"} == {"float32"}
    (total,) = (node for node in plan.nodes.values() if node.op_type == "Add")
    assert total.precision == "int8"
    written = plan.tensors["c"].qparams
    assert written is not None
    assert written.scale[0] == pytest.approx(0.3)


def test_scales_of_a_join_are_requantized_where_the_target_ties_them(tmp_path: Path) -> None:
    body = f"{coded('x', 's1')} [a] a = Sigmoid(xd) {coded('a', 's2')} [c] c = Concat<axis=1>(xd, ad) {coded('c', 's3')} [l] y0 = Slice(cd, from, to, along) {coded('y0', 's3')} y = Identity(y0d)"
    more = {"from": np.asarray([0]), "to": np.asarray([4]), "along": np.asarray([1])}
    model = load(saved(tmp_path, network(body, **more)))
    target = profile("cortex-a-tflite")
    plan = plan_imported(model, target, Recipe())
    edges = {(edge.node, edge.input_index): edge.qparams.scale[0] for edge in plan.requantize}
    assert edges == {("c", 0): pytest.approx(0.3), ("c", 1): pytest.approx(0.3)}
    # The kernel of TFLite's LOGISTIC has one scale of its own, which is told.
    assert any("the kernel of Sigmoid writes the scale 0.00390625" in one for one in plan.warnings)


@pytest.mark.parametrize(
    "average",
    [
        "AveragePool<kernel_shape=[2,2], strides=[2,2]>(xd)",
        "AveragePool<kernel_shape=[2,2], strides=[2,2]>(xd) a = Relu(p)",
        'Resize<mode="linear", coordinate_transformation_mode="asymmetric">(xd, , half)',
    ],
)
def test_what_an_average_reads_is_not_cut_off_before_it_is_averaged(average: str, tmp_path: Path) -> None:
    """The file reads -13.3 to 12.2 and writes -1.33 to 1.22: codes of the result would hold little of what is averaged."""
    first = "p" if "Relu" in average else "a"
    body = f"{coded('x', 's1')} [p] {first} = {average} {coded('a', 's0')} [n] y0 = HardSwish(ad) yq = QuantizeLinear(y0, s2, z) y = DequantizeLinear(yq, s2, z)"
    more = {"s0": np.float32(0.01), "half": np.asarray([1, 1, 0.5, 0.5], np.float32)}
    model = load(saved(tmp_path, network(body, **more)))
    plan = plan_imported(model, catalog.load("cortex-a-tflite"), Recipe())
    assert plan.nodes["p"].precision == "float32"
    assert "reads -13.3 to 12.2, which the codes of its result, -1.33 to 1.22" in plan.nodes["p"].reason
    assert plan.tensors["a"].qparams is not None
    assert plan.tensors["a"].qparams.scale[0] == pytest.approx(0.01)
    with pytest.raises(CapabilityError, match="would cut off"):
        plan_imported(model, profile("cortex-a-tflite", fallback={"to": "refuse"}), Recipe())
    wider = load(saved(tmp_path, network(body, **(more | {"s0": np.float32(0.1)}))))
    assert plan_imported(wider, catalog.load("cortex-a-tflite"), Recipe()).nodes["p"].precision == "int8"


def test_a_recipe_keeps_nodes_in_float(tmp_path: Path) -> None:
    model, target = read(tmp_path), catalog.load("x86_64-openvino")
    plan = plan_imported(model, target, Recipe(keep_float=KeepFloat(nodes=frozenset({"gemm"}))))
    assert plan.nodes["gemm"].precision == "float32"
