"""`prepare`: stages that stop when it is good, are undone where they do not help, and obey recipe and clock."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_tools.lower.lowering import lower
from host_tools.observe.cache import StatisticsCache
from host_tools.plan.check import check
from host_tools.plan.plan_file import encode
from host_tools.plan.planner import plan
from host_tools.progress import Silent
from host_tools.recipe import KeepFloat, Recipe, TensorOverride
from host_tools.stages import Yardstick, prepare
from host_tools.stages.ladder import GOOD_DECIBELS, Ladder
from host_tools.stages.yardstick import Worth
from host_tools.verify.contestant import plan_arithmetic
from host_tools.verify.metrics import OutputComparison
from tests.unit.host_tools.model.onnx_models import model_proto
from tests.unit.host_tools.reconstruct.hard_networks import (
    Hard,
    changed,
    classifier,
    hard,
    pictures,
    spread,
)

FOUR_BITS = changed(weights={"bits": 4})


class Titles(Silent):
    """Remembers what was begun."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def stage(self, title: str, total: int | None) -> None:
        self.seen.append(title)


def prepared(
    network: Hard,
    recipe: Recipe | None = None,
    *,
    cache,
    profile=None,
    progress=None,
    is_quick=False,
    **more,
):
    profile = profile or network.profile
    yardstick = Yardstick(network.model, network.data, threads=1)
    assert yardstick.is_quick, "the networks of these tests are small"
    yardstick.is_quick = is_quick
    found = prepare(
        network.model,
        network.statistics,
        profile,
        recipe or Recipe(),
        network.data,
        yardstick,
        threads=1,
        cache=StatisticsCache(cache),
        progress=progress or Silent(),
        **more,
    )
    check(found.plan, found.model, profile)
    lower(found.model, found.plan, profile)
    assert found.plan.model_digest == found.model.digest == found.statistics.model_digest
    assert all(stage.note for stage in found.stages)
    return found


def ladder_of(network: Hard) -> Ladder:
    return Ladder(
        profile=network.profile,
        recipe=Recipe(),
        yardstick=Yardstick(network.model, network.data, threads=1),
        progress=Silent(),
        deadline=None,
        goal=None,
    )


def told(found):
    """Return each stage's name and whether it was kept."""
    return [(stage.name, stage.is_kept) for stage in found.stages]


def is_reconstructed(found) -> bool:
    return any(tensor.codes is not None for tensor in found.plan.tensors.values())


def skewed():
    """Return a network that channels scaled against one another make easy."""
    return classifier(
        w2=spread(5, 300.0, w2=(12, 12, 1, 1))["w2"], w1=spread(6, 300.0, w1=(12, 1, 3, 3))["w1"]
    )


def test_what_is_good_at_once_is_left_as_it_is(tmp_path):
    network = hard(tmp_path, profile="cortex-a-tflite")
    found = prepared(network, cache=tmp_path / "cache")
    assert told(found) == [("ranges", True)]
    assert found.stages[0].sqnr_db > GOOD_DECIBELS
    assert found.model is network.model
    assert encode(found.plan) == encode(network.plan)


def test_equalization_that_is_enough_ends_it(tmp_path):
    network = hard(tmp_path, skewed(), "generic-power-of-two", samples=pictures(48))
    found = prepared(network, cache=tmp_path / "cache")
    assert told(found) == [("ranges", True), ("equalization", True)]
    assert found.stages[0].sqnr_db < GOOD_DECIBELS < found.stages[1].sqnr_db
    assert found.model.digest != network.model.digest
    assert not is_reconstructed(found)


def test_a_small_model_is_tried_on_all_stages_though_it_is_good(tmp_path):
    network = hard(tmp_path, skewed(), "generic-power-of-two", samples=pictures(96))
    found = prepared(network, cache=tmp_path / "cache", is_quick=True)
    assert told(found) == [("ranges", True), ("equalization", True), ("reconstruction", True)]
    good, better = (stage.sqnr_db for stage in found.stages[1:])
    assert better > good + 1.0


def test_where_outputs_are_good_a_stage_has_to_gain_a_decibel(tmp_path):
    network = hard(tmp_path, profile="cortex-a-tflite", samples=pictures(48, seed=5))
    ladder = ladder_of(network)
    ladder.begin(network.model, network.statistics)
    good = ladder.state.plan
    planned = partial(plan, network.model, network.statistics, network.profile)
    other, own = planned(Recipe(method="minmax")), ladder.state.worth.decibels
    change = ladder.measured(replace(ladder.state, plan=other)).decibels - own
    assert 0.0 < abs(change) < 1.0
    assert own > GOOD_DECIBELS
    better = good if change < 0.0 else other
    ladder.climb(
        "worse",
        lambda now: (replace(now, plan=planned(Recipe(method="minmax" if change < 0.0 else None))), "n"),
        is_asked=True,
    )
    ladder.climb("better", lambda now: (replace(now, plan=better), "n"), is_asked=False, is_fitted=False)
    assert ladder.stages[-1].sqnr_db > ladder.stages[-2].sqnr_db
    assert not ladder.stages[-1].is_kept
    ladder.climb("asked", lambda now: (replace(now, plan=better), "n"), is_asked=True)
    assert ladder.state.plan is better


def test_hard_weights_are_equalized_and_reconstructed(tmp_path):
    network = hard(tmp_path, profile=FOUR_BITS)
    found = prepared(network, cache=tmp_path / "cache")
    assert told(found) == [("ranges", True), ("equalization", True), ("reconstruction", True)]
    assert found.stages[0].sqnr_db < found.stages[-1].sqnr_db
    assert is_reconstructed(found)


@pytest.mark.parametrize("is_fitted", [True, False])
def test_a_loss_that_may_be_chance_undoes_only_what_was_fitted(tmp_path, is_fitted):
    """A dozen samples do not tell 17.70 dB from 17.69."""
    network = hard(tmp_path, profile=FOUR_BITS)
    ladder = ladder_of(network)
    ladder.begin(network.model, network.statistics)
    wider = Recipe(tensors={"x": TensorOverride(range=(-4.0, 4.0))})
    other = plan(network.model, network.statistics, network.profile, wider)
    ladder.climb("widening", lambda now: (replace(now, plan=other), "n"), is_asked=False, is_fitted=is_fitted)
    assert -0.1 < ladder.stages[1].sqnr_db - ladder.stages[0].sqnr_db < 0.0
    assert ladder.stages[1].is_kept is not is_fitted


@pytest.mark.parametrize("is_fitted", [True, False])
def test_a_stage_that_is_worse_is_undone(tmp_path, is_fitted):
    network = hard(tmp_path, profile=FOUR_BITS)
    ladder = ladder_of(network)
    ladder.begin(network.model, network.statistics)
    narrow = Recipe(tensors={"x": TensorOverride(range=(-0.1, 0.1))})
    worse = plan(network.model, network.statistics, network.profile, narrow)
    ladder.climb(
        "clipping",
        lambda now: (replace(now, plan=worse), "inputs clipped"),
        is_asked=False,
        is_fitted=is_fitted,
    )
    assert ladder.state.plan is not worse
    assert [(stage.name, stage.is_kept) for stage in ladder.stages] == [("ranges", True), ("clipping", False)]
    assert ladder.stages[1].note == "undone, it did not help: inputs clipped"
    assert ladder.stages[1].sqnr_db < ladder.stages[0].sqnr_db


@pytest.mark.parametrize(
    ("gain", "adds", "is_kept"),
    [(0.4, False, True), (0.4, True, False), (-0.1, True, False), (1.1, True, True)],
)
def test_a_stage_that_adds_operators_must_be_worth_them(tmp_path, monkeypatch, gain, adds, is_kept):
    """Its gain is that of the plan alone; the added operator stands in another model with the same outputs."""
    network = hard(tmp_path, profile=FOUR_BITS)
    ladder = ladder_of(network)
    ladder.begin(network.model, network.statistics)
    before = ladder.state.worth
    assert before is not None
    found = replace(
        before,
        sqnr_db=before.sqnr_db + gain,
        by_sample_db=tuple(one + gain for one in before.by_sample_db),
    )
    graph = network.model.graph.clone()
    if adds:
        graph.graph.append(ir.Node("", "Identity", [graph.graph.outputs[0]]))
    longer = replace(network.model, graph=graph)
    monkeypatch.setattr(Ladder, "measured", lambda _, state: found)
    ladder.climb("clipping", lambda now: (replace(now, model=longer), "n"), is_asked=False, is_fitted=False)
    assert ladder.stages[1].is_kept is is_kept


def test_one_bad_sample_of_many_is_chance_and_a_loss_on_all_is_none():
    base = Worth(sqnr_db=20.0, same_top_class=1.0, by_sample_db=(20.0,) * 24)
    one_bad = Worth(sqnr_db=15.0, same_top_class=1.0, by_sample_db=(1.0, *(20.5,) * 23))
    all_bad = Worth(sqnr_db=19.8, same_top_class=1.0, by_sample_db=(19.8, 19.7) * 12)
    assert not one_bad.is_worse_than(base)
    assert all_bad.is_worse_than(base)
    assert not base.is_worse_than(all_bad)
    assert not base.is_worse_than(base)


def test_what_few_samples_say_is_held_against_their_spread():
    """22.2 dB on samples that are 2 dB apart may be 21.8 dB on others; on samples that agree, or on four times as many, they are 22 dB."""
    few, many = ((20.2, 24.2) * count for count in (12, 100))
    for samples, is_sure in ((few, False), (many, True), ((22.2, 22.3) * 12, True)):
        worth = Worth(sqnr_db=22.2, same_top_class=1.0, by_sample_db=samples)
        assert worth.reaches(22.0)
        assert worth.surely_reaches(22.0) is is_sure
    assert Worth(sqnr_db=22.2, same_top_class=1.0, by_sample_db=few).standard_error_db == pytest.approx(
        2.0 / np.sqrt(23)
    )


@pytest.mark.parametrize("samples", [(), (22.2,)])
def test_where_samples_tell_no_spread_the_figure_counts_as_it_is(samples):
    assert Worth(sqnr_db=22.2, same_top_class=None, by_sample_db=samples).surely_reaches(22.0)
    assert not Worth(sqnr_db=21.9, same_top_class=None, by_sample_db=samples).surely_reaches(22.0)


def test_outputs_without_any_difference_are_good():
    assert Worth(sqnr_db=None, same_top_class=1.0, by_sample_db=(60.0,) * 24).surely_reaches(40.0)


@given(
    samples=st.lists(st.floats(-20.0, 60.0), max_size=24),
    sqnr_db=st.floats(-20.0, 60.0),
    goal=st.floats(-20.0, 60.0),
)
def test_what_is_sure_is_so_and_more_samples_of_a_kind_make_surer(samples, sqnr_db, goal):
    worth = Worth(sqnr_db=sqnr_db, same_top_class=None, by_sample_db=tuple(samples))
    fourfold = replace(worth, by_sample_db=worth.by_sample_db * 4)
    assert worth.reaches(goal) or not worth.surely_reaches(goal)
    if len(samples) > 1:
        rounding = 1e-9
        assert fourfold.standard_error_db <= worth.standard_error_db + rounding
        assert fourfold.surely_reaches(goal - rounding) or not worth.surely_reaches(goal)


@pytest.mark.parametrize(("spread_db", "goes_on"), [(0.1, False), (3.0, True)])
def test_a_figure_that_chance_may_have_lifted_does_not_end_it(tmp_path, spread_db, goes_on):
    """The same mean: whether the next stage is wanted is a question of how far samples are apart."""
    network = hard(tmp_path, profile="cortex-a-tflite", samples=pictures(48, seed=5))
    ladder = ladder_of(network)
    ladder.yardstick.is_quick = False
    ladder.begin(network.model, network.statistics)
    apart = (22.3 - spread_db, 22.3 + spread_db) * 12
    ladder._state = replace(ladder.state, worth=Worth(sqnr_db=22.3, same_top_class=1.0, by_sample_db=apart))
    assert ladder.wants("equalization", None) is goes_on


def test_a_stage_that_is_asked_for_is_kept_all_the_same(tmp_path):
    network = hard(tmp_path, profile=FOUR_BITS)
    recipe = Recipe(equalization=True, reconstruction=False)
    found = prepared(network, recipe, cache=tmp_path / "cache")
    assert told(found) == [("ranges", True), ("equalization", True)]
    assert found.model is not network.model


@pytest.mark.parametrize(
    ("recipe", "names"),
    [
        (Recipe(equalization=False), ["ranges", "reconstruction"]),
        (Recipe(reconstruction=False), ["ranges", "equalization"]),
        (Recipe(equalization=False, reconstruction=False), ["ranges"]),
        (Recipe(method="mse"), ["ranges"]),
        (Recipe(method="mse", equalization=True), ["ranges", "equalization"]),
        (Recipe(method="mse", reconstruction=True), ["ranges", "reconstruction"]),
        (
            Recipe(method="minmax", equalization=True, reconstruction=True),
            ["ranges", "equalization", "reconstruction"],
        ),
    ],
)
def test_a_recipe_is_obeyed(tmp_path, recipe, names):
    network = hard(tmp_path, profile=FOUR_BITS, recipe=recipe)
    found = prepared(network, recipe, cache=tmp_path / "cache")
    assert [stage.name for stage in found.stages] == names
    if recipe.method is not None:
        assert found.plan.method == recipe.method
    if names == ["ranges"]:  # nothing to decide, so nothing was measured
        assert found.stages[0].sqnr_db is None
        assert encode(found.plan) == encode(network.plan)


def test_reconstruction_that_is_asked_for_is_done_where_ranges_are_good(tmp_path):
    network = hard(tmp_path, profile="cortex-a-tflite")
    found = prepared(network, Recipe(reconstruction=True), cache=tmp_path / "cache")
    assert told(found) == [("ranges", True), ("reconstruction", True)]
    assert is_reconstructed(found)


@pytest.mark.parametrize("asked", [None, True])
def test_when_the_time_is_up_nothing_is_begun_and_it_says_so(tmp_path, asked):
    network = hard(tmp_path, profile=FOUR_BITS)
    recipe = Recipe(equalization=asked, reconstruction=asked)
    found = prepared(network, recipe, cache=tmp_path / "cache", deadline=time.monotonic() - 1.0)
    assert told(found) == [("ranges", True), ("equalization", False), ("reconstruction", False)]
    assert [stage.note for stage in found.stages[1:]] == ["the time was up"] * 2
    assert encode(found.plan) == encode(network.plan)


def test_when_the_time_is_up_within_reconstruction_what_is_done_is_kept_and_it_says_so(tmp_path, monkeypatch):
    network = hard(tmp_path, profile=FOUR_BITS)
    clock, passed = time.monotonic, []
    monkeypatch.setattr(time, "monotonic", lambda: clock() + sum(passed))

    class Clock(Silent):
        done = 0

        def step(self, count: int = 1) -> None:
            self.done += count
            if self.done == 3:
                passed.append(3600.0)

    deadline = time.monotonic() + 3600.0
    recipe = Recipe(equalization=False)
    found = prepared(network, recipe, cache=tmp_path / "cache", progress=Clock(), deadline=deadline)
    stopped = "reconstruction stopped after 3 of 4 operators, when its time was up."
    assert told(found) == [("ranges", True), ("reconstruction", True)]
    assert found.stages[1].note.endswith(stopped)
    assert stopped in found.plan.warnings
    # Without a limit it goes on, and comes to what it would have come to at once.
    again = prepared(network, recipe, cache=tmp_path / "cache")
    whole = prepared(network, recipe, cache=tmp_path / "another")
    assert encode(again.plan) == encode(whole.plan)


def test_no_weights_to_round_is_said(tmp_path):
    text = "net (float[1,3,12,12] x) => (float[1,3,12,12] y) { r = Relu (x) y = Sigmoid (r) }"
    network = hard(tmp_path, model_proto(text), FOUR_BITS)
    found = prepared(network, Recipe(reconstruction=True), cache=tmp_path / "cache")
    assert told(found) == [("ranges", True), ("reconstruction", False)]
    assert found.stages[1].note == "no weights to round"
    found = prepared(network, Recipe(equalization=True), cache=tmp_path / "cache")
    assert ("equalization", False) in told(found)
    assert found.stages[1].note.startswith(
        "no channel can be scaled: all of them meet the model's inputs or outputs"
    )


@pytest.mark.parametrize("count", [1, 4])
def test_too_few_samples_to_keep_any_back_is_said(tmp_path, count):
    network = hard(tmp_path, profile=FOUR_BITS, samples=pictures(count))
    yardstick = Yardstick(network.model, network.data, threads=1)
    assert len(yardstick.fitting) == count
    found = prepared(network, cache=tmp_path / "cache")
    assert f"since {count} are too few to keep any back" in found.stages[0].note
    assert found.stages[-1].sqnr_db is not None


@pytest.mark.parametrize(("count", "kept"), [(5, 1), (24, 4), (120, 24), (130, 24)])
def test_nothing_is_fitted_to_what_is_measured(tmp_path, count, kept):
    network = hard(tmp_path, samples=pictures(count))
    yardstick = Yardstick(network.model, network.data, threads=1)
    fitted = [sample.id for sample in yardstick.fitting]
    assert len(fitted) == count - kept
    assert not yardstick.caution
    measured = [sample.id for sample in yardstick._measured]
    assert len(measured) == kept
    assert not set(fitted) & set(measured)
    every = [sample.id for sample in network.data]
    assert fitted == [name for name in every if name not in measured]
    # A folder that is sorted by class: what is measured comes from all over it.
    places = [every.index(name) for name in measured]
    assert all(part * count <= place * kept < (part + 1) * count for part, place in enumerate(places))


def test_statistics_of_an_equalized_model_are_kept(tmp_path):
    network = hard(tmp_path, skewed(), "generic-power-of-two", samples=pictures(48))
    first, again = Titles(), Titles()
    one = prepared(network, cache=tmp_path / "cache", progress=first)
    two = prepared(network, cache=tmp_path / "cache", progress=again)
    assert any("Observing" in title for title in first.seen)
    assert not any("Observing" in title for title in again.seen)
    assert "Statistics from the cache" in again.seen
    assert encode(one.plan) == encode(two.plan)


def test_two_targets_do_not_disturb_each_other(tmp_path):
    network = hard(tmp_path, profile=FOUR_BITS)
    other = changed("nxp-neutron", weights={"bits": 4})
    together = [
        encode(prepared(network, cache=tmp_path / "one", profile=profile).plan)
        for profile in (FOUR_BITS, other)
    ]
    alone = encode(prepared(network, cache=tmp_path / "two", profile=other).plan)
    assert together[1] == alone != together[0]


def test_a_range_of_the_recipe_holds_for_the_tensor_that_it_names(tmp_path):
    network = hard(tmp_path, skewed(), "generic-power-of-two", samples=pictures(48))
    for name in ("a1", "w1"):
        recipe = Recipe(equalization=True, tensors={name: TensorOverride(range=(-4.0, 4.0))})
        found = prepared(network, recipe, cache=tmp_path / "cache")
        stage = found.stages[1]
        assert (stage.name, stage.is_kept) == ("equalization", False)
        assert stage.note == f"the recipe gives a range for {name}, which scaled channels would leave"
        assert found.model is network.model
    free = Recipe(
        equalization=True,
        tensors={"x": TensorOverride(range=(-8.0, 8.0)), "a1": TensorOverride(method="minmax")},
    )
    assert ("equalization", True) in told(prepared(network, free, cache=tmp_path / "cache"))


@pytest.mark.parametrize("keep", [{"ops": frozenset({"Clip"})}, {"nodes": frozenset({"Clip_a1"})}])
def test_a_clip_that_the_recipe_keeps_in_float_is_still_there_when_channels_are_scaled(tmp_path, keep):
    network = hard(tmp_path, skewed(), "generic-power-of-two", samples=pictures(48))
    recipe = Recipe(equalization=True, keep_float=KeepFloat(**keep))
    found = prepared(network, recipe, cache=tmp_path / "cache")
    assert ("equalization", True) in told(found)
    assert found.model is not network.model
    assert (found.plan.nodes["Clip_a1"].op_type, found.plan.nodes["Clip_a1"].precision) == ("Clip", "float32")


def test_a_stage_that_the_target_cannot_do_is_left_out_and_what_was_there_stays(tmp_path):
    # Equalization bounds channels by Min. Here its kernel cannot do the one rescale factor that it needs, and nothing may fall back.
    network = hard(tmp_path, skewed(), "generic-power-of-two", samples=pictures(48))
    base = network.profile
    least = replace(base.ops["Min"], requantization_ratio=(2.0, 4.0))
    profile = replace(
        base, ops={**base.ops, "Min": least}, fallback=replace(base.fallback, to="refuse", max_float_ops=0)
    )
    for asked in (None, True):
        found = prepared(network, Recipe(equalization=asked), cache=tmp_path / "cache", profile=profile)
        assert ("equalization", False) in told(found)
        assert found.stages[1].note.startswith("the target cannot do it: ")
        assert found.model is network.model


@pytest.mark.parametrize("kind", ["constants", "zeros", "outlier", "denormal"])
def test_odd_samples(tmp_path, kind):
    samples = pictures(12)
    if kind == "constants":
        samples[:] = 0.5
    elif kind == "zeros":
        samples[:] = 0.0
    elif kind == "outlier":
        samples[7, 0, 3, 3] = 1e20
    else:
        samples *= np.float32(1e-40)
    network = hard(tmp_path, profile=FOUR_BITS, samples=samples)
    found = prepared(network, Recipe(equalization=True, reconstruction=True), cache=tmp_path / "cache")
    assert len(found.stages) == 3


def test_a_float_output_is_measured_too(tmp_path):
    text = """net (float[1,3,12,12] x) => (float[1,10] y) {
        c = Conv <pads = [1,1,1,1]> (x, w0, b0)
        p = GlobalAveragePool (c)
        f = Flatten (p)
        g = Gemm <transB = 1> (f, w1, b1)
        y = Softmax (g)
    }"""
    weights = spread(3, w0=(6, 3, 3, 3), b0=(6,), w1=(10, 6), b1=(10,))
    recipe = Recipe(keep_float=KeepFloat(ops=frozenset({"Softmax"})))
    network = hard(tmp_path, model_proto(text, **weights), FOUR_BITS, recipe=recipe)
    worth = Yardstick(network.model, network.data, threads=1).measure(
        network.model, network.plan, network.profile
    )
    assert worth.sqnr_db is not None
    assert worth.same_top_class is not None


def test_boxes_in_pixels_do_not_hide_what_becomes_of_scores(tmp_path):
    text = """net (float[1,3,12,12] x) => (float[1,8,12,12] y) {
        c = Conv <pads = [1,1,1,1]> (x, w0, b0)
        boxes = Mul (c, pixels)
        d = Conv (c, w1, b1)
        scores = Sigmoid (d)
        y = Concat <axis = 1> (boxes, scores)
    }"""
    weights = spread(3, w0=(6, 3, 3, 3), b0=(6,), w1=(2, 6, 1, 1), b1=(2,))
    network = hard(
        tmp_path, model_proto(text, pixels=np.full((1, 6, 1, 1), 100.0, np.float32), **weights), FOUR_BITS
    )
    yardstick = Yardstick(network.model, network.data, threads=1)
    arithmetic = plan_arithmetic(network.model, network.plan, network.profile, threads=1)
    boxes, scores = OutputComparison(), OutputComparison()
    for arrays, expected in yardstick._floats():
        found = arithmetic.run(arrays)["y"]
        boxes.add(expected["y"][:, :6], found[:, :6])
        scores.add(expected["y"][:, 6:], found[:, 6:])
    worth = yardstick.measure(network.model, network.plan, network.profile)
    assert worth.sqnr_db == pytest.approx(min(boxes.sqnr_db, scores.sqnr_db))
    assert boxes.sqnr_db != pytest.approx(scores.sqnr_db)
    assert len(worth.by_sample_db) == len(yardstick._measured)
