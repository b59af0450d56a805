"""Plans that no calibration goes into: what they say, what is checked of them, and their file."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from host_tools.cli.arguments import precision as precision_option
from host_tools.errors import CapabilityError
from host_tools.plan.check import PlanError, check
from host_tools.plan.explain import explain
from host_tools.plan.plan_file import decode, encode
from host_tools.plan.plan_reader import PlanFileError
from host_tools.plan.quantization_plan import NO_DATA_DIGEST
from host_tools.plan.uncalibrated import plan_uncalibrated
from host_tools.recipe import KeepFloat, Recipe
from host_tools.recipe_file import encode as encode_recipe
from host_tools.recipe_file import parse_recipe
from host_tools.recipe_values import RecipeError
from targets import catalog
from tests.unit.host_tools.lower.uncalibrated_networks import made, network
from tests.unit.host_tools.plan.plan_models import float_model

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from host_tools.plan.quantization_plan import QuantizationPlan

TARGET = "x86_64-onnxruntime"


def test_every_weight_has_its_reason(tmp_path: Path) -> None:
    model = network(tmp_path)
    _, plan, _ = made(model, TARGET, "weights-int4")
    assert (plan.precision, plan.data_digest, plan.requantize) == ("weights-int4", NO_DATA_DIGEST, ())
    assert {node.precision for node in plan.nodes.values()} == {"float32"}
    said = {node.op_type: node.reason for node in plan.nodes.values()}
    assert said["MatMul"] == "float32: weight stored in 4 bits, asymmetric, one scale each 32 along axis 0"
    assert "8 bits, symmetric, one scale for each index of axis 0" in said["Gather"]
    assert "no weights-int4 kernel for Gather" in said["Gather"]
    text = explain(plan)
    assert "no calibration data went into it" in text
    assert "in groups of 32 along axis 1 zero point" in text


def test_what_the_recipe_keeps_stays_float(tmp_path: Path) -> None:
    model = network(tmp_path)
    recipe = Recipe(precision="weights-int8", keep_float=KeepFloat(ops=frozenset({"Gemm"})))
    plan = plan_uncalibrated(model, catalog.load(TARGET), recipe)
    gemm = next(node for node in plan.nodes.values() if node.op_type == "Gemm")
    assert gemm.reason == "float32: the recipe keeps it so (keep_float)"
    assert len(plan.warnings) == 1
    assert plan.warnings[0].startswith("1 weights stay in float: Gemm")


@pytest.mark.parametrize("precision", ["weights-int4", "weights-int8", "int8-dynamic"])
def test_a_plan_file_gives_the_plan_back(tmp_path: Path, precision: Any) -> None:
    plan = made(network(tmp_path), TARGET, precision)[1]
    data = encode(plan)
    assert decode(data, where="plan.json") == plan
    assert json.loads(data)["schema_version"] == "1.1"
    assert encode(decode(data, where="plan.json")) == data


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("scale", "AAA", "base64"),
        ("scale", "AAAA", "a multiple of 4 bytes"),
        ("scale", "AACAvw==", "finite numbers above 0"),
        ("zero_point", "AAAA", "packed numbers"),
        ("group_size", 0, "a size of at least 1"),
        ("group_size", "many", "a whole number"),
    ],
)
def test_a_damaged_group_is_named(tmp_path: Path, field: str, value: object, message: str) -> None:
    document = json.loads(encode(made(network(tmp_path), TARGET, "weights-int4")[1]))
    tensor = next(one for one in document["tensors"] if one["qparams"] and "group_axis" in one["qparams"])
    tensor["qparams"][field] = value
    if value == "AACAvw==":
        tensor["qparams"]["zero_point"] = "eJxjAAAAAQAB"
    with pytest.raises(PlanFileError, match=message):
        decode(json.dumps(document).encode(), where="plan.json")


def broken(plan: QuantizationPlan, kind: str, /, **fields: Any) -> QuantizationPlan:
    """Return the plan with fields of one operator's weight, or of its node, replaced."""
    nodes, tensors = dict(plan.nodes), dict(plan.tensors)
    name = next(node.name for node in plan.nodes.values() if node.op_type == kind)
    own = {key: value for key, value in fields.items() if key in ("precision", "activations", "op_type")}
    nodes[name] = dataclasses.replace(nodes[name], **own)
    rest = {key: value for key, value in fields.items() if key not in own}
    if rest:
        weight = next(
            tensor
            for tensor in tensors.values()
            if tensor.qparams is not None and tensor.reason == plan.nodes[name].reason
        )
        tensors[weight.name] = dataclasses.replace(
            weight, qparams=dataclasses.replace(weight.qparams, **rest)
        )
    return dataclasses.replace(plan, nodes=nodes, tensors=tensors)


@pytest.mark.parametrize(
    ("op_type", "fields", "message"),
    [
        ("Gemm", {"precision": "int8"}, "is int8 with planned activations"),
        ("Gemm", {"precision": "int8", "activations": "dynamic"}, "weights-int4 has no such nodes"),
        ("Gemm", {"op_type": "Conv"}, "is Gemm by itself"),
        ("Gemm", {"group_size": 48}, "has groups of 48"),
        ("Gemm", {"group_axis": 0}, "along axis 0"),
        ("Gemm", {"scale": (1.0,)}, "has 1 scales for its shape"),
        ("Gemm", {"dtype": "int16"}, "must be of 4 or 8 bits"),
        ("Gather", {"zero_point": (1,) * 50}, "must be symmetric"),
        ("Gather", {"scale": (1e-40,) * 50}, "not finite"),
    ],
)
def test_a_plan_that_breaks_a_promise_is_refused(
    tmp_path: Path, op_type: str, fields: dict[str, Any], message: str
) -> None:
    model = network(tmp_path)
    profile, plan, _ = made(model, TARGET, "weights-int4")
    with pytest.raises(PlanError, match=message):
        check(broken(plan, op_type, **fields), model, profile)


def test_parameters_of_what_is_no_weight_are_refused(tmp_path: Path) -> None:
    model = network(tmp_path)
    profile, plan, _ = made(model, TARGET, "weights-int4")
    given = next(tensor for tensor in plan.tensors.values() if tensor.qparams is not None)
    tensors = {**plan.tensors, "hidden": dataclasses.replace(plan.tensors["hidden"], qparams=given.qparams)}
    with pytest.raises(PlanError, match="value 'hidden' has parameters, but is no weight of one node"):
        check(dataclasses.replace(plan, tensors=tensors), model, profile)
    own = {**plan.tensors, "hidden": dataclasses.replace(plan.tensors["hidden"], values=(1.0,))}
    with pytest.raises(PlanError, match="has numbers of its own"):
        check(dataclasses.replace(plan, tensors=own), model, profile)
    with pytest.raises(PlanError, match="which x86_64-onnxruntime does not have"):
        check(plan, model, dataclasses.replace(profile, uncalibrated={}))


def test_a_recipe_says_how_weights_are_rounded() -> None:
    recipe = parse_recipe(b'precision = "weights-int4"\nrounding = "gptq"', where="r.toml")
    assert (recipe.rounding, recipe.schema_version) == ("gptq", "1.4")
    assert parse_recipe(encode_recipe(recipe), where="recipe.json", is_json=True) == recipe
    assert "rounding" not in json.loads(encode_recipe(Recipe(precision="weights-int4")))


def test_a_recipe_says_whether_channels_are_scaled() -> None:
    recipe = parse_recipe(b'precision = "weights-int8"\nscaling = "awq"', where="r.toml")
    assert (recipe.scaling, recipe.rounding, recipe.schema_version) == ("awq", "nearest", "1.6")
    assert recipe.fits_weights
    assert parse_recipe(encode_recipe(recipe), where="recipe.json", is_json=True) == recipe
    assert "scaling" not in json.loads(encode_recipe(Recipe(precision="weights-int4")))


@pytest.mark.parametrize(
    "text", ['precision = "weights-float16"', 'float_weights = "float16"', 'precision = "weights-int4"\nfloat_weights = "float16"']
)  # fmt: skip
def test_a_recipe_says_what_is_stored_in_float16(text: str) -> None:
    recipe = parse_recipe(text.encode(), where="r.toml")
    assert recipe.schema_version == "1.5"
    assert parse_recipe(encode_recipe(recipe), where="recipe.json", is_json=True) == recipe
    assert "float_weights" not in json.loads(encode_recipe(Recipe(precision="weights-float16")))


def test_a_recipe_says_precision_and_group() -> None:
    recipe = parse_recipe(b'precision = "weights-int4"\ngroup = 64', where="r.toml")
    assert (recipe.precision, recipe.group) == ("weights-int4", 64)
    data = encode_recipe(recipe)
    assert parse_recipe(data, where="r.json", is_json=True) == recipe
    assert b'"schema_version": "1.2"' in encode_recipe(Recipe())
    assert b"precision" not in encode_recipe(Recipe())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'precision = "int3"',
            "precision: expected one of int8, int8-dynamic, weights-int8, weights-int4, weights-kmeans8, weights-kmeans4, weights-float16, got 'int3'",
        ),
        ('precision = "weights-int4"\ngroup = -1', "group: expected a whole number from 0"),
        ("group = 32", "precision int8 has no groups, got 32"),
        ('rounding = "gptq"', "rounding: gptq is for weights-int8 and weights-int4, got precision int8"),
        ('precision = "int8-dynamic"\nrounding = "gptq"', "got precision int8-dynamic"),
        (
            'precision = "weights-int4"\nrounding = "awq"',
            "rounding: expected one of nearest, gptq, got 'awq'",
        ),
        ('precision = "weights-int4"\nrounding = 4', "rounding: expected one of nearest, gptq, got 4"),
        ('scaling = "awq"', "scaling: awq is for weights-int8 and weights-int4, got precision int8"),
        ('precision = "weights-float16"\nscaling = "awq"', "got precision weights-float16"),
        ('precision = "weights-int4"\nscaling = "gptq"', "scaling: expected one of none, awq, got 'gptq'"),
        ('precision = "weights-int4"\nscaling = true', "scaling: expected one of none, awq, got True"),
        ('precision = "weights-float16"\ngroup = 32', "precision weights-float16 has no scales, got 32"),
        ('precision = "weights-float16"\nrounding = "gptq"', "got precision weights-float16"),
        ('float_weights = "float64"', "float_weights: expected one of float32, float16, got 'float64'"),
        ("float_weights = 16", "float_weights: expected one of float32, float16, got 16"),
        ('precision = "int8-dynamic"\ngroup = 32', "has one scale an output channel, got 32"),
        ('precision = "weights-int4"\nmethod = "mse"', "method: for precision int8 only"),
        ('precision = "weights-int8"\nequalization = true', "equalization: for precision int8 only"),
        ('precision = "weights-int8"\npercentile = 99', "percentile: for precision int8 only"),
        ('precision = "int8-dynamic"\nbias_correction = false', "bias_correction: for precision int8 only"),
        ('precision = "weights-int4"\nspared = "size"', "spared: for precision int8 only"),
    ],
)
def test_a_recipe_that_contradicts_itself_is_refused(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        parse_recipe(text.encode(), where="r.toml")


@pytest.mark.parametrize(
    ("text", "weights", "precision", "reason"),
    [
        (
            "g (float[2,3,32] x) => (float[2,3,20] y) { [last] y = MatMul(x, w) }",
            np.ones((2, 32, 20)),
            "weights-int8",
            "its weight has rank 3; codes are stored of matrices",
        ),
        (
            "g (float[32,4] x) => (float[32,4] y) { [last] y = MatMul(w, x) }",
            np.ones((32, 32)),
            "int8-dynamic",
            "it has no constant weight",
        ),
        (
            "g (float[1,32] x) => (float[1,32] y) { [last] y = MatMul(x, w) }",
            np.full((32, 32), 1e5),
            "weights-float16",
            "its largest magnitude is 100000, and that of float16 65504",
        ),
        (
            "g (float[1,2] x) => (float[1,2] y) { [last] y = MatMul(x, w) }",
            np.arange(4.0).reshape(2, 2),
            "weights-kmeans4",
            "its indices and codebook would take",
        ),
    ],
)
def test_why_nothing_becomes_smaller_is_told(
    text: str, weights: NDArray[np.float64], precision: Any, reason: str
) -> None:
    model = float_model(text, {"w": weights.astype(np.float32)})
    with pytest.raises(CapabilityError) as caught:
        plan_uncalibrated(model, catalog.load(TARGET), Recipe(precision=precision))
    assert f"becomes smaller (MatMul 'last': {reason}" in str(caught.value)


def test_whole_channels_are_called_by_a_name_that_the_command_line_takes(tmp_path: Path) -> None:
    model = network(tmp_path)
    with pytest.raises(CapabilityError) as caught:
        plan_uncalibrated(model, catalog.load("cortex-a-tflite"), Recipe(precision="weights-int4", group=16))
    assert "weights-int4 on 'cortex-a-tflite' has one scale a channel, got 16" in str(caught.value)
    assert "--precision weights-int4:channel" in str(caught.value)
    assert precision_option("weights-int4:channel") == ("weights-int4", 0)
    with pytest.raises(CapabilityError) as caught:
        plan_uncalibrated(model, catalog.load(TARGET), Recipe(precision="weights-int4", group=0))
    assert "groups of 16, 32, 64, 128, 256 weights, got one scale a channel" in str(caught.value)
    both = Recipe(precision="weights-int4", group=48)
    with pytest.raises(CapabilityError, match="256 weights or one scale a channel, got 48"):
        plan_uncalibrated(model, catalog.load("x86_64-openvino"), both)
