"""Numbers that a plan has for constants: put into the model, and refused where they do not fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from host_tools.errors import LoweringError
from host_tools.model.topology import constant, network_of
from host_tools.plan.codes import codes_of
from host_tools.plan.planned_values import codes_in, planned_values, with_planned_values
from host_tools.plan.quantization_plan import QParams, TensorPlan
from tests.unit.host_tools.plan.plan_models import planned, residual

QPARAMS = QParams(scale=(0.1, 0.3), zero_point=(0, 5), dtype="int8", quant_min=-128, quant_max=127, axis=0)


def tensor(**more):
    return TensorPlan(name="w", role="weight", qparams=QPARAMS, reason="a test's", **more)


def with_tensor(plan, name, **change):
    return replace(plan, tensors={**plan.tensors, name: replace(plan.tensors[name], **change)})


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32"])
def test_codes_are_little_endian_in_the_stored_type(dtype):
    wanted = np.asarray([[1, 100, 0], [3, 127, 7]], dtype)
    found = codes_in(wanted.astype(np.dtype(dtype).newbyteorder("<")).tobytes(), dtype, (2, 3))
    assert found.dtype == np.float64
    assert (found == wanted).all()


def test_codes_stand_for_scale_times_their_distance_from_zero_point():
    found = planned_values(tensor(codes=np.asarray([[1, -2], [5, 7]], np.int8).tobytes()), (2, 2))
    np.testing.assert_allclose(found, [[0.1, -0.2], [0.0, 0.6]])


def test_codes_come_before_values():
    found = planned_values(tensor(codes=bytes([1, 2]), values=(9.0, 9.0)), (2, 1))
    np.testing.assert_allclose(found, [[0.1], [-0.9]])


@pytest.mark.parametrize("codes", [b"", bytes(3), bytes(5)])
def test_another_number_of_codes_is_none(codes):
    assert codes_in(codes, "int8", (2, 2)) is None
    assert planned_values(tensor(codes=codes), (2, 2)) is None
    assert planned_values(tensor(values=(1.0,) * len(codes)), (2, 2)) is None


def test_without_numbers_or_without_a_shape_there_is_nothing():
    assert planned_values(tensor(), (2, 2)) is None
    assert planned_values(tensor(codes=bytes(4)), None) is None


def test_a_model_without_planned_numbers_is_itself():
    model = residual()
    plan = planned(model)
    plain = replace(plan, tensors={name: replace(one, values=None) for name, one in plan.tensors.items()})
    assert with_planned_values(model, plain) is model
    own = with_planned_values(model, with_tensor(plain, "b1", values=(0.25, -3.0)))
    assert own is not model
    assert constant(network_of(own.graph).values["b1"]).tolist() == [0.25, -3.0]


def test_codes_put_into_a_model_round_to_themselves_and_leave_the_model_alone():
    model = residual()
    plan = planned(model)
    before = constant(network_of(model.graph).values["w1"]).copy()
    qparams = plan.tensors["w1"].qparams
    codes = np.random.default_rng(1).integers(-127, 128, before.shape).astype(np.int8)
    made = with_planned_values(model, with_tensor(plan, "w1", codes=codes.tobytes()))
    again = codes_of(np.asarray(constant(network_of(made.graph).values["w1"]), np.float64), qparams)
    assert (again == codes).all()
    assert (constant(network_of(model.graph).values["w1"]) == before).all()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("w1", {"codes": bytes(3)}),
        ("w1", {"values": (1.0,)}),
        ("x", {"values": (1.0,)}),
        ("x", {"codes": bytes(72)}),
    ],
)
def test_numbers_that_do_not_fit_are_refused_by_name(name, change):
    model = residual()
    with pytest.raises(LoweringError, match=f"Constant '{name}': the plan has .* which do not fit"):
        with_planned_values(model, with_tensor(planned(model), name, **change))
