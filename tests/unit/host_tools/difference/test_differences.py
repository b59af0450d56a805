"""`compare`: a thing has no differences with itself, and each kind of difference is found and measured."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from host_tools.cli.printing import print_found
from host_tools.difference.comparing import compare
from host_tools.difference.side import read_side
from host_tools.difference.terminal import data, render
from host_tools.errors import InputError
from host_tools.lower.lowering import lower
from host_tools.model import load
from host_tools.observe import open_data
from host_tools.observe.observer import observe
from host_tools.pipeline import convert
from host_tools.plan.planner import plan
from host_tools.processor import suited
from host_tools.progress import Silent
from host_tools.recipe import Recipe
from targets import catalog
from tests.e2e.small_network import samples, write_network

OPENVINO = suited("x86_64-openvino")
"""The target of OpenVINO on this processor."""
TARGETS = ("cortex-a-tflite", "x86_64-onnxruntime", OPENVINO)
TWICE = ("cortex-a-tflite", OPENVINO)
FILES = {
    "cortex-a-tflite": "model.tflite",
    "x86_64-onnxruntime": "model.onnx",
    OPENVINO: "model.xml",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The same network by two methods, as artifacts, and the files of one with other weights."""
    folder = tmp_path_factory.mktemp("made")
    np.save(folder / "data.npy", samples(8))
    for method in ("minmax", "mse"):
        convert(
            str(write_network(folder / f"{method}.onnx")),
            data=str(folder / "data.npy"),
            targets=list(TARGETS if method == "minmax" else TWICE),
            out=str(folder / method),
            name="small",
            recipe=Recipe(method=method),
            latency=False,
            diagnosis=False,
            cache=str(folder / "cache"),
        )
    model = load(write_network(folder / "other.onnx", seed=8))
    data = open_data(folder / "data.npy", inputs=model.inputs)
    statistics = observe(model, data, histograms=False, threads=1, progress=Silent())
    for profile in map(catalog.load, TARGETS):
        written = folder / "other" / profile.id
        written.mkdir(parents=True)
        planned = plan(model, statistics, profile, Recipe(method="minmax"))
        for name, content in lower(model, planned, profile).files.items():
            (written / name).write_bytes(content)
    return folder


def artifact(made, name, target="cortex-a-tflite"):
    return read_side(made / name / f"small-0.1.0-{target}.ewa")


def payload(made, name, target):
    return read_side(made / name / target / FILES[target])


@pytest.mark.parametrize("target", TARGETS)
def test_a_thing_does_not_differ_from_itself(target, made):
    for side in (artifact(made, "minmax", target), payload(made, "minmax", target)):
        found = compare(side, side, run=3)
        assert found.identical
        assert not found.differs
        empty = ("manifest", "verification", "sizes", "operators", "precisions", "constants", "scales")
        assert not any(getattr(found, name) for name in (*empty, "not_compared"))
        assert found.outputs is not None
        assert all(one.largest == 0.0 and one.sqnr_db is None for one in found.outputs.outputs)
        json.dumps(data(found), allow_nan=False)


@pytest.mark.parametrize("target", TARGETS)
def test_an_artifact_and_its_own_payload_are_the_same(target, made):
    found = compare(artifact(made, "minmax", target), payload(made, "minmax", target), run=2)
    assert found.identical
    assert not found.differs


@pytest.mark.parametrize("target", TWICE)
def test_other_ranges_move_scales(target, made):
    a, b = artifact(made, "minmax", target), artifact(made, "mse", target)
    found, back = compare(a, b, run=4), compare(b, a, run=0)
    assert found.differs
    assert found.operators == ()
    assert found.scales
    planned_a, planned_b = a.plan.tensors["a1"].qparams.scale[0], b.plan.tensors["a1"].qparams.scale[0]
    (moved,) = (one for one in found.scales if one.name.split("/")[0] == "a1")
    assert moved.lowest_ratio == moved.highest_ratio == pytest.approx(planned_b / planned_a)
    turned = {one.name: one for one in back.scales}
    for one in found.scales:
        assert turned[one.name].highest_ratio == pytest.approx(1.0 / one.lowest_ratio)
        assert (turned[one.name].a_zero_point, turned[one.name].a_type) == (one.b_zero_point, one.b_type)
    assert not any(one.role == "weight" for one in found.constants)
    assert found.outputs.golden == 2
    assert found.outputs.random == 2
    assert found.verification
    assert {change.what for change in found.manifest} <= {
        "inputs[0].scale", "inputs[0].zero_point", "outputs[0].scale", "outputs[0].zero_point", "tolerance.absolute",
    }  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
def test_other_weights_are_measured_in_steps(target, made):
    found = compare(payload(made, "minmax", target), payload(made, "other", target), run=2)
    weights = [one for one in found.constants if one.role == "weight"]
    assert len(weights) == 4
    assert all(one.changed and one.largest_steps > 1.0 for one in weights)
    assert found.outputs.golden == 0
    assert found.outputs.differs
    assert found.outputs.outputs[0].sqnr_db < 20.0


def test_one_code_of_a_weight(made):
    """The measure itself: one code of one channel, moved by three."""
    a = payload(made, "minmax", "cortex-a-tflite")
    op = next(op for op in a.file.ops if op.weight is not None)
    codes = op.weight.codes.copy()
    codes.reshape(-1)[5] += 3 if codes.reshape(-1)[5] < 100 else -3
    changed = replace(op, weight=replace(op.weight, codes=codes))
    ops = tuple(changed if one is op else one for one in a.file.ops)
    (found,) = compare(a, replace(a, file=replace(a.file, ops=ops)), run=0).constants
    assert (found.role, found.changed, found.elements) == ("weight", 1, codes.size)
    assert found.largest_steps == pytest.approx(3.0)
    channel = 5 // (codes.size // codes.shape[0])
    scale = op.weight.scale[channel] if len(op.weight.scale) > 1 else op.weight.scale[0]
    assert found.largest == pytest.approx(3.0 * scale)


def test_operators_that_came_went_and_changed(made):
    a = payload(made, "minmax", "cortex-a-tflite")
    first, second, *others = a.file.ops
    moved = replace(second, strides=(3, 3), version=99)
    twin = replace(others[-1], kind="COPY")  # the same name once more
    found = compare(a, replace(a, file=replace(a.file, ops=(moved, *others, twin))), run=0)
    told = {(one.name, one.how): one for one in found.operators}
    assert set(told) == {(first.name, "removed"), (second.name, "changed"), (twin.name, "added")}
    assert told[twin.name, "added"].kind == "COPY"
    assert {change.what: change.b for change in told[second.name, "changed"].changes} == {
        "strides": "[3, 3]",
        "version": "99",
    }


def test_artifacts_of_two_formats_are_compared_by_their_plans(made):
    found = compare(artifact(made, "minmax"), artifact(made, "minmax", "x86_64-onnxruntime"), run=2)
    assert found.scales_of == "plans"
    assert found.scales == ()  # one is signed and the other is not: the same codes, moved by 128
    assert found.operators == ()
    assert [sentence.split(":")[0] for sentence in found.not_compared] == ["Operators and constants"]
    assert any(change.what == "format" for change in found.manifest)
    assert found.outputs.a_engine.startswith("tflite")
    assert found.outputs.b_engine.startswith("onnx")
    assert found.outputs.outputs[0].sqnr_db > 30.0
    moved = compare(artifact(made, "minmax"), artifact(made, "mse", OPENVINO), run=0)
    assert moved.scales
    without = replace(artifact(made, "mse", OPENVINO), plan=None)
    assert (
        "Scales: not both artifacts hold a plan."
        in compare(artifact(made, "minmax"), without, run=0).not_compared
    )


def test_random_inputs_reach_over_the_whole_range_of_an_integer_input(made):
    from host_tools.difference.outputs import _random

    side = payload(made, "minmax", "cortex-a-tflite")
    inputs, _ = side.tensors(as_stored=True)
    (tensor,) = inputs
    drawn = np.concatenate([one[tensor.name].reshape(-1) for one in _random(side, inputs, 4)])
    codes = drawn / tensor.scale + tensor.zero_point
    assert -128.5 <= codes.min() < -120.0
    assert 120.0 < codes.max() <= 127.5


def test_bare_files_of_two_formats_have_nothing_in_common(made):
    with pytest.raises(InputError, match="nothing in common"):
        compare(payload(made, "minmax", TARGETS[0]), payload(made, "minmax", TARGETS[1]), run=0)
    with pytest.raises(InputError, match="nothing in common"):
        compare(artifact(made, "minmax"), payload(made, "minmax", TARGETS[1]), run=0)


def test_files_with_other_inputs_cannot_be_run_side_by_side(made):
    a = payload(made, "minmax", "cortex-a-tflite")
    inputs = tuple(replace(one, name="others") for one in a.file.inputs)
    b = replace(a, file=replace(a.file, inputs=inputs))
    with pytest.raises(InputError, match="their inputs are"):
        compare(a, b, run=1)
    assert not compare(a, b, run=0).differs  # the bytes are the same


@pytest.mark.parametrize(
    ("change", "said"), [({"shape": (-1, 3)}, "open shape"), ({"dtype": "bfloat16"}, "cannot be fed")]
)
def test_bare_files_that_cannot_be_fed(change, said, made):
    a = payload(made, "minmax", "cortex-a-tflite")
    inputs = tuple(replace(one, **change) for one in a.file.inputs)
    b = replace(a, file=replace(a.file, inputs=inputs))
    with pytest.raises(InputError, match=said):
        compare(a, b, run=1)


@pytest.mark.parametrize("scale", [0.0, float("inf"), float("nan")])
def test_a_scale_that_is_no_number_is_told_and_breaks_nothing(scale, made, capsys):
    a = payload(made, "minmax", "cortex-a-tflite")
    op = next(op for op in a.file.ops if op.weight is not None)
    spoiled = replace(op, weight=replace(op.weight, scale=(scale,) * len(op.weight.scale)))
    ops = tuple(spoiled if one is op else one for one in a.file.ops)
    b = replace(a, file=replace(a.file, ops=ops))
    for found in (compare(a, b, run=0), compare(b, a, run=0)):
        assert any(one.name == op.weight.name for one in found.scales)
        print_found(data(found))
        json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
        print_found(render(found))
        assert "Scales and zero points" in capsys.readouterr().out
