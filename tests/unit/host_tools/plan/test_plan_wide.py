"""16-bit activations: which values get them, where widths meet, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from host_tools.errors import CapabilityError
from host_tools.plan.check import PlanError, check
from host_tools.plan.explain import explain
from host_tools.recipe import KeepFloat, Recipe, Widen
from host_tools.recipe_values import RecipeError
from targets import catalog
from tests.unit.host_tools.plan.plan_models import (
    branches,
    classifier,
    conv_clip,
    float_model,
    planned,
    profile,
    residual,
)

TFLITE = catalog.load("cortex-a-tflite")
FLOAT_DOORS = profile(interface={"input_type": "float32", "output_type": "float32"})
"""Between float doors the last operator can have 16 bits as well."""


def widen(*nodes: str, **more: object) -> Recipe:
    return Recipe(widen=Widen(nodes=frozenset(nodes)), **more)


def types(plan):
    """Return the stored type of every value that has one."""
    return {name: entry.qparams.dtype for name, entry in plan.tensors.items() if entry.qparams}


def edges(plan):
    return {(edge.node, edge.input_index): edge.qparams.dtype for edge in plan.requantize}


def test_a_wide_node_writes_16_bits_and_reads_through_an_edge():
    plan = planned(residual(), TFLITE, widen("first"))
    check(plan, residual(), TFLITE)
    assert {name: node.precision for name, node in plan.nodes.items()} == {
        "first": "int16", "act": "int16", "second": "int8", "sum": "int8", "out": "int8",
    }  # fmt: skip
    found = types(plan)
    assert (found["x"], found["r"], found["b"], found["y"]) == ("int8", "int16", "int8", "int8")
    assert (found["w1"], found["b1"], found["b2"]) == ("int8", "int64", "int32")
    assert edges(plan) == {("first", 0): "int16", ("second", 0): "int8", ("sum", 1): "int8"}
    narrow = {edge.qparams for edge in plan.requantize if edge.qparams.dtype == "int8"}
    assert len(narrow) == 1, "both readers see the same codes"
    assert plan.tensors["r"].qparams.zero_point == (0,)
    (scale,) = next(edge.qparams.scale for edge in plan.requantize if edge.node == "first")
    assert plan.tensors["b1"].qparams.scale == tuple(scale * one for one in plan.tensors["w1"].qparams.scale)


def test_between_float_doors_everything_can_be_wide():
    plan = planned(residual(), FLOAT_DOORS, widen("first", "second", "sum"))
    check(plan, residual(), FLOAT_DOORS)
    assert set(types(plan).values()) == {"int8", "int16", "int64"}
    assert all(node.precision == "int16" for node in plan.nodes.values())
    assert not plan.requantize
    assert types(plan)["x"] == "int16"


def test_an_input_that_both_widths_read_stays_in_8_bits():
    model = branches()
    first = next(iter(model.graph.graph)).name
    plan = planned(model, FLOAT_DOORS, widen(first))
    check(plan, model, FLOAT_DOORS)
    assert set(edges(plan).values()) <= {"int8", "int16"}


def test_what_a_kernel_fixes_is_fixed_in_16_bits_as_well():
    plan = planned(classifier(), FLOAT_DOORS, widen("softmax", "gemm"))
    check(plan, classifier(), FLOAT_DOORS)
    assert plan.tensors["y"].qparams.scale == (2.0**-15,)
    assert plan.tensors["y"].qparams.zero_point == (0,)
    assert planned(classifier(), FLOAT_DOORS).tensors["y"].qparams.scale == (2.0**-8,)


def test_a_clip_that_saturation_did_in_8_bits_runs_by_itself_in_16():
    plan = planned(conv_clip(0.0, 4.0), FLOAT_DOORS, Recipe(widen=Widen(ops=frozenset({"Conv", "Clip"}))))
    check(plan, conv_clip(0.0, 4.0), FLOAT_DOORS)
    assert {node.op_type: (node.precision, node.fused_into) for node in plan.nodes.values()} == {
        "Conv": ("int16", None),
        "Clip": ("int16", None),
    }


def test_float_goes_before_16_bits():
    recipe = widen("first", keep_float=KeepFloat(nodes=frozenset({"first"})))
    assert planned(residual(), TFLITE, recipe).nodes["first"].precision == "float32"


@pytest.mark.parametrize("asked", [Widen(nodes=frozenset({"sum"})), Widen(ops=frozenset({"Add"}))])
def test_light_arithmetic_between_floats_has_16_bits_where_the_recipe_names_it(asked):
    model = float_model(
        "g (float[1,4] x) => (float[1,4] y) { [a] a = Erf(x) [sum] b = Add(a, a) [c] y = Exp(b) }"
    )
    plan = planned(model, TFLITE, Recipe(widen=asked))
    check(plan, model, TFLITE)
    assert {name: node.precision for name, node in plan.nodes.items()} == {
        "a": "float32", "sum": "int16", "c": "float32",
    }  # fmt: skip
    assert planned(model, TFLITE).nodes["sum"].precision == "float32", "unless the recipe names it"


def test_the_plan_says_why():
    text = explain(planned(residual(), TFLITE, widen("first")))
    assert (
        "int16: the recipe asks for 16-bit activations (widen), and cortex-a-tflite has such a kernel" in text
    )
    assert "Conv runs in int8, and 'r' is stored in int16" in text


@pytest.mark.parametrize(
    ("build", "target", "recipe", "said"),
    [
        (
            residual,
            "x86_64-onnxruntime",
            widen("first"),
            "Conv 'first': the target has 8-bit activations only (wide.ops of 'x86_64-onnxruntime')",
        ),
        (
            residual,
            "cortex-a-tflite",
            widen("out"),
            "Add 'sum': it writes 'y', which leaves the model in int8 (interface.output_type of 'cortex-a-tflite')",
        ),
        (
            residual,
            "ethos-u55",
            Recipe(widen=Widen(ops=frozenset({"Add", "Conv"}))),
            "1 node cannot have 16-bit activations on 'ethos-u55':\n  - Add 'sum'",
        ),
    ],
)
def test_what_cannot_be_wide_is_named_with_the_fact(build, target, recipe, said):
    with pytest.raises(CapabilityError) as caught:
        planned(build(), catalog.load(target), recipe)
    assert said in str(caught.value)
    assert "widen.nodes" in caught.value.hint


def test_an_operator_without_such_a_kernel_is_named():
    without = replace(TFLITE.wide, ops={name: op for name, op in TFLITE.wide.ops.items() if name != "Conv"})
    with pytest.raises(CapabilityError, match=r"it lists no Conv \(wide\.ops of 'cortex-a-tflite'\)"):
        planned(residual(), replace(TFLITE, wide=without), widen("first"))


@pytest.mark.parametrize(("key", "recipe"), [
    ("widen.nodes", widen("frist")), ("widen.ops", Recipe(widen=Widen(ops=frozenset({"Conf"})))),
])  # fmt: skip
def test_a_name_that_the_model_lacks_is_refused(key, recipe):
    with pytest.raises(RecipeError, match=key):
        planned(residual(), TFLITE, recipe)


def with_qparams(plan, name, **change):
    entry = plan.tensors[name]
    return replace(
        plan, tensors={**plan.tensors, name: replace(entry, qparams=replace(entry.qparams, **change))}
    )


NARROW = {"dtype": "int8", "quant_min": -128, "quant_max": 127}
WIDE = {"dtype": "int16", "quant_min": -32768, "quant_max": 32767}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda plan: with_qparams(plan, "r", **NARROW), "value 'r' must be int16"),
        (lambda plan: with_qparams(plan, "r", zero_point=(3,)), "value 'r' has zero point 3"),
        (lambda plan: with_qparams(plan, "x", **WIDE), "value 'x' must be int8"),
        (lambda plan: with_qparams(plan, "b1", dtype="int32"), "bias 'b1' must be int64 of 64 bits"),
        (
            lambda plan: replace(
                plan,
                nodes=plan.nodes
                | {name: replace(plan.nodes[name], precision="int16") for name in ("sum", "out")},
            ),
            "value 'y' must be int16",
        ),
        (
            lambda plan: replace(plan, requantize=plan.requantize[1:]),
            "Conv 'first' runs on int16, but reads int8",
        ),
    ],
)
def test_a_broken_promise_is_named(change, said):
    plan = planned(residual(), TFLITE, widen("first"))
    with pytest.raises(PlanError) as caught:
        check(change(plan), residual(), TFLITE)
    assert said in str(caught.value)


def test_a_wide_value_at_an_integer_door_is_named():
    plan = planned(residual(), FLOAT_DOORS, widen("first", "second", "sum"))
    with pytest.raises(PlanError) as caught:
        check(plan, residual(), TFLITE)
    assert "value 'y' is int16, but passes an interface of int8" in str(caught.value)
