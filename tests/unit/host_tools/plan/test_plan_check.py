"""Every promise of a plan, broken one at a time: `check` must see each."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from host_tools.plan.check import PlanError, check
from host_tools.recipe import KeepFloat, Recipe
from targets import catalog
from tests.unit.host_tools.plan.plan_models import (
    branches,
    classifier,
    conv_clip,
    conv_relu,
    gated,
    planned,
    profile,
    residual,
    with_op,
)

TFLITE = catalog.load("cortex-a-tflite")


def with_qparams(plan, name: str, **change):
    """Return the plan with fields of one tensor's parameters replaced."""
    entry = plan.tensors[name]
    return with_tensor(plan, name, qparams=replace(entry.qparams, **change))


def with_tensor(plan, name: str, **change):
    return replace(plan, tensors={**plan.tensors, name: replace(plan.tensors[name], **change)})


def with_node(plan, name: str, **change):
    return replace(plan, nodes={**plan.nodes, name: replace(plan.nodes[name], **change)})


def without(mapping, name: str):
    return {key: value for key, value in mapping.items() if key != name}


def broken_promises():
    """Yield a name, the plan's model, its target and a way to break it, with what the message must say."""
    yield "digest", residual, TFLITE, lambda plan: replace(plan, model_digest="sha256:0"), "model_digest"
    yield (
        "target",
        residual,
        TFLITE,
        lambda plan: replace(plan, target="other"),
        "target: expected cortex-a-tflite",
    )
    yield "profile", residual, TFLITE, lambda plan: replace(plan, profile_digest="sha256:0"), "profile_digest"
    yield (
        "no tensor",
        residual,
        TFLITE,
        lambda plan: replace(plan, tensors=without(plan.tensors, "w1")),
        "'w1' has no entry",
    )
    yield (
        "no node",
        residual,
        TFLITE,
        lambda plan: replace(plan, nodes=without(plan.nodes, "sum")),
        "'sum' has no entry",
    )
    yield (
        "extra",
        residual,
        TFLITE,
        lambda plan: replace(plan, tensors={**plan.tensors, "ghost": plan.tensors["x"]}),
        "'ghost' is not in the model",
    )
    yield "no reason", residual, TFLITE, lambda plan: with_node(plan, "sum", reason=""), "'sum' has no reason"
    yield "op type", residual, TFLITE, lambda plan: with_node(plan, "sum", op_type="Mul"), "is Add, not Mul"
    yield (
        "precision",
        gated,
        TFLITE,
        lambda plan: with_node(plan, "gate", precision="int8"),
        "must have an int8 kernel",
    )
    yield (
        "float",
        residual,
        TFLITE,
        lambda plan: with_node(plan, "sum", precision="float16"),
        "does not fall back to",
    )
    yield (
        "head",
        conv_relu,
        TFLITE,
        lambda plan: with_node(plan, "relu", fused_into="nowhere"),
        "both must be integer",
    )
    yield (
        "chain",
        branches,
        TFLITE,
        lambda plan: with_node(plan, "pool", fused_into="join"),
        "Concat-MaxPool is no fusion",
    )
    yield (
        "inner",
        conv_relu,
        TFLITE,
        lambda plan: with_tensor(plan, "c", role="activation"),
        "must have role fused",
    )
    yield (
        "saturation",
        lambda: conv_clip(0.0, 4.2),
        TFLITE,
        lambda plan: with_qparams(plan, "y", scale=(0.1,)),
        "nor is it done by saturation",
    )
    yield (
        "needed",
        residual,
        TFLITE,
        lambda plan: with_tensor(plan, "b", qparams=None),
        "'b' needs parameters",
    )
    yield (
        "not needed",
        gated,
        catalog.load("x86_64-onnxruntime"),
        lambda plan: with_tensor(
            with_node(plan, "excite", precision="float32"), "y", qparams=plan.tensors["x"].qparams
        ),
        "'y' needs no parameters",
    )
    yield (
        "type",
        residual,
        TFLITE,
        lambda plan: with_qparams(plan, "b", dtype="uint8"),
        "must be int8 [-128, 127]",
    )
    yield (
        "codes",
        residual,
        TFLITE,
        lambda plan: with_qparams(plan, "b", quant_min=-127),
        "must be int8 [-128, 127]",
    )
    yield "zero", residual, TFLITE, lambda plan: with_qparams(plan, "b", zero_point=(200,)), "zero point 200"
    yield "scale", residual, TFLITE, lambda plan: with_qparams(plan, "x", scale=(1e-40,)), "a scale below"
    yield (
        "power",
        residual,
        catalog.load("amd-vitis-dpu"),
        lambda plan: with_qparams(plan, "x", scale=(0.3,)),
        "no power of two",
    )
    yield (
        "symmetry",
        residual,
        catalog.load("amd-vitis-dpu"),
        lambda plan: with_qparams(plan, "x", zero_point=(3,)),
        "against activations.zero_point symmetric",
    )
    yield (
        "shared",
        branches,
        TFLITE,
        lambda plan: with_qparams(plan, "j", scale=(0.5,)),
        "must have one scale",
    )
    yield (
        "edge",
        branches,
        TFLITE,
        lambda plan: replace(plan, requantize=()),
        "Concat 'join' must have one scale",
    )
    yield (
        "edge node_input",
        branches,
        TFLITE,
        lambda plan: replace(plan, requantize=(replace(plan.requantize[0], input_index=7),)),
        "is no data input",
    )
    yield (
        "fixed",
        classifier,
        TFLITE,
        lambda plan: with_qparams(plan, "y", scale=(1 / 255,)),
        "is not what its kernel fixes",
    )
    yield (
        "weight",
        residual,
        TFLITE,
        lambda plan: with_tensor(plan, "w1", qparams=None),
        "its weight 'w1' is float",
    )
    yield (
        "narrow",
        residual,
        TFLITE,
        lambda plan: with_qparams(plan, "w1", quant_min=-128),
        "must be int8 [-127, 127]",
    )
    yield (
        "weight zero",
        residual,
        TFLITE,
        lambda plan: with_qparams(plan, "w1", zero_point=(1, 0)),
        "'w1' must be symmetric",
    )
    yield (
        "axis",
        residual,
        TFLITE,
        lambda plan: with_qparams(plan, "w1", axis=1),
        "on axis 1, the target allows axis 0",
    )
    yield (
        "granularity",
        residual,
        catalog.load("nxp-neutron"),
        lambda plan: with_qparams(plan, "w1", axis=0, scale=(0.1, 0.1), zero_point=(0, 0)),
        "the target allows axis None",
    )
    yield (
        "weight sum",
        residual,
        profile("cortex-a-tflite", accumulator={"max_weight_sum": 300}),
        lambda plan: with_qparams(plan, "w1", scale=(0.008, 0.008)),
        "sum up to more than 300",
    )
    yield (
        "bias",
        residual,
        TFLITE,
        lambda plan: with_tensor(plan, "b1", qparams=None),
        "is float, against bias.quantized",
    )
    yield (
        "float bias",
        residual,
        profile("cortex-a-tflite", bias={"quantized": False}),
        lambda plan: with_tensor(plan, "b1", qparams=plan.tensors["x"].qparams),
        "is integer, against bias.quantized",
    )
    yield (
        "bias type",
        residual,
        TFLITE,
        lambda plan: with_qparams(plan, "b1", dtype="int64"),
        "must be int32 of 32 bits",
    )
    yield (
        "bias scale",
        residual,
        TFLITE,
        lambda plan: with_qparams(
            plan, "b1", scale=tuple(s * (1 + 1e-15) for s in plan.tensors["b1"].qparams.scale)
        ),
        "input scale times weight scale",
    )
    yield (
        "bias overflow",
        residual,
        TFLITE,
        lambda plan: with_qparams(
            with_qparams(plan, "w1", scale=(1e-12, 1e-12)),
            "b1",
            scale=(plan.tensors["x"].qparams.scale[0] * 1e-12,) * 2,
        ),
        "overflows 32 bits",
    )
    yield (
        "ratio",
        residual,
        TFLITE,
        lambda plan: with_qparams(plan, "y", scale=(1e-6,)),
        "has the rescale factor",
    )
    for name, tensor, codes, message in (
        ("codes too few", "w1", bytes(35), "weight 'w1' must have one code an element, 36 of int8"),
        ("codes too many", "w1", bytes(37), "weight 'w1' must have one code an element, 36 of int8"),
        ("codes that are forbidden", "w1", b"\x80" * 36, "weight 'w1' has codes outside [-127, 127]"),
        ("codes of an activation", "x", bytes(72), "value 'x' has codes, which only a quantized weight may"),
        ("codes of a bias", "b1", bytes(8), "value 'b1' has codes, which only a quantized weight may have"),
    ):
        yield name, residual, TFLITE, partial(with_tensor, name=tensor, codes=codes), message
    yield (
        "codes that overflow the accumulator",
        residual,
        profile("cortex-a-tflite", accumulator={"max_weight_sum": 18 * 100}),
        partial(with_tensor, name="w1", codes=b"\x7f" * 36),
        "the codes of weight 'w1' sum up to more than",
    )


CASES = {name: rest for name, *rest in broken_promises()}


@pytest.mark.parametrize("name", CASES)
def test_a_broken_promise_is_named(name):
    build, target, break_it, message = CASES[name]
    model = build()
    plan = planned(model, target)
    check(plan, model, target)
    with pytest.raises(PlanError) as caught:
        check(break_it(plan), model, target)
    assert message in str(caught.value)
    assert "Plan the model anew" in str(caught.value)


def test_codes_that_fit_break_nothing():
    model = residual()
    plan = planned(model)
    for codes in (bytes(36), b"\x7f" * 36, b"\x81" * 36):
        check(with_tensor(plan, "w1", codes=codes), model, TFLITE)


def test_codes_of_a_float_weight_are_seen():
    model = residual()
    plan = planned(model, recipe=Recipe(keep_float=KeepFloat(nodes=frozenset({"first"}))))
    check(plan, model, TFLITE)
    with pytest.raises(PlanError, match="'w1' has codes, which only a quantized weight may have"):
        check(with_tensor(plan, "w1", codes=bytes(36)), model, TFLITE)


def test_every_breach_is_named_at_once():
    model = residual()
    plan = planned(model)
    with pytest.raises(PlanError, match="breaks 2 of its promises") as caught:
        check(with_qparams(with_tensor(plan, "w1", qparams=None), "w2", quant_min=-128), model, TFLITE)
    assert "'w1'" in str(caught.value)
    assert "'w2'" in str(caught.value)


def test_more_float_nodes_than_the_target_accepts_are_seen():
    model = residual()
    limited = profile("cortex-a-tflite", fallback={"max_float_ops": 0})
    no_add = with_op(limited, "Add", precisions=("float32",))
    plan = planned(model, with_op(TFLITE, "Add", precisions=("float32",)), Recipe(keep_float=KeepFloat()))
    with pytest.raises(PlanError, match="1 nodes fall back, the target accepts 0"):
        check(plan, model, no_add)
