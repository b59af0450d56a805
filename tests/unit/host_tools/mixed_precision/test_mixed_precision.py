"""Networks with a known culprit: it is found and moved, and nothing else; and what happens when it may not be."""

from __future__ import annotations

import dataclasses
import itertools
import re
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from host_tools.diagnose.layers import layers_of
from host_tools.lower.lowering import lower
from host_tools.mixed_precision import Goal, search
from host_tools.mixed_precision.costs import Costs, operations
from host_tools.plan.plan_file import encode
from host_tools.progress import Silent
from host_tools.recipe import SPARED, KeepFloat, Recipe
from host_tools.reconstruct import reconstruct
from host_tools.stages.yardstick import Worth
from targets.profile import CostRules
from tests.unit.host_tools.mixed_precision.culprits import (
    PER_CHANNEL,
    PER_TENSOR,
    case,
    chain,
    floats_of,
    one_loud,
    useless,
    wide_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

    from host_tools.plan.quantization_plan import QuantizationPlan
    from targets.profile import Fallback
    from tests.unit.host_tools.mixed_precision.culprits import Case

UNREACHABLE = Goal(min_sqnr_db=500.0)


def reachable(one: Case, decibels: float = 8.0) -> Goal:
    """Return a goal that is missed by so much."""
    sqnr = one.worth().sqnr_db
    assert sqnr is not None
    return Goal(min_sqnr_db=sqnr + decibels)


@pytest.mark.parametrize("culprit", ["conv1", "conv2", "conv3", "conv4"])
def test_the_culprit_moves_and_nothing_else(tmp_path: Path, culprit: str) -> None:
    one = case(chain(tmp_path, factors={culprit: useless()}), PER_TENSOR)
    found = one.mixed(reachable(one, 3.0))
    assert found.is_reached
    follower = culprit.replace("conv", "relu")
    assert floats_of(found.plan) == [name for name in (culprit, follower) if name in one.plan.nodes]
    assert "1 of 4 operators in float, 2" in found.note
    assert repr(culprit) in found.note
    assert found.trail[-1].names == (culprit,)


def test_what_only_pays_together_moves_together(tmp_path: Path) -> None:
    """A channel of a1 is 500 times the others: neither the layer that writes it nor the one that reads it can be helped alone."""
    loud = one_loud(500.0)
    factors = {"conv1": loud, "conv2": 1.0 / loud.reshape(1, -1, 1, 1)}
    one = case(chain(tmp_path, factors=factors), PER_CHANNEL)
    found = one.mixed(reachable(one, 10.0))
    assert found.is_reached
    assert floats_of(found.plan) == ["conv1", "relu1", "conv2", "relu2"]
    assert found.plan is not None
    assert found.plan.tensors["a1"].qparams is None


def test_a_goal_that_cannot_be_met_gives_the_best_with_its_trail(tmp_path: Path) -> None:
    factors = {"conv2": useless(), "conv4": useless()}
    one = case(chain(tmp_path, factors=factors), PER_TENSOR, max_float_ops=2)
    found = one.mixed(UNREACHABLE)
    assert not found.is_reached
    assert found.plan is not None
    assert one.worth(found.plan).is_better_than(one.worth())
    measured = [trial.worth for trial in found.trail if trial.worth is not None]
    assert len(measured) >= 2
    assert not any(worth.is_better_than(one.worth(found.plan)) for worth in measured)
    assert re.match(
        r"500 dB is not reached, \d{3}\.\d dB short, this is the best that was found: 2 of 4 operators in float",
        found.note,
    )
    assert "tried: 1 operator" in found.note


def test_everything_may_move_where_nothing_limits_it(tmp_path: Path) -> None:
    one = case(chain(tmp_path), PER_TENSOR)
    found = one.mixed(Goal(min_sqnr_db=100.0))
    assert found.is_reached
    assert floats_of(found.plan) == list(one.plan.nodes)


@pytest.mark.parametrize("most", [1, 2, 3])
def test_no_more_fall_back_than_the_target_accepts(tmp_path: Path, most: int) -> None:
    one = case(chain(tmp_path), PER_TENSOR, max_float_ops=most)
    found = one.mixed(UNREACHABLE)
    heads = [name for name in floats_of(found.plan) if name.startswith("conv")]
    assert 1 <= len(heads) <= most


def test_integer_regions_stay_within_their_limit(tmp_path: Path) -> None:
    """Without conv2 the network falls into two regions; its ends may go."""
    factors = {"conv2": useless()}
    one = case(chain(tmp_path, factors=factors), PER_TENSOR, max_partitions=1)
    found = one.mixed(UNREACHABLE)
    integer = [name for name in one.plan.nodes if name not in floats_of(found.plan)]
    names = list(one.plan.nodes)
    at = [names.index(name) for name in integer]
    assert at == list(range(min(at, default=0), min(at, default=0) + len(at)))


def test_a_target_without_room_for_floats_says_so(tmp_path: Path) -> None:
    one = case(chain(tmp_path), PER_TENSOR, max_float_ops=0)
    found = one.mixed(UNREACHABLE)
    assert found.plan is None
    assert found.trail == ()
    assert "leave room for none" in found.note


def test_a_target_that_refuses_floats_says_so(tmp_path: Path) -> None:
    found = case(chain(tmp_path), PER_TENSOR, to="refuse").mixed(UNREACHABLE)
    assert found.plan is None
    nothing = (
        "runs nothing in float (fallback.to is refuse) and nothing on 16-bit activations (wide.ops is none)"
    )
    assert found.note == f"cannot: {PER_TENSOR} {nothing}"


def test_operators_without_a_float_kernel_stay(tmp_path: Path) -> None:
    one = case(chain(tmp_path), PER_TENSOR)
    ops = {
        name: dataclasses.replace(support, precisions=("int8",)) for name, support in one.profile.ops.items()
    }
    profile = dataclasses.replace(one.profile, ops=ops)
    found = dataclasses.replace(one, profile=profile).mixed(UNREACHABLE)
    assert found.plan is None
    assert "none of the integer operators has a float kernel" in found.note


def test_a_goal_that_is_reached_needs_nothing(tmp_path: Path) -> None:
    found = case(chain(tmp_path), PER_TENSOR).mixed(Goal(min_sqnr_db=-100.0))
    assert found.plan is None
    assert found.note == "not needed: -100 dB is reached without"


def test_twice_is_the_same(tmp_path: Path) -> None:
    one = case(chain(tmp_path, factors={"conv3": useless()}), PER_TENSOR)
    first, second = (one.mixed(reachable(one)) for _ in range(2))
    assert first.plan is not None
    assert second.plan is not None
    assert encode(first.plan) == encode(second.plan)
    assert (first.note, first.trail) == (second.note, second.trail)


def test_after_its_time_nothing_is_tried(tmp_path: Path) -> None:
    found = case(chain(tmp_path), PER_TENSOR).mixed(UNREACHABLE, deadline=0.0)
    assert found.plan is None
    assert found.trail == ()
    assert found.note.endswith("tried: nothing, then the time was up")


def test_what_was_found_in_time_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count()
    clock = SimpleNamespace(monotonic=lambda: float(next(ticks)))
    one = case(chain(tmp_path, factors={"conv2": useless()}), PER_TENSOR)
    monkeypatch.setattr(search, "time", clock)
    found = one.mixed(UNREACHABLE, deadline=0.5)
    assert len(found.trail) == 1
    assert found.plan is not None
    assert found.note.endswith(", then the time was up")


def test_the_plan_says_who_wanted_floats(tmp_path: Path) -> None:
    one = case(chain(tmp_path, factors={"conv2": useless()}), PER_TENSOR)
    recipe = Recipe(keep_float=KeepFloat(nodes=frozenset({"conv4"})))
    found = one.mixed(reachable(one), recipe=recipe).plan
    assert found is not None
    assert "mixed precision" in found.nodes["conv2"].reason
    assert "the recipe keeps it in float" in found.nodes["conv4"].reason
    assert "mixed precision runs in float: 'conv2'." in found.warnings
    assert not any(warning.startswith("Conv 'conv2'") for warning in found.warnings)
    assert any(warning.startswith("Conv 'conv4'") for warning in found.warnings)


def test_what_is_found_is_reconstructed_and_has_to_reach_the_goal_then(tmp_path: Path) -> None:
    factors = {"conv2": useless(), "conv3": useless(20.0)}
    one = case(chain(tmp_path, factors=factors), PER_TENSOR)
    before = one.plan

    def rebuilt(plan: QuantizationPlan) -> QuantizationPlan:
        return reconstruct(one.model, plan, one.profile, one.yardstick.fitting, threads=1, progress=Silent())

    finished = one.worth(rebuilt(before)).sqnr_db
    assert finished is not None
    goal = Goal(min_sqnr_db=finished + 3.0)
    found = one.mixed(goal, finish=rebuilt, worth=one.worth(rebuilt(before)))
    assert found.is_reached
    assert found.plan is not None
    assert goal.is_reached(one.worth(found.plan))
    assert any(trial.is_finished for trial in found.trail)
    assert "reconstructed" in found.note
    integer = [name for name in ("conv1", "conv2", "conv3", "conv4") if name not in floats_of(found.plan)]
    assert integer
    assert all(found.plan.tensors[name.replace("conv", "w")].codes is not None for name in integer)
    assert all(
        found.plan.tensors[name.replace("conv", "w")].codes is None
        for name in floats_of(found.plan)
        if name[0] == "c"
    )


def test_it_aims_higher_where_reconstruction_gave_less_than_expected(tmp_path: Path) -> None:
    """Here it is expected to give 5 dB, and gives nothing."""
    one = case(chain(tmp_path, factors={}), PER_TENSOR)
    worth = one.worth()
    assert worth.sqnr_db is not None
    optimistic = dataclasses.replace(worth, sqnr_db=worth.sqnr_db + 5.0)
    goal = Goal(min_sqnr_db=worth.sqnr_db + 5.5)
    found = one.mixed(goal, finish=lambda plan: plan, worth=optimistic)
    assert sum(trial.is_finished for trial in found.trail) >= 2
    assert found.is_reached
    names = [trial.names for trial in found.trail if not trial.is_finished]
    assert len(names) == len(set(names)), "nothing is measured twice"


def test_the_plan_can_be_lowered(tmp_path: Path) -> None:
    for target in (PER_TENSOR, PER_CHANNEL, "cortex-a-tflite", "x86_64-openvino"):
        one = case(chain(tmp_path, factors={"conv2": useless()}), target)
        found = one.mixed(Goal(min_sqnr_db=60.0))
        assert found.plan is not None
        assert lower(one.model, found.plan, one.profile).files


def test_cost_counts_products_and_what_is_written(tmp_path: Path) -> None:
    one = case(chain(tmp_path), PER_TENSOR)
    layers = {layer.name: layer for layer in layers_of(one.model, one.plan)}
    assert operations(layers["conv1"]) == 6 * 64 * 6 + 6 * 64
    assert operations(layers["x"]) == 0


@pytest.mark.parametrize(
    ("goal", "sqnr", "same", "expected"),
    [
        (Goal(), 1.0, 0.0, True),
        (Goal(min_sqnr_db=10.0), 10.0, None, True),
        (Goal(min_sqnr_db=10.0), 9.9, 1.0, False),
        (Goal(min_sqnr_db=10.0), None, None, True),
        (Goal(min_agreement=0.9), 1.0, 0.9, True),
        (Goal(min_agreement=0.9), 90.0, 0.8, False),
        (Goal(min_agreement=0.9), 1.0, None, True),
        (Goal(min_sqnr_db=10.0, min_agreement=0.9), 11.0, 0.8, False),
        (Goal(min_sqnr_db=10.0, min_agreement=0.9), 9.0, 0.95, False),
    ],
)
def test_a_goal_wants_all_of_its_limits(
    goal: Goal, sqnr: float | None, same: float | None, expected: bool
) -> None:
    assert goal.is_reached(Worth(sqnr_db=sqnr, same_top_class=same)) is expected


def test_a_goal_names_its_limits() -> None:
    assert str(Goal(min_sqnr_db=12.0, min_agreement=0.95)) == "12 dB and the same top class on 95.0%"


def wide_case(
    folder: Path, *, to: Fallback = "float32", factors: Mapping[str, np.ndarray] | None = None
) -> Case:
    """Return a network for a target with 16-bit activations, between float doors."""
    loud = one_loud(500.0)
    given = factors or {"conv1": loud, "conv2": 1.0 / loud.reshape(1, -1, 1, 1)}
    return case(chain(folder, factors=given), "cortex-m-tflm", to=to, doors="float32")


def test_16_bits_come_before_float_where_they_are_enough(tmp_path: Path) -> None:
    """A channel of a1 is 500 times the others, in weights by channel: only its codes are too coarse."""
    one = wide_case(tmp_path)
    found = one.mixed(reachable(one, 6.0))
    assert found.is_reached
    assert floats_of(found.plan) == []
    assert wide_of(found.plan) == ["conv1", "relu1", "conv2", "relu2"]
    assert found.plan is not None
    assert found.plan.tensors["a1"].qparams is not None
    assert found.plan.tensors["a1"].qparams.dtype == "int16"
    assert "2 of 4 operators on 16-bit activations, 50.0% of the operations: 'conv1', 'conv2'" in found.note
    assert any(trial.wide == {"conv1", "conv2"} for trial in found.trail)
    assert "2 operators (2 on 16 bits)" in found.note
    assert "mixed precision runs on 16-bit activations: 'conv1', 'conv2'." in found.plan.warnings
    assert "as on 8-bit activations it costs the outputs too much" in found.plan.nodes["conv1"].reason
    files = lower(one.model, found.plan, one.profile).files
    assert files


def test_a_target_that_refuses_floats_can_have_16_bits(tmp_path: Path) -> None:
    one = wide_case(tmp_path, to="refuse")
    found = one.mixed(UNREACHABLE)
    assert not found.is_reached
    assert found.plan is not None
    assert floats_of(found.plan) == []
    assert len(wide_of(found.plan)) >= 4
    assert one.worth(found.plan).is_better_than(one.worth())


def test_what_16_bits_do_not_help_goes_to_float(tmp_path: Path) -> None:
    """Its weights have one scale a channel, and one input of each is far above the others: no activation is to blame."""
    one = wide_case(tmp_path, factors={"conv2": useless(2000.0)})
    found = one.mixed(reachable(one, 3.0))
    assert found.is_reached
    assert floats_of(found.plan) == ["conv2", "relu2"]
    assert wide_of(found.plan) == []


def test_where_16_bits_take_longer_than_floats_floats_are_cheaper(tmp_path: Path) -> None:
    one = wide_case(tmp_path)
    slow = dataclasses.replace(one.profile, cost=CostRules(int16=50.0, float32=2.0))
    found = dataclasses.replace(one, profile=slow).mixed(reachable(one, 6.0))
    assert floats_of(found.plan) == ["conv1", "relu1", "conv2", "relu2"]
    by_size = dataclasses.replace(one, profile=slow).mixed(reachable(one, 6.0), recipe=Recipe(spared="size"))
    assert wide_of(by_size.plan) == ["conv1", "relu1", "conv2", "relu2"]


def test_costs_are_time_or_bytes(tmp_path: Path) -> None:
    one = wide_case(tmp_path)
    layer = next(layer for layer in layers_of(one.model, one.plan) if layer.name == "conv2")
    profile = dataclasses.replace(one.profile, cost=CostRules(int16=2.5, float32=4.0))
    time, size = (Costs(profile=profile, spared=spared) for spared in SPARED)
    assert time.of(layer, "int8") == size.of(layer, "int8") == 0.0
    assert time.of(layer, "int16") == 1.5 * operations(layer)
    assert time.of(layer, "float32") == 3.0 * operations(layer)
    assert size.of(layer, "int16") == 4 * 6, "six biases of four bytes more"
    assert size.of(layer, "float32") == 3 * 36, "thirty-six weights of three bytes more"
    half = dataclasses.replace(size, float_weights="float16")
    assert half.of(layer, "float32") == 1 * 36, "thirty-six weights of one byte more"
    cheap = dataclasses.replace(one.profile, cost=CostRules(int16=0.5, float32=1.0))
    assert Costs(profile=cheap, spared="latency").of(layer, "int16") == 1.0
