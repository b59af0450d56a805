"""Bias correction: with it the mean of every output channel stays where the float model has it."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from host_tools.lower.integers import dequantize_array, quantize_array
from host_tools.lower.lowering import lower
from host_tools.model import load
from host_tools.model.reference import FloatRunner
from host_tools.model.topology import constant
from host_tools.observe import open_data
from host_tools.observe.observer import observe
from host_tools.plan import check
from host_tools.plan.plan_file import decode, encode
from host_tools.plan.plan_reader import PlanFileError
from host_tools.plan.planner import plan
from host_tools.progress import Silent
from host_tools.recipe import Recipe, TensorOverride
from targets import catalog

SIZE = 12
OPS = {
    "conv": ("Conv", (6, 4, 3, 3), {"pads": [0, 0, 0, 0]}, 6, SIZE),
    "grouped": ("Conv", (6, 2, 3, 3), {"group": 2}, 6, SIZE),
    "depthwise": ("Conv", (4, 1, 3, 3), {"group": 4}, 4, SIZE),
    "padded": ("Conv", (6, 4, 5, 5), {"pads": [2, 2, 2, 2]}, 6, 4),
    "mostly_padding": ("Conv", (6, 4, 3, 3), {"pads": [1, 1, 1, 1]}, 6, 1),
    "uneven": ("Conv", (6, 4, 3, 2), {"pads": [2, 0, 1, 1], "strides": [2, 1], "dilations": [2, 3]}, 6, 7),
    "transposed": ("ConvTranspose", (4, 5, 2, 2), {"strides": [2, 2]}, 5, SIZE),
    "transposed_grouped": ("ConvTranspose", (4, 3, 2, 2), {"group": 2, "strides": [2, 2]}, 6, SIZE),
    "transposed_uneven": (
        "ConvTranspose",
        (4, 5, 3, 2),
        {"strides": [2, 3], "pads": [1, 0, 2, 1], "output_padding": [1, 0]},
        5,
        3,
    ),
}


def weighted_model(tmp_path, kind, bias=True):
    op_type, shape, attributes, outputs, size = OPS[kind]
    rng = np.random.default_rng(4)
    weights = [numpy_helper.from_array(rng.normal(0, 1, shape).astype(np.float32), "w")]
    if bias:
        weights.append(numpy_helper.from_array(rng.normal(0, 1, outputs).astype(np.float32), "b"))
    node = helper.make_node(op_type, ["x", "w", "b"][: 2 + bias], ["y"], kind, **attributes)
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, size, size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        weights,
    )
    path = tmp_path / "one.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return load(path)


CHANNELS = np.array([1, 3, 5, 9], np.float32)[:, None, None]


def observed(model, tmp_path, samples=None):
    size = model.inputs[0].shape[-1]
    if samples is None:
        noise = np.random.default_rng(1).uniform(0, 1, (16, 4, size, size))
        samples = noise.astype(np.float32) * CHANNELS
    np.save(tmp_path / "x.npy", samples)
    data = open_data(tmp_path / "x.npy", inputs=model.inputs)
    return samples, observe(model, data, histograms=True, threads=1, progress=Silent())


def channel_means(model, samples, constants):
    """Mean of each output channel of the float model with other constants, shape (channels,)."""
    clone = model.graph.clone()
    for name, array in constants.items():
        initializer = clone.graph.initializers[name]
        shape = initializer.const_value.shape.numpy()
        initializer.const_value = ir.tensor(np.asarray(array, np.float32).reshape(shape), name=name)
    runner = FloatRunner(dataclasses.replace(model, graph=clone), threads=1)
    outputs = [runner.run({"x": sample[np.newaxis]})["y"] for sample in samples]
    return np.concatenate(outputs).mean(axis=(0, 2, 3), dtype=np.float64)


def errors(model, samples, statistics):
    """How far rounded weights move each channel's mean, without correction and with it; float arithmetic otherwise."""
    profile = catalog.load("amd-vitis-dpu")
    made = plan(model, statistics, profile, Recipe())
    (node,) = [node for node in model.graph.graph if node.op_type in ("Conv", "ConvTranspose")]
    weight, bias = node.inputs[1].name, node.inputs[2].name
    assert made.nodes[node.name].precision == "int8"
    qparams = made.tensors[weight].qparams
    codes = quantize_array(constant(node.inputs[1]), qparams, profile.rounding.weights)
    rounded = dequantize_array(codes, qparams)
    wanted = channel_means(model, samples, {})
    plain = channel_means(model, samples, {weight: rounded})
    corrected = channel_means(model, samples, {weight: rounded, bias: made.tensors[bias].values})
    return np.abs(plain - wanted), np.abs(corrected - wanted)


@pytest.mark.parametrize("kind", list(OPS))
@pytest.mark.parametrize("bias", [True, False])
def test_the_mean_of_every_channel_is_kept(tmp_path, kind, bias):
    model = weighted_model(tmp_path, kind, bias)
    plain, corrected = errors(model, *observed(model, tmp_path))
    assert corrected.max() < 0.25 * plain.max(), (plain, corrected)


@pytest.mark.parametrize("kind", list(OPS))
def test_it_is_exact_where_a_channel_is_one_value_whatever_the_padding(tmp_path, kind):
    model = weighted_model(tmp_path, kind)
    size = model.inputs[0].shape[-1]
    levels = np.random.default_rng(2).uniform(0, 1, (4, 4, 1, 1)).astype(np.float32)
    samples = np.broadcast_to(levels * CHANNELS, (4, 4, size, size)).copy()
    plain, corrected = errors(model, *observed(model, tmp_path, samples))
    assert plain.max() > 1e-2
    assert corrected.max() < 2e-5


def test_the_recipe_can_leave_it_out(tmp_path):
    model = weighted_model(tmp_path, "conv")
    _, statistics = observed(model, tmp_path)
    made = plan(model, statistics, catalog.load("nxp-neutron"), Recipe(bias_correction=False))
    assert all(tensor.values is None for tensor in made.tensors.values())


@pytest.mark.parametrize("target", catalog.ids())
def test_corrected_plans_pass_the_check_and_are_lowered(tmp_path, target):
    model = weighted_model(tmp_path, "conv")
    _, statistics = observed(model, tmp_path)
    profile = catalog.load(target)
    made = plan(model, statistics, profile, Recipe())
    check.check(made, model, profile)
    with_correction = lower(model, made, profile)
    without = lower(model, plan(model, statistics, profile, Recipe(bias_correction=False)), profile)
    assert dict(with_correction.files) != dict(without.files)


def test_values_survive_the_file_exactly(tmp_path):
    model = weighted_model(tmp_path, "depthwise")
    _, statistics = observed(model, tmp_path)
    made = plan(model, statistics, catalog.load("cortex-a-tflite"), Recipe())
    assert any(tensor.values for tensor in made.tensors.values())
    assert decode(encode(made), where="plan.json") == made


@pytest.mark.parametrize("wrong", [["x"], [True], [None], "1.0"])
def test_wrong_values_in_a_file_are_named(tmp_path, wrong):
    model = weighted_model(tmp_path, "conv")
    _, statistics = observed(model, tmp_path)
    document = json.loads(encode(plan(model, statistics, catalog.load("cortex-a-tflite"), Recipe())))
    entry = next(entry for entry in document["tensors"] if "values" in entry)
    entry["values"] = wrong
    with pytest.raises(PlanFileError, match="values"):
        decode(json.dumps(document).encode(), where="plan.json")


@pytest.mark.parametrize("reach", [1e-20, 1e-36, 1e-44])
def test_where_a_range_holds_next_to_nothing_biases_stay_within_their_codes(tmp_path, reach):
    model = weighted_model(tmp_path, "conv")
    _, statistics = observed(model, tmp_path)
    profile = catalog.load("x86_64-onnxruntime")
    recipe = Recipe(method="minmax", tensors={"x": TensorOverride(range=(-reach, reach))})
    made = plan(model, statistics, profile, recipe)
    check.check(made, model, profile)
    assert any("clips" in warning for warning in made.warnings)
