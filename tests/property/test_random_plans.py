"""Random small graphs, awkward statistics and every target: a plan keeps all its promises, or the target's limits are named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from host_tools.errors import CapabilityError
from host_tools.model.topology import data_inputs, float_outputs, network_of
from host_tools.plan.check import check
from host_tools.plan.explain import explain
from host_tools.plan.islands import LIGHT
from host_tools.plan.placement import float_precision, wide_finding
from host_tools.plan.plan_file import decode, encode
from host_tools.plan.planner import plan
from host_tools.recipe import KeepFloat, Recipe, Widen
from targets import catalog
from tests.unit.host_tools.plan.plan_models import float_model, profile, statistics, values, with_op

SHAPE = "float[1,4,4,4]"
UNARY = {
    "Relu": "Relu({a})",
    "Clip6": "Clip({a}, zero, six)",
    "ClipOdd": "Clip({a}, minus, odd)",
    "ClipAbove": "Clip({a}, one, six)",
    "LeakyRelu": "LeakyRelu<alpha=0.1>({a})",
    "PRelu": "PRelu({a}, slope)",
    "Sigmoid": "Sigmoid({a})",
    "Tanh": "Tanh({a})",
    "HardSwish": "HardSwish({a})",
    "HardSigmoid": "HardSigmoid({a})",
    "Softmax": "Softmax<axis=1>({a})",
    "MaxPool": "MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>({a})",
    "AveragePool": "AveragePool<kernel_shape=[3,3], pads=[1,1,1,1]>({a})",
    "Transpose": "Transpose<perm=[0,1,3,2]>({a})",
    "Reshape": "Reshape({a}, same)",
    "Erf": "Erf({a})",
    "AddConstant": "Add({a}, shift)",
    "MulConstant": "Mul({a}, factor)",
}
BINARY = {
    "Add": "Add({a}, {b})",
    "Sub": "Sub({a}, {b})",
    "Mul": "Mul({a}, {b})",
    "Div": "Div({a}, {b})",
    "Min": "Min({a}, {b})",
    "Max": "Max({a}, {b})",
    "MatMul": "MatMul({a}, {b})",
}
CONSTANTS = {
    "zero": np.float32(0),
    "one": np.float32(1),
    "six": np.float32(6),
    "minus": np.float32(-1),
    "odd": np.float32(2.5),
    "slope": np.full((4, 1, 1), 0.25, np.float32),
    "same": np.asarray([1, 4, 4, 4], np.int64),
    "shift": np.asarray([[[[0.5]], [[-3.0]], [[0.0]], [[7.0]]]], np.float32),
    "factor": np.float32(3.0),
    "from0": np.asarray([0], np.int64),
    "to4": np.asarray([4], np.int64),
    "axis1": np.asarray([1], np.int64),
}
RANGES = st.sampled_from(
    [
        (0.0, 0.0),
        (0.7, 0.7),
        (-1.0, 1.0),
        (0.0, 6.0),
        (-3.0, 0.0),
        (1e-41, 3e-41),
        (-1e-20, 1e-20),
        (-0.01, 40.0),
        (-1e6, 2e6),
        (0.0, 1.0),
        (-3e38, 3e38),
    ]
)
WEIGHTS = st.sampled_from(["plain", "dead", "tiny", "huge", "zero"])
BIASES = st.sampled_from([0.0, 1.0, 1e5, 1e-30])


@st.composite
def models(draw):
    """A chain of up to eight operators with skips, all of one shape."""
    lines, constants, live = [], dict(CONSTANTS), ["x"]
    for number in range(draw(st.integers(1, 8))):
        a, b = draw(st.sampled_from(live[-3:])), draw(st.sampled_from(live))
        out = f"v{number}"
        kind = draw(
            st.sampled_from(["unary", "unary", "binary", "conv", "conv", "deconv", "concat", "split"])
        )
        if kind in ("conv", "deconv"):
            group = draw(st.sampled_from([1, 4] if kind == "conv" else [1, 2]))
            constants[f"w{number}"] = weight(draw(WEIGHTS), group)
            constants[f"b{number}"] = np.asarray([0.5, -1, 0.25, 1], np.float32) * np.float32(draw(BIASES))
            op = "Conv" if kind == "conv" else "ConvTranspose"
            constants[f"w{number}"] = (
                constants[f"w{number}"] if kind == "conv" else constants[f"w{number}"].reshape(4, -1, 1, 1)
            )
            lines.append(
                f"[n{number}] {out} = {op}<group={group}, kernel_shape=[1,1]>({a}, w{number}, b{number})"
            )
        elif kind == "concat":
            lines.append(f"[j{number}] {out}c = Concat<axis=1>({a}, {b})")
            lines.append(f"[n{number}] {out} = Slice({out}c, from0, to4, axis1)")
        elif kind == "split":
            lines.append(f"[s{number}] {out}a, {out}b = Split<axis=1, num_outputs=2>({a})")
            lines.append(f"[n{number}] {out} = Concat<axis=1>({out}b, {out}a)")
        else:
            menu = BINARY if kind == "binary" else UNARY
            lines.append(f"[n{number}] {out} = {menu[draw(st.sampled_from(sorted(menu)))].format(a=a, b=b)}")
        live.append(out)
    text = "\n".join(lines)
    used = {name: array for name, array in constants.items() if name in text}
    unread = [
        name
        for name in live[1:]
        if f"({name}," not in text and f"({name})" not in text and f", {name})" not in text
    ]
    outputs = ", ".join(f"{SHAPE} {name}" for name in unread)
    return float_model(f"g ({SHAPE} x) => ({outputs}) {{\n{text}\n}}", used)


def weight(kind: str, group: int) -> np.ndarray:
    """Return a 1x1 kernel of four output channels."""
    array = (np.arange(16 // group, dtype=np.float32).reshape(4, -1, 1, 1) * 7 % 5 - 2) / 4
    if kind == "dead":
        array[1] = 0
    if kind == "zero":
        array[:] = 0
    return (array * np.float32({"tiny": 1e-25, "huge": 1e8}.get(kind, 1.0))).astype(np.float32)


def harder(base, part, **change):
    """Return the profile with fields of one part replaced."""
    return replace(base, **{part: replace(getattr(base, part), **change)})


HARDER = (
    lambda base: base,
    lambda base: harder(base, "fallback", to="refuse"),
    lambda base: harder(base, "fallback", max_float_ops=2, max_partitions=1),
    lambda base: harder(base, "activations", zero_point="midpoint"),
    lambda base: harder(base, "activations", zero_point="symmetric"),
    lambda base: harder(base, "scale", kind="power_of_two"),
    lambda base: harder(base, "scale", minimum=1e-4, minimum_range=0.1),
    lambda base: harder(base, "accumulator", max_weight_sum=60),
    lambda base: harder(base, "bias", bits=20),
    lambda base: harder(base, "bias", quantized=False),
    lambda base: harder(base, "weights", bits=4, narrow_range=False, symmetric=False),
    lambda base: harder(base, "weights", symmetric=False, signed=False),
    lambda base: with_op(
        with_op(base, "Conv", requantization_ratio=(1e-4, 1.0)), "Add", requantization_ratio=(0.01, 4.0)
    ),
)
"""A catalogue profile as it is, or with facts that leave the plan less room."""


def profiles():
    return st.builds(
        lambda name, change: change(catalog.load(name)),
        st.sampled_from(catalog.ids()),
        st.sampled_from(HARDER),
    )


def widenable(model, target, names):
    """Yield those of the nodes that the target has a 16-bit kernel for, whatever absorbs what."""
    network = network_of(model.graph)
    for name in names:
        if all(wide_finding(network, target, name, last) is None for last in network.nodes):
            yield name


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(models(), profiles(), st.data())
def test_a_plan_keeps_its_promises_or_the_target_is_named(model, target, data):
    names = [value.name for node in model.graph.graph for value in node.outputs]
    ranges = {name: values(*data.draw(RANGES)) for name in ["x", *names]}
    seen = statistics(model, ranges)
    method = data.draw(
        st.sampled_from([None, "minmax", "mse", "percentile", "moving_average", "cosine", "search"])
    )
    kept = data.draw(st.sampled_from([frozenset(), frozenset({str(next(iter(model.graph.graph)).name)})]))
    widened = data.draw(st.sets(st.sampled_from([str(node.name) for node in model.graph.graph])))
    recipe = Recipe(
        method=method,
        keep_float=KeepFloat(nodes=kept),
        widen=Widen(nodes=frozenset(widenable(model, target, widened))),
    )
    try:
        made = plan(model, seen, target, recipe)
    except CapabilityError as error:
        refusal = error
    else:
        refusal = None
    if refusal is not None:
        assert target.id in str(refusal)
        assert refusal.hint
        return
    check(made, model, target)
    assert plan(model, seen, target, recipe) == made
    assert encode(decode(encode(made), where="plan.json")) == encode(made)
    assert decode(encode(made), where="plan.json") == made
    assert explain(made).count("\n") > len(made.tensors) + len(made.nodes)


def neighbours(network, node):
    """Return the nodes at a node's float edges; None for each edge that is a door of the model."""
    found = [
        network.writers.get(value)
        for _, value in data_inputs(node)
        if value in {*network.writers, *network.inputs}
    ]
    for value in float_outputs(node):
        found += [reader.node for reader in network.readers[value]]
        found += [None] if value in network.outputs else []
    return found


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(models(), st.sampled_from(catalog.ids()), st.data())
def test_light_arithmetic_is_in_float_between_floats_and_never_by_itself(model, target_id, data):
    target = catalog.load(target_id)
    heavy = sorted({str(node.op_type) for node in model.graph.graph} - LIGHT)
    kept = data.draw(st.sets(st.sampled_from(heavy)) if heavy else st.just(set()))
    try:
        made = plan(model, statistics(model), target, Recipe(keep_float=KeepFloat(ops=frozenset(kept))))
    except CapabilityError:
        return  # the test above has what a refusal must say
    network = network_of(model.graph)
    floats = {name for name, node in made.nodes.items() if node.precision in ("float16", "float32")}
    heads = {node.fused_into for node in made.nodes.values()}
    for name, node in network.nodes.items():
        if node.op_type in LIGHT and name not in floats | heads and made.nodes[name].fused_into is None:
            surrounded = floats.issuperset(neighbours(network, node))
            assert not surrounded or float_precision(node.op_type, target) is None, name
    light = {name for name in floats if "computes little" in made.nodes[name].reason}
    moved = {name for name in floats if "moves data between" in made.nodes[name].reason}
    assert not light or floats - light - moved, (
        "something else must be what draws light arithmetic into float"
    )
    for name in light:
        assert floats.issuperset(neighbours(network, network.nodes[name])), name


@settings(max_examples=40, deadline=None)
@given(models(), st.data())
def test_signedness_of_activations_is_a_matter_of_128(model, data):
    names = [value.name for node in model.graph.graph for value in node.outputs]
    ranges = {name: values(*data.draw(RANGES)) for name in ["x", *names]}
    signed = plan(model, statistics(model, ranges), profile("cortex-a-tflite"), Recipe())
    unsigned = plan(
        model, statistics(model, ranges), profile("cortex-a-tflite", activations={"signed": False}), Recipe()
    )
    for name, entry in signed.tensors.items():
        other = unsigned.tensors[name]
        assert (entry.qparams is None) == (other.qparams is None)
        if entry.qparams is not None and entry.role not in ("weight", "bias"):
            assert other.qparams is not None
            assert other.qparams.scale == entry.qparams.scale
            assert other.qparams.zero_point[0] == entry.qparams.zero_point[0] + 128
