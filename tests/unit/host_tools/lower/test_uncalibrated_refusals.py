"""Plans without calibration that cannot be written, and the samples that verify those that can."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest

from host_tools.errors import LoweringError
from host_tools.lower.interface import wire_type
from host_tools.lower.lowering import lower
from host_tools.observe.calibration_set import CalibrationSet
from host_tools.observe.sources.random_inputs import RandomInputs
from host_tools.plan.planned_values import with_stored_weights
from tests.unit.host_tools.lower.uncalibrated_networks import made, network

if TYPE_CHECKING:
    from pathlib import Path

TARGET = "x86_64-onnxruntime"


def test_a_table_with_scales_along_its_rows_is_refused(tmp_path: Path) -> None:
    model = network(tmp_path)
    profile, plan, _ = made(model, TARGET, "weights-int4")
    table = plan.tensors["table"]
    assert table.qparams is not None
    along = dataclasses.replace(table.qparams, axis=1, scale=(0.1,) * 40, zero_point=(0,) * 40)
    tensors = {**plan.tensors, "table": dataclasses.replace(table, qparams=along)}
    with pytest.raises(LoweringError, match="a table is looked up with one symmetric scale a row"):
        lower(model, dataclasses.replace(plan, tensors=tensors), profile)


def test_codes_for_what_is_no_constant_are_refused(tmp_path: Path) -> None:
    model = network(tmp_path)
    plan = made(model, TARGET, "weights-int4")[1]
    given = plan.tensors["up"].qparams
    tensors = {**plan.tensors, "hidden": dataclasses.replace(plan.tensors["hidden"], qparams=given)}
    with pytest.raises(LoweringError, match=r"Weight 'hidden': .* the model no such constant"):
        with_stored_weights(model, dataclasses.replace(plan, tensors=tensors))


def test_no_application_is_given_four_bits(tmp_path: Path) -> None:
    given = made(network(tmp_path), TARGET, "weights-int4")[1].tensors["up"].qparams
    assert given is not None
    with pytest.raises(LoweringError, match="Value 'x': an input or output is not given in uint4"):
        wire_type("x", given)


def test_random_inputs_are_always_the_same_and_rows_that_exist(tmp_path: Path) -> None:
    text = """net (int64[1,6] ids, int64[1,6] mask, bool[1] flag) => (float[1,6,40] y) {
        moved = Unsqueeze (ids, axis)
        flat = Squeeze (moved, axis)
        row = Gather <axis = 0> (table, flat)
        weight = Cast <to = 1> (mask)
        wide = Unsqueeze (weight, last)
        scaled = Mul (row, wide)
        one = Cast <to = 1> (flag)
        y = Add (scaled, one)
    }"""
    numbers = {
        "table": np.random.default_rng(0).standard_normal((7, 40)).astype(np.float32),
        "axis": np.asarray([1]),
        "last": np.asarray([2]),
    }
    model = network(tmp_path, text, numbers)
    source = RandomInputs(model, 4)
    samples = [sample.arrays for sample in CalibrationSet(source, model.inputs)]
    again = [sample.arrays for sample in CalibrationSet(RandomInputs(model, 4), model.inputs)]
    assert len(samples) == len(list(source.ids())) == 4
    for one, other in zip(samples, again, strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in one)
        assert 0 <= one["ids"].min() <= one["ids"].max() < 7
        assert set(np.unique(one["mask"])) <= {0, 1}
        assert one["mask"].any()
    assert source.fingerprint(4) == RandomInputs(model).fingerprint(4)
